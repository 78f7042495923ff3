"""What the clients send, and how they read what comes back."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from cstp_server.client import AsyncClient, BadAnswer, Client, Proposal, Unsendable
from tests.client.conftest import Sleeper, async_client
from tests.client.scripted_server import Plain, Result, ScriptedServer, allowed, blocked, circuit, decision


def test_a_check_says_everything_that_was_given_in_the_wires_casing(server: ScriptedServer, client: Client) -> None:
    """Every argument arrives under its name on the wire, with the token."""
    client.check(
        "Refund order 1142",
        type="issue_refund",
        category="billing",
        stakes="high",
        confidence=0.85,
        tags=["refund"],
        parameters={"amount": 1000},
        context={"codeReviewCompleted": True},
        agent="refund-bot",
        user="user_123",
        domain="billing",
        decision_id="dec_mine",
    )
    assert server.params("cstp.checkGuardrails") == [
        {
            "action": {
                "description": "Refund order 1142",
                "type": "issue_refund",
                "category": "billing",
                "stakes": "high",
                "confidence": 0.85,
                "tags": ["refund"],
                "parameters": {"amount": 1000},
                "context": {"codeReviewCompleted": True},
            },
            "agent": {"id": "refund-bot"},
            "user": {"id": "user_123", "domain": "billing"},
            "decisionId": "dec_mine",
        }
    ]
    assert server.headers[0]["authorization"] == "Bearer cstp_secret"


def test_every_check_gets_a_decision_id_of_its_own(server: ScriptedServer, client: Client) -> None:
    """Two checks of the same content are two decisions, each with an id that the client made."""
    ids = {client.check("Deploy").decision_id for _ in range(2)}
    assert len(ids) == 2
    assert all(id is not None and id.startswith("dec_") for id in ids)


def test_a_dry_run_makes_no_decision_id(server: ScriptedServer, client: Client) -> None:
    """A check that stores nothing names no decision."""
    client.check("Deploy", dry_run=True)
    assert server.params("cstp.checkGuardrails") == [{"action": {"description": "Deploy"}, "dryRun": True}]


def test_an_answer_is_typed_and_keeps_what_it_does_not_know(server: ScriptedServer, client: Client) -> None:
    """Fields that a newer server adds are let through, and are under `raw`."""
    server.usual["cstp.checkGuardrails"] = lambda params: blocked(params) | {"mood": "grim"}
    check = client.check("Deploy")
    assert not check.allowed
    assert check.raw["mood"] == "grim"
    (finding,) = check.violations
    assert finding.scope == "category:tooling"
    assert finding.recent_failures == ("dec_abc", "dec_def")
    assert finding.reset_at == datetime(2026, 2, 11, 13, 30, tzinfo=UTC)
    assert check.remedies[0].until == finding.reset_at


@pytest.mark.parametrize(
    ("change", "field"),
    [({"allowed": None}, "allowed"), ({"allowed": "true"}, "allowed"), ({"intervention": 3}, "intervention"), ({"probes": {}}, "probes")],
)
def test_an_answer_that_is_not_one_is_refused(server: ScriptedServer, client: Client, change: dict[str, Any], field: str) -> None:
    """An answer whose fields are of another type is an error naming the field, never an allow."""
    server.usual["cstp.checkGuardrails"] = lambda params: allowed(params) | change
    with pytest.raises(BadAnswer, match=f"result.{field}"):
        client.check("Deploy")


def test_an_answer_without_a_verdict_is_refused(server: ScriptedServer, client: Client) -> None:
    """An answer that lacks `allowed` is an error."""
    server.script.append(Result({"intervention": "allow"}))
    with pytest.raises(BadAnswer, match="allowed"):
        client.check("Deploy")


@pytest.mark.parametrize(("status", "body"), [(200, "<html>hello</html>"), (200, "[1]"), (302, ""), (404, '{"detail": "not found"}')])
def test_something_else_that_answers_is_told_from_the_service(server: ScriptedServer, client: Client, status: int, body: str) -> None:
    """An answer that is no JSON-RPC says so, and asks whether the url is right."""
    server.script.append(Plain(status, body))
    with pytest.raises(BadAnswer, match="url"):
        client.check("Deploy")
    assert len(server.calls) == 1


def test_a_review_says_everything_that_was_given(server: ScriptedServer, client: Client) -> None:
    """Every argument of a review arrives under its name on the wire, an inline decision shaped like a check."""
    client.review(
        "dec_1", "failure", severity="high", error_type="Timeout", notes="slow", amend=True, decision=Proposal("Deploy", agent="a")
    )
    assert server.params("cstp.reviewDecision") == [
        {
            "id": "dec_1",
            "outcome": "failure",
            "severity": "high",
            "errorType": "Timeout",
            "notes": "slow",
            "amend": True,
            "decision": {"action": {"description": "Deploy"}, "agent": {"id": "a"}},
        }
    ]


def test_a_recorded_decision_carries_an_id_of_the_clients_making(server: ScriptedServer, client: Client) -> None:
    """Recording is as repeatable as checking, because the client names the decision."""
    server.usual["cstp.recordDecision"] = lambda params: {
        "success": True,
        "id": params["decisionId"],
        "timestamp": "2026-02-11T13:00:00Z",
        "guardrailWarnings": [],
    }
    recorded = client.record_decision("use SQLite for the cache", confidence=0.8, category="architecture", agent="planner")
    (params,) = server.params("cstp.recordDecision")
    assert recorded.id == params["decisionId"]
    assert params["agent"] == {"id": "planner"}


def _pages(params: dict[str, Any]) -> dict[str, Any]:
    if params.get("cursor") == "more":
        return {"circuits": [circuit("category:c", "open")], "count": 1, "nextCursor": None}
    return {"circuits": [circuit("category:a"), circuit("category:b")], "count": 2, "nextCursor": "more"}


def test_listing_circuits_goes_through_all_pages(server: ScriptedServer, client: Client) -> None:
    """Every circuit of every page comes once, with the filter on each request."""
    server.usual["cstp.listCircuits"] = _pages
    scopes = [found.scope for found in client.list_circuits(prefix="category:", page_size=2)]
    assert scopes == ["category:a", "category:b", "category:c"]
    assert server.params("cstp.listCircuits") == [
        {"prefix": "category:", "limit": 2},
        {"prefix": "category:", "limit": 2, "cursor": "more"},
    ]


def test_a_page_that_is_not_needed_is_not_asked_for(server: ScriptedServer, client: Client) -> None:
    """Pages are fetched as they are needed."""
    server.usual["cstp.listCircuits"] = _pages
    assert next(client.list_circuits()).scope == "category:a"
    assert len(server.calls) == 1


def test_the_async_client_lists_and_reads_like_the_other(server: ScriptedServer, sleeper: Sleeper) -> None:
    """Pages of decisions, one decision and one circuit, through the async client."""
    server.usual["cstp.listDecisions"] = lambda params: {
        "decisions": [decision("dec_2" if params.get("cursor") else "dec_1")],
        "nextCursor": None if params.get("cursor") else "more",
    }
    server.usual["cstp.getDecision"] = lambda params: {"found": True, "decision": decision(params["id"], answer=blocked({}))}
    server.usual["cstp.listCircuits"] = _pages

    async def story(client: AsyncClient) -> None:
        async with client:
            assert [found.id async for found in client.list_decisions(agent="refund-bot")] == ["dec_1", "dec_2"]
            assert [found.state async for found in client.list_circuits()] == ["closed", "closed", "open"]
            found = await client.get_decision("dec_9")
            assert found.answer is not None
            assert not found.answer.allowed
            assert (await client.check("Deploy")).allowed

    asyncio.run(story(async_client(server, sleeper)))


def _events(params: dict[str, Any]) -> dict[str, Any]:
    number = 2 if params.get("cursor") else 1
    event = {
        "id": f"evt_{number}",
        "at": "2026-02-11T13:08:00Z",
        "type": "circuit.opened",
        "subject": "global",
        "actor": "ci",
        "data": {"n": number},
    }
    return {"events": [event], "count": 1, "nextCursor": None if number == 2 else "more"}


def test_events_are_listed_page_by_page_by_either_client(server: ScriptedServer, client: Client, sleeper: Sleeper) -> None:
    """Each sends what it was given, and reads what comes back."""
    server.usual["cstp.listEvents"] = _events
    found = list(client.list_events(types=("circuit.*",), subject="global", since="2026-02-11T00:00:00Z", page_size=1))
    assert [(event.id, event.type, event.at.minute, event.data) for event in found] == [
        ("evt_1", "circuit.opened", 8, {"n": 1}),
        ("evt_2", "circuit.opened", 8, {"n": 2}),
    ]
    asked = {"types": ["circuit.*"], "subject": "global", "since": "2026-02-11T00:00:00Z", "limit": 1}
    assert server.params("cstp.listEvents") == [asked, asked | {"cursor": "more"}]

    async def story(client: AsyncClient) -> None:
        async with client:
            assert [event.id async for event in client.list_events()] == ["evt_1", "evt_2"]

    asyncio.run(story(async_client(server, sleeper)))


def test_circuits_are_moved_and_looked_at(server: ScriptedServer, client: Client) -> None:
    """State, history, reset and trip send what they were given and read what comes back."""
    change = {
        "scope": "global",
        "previousState": "open",
        "newState": "half_open",
        "resetBy": "ops",
        "resetAt": "2026-02-11T13:00:00Z",
        "message": "m",
    }
    server.usual |= {
        "cstp.getCircuitState": lambda params: circuit(params["scope"], "open", forced=True),
        "cstp.getCircuitHistory": lambda params: {
            "scope": params["scope"],
            "transitions": [{"at": "2026-02-11T13:00:00Z", "cause": "reset"}],
        },
        "cstp.resetCircuit": lambda params: change,
        "cstp.tripCircuit": lambda params: change | {"newState": "open", "trippedBy": "ops"},
    }
    assert client.circuit_state("global").forced
    assert client.circuit_history("global", limit=3).transitions[0].cause == "reset"
    assert client.reset_circuit("global", probe_first=True, reason="fixed").new_state == "half_open"
    assert client.trip_circuit("global", reason="incident").tripped_by == "ops"
    assert [call["params"] for call in server.calls] == [
        {"scope": "global"},
        {"scope": "global", "limit": 3},
        {"scope": "global", "probeFirst": True, "reason": "fixed"},
        {"scope": "global", "reason": "incident"},
    ]


def test_the_policy_is_listed_reloaded_and_described(server: ScriptedServer, client: Client) -> None:
    """Guards, a reload with problems, and the OpenRPC document."""
    server.usual |= {
        "cstp.listGuardrails": lambda params: {
            "guardrails": [{"id": "g", "type": "guardrail", "scope": ["global"]}],
            "count": 1,
            "agent": "x",
        },
        "cstp.reloadPolicy": lambda params: {"success": False, "policyVersion": "sha256:1", "changed": False, "problems": ["p.yaml:3: no"]},
        "rpc.discover": lambda params: {"openrpc": "1.3.2"},
    }
    assert client.list_guardrails().guardrails[0].scope == ("global",)
    assert client.reload_policy().problems == ("p.yaml:3: no",)
    assert client.discover()["openrpc"] == "1.3.2"


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_what_is_no_json_is_not_sent(server: ScriptedServer, client: Client, value: object) -> None:
    """Params that JSON cannot say are refused before anything is sent."""
    with pytest.raises(Unsendable, match=r"cstp\.checkGuardrails"):
        client.check("Deploy", parameters={"x": value})
    assert server.calls == []


def test_a_closed_client_says_so(server: ScriptedServer, client: Client) -> None:
    """A call after `close` is an error of the client's own kind."""
    client.close()
    with pytest.raises(Unsendable, match="closed"):
        client.check("Deploy")


@pytest.mark.parametrize("url", ["localhost:8787", "ftp://host", "", "http://"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    """The mistake is found when the client is made, and the message shows a good one."""
    with pytest.raises(ValueError, match="url"):
        Client(url)


@pytest.mark.parametrize("token", ["", "two words", "line\nend", "tökén"])
def test_a_token_that_is_none_is_refused_without_showing_it(token: str) -> None:
    """A token with characters that no header takes is refused when the client is made; the message does not repeat it."""
    with pytest.raises(ValueError, match="token") as refused:
        Client(token=token)
    assert not token or token not in str(refused.value)


def test_a_url_with_a_path_and_with_the_endpoint_itself_work(server: ScriptedServer) -> None:
    """The url may end in `/` or in `/cstp`."""
    for url in (server.url + "/", server.url + "/cstp"):
        with Client(url) as client:
            assert client.check("Deploy").allowed
