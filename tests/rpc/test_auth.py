"""Who may call what (SPEC 2, Auth)."""

import json
from typing import Any

import pytest

from cstp_server.domain.callers import Role
from cstp_server.domain.refusals import StoreUnavailable
from tests.rpc.edge import Edge, check_params

ROLES = (Role.AGENT, Role.CI, Role.VIEWER, Role.OPS, Role.ADMIN)
CALLS: dict[str, tuple[Any, str]] = {
    "cstp.checkGuardrails": (check_params(), "agent ops admin"),
    "cstp.recordDecision": ({"decision": "x"}, "agent ops admin"),
    "cstp.reviewDecision": ({"id": "dec_1", "outcome": "success"}, "ci ops admin"),
    "cstp.awaitDecision": ({"id": "dec_1"}, "agent viewer ops admin"),
    "cstp.resolveDecision": ({"id": "dec_1", "resolution": "cancel"}, "agent ops admin"),
    "cstp.getPosture": ({"agentId": "agent"}, "agent viewer ops admin"),
    "cstp.transitionPosture": ({"agentId": "agent", "toPosture": "blocked", "reason": "x"}, "ops admin"),
    "cstp.emergencyDowngrade": ({"agentId": "agent", "reason": "x"}, "ops admin"),
    "cstp.getPostureHistory": ({"agentId": "agent"}, "agent viewer ops admin"),
    "cstp.evaluateConstraints": ({"constraints": {"cost_limit": 1}}, "agent viewer ops admin"),
    "cstp.validateTightening": ({"parent": {}, "child": {}}, "agent viewer ops admin"),
    "cstp.listDimensions": ({}, "agent viewer ops admin"),
    "cstp.approveDimension": ({"name": "cost_limit"}, "admin"),
    "cstp.rejectDimension": ({"name": "cost_limit"}, "admin"),
    "cstp.recordDamage": ({"userId": "u", "damageType": "wrong_answer"}, "agent ci ops admin"),
    "cstp.recordSuccess": ({"userId": "u"}, "agent ci ops admin"),
    "cstp.getAutonomyLevel": ({"userId": "u"}, "agent ci viewer ops admin"),
    "cstp.shouldRequireConfirmation": ({"userId": "u", "action": "file_write"}, "agent ci viewer ops admin"),
    "cstp.resetTrust": ({"userId": "u"}, "ops admin"),
    "cstp.getTrustMetrics": ({}, "viewer ops admin"),
    "cstp.getTripwireStats": ({}, "viewer ops admin"),
    "cstp.listEvents": ({}, "viewer ops admin"),
    "cstp.getMetrics": ({}, "viewer ops admin"),
    "cstp.getDecision": ({"id": "dec_1"}, "agent ci viewer ops admin"),
    "cstp.listDecisions": ({}, "agent ci viewer ops admin"),
    "cstp.getCircuitState": ({"scope": "category:tooling"}, "agent viewer ops admin"),
    "cstp.listCircuits": ({}, "agent viewer ops admin"),
    "cstp.listBreakers": ({}, "agent viewer ops admin"),
    "cstp.getCircuitHistory": ({"scope": "category:tooling"}, "agent viewer ops admin"),
    "cstp.resetCircuit": ({"scope": "category:tooling"}, "ops admin"),
    "cstp.tripCircuit": ({"scope": "category:tooling", "reason": "x"}, "ops admin"),
    "cstp.listGuardrails": ({}, "agent ci viewer ops admin"),
    "cstp.reloadPolicy": ({}, "admin"),
    "rpc.discover": ({}, "agent ci viewer ops admin"),
}


@pytest.fixture
def guarded() -> Edge:
    """An edge with one token per role, named after it."""
    edge = Edge()
    for role in ROLES:
        edge.tokens.add(f"secret-{role}", role.value, role)
    return edge


RECORDED = {"cstp.transitionPosture", "cstp.emergencyDowngrade"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", CALLS)
def test_each_role_may_what_the_table_says(guarded: Edge, method: str, role: Role) -> None:
    """A role too low is -32001 with HTTP 403 and the roles that would do; the use cases hear of it only where it is to be on record."""
    params, allowed = CALLS[method]
    response = guarded.respond(method, params, token=f"secret-{role}")
    if role.value in allowed.split():
        assert response.status_code == 200
        assert response.json().get("error", {}).get("code") in (None, -32007, -32010, -32602)
        return
    error = response.json()["error"]
    assert (response.status_code, error["code"], response.json()["id"]) == (403, -32001, 1)
    assert set(error["data"]["required"]) <= set(allowed.split())
    assert guarded.store.ran == (method in RECORDED)


def test_the_table_of_roles_is_complete(edge: Edge) -> None:
    """Every method of the service is in the table above."""
    assert {method["name"] for method in edge.call("rpc.discover")["methods"]} == set(CALLS)


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic c2VjcmV0", "secret-agent", "Bearer ci:secret-agent", "Bearer x" + "y" * 2000],
)
def test_no_token_and_a_bad_one_are_unauthorized(guarded: Edge, authorization: str | None) -> None:
    """401 with `WWW-Authenticate`, the call's own id, and nothing carried out; not even from loopback."""
    body = json.dumps({"jsonrpc": "2.0", "id": "c-1", "method": "cstp.checkGuardrails", "params": check_params()})
    response = guarded.post(body, {"authorization": authorization} if authorization is not None else {})
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert (response.json()["error"]["code"], response.json()["id"], guarded.store.ran) == (-32001, "c-1", 0)


def test_a_batch_without_a_token_is_refused_whole(guarded: Edge) -> None:
    """One error with a null id, HTTP 401."""
    body = json.dumps([{"jsonrpc": "2.0", "id": 1, "method": "cstp.listBreakers"}] * 2)
    response = guarded.post(body)
    assert (response.status_code, response.json()["error"]["code"], response.json()["id"]) == (401, -32001, None)


def test_in_a_batch_a_role_too_low_fails_that_call_alone(guarded: Edge) -> None:
    """The others are answered; HTTP 200."""
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "cstp.checkGuardrails", "params": check_params()},
        {"jsonrpc": "2.0", "id": 2, "method": "cstp.reloadPolicy"},
        {"jsonrpc": "2.0", "id": 3, "method": "cstp.listBreakers"},
    ]
    response = guarded.post(json.dumps(calls), {"authorization": "Bearer secret-agent"})
    assert response.status_code == 200
    assert [answer.get("error", {}).get("code") for answer in response.json()] == [None, -32001, None]


@pytest.mark.parametrize("authorization", ["Bearer agent:secret-agent", "bearer secret-agent", "Bearer   secret-agent "])
def test_a_token_may_come_with_its_name(guarded: Edge, authorization: str) -> None:
    """CSTP's form `name:secret` works where the name is the token's; the scheme is taken in any case."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "cstp.checkGuardrails", "params": check_params()})
    assert guarded.post(body, {"authorization": authorization}).status_code == 200


def test_tokens_are_known_by_their_keyed_digest() -> None:
    """The same token under another key is unknown."""
    edge = Edge(key=b"k1")
    edge.tokens.add("secret", "bot", Role.AGENT)
    assert edge.respond("cstp.checkGuardrails", check_params(), token="secret").status_code == 200
    edge.tokens.callers = {digest[::-1]: caller for digest, caller in edge.tokens.callers.items()}
    assert edge.respond("cstp.checkGuardrails", check_params(), token="secret").status_code == 401


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("127.8.8.8", {}, 200),
        ("::1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("127.0.0.1", {"origin": "http://localhost:3000"}, 200),
        ("10.0.0.7", {}, 401),
        ("testclient", {}, 401),
        ("10.0.0.7", {"x-forwarded-for": "127.0.0.1"}, 401),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.7"}, 401),
        ("127.0.0.1", {"forwarded": "for=10.0.0.7"}, 401),
        ("127.0.0.1", {"origin": "https://evil.example"}, 401),
        ("127.0.0.1", {"origin": "null"}, 401),
    ],
)
def test_without_any_token_only_this_machine_may_call(edge: Edge, client: str, headers: dict[str, str], status: int) -> None:
    """Neither a remote caller, nor one behind a proxy here, nor a web page of another site is a loopback caller."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "cstp.reloadPolicy"})
    assert edge.post(body, headers, client=(client, 4711)).status_code == status


@pytest.mark.parametrize(("fault", "status", "code"), [(StoreUnavailable("x"), 503, -32012), (RuntimeError("swordfish"), 200, -32603)])
def test_who_cannot_be_identified_is_not_let_in(guarded: Edge, fault: Exception, status: int, code: int) -> None:
    """Without the store of tokens nobody is anybody, and the reason stays inside."""
    guarded.tokens.fault = fault
    response = guarded.respond("cstp.checkGuardrails", check_params(), token="secret-agent", id="c-1")
    assert (response.status_code, response.json()["error"]["code"], response.json()["id"]) == (status, code, "c-1")
    assert "swordfish" not in response.text
    assert guarded.store.ran == 0


def test_an_agent_is_only_itself(edge: Edge) -> None:
    """A token bound to one agent cannot name another; left out, the agent is the token's."""
    edge.tokens.add("bound", "fleet", Role.AGENT, agent="refund-bot")
    response = edge.respond("cstp.checkGuardrails", {**check_params(), "agent": {"id": "other"}}, token="bound")
    message = "this token speaks for agent `refund-bot` alone, not for `agent.id` `other`"
    assert (response.status_code, response.json()["error"]) == (403, {"code": -32001, "message": message})
    assert edge.store.stored == {}
    edge.call("cstp.checkGuardrails", {"action": {"description": "x"}}, token="bound")
    assert [decision.facts.agent_id for decision in edge.store.stored.values()] == ["refund-bot"]


def test_another_tenants_decision_is_not_there(edge: Edge) -> None:
    """-32007, whoever asks, and the list is empty."""
    edge.tokens.add("a", "a", Role.OPS, tenant="acme")
    edge.tokens.add("b", "b", Role.ADMIN, tenant="other")
    id = edge.call("cstp.checkGuardrails", check_params(), token="a")["decisionId"]
    assert edge.call("cstp.getDecision", {"id": id}, token="a")["found"] is True
    assert edge.error("cstp.getDecision", {"id": id}, token="b") == {"code": -32007, "message": f"no decision `{id}`", "data": {"id": id}}
    assert edge.call("cstp.listDecisions", token="b")["decisions"] == []


def test_amending_takes_an_operator(edge: Edge) -> None:
    """A `ci` token may review and may not amend."""
    edge.tokens.add("ci", "ci", Role.CI)
    error = edge.error("cstp.reviewDecision", {"id": "d", "outcome": "success", "amend": True}, token="ci")
    assert (error["code"], error["data"]["required"]) == (-32001, ["ops"])
