"""`POST /mcp` before any tool is asked: hosts, tokens, sizes and rates (SPEC 2, 11)."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.shared.exceptions import MCPError

from tests.conftest import StartServer
from tests.mcp.conftest import POLICY, Fleet, Tools, using
from tests.server import RunningServer

_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
_ACCEPT = {"Accept": "application/json, text/event-stream"}


def post(server: RunningServer, token: str | None, body: Any = _PING, **headers: str) -> httpx.Response:
    """One message to the tools' address."""
    return server.raw(body, token=token, headers=_ACCEPT | headers, path="/mcp")


def test_a_message_is_answered_in_json_without_a_session(fleet: Fleet) -> None:
    """Any process can answer any message: none needs what another has said before."""
    answer = post(fleet.server, fleet.agent)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert "mcp-session-id" not in answer.headers
    assert answer.json()["result"] == {}


@pytest.mark.parametrize("token", [None, "cstp_wrong", "nobody:cstp_wrong"])
def test_without_a_good_token_nothing_is_answered(fleet: Fleet, token: str | None) -> None:
    """A missing or an unknown token is HTTP 401 with the scheme that is wanted, as it is at `/cstp`."""
    answer = post(fleet.server, token)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["code"] == -32001


def test_the_sdk_is_told_of_a_bad_token(fleet: Fleet) -> None:
    """A client with a token that was revoked does not get as far as a list of tools."""
    revoked = fleet.server.token("gone", "agent")
    fleet.server.cli("tokens", "revoke", "gone")

    with pytest.raises(BaseExceptionGroup) as raised:
        using(fleet.server, "http", revoked, Tools.names)
    assert [error.message for error in leaves(raised.value) if isinstance(error, MCPError)] == ["the token is unknown, revoked or expired"]


def leaves(error: BaseException) -> list[BaseException]:
    """The errors of a group, or the one error that is no group."""
    return [leaf for inner in error.exceptions for leaf in leaves(inner)] if isinstance(error, BaseExceptionGroup) else [error]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "[::1", ""])
def test_a_host_that_is_not_ours_is_refused(fleet: Fleet, host: str) -> None:
    """A name that somebody pointed at this machine gets nowhere, whatever token comes with it, and says what to set."""
    answer = post(fleet.server, fleet.ops, Host=host)
    assert answer.status_code in (400, 421)
    if answer.status_code == 421:
        assert "`CSTP_ALLOWED_HOSTS`" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:8787", "10.0.0.7:8787"])
def test_this_machine_and_plain_addresses_are_ours(fleet: Fleet, host: str) -> None:
    """An address cannot be pointed elsewhere, so it needs no list."""
    assert post(fleet.server, fleet.agent, Host=host).status_code == 200


def test_a_page_of_another_site_may_not_call(fleet: Fleet) -> None:
    """A browser says which page calls; only those of this machine and of the service itself may."""
    assert post(fleet.server, fleet.agent, Origin="https://evil.example").status_code == 403
    assert post(fleet.server, fleet.agent, Origin="null").status_code == 403
    assert post(fleet.server, fleet.agent, Origin="http://localhost:3000").status_code == 200


def test_the_operator_names_the_hosts(start_server: StartServer) -> None:
    """`CSTP_ALLOWED_HOSTS` adds names, however they are written; the pages of these may call too."""
    server = start_server(env={"CSTP_ALLOWED_HOSTS": "cstp.example.org, CSTP.internal"})
    token = server.token("bot", "agent")
    assert post(server, token, Host="cstp.example.org").status_code == 200
    assert post(server, token, Host="cstp.internal:8787", Origin="https://cstp.example.org").status_code == 200
    assert post(server, token, Host="other.example.org").status_code == 421


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_only_messages_are_taken(fleet: Fleet, method: str) -> None:
    """There is no session to listen to or to end."""
    answer = fleet.server.http.request(method, "/mcp", headers={"Authorization": f"Bearer {fleet.agent}"} | _ACCEPT)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_an_address_with_a_slash_is_the_same(fleet: Fleet) -> None:
    """A trailing slash leads to no redirect."""
    assert fleet.server.raw(_PING, token=fleet.agent, headers=_ACCEPT, path="/mcp/").status_code == 200


def test_a_long_body_is_refused(start_server: StartServer) -> None:
    """The limit of `/cstp` holds, for a length that is announced and for one that is not."""
    server = start_server(env={"CSTP_MAX_BODY_BYTES": "2048"})
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": {"x": "' + b"x" * 4096 + b'"}}}'
    assert server.raw(body, headers=_ACCEPT, path="/mcp").status_code == 413
    pieces = (body[start : start + 512] for start in range(0, len(body), 512))
    unannounced = server.http.post("/mcp", content=pieces, headers=_ACCEPT | {"Content-Type": "application/json"})
    assert unannounced.status_code == 413


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 5_000, -32700),
        (b'{"jsonrpc": "2.0", "method": "ping", "id": NaN}', -32700),
        (b"[]", -32600),
        (b'"ping"', -32600),
        (b'{"jsonrpc": "2.0", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', -32600),
        (b'{"jsonrpc": "2.0", "method": "ping", "id": true}', -32600),
        (b'{"jsonrpc": "2.0", "method": "ping", "id": 1.5}', -32600),
        (b'{"jsonrpc": "2.0", "method": "ping", "id": 1, "params": []}', -32600),
    ],
)
def test_what_is_no_message_is_refused_in_our_own_words(fleet: Fleet, body: bytes, code: int) -> None:
    """Anything that is no JSON-RPC message is a client's error, and nothing of the machinery shows."""
    answer = post(fleet.server, fleet.agent, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert "validation" not in answer.text.lower()


def test_a_token_that_calls_too_often_is_told_when_to_come_back(start_server: StartServer) -> None:
    """Messages count for the rate of their token, each once, whatever they ask for; the refusal is the answer to its own message."""
    server = start_server(env={"CSTP_RATE_LIMIT_PER_SECOND": "0.01", "CSTP_RATE_LIMIT_BURST": "2"})
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_circuits", "arguments": {}}}
    assert [post(server, None, body).status_code for body in (call, b"{", _PING)] == [200, 400, 429]

    refused = post(server, None, _PING | {"id": "seven"})
    assert refused.json()["id"] == "seven"
    error = refused.json()["error"]
    assert (error["code"], error["data"].keys()) == (-32002, {"retryAfterMs"})
    assert 1_000 < error["data"]["retryAfterMs"] <= int(refused.headers["retry-after"]) * 1_000
    assert post(server, None, b"{").json()["id"] is None


def test_a_refusal_carries_the_id_of_its_message(fleet: Fleet) -> None:
    """Clients match answers by id, those that say no as well; one that is no id is not sent back."""
    assert post(fleet.server, "cstp_wrong", _PING | {"id": 7}).json()["id"] == 7
    assert post(fleet.server, fleet.agent, {"jsonrpc": "2.0", "id": "a"}).json()["id"] == "a"
    assert post(fleet.server, fleet.agent, _PING | {"id": True}).json()["id"] is None


def test_an_infinity_is_refused(fleet: Fleet) -> None:
    """JSON has no infinities, though parsers take them; an amount that is one limits nothing."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"check_guardrails","arguments":%s}}'
    for arguments in (b'{"action":{"description":"pay","parameters":{"amount":Infinity}}}', b'{"action":{"description":"\\ud800"}}'):
        answer = post(fleet.server, fleet.agent, body % arguments)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)


def test_who_waits_is_answered_before_the_service_ends(start_server: StartServer, tmp_path: Path) -> None:
    """A wait does not hold up the end of the service, nor is it cut off by it."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    server = start_server(config=policy)

    async def work(tools: Tools) -> Any:
        asked = await tools.ask("check_guardrails", action={"description": "deploy build 9", "type": "deploy"})
        waiting = asyncio.create_task(tools.ask("await_decision", id=asked["decisionId"], timeoutMs=60_000))
        await tools.ask("list_circuits")
        await asyncio.to_thread(server.terminate)
        return await waiting

    assert using(server, "http", None, work)["status"] == "pending"


def test_another_tenants_decisions_are_not_there(fleet: Fleet) -> None:
    """A token's tenant is the tenant of its tools."""
    stranger = fleet.server.token("stranger", "agent", tenant="other")
    action = {"action": {"description": "look"}}
    decision = fleet.server.call("cstp.checkGuardrails", action, token=fleet.agent)["decisionId"]

    async def work(tools: Tools) -> None:
        assert f"no decision `{decision}`" in await tools.error("await_decision", id=decision, timeoutMs=0)

    using(fleet.server, "http", stranger, work)


def test_calls_by_tools_are_counted_like_others(fleet: Fleet) -> None:
    """The metrics know a call by its method, whichever edge it came to."""

    async def work(tools: Tools) -> None:
        await tools.ask("get_posture", agentId="bot")

    using(fleet.server, "http", fleet.agent, work)
    metrics = fleet.server.http.get("/metrics").text
    assert 'method="cstp.getPosture"' in metrics


def test_the_sdk_is_loaded_only_where_a_tool_is_asked_for(tmp_path: Path) -> None:
    """Neither the command line nor a server process pays for the protocol before somebody speaks it."""
    program = "import sys, cstp_server.__main__, cstp_server.cli.app, cstp_server.backend, cstp_server.app; print('mcp' in sys.modules)"
    server = RunningServer(tmp_path)
    done = server.python("-c", program)
    assert done.strip() == "False"
