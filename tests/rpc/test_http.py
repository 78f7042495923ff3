"""What goes over HTTP around the calls (SPEC 2)."""

import json

import pytest

from cstp_server import __version__
from cstp_server.domain.callers import Role
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.rpc.limits import Limits
from tests.rpc.edge import Edge, check_params

CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "cstp.checkGuardrails", "params": check_params()})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_post_is_taken(edge: Edge, method: str) -> None:
    """405, and `Allow` says what is."""
    response = edge.request(method, "/cstp")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;charset=UTF-8", 200),
        ('application/json; charset="utf-8"', 200),
        ("application/json-rpc", 200),
        ("application/vnd.cstp+json", 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("text/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
def test_only_json_is_taken(edge: Edge, content_type: str, status: int) -> None:
    """Anything else is 415, and is not looked into."""
    response = edge.post(CALL, {"content-type": content_type})
    assert (response.status_code, edge.store.ran) == (status, 1 if status == 200 else 0)


def test_a_body_that_is_too_long_is_refused_before_it_is_read() -> None:
    """413 when the header says so, and when the body turns out so; exactly the limit passes."""
    edge = Edge(limits=Limits(body_bytes=1024))
    exact = CALL + " " * (1024 - len(CALL))
    assert edge.post(exact).status_code == 200
    assert edge.post(exact + " ").status_code == 413
    assert edge.stream([exact[:600].encode(), exact[600:].encode()]).status_code == 200
    response = edge.stream([exact[:600].encode(), exact[600:].encode(), b" "])
    assert (response.status_code, response.json()["error"]["code"], edge.store.ran) == (413, -32600, 2)


def test_a_request_keeps_its_sane_id_and_else_gets_one(edge: Edge) -> None:
    """The answer's header names the id; one that could break a log is replaced."""
    assert edge.post(CALL, {"x-request-id": "build-77/3"}).headers["x-request-id"] == "build-77/3"
    assert edge.post(CALL, {"x-correlation-id": "abc"}).headers["x-request-id"] == "abc"
    given = [edge.post(CALL, headers).headers["x-request-id"] for headers in ({}, {"x-request-id": "a b"}, {"x-request-id": "x" * 129})]
    assert len(set(given)) == 3
    assert all(id.startswith("req_") for id in given)


def test_a_fault_inside_shows_only_the_request_id(edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    """The exception's text is in the log with the same id, and nowhere in the answer."""
    edge.store.fault = RuntimeError("password=swordfish at /srv/secret")
    response = edge.post(CALL, {"x-request-id": "req-9"})
    assert response.status_code == 200
    assert response.json()["error"] == {"code": -32603, "message": "Internal error", "data": {"correlationId": "req-9"}}
    assert "swordfish" not in response.text
    logged = capsys.readouterr()
    assert "swordfish" in logged.out + logged.err
    assert "req-9" in logged.out + logged.err


@pytest.mark.parametrize(
    ("fault", "code", "retry"), [(StoreUnavailable("db-7 is gone"), -32012, None), (Overloaded("queue of 10000"), -32013, "1")]
)
def test_without_the_store_nothing_is_allowed(edge: Edge, fault: Exception, code: int, retry: str | None) -> None:
    """503 for a single call, 200 with the same error in a batch, and never an allow."""
    edge.store.fault = fault
    response = edge.post(CALL)
    assert (response.status_code, response.json()["error"]["code"], response.headers.get("retry-after")) == (503, code, retry)
    assert "result" not in response.json()
    assert str(fault) not in response.text
    batch = edge.post(f"[{CALL}]")
    assert (batch.status_code, batch.json()[0]["error"]["code"]) == (200, code)


def test_a_token_that_calls_too_often_waits() -> None:
    """After its burst a token gets 429 and when to come again; another token does not notice; time heals."""
    edge = Edge(per_second=10, burst=2)
    edge.tokens.add("one", "one", Role.AGENT)
    edge.tokens.add("two", "two", Role.AGENT)
    method = "cstp.checkGuardrails"
    assert [edge.respond(method, check_params(), token="one").status_code for _ in range(3)] == [200, 200, 429]
    refused = edge.respond(method, check_params(), token="one")
    assert (refused.json()["error"]["code"], refused.json()["error"]["data"]) == (-32002, {"retryAfterMs": 100})
    assert (refused.headers["retry-after"], refused.json()["id"]) == ("1", 1)
    assert edge.respond(method, check_params(), token="two").status_code == 200
    edge.clock.elapsed += 0.1
    assert edge.respond(method, check_params(), token="one").status_code == 200


def test_every_call_of_a_batch_counts_against_the_rate() -> None:
    """The calls beyond the burst fail alone, and are not carried out."""
    edge = Edge(per_second=10, burst=2)
    answers = edge.post(f"[{','.join([CALL] * 4)}]").json()
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, None, -32002, -32002]
    assert edge.store.ran == 2


def test_setting_the_clock_locks_nobody_out_and_lets_nobody_in() -> None:
    """The rate has nothing to do with the time of day."""
    edge = Edge(per_second=10, burst=1)
    assert edge.post(CALL).status_code == 200
    edge.clock.at += 3_600_000
    assert edge.post(CALL).status_code == 429
    edge.clock.at -= 7_200_000
    edge.clock.elapsed += 0.1
    assert edge.post(CALL).status_code == 200


def test_the_process_says_that_it_is_up(edge: Edge) -> None:
    """`/health` answers with the version."""
    assert edge.request("GET", "/health").json() == {"status": "ok", "version": __version__}


def test_the_service_says_whether_it_is_ready(edge: Edge) -> None:
    """200 when everything is there, else 503 and what is missing by name."""
    assert edge.request("GET", "/ready").json() == {
        "status": "ready",
        "checks": {"store": True, "migrations": True, "policy": True},
        "missing": [],
    }
    edge.readiness.parts = {"store": True, "migrations": False, "policy": True}
    response = edge.request("GET", "/ready")
    assert (response.status_code, response.json()["missing"]) == (503, ["migrations"])


def test_calls_and_verdicts_are_measured(edge: Edge) -> None:
    """Prometheus sees calls by method and code, their durations, and verdicts by intervention."""
    edge.call("cstp.checkGuardrails", check_params())
    edge.error("cstp.checkGuardrails", {})
    edge.error("cstp.nowhere", {})
    text = edge.request("GET", "/metrics").text
    assert 'cstp_calls_total{code="0",method="cstp.checkGuardrails"} 1.0' in text
    assert 'cstp_calls_total{code="-32602",method="cstp.checkGuardrails"} 1.0' in text
    assert 'cstp_calls_total{code="-32601",method="unknown"} 1.0' in text
    assert 'cstp_call_duration_seconds_count{method="cstp.checkGuardrails"} 2.0' in text
    assert 'cstp_verdicts_total{intervention="allow"} 1.0' in text
    assert "nowhere" not in text


def test_other_agents_find_the_service(edge: Edge) -> None:
    """The agent card names the address, the methods and the way to authenticate."""
    card = edge.request("GET", "/.well-known/agent.json").json()
    assert (card["url"], card["version"], card["authentication"]) == ("http://127.0.0.1:8787", __version__, {"schemes": ["bearer"]})
    assert {"cstp.checkGuardrails", "rpc.discover"} <= set(card["capabilities"]["cstp"]["methods"])
