"""Decisions that wait, over HTTP: who may settle which, how they expire, who is told (SPEC 4)."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartServer
from tests.server import RpcError, RunningServer

CHECK, RESOLVE, AWAIT = "cstp.checkGuardrails", "cstp.resolveDecision", "cstp.awaitDecision"
POLICY = """
circuit_breakers:
  - {scope: "category:mail", on_open: {effect: confirm}}
  - {scope: "agent:*", failure_threshold: 3}
tripwires: {max_refund: 500}
"""
REASON = "Tripwire triggered: amount exceeds max_refund of 500"


class Service:
    """A running service, and a token for everybody."""

    def __init__(self, server: RunningServer, tokens: Mapping[str, str]) -> None:
        self.server = server
        self.tokens = tokens

    def call(self, who: str, method: str, **params: Any) -> Any:
        """The result of a call."""
        return self.server.call(method, params, token=self.tokens[who])

    def refusal(self, who: str, method: str, **params: Any) -> RpcError:
        """The error of a call."""
        with pytest.raises(RpcError) as raised:
            self.call(who, method, **params)
        return raised.value

    def asks(self, who: str = "bot", **action: Any) -> str:
        """A check that has to wait for an approval; its decision."""
        action = {"description": "Refund order 1142", "type": "issue_refund", "parameters": {"amount": 1000}, **action}
        answer = self.call(who, CHECK, action=action)
        assert (answer["allowed"], answer["pending"] is None) == (False, False), answer
        return str(answer["decisionId"])

    def asks_to_mail(self) -> str:
        """A check that has to wait for its user's confirmation; its decision."""
        id = self.asks(description="Write a letter", category="mail", type="write", parameters={})
        assert self.status_of(id)["pending"]["kind"] == "confirmation"
        return id

    def status_of(self, id: str) -> Any:
        """The decision on record."""
        return self.call("eve", "cstp.getDecision", id=id)["decision"]


def _open(server: RunningServer) -> Service:
    """Everybody has a token, and mail wants confirmation."""
    tokens = {
        "bot": server.token("bot", "agent", agent="refund-bot"),
        "stranger": server.token("stranger", "agent", agent="other-bot"),
        "olivia": server.token("olivia", "ops"),
        "root": server.token("root", "admin"),
        "ops-bot": server.token("ops-bot", "ops", agent="refund-bot"),
        "refund-bot": server.token("refund-bot", "ops"),
        "both": server.token("both", "agent", "ops"),
        "eve": server.token("eve", "viewer"),
        "ci": server.token("ci", "ci"),
        "elsewhere": server.token("elsewhere", "admin", tenant="other"),
    }
    service = Service(server, tokens)
    service.call("olivia", "cstp.tripCircuit", scope="category:mail", reason="an odd letter")
    return service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with a tripwire, and with a circuit that wants confirmation."""
    folder = tmp_path_factory.mktemp("resolutions")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with RunningServer(folder / "server", config=policy) as server:
        yield _open(server)


def test_a_tripwire_blocks_and_asks_for_an_approval(service: Service) -> None:
    """The seed's own example: the message, `block`, its severity, what would help, and what is waited for."""
    action = {"description": "Refund order 1142", "type": "issue_refund", "parameters": {"amount": 1000}}
    answer = service.call("bot", CHECK, action=action)
    (finding,) = answer["violations"]
    assert (answer["intervention"], finding["message"], finding["severity"]) == ("block", REASON, "block")
    assert (finding["type"], finding["tripwireSeverity"], finding["guardrail"]) == ("tripwire", "standard", "max_refund")
    assert answer["pending"]["kind"] == "approval"
    assert answer["remedies"] == [{"change": "lower", "field": "action.parameters.amount", "to": 500}, {"change": "approval"}]
    on_record = service.status_of(answer["decisionId"])
    assert (on_record["status"], on_record["pending"], on_record["resolution"]) == ("pending", answer["pending"], None)
    assert on_record["answer"] == answer


@pytest.mark.parametrize("kind", ["approval", "confirmation"])
@pytest.mark.parametrize(
    ("resolution", "status", "allowed"),
    [("approve", "approved", True), ("confirm", "approved", True), ("deny", "denied", False), ("cancel", "cancelled", False)],
)
def test_a_decision_is_settled_once_and_everybody_sees_how(
    service: Service, kind: str, resolution: str, status: str, allowed: bool
) -> None:
    """The answer, the record, who waits and the list agree; a confirmation is not enough where an approval is wanted."""
    id = service.asks() if kind == "approval" else service.asks_to_mail()
    if (kind, resolution) == ("approval", "confirm"):
        error = service.refusal("olivia", RESOLVE, id=id, resolution=resolution)
        assert (error.code, error.data) == (-32011, {"id": id})
        assert service.status_of(id)["status"] == "pending"
        return
    answer = service.call("olivia", RESOLVE, decision_id=id, resolution=resolution, note="so be it")
    assert {name: answer[name] for name in ("id", "resolution", "status", "allowed", "resolvedBy", "violations")} == {
        "id": id,
        "resolution": resolution,
        "status": status,
        "allowed": allowed,
        "resolvedBy": "olivia",
        "violations": [],
    }
    awaited = service.call("bot", AWAIT, decisionId=id, timeoutMs=60_000)
    assert (awaited["id"], awaited["status"], awaited["allowed"]) == (id, status, allowed)
    assert "pending" not in awaited
    found = service.status_of(id)
    settled = {name: found["resolution"].get(name) for name in ("status", "by", "at", "note")}
    assert settled == {"status": status, "by": "olivia", "at": answer["resolvedAt"], "note": "so be it"}
    assert (found["status"], found["pending"]) == (status, None)
    assert id not in [decision["id"] for decision in service.call("eve", "cstp.listDecisions", status="pending")["decisions"]]
    for again in ("approve", "deny", "cancel", "confirm"):
        error = service.refusal("olivia", RESOLVE, id=id, resolution=again)
        assert (error.code, error.data) == (-32011, {"id": id})
        assert f"`{status}`" in error.message


def test_an_approval_is_for_one_decision(service: Service) -> None:
    """The next such action asks again."""
    id = service.asks()
    assert service.call("olivia", RESOLVE, id=id, resolution="approve")["allowed"]
    assert service.asks() != id


def test_an_agent_confirms_and_cancels_its_own_decisions_alone(service: Service) -> None:
    """Another agent's is as if it were not there; approving and denying take the role `ops`."""
    for resolution in ("approve", "deny"):
        for id in (service.asks(), service.asks_to_mail()):
            error = service.refusal("bot", RESOLVE, id=id, resolution=resolution)
            assert (error.status, error.code, error.data) == (403, -32001, {"required": ["ops"]})
    mail, refund = service.asks_to_mail(), service.asks()
    for id, resolution in ((mail, "confirm"), (refund, "cancel")):
        error = service.refusal("stranger", RESOLVE, id=id, resolution=resolution)
        assert (error.code, error.data) == (-32007, {"id": id})
    assert service.call("bot", RESOLVE, id=mail, resolution="confirm")["status"] == "approved"
    assert service.call("bot", RESOLVE, id=refund, resolution="cancel")["status"] == "cancelled"


@pytest.mark.parametrize("who", ["eve", "ci"])
def test_who_only_reads_or_reviews_settles_nothing(service: Service, who: str) -> None:
    """HTTP 403, whatever the resolution."""
    id = service.asks()
    for resolution in ("approve", "deny", "cancel", "confirm"):
        assert service.refusal(who, RESOLVE, id=id, resolution=resolution).status == 403
    assert service.status_of(id)["status"] == "pending"


@pytest.mark.parametrize("who", ["ops-bot", "refund-bot"])
def test_nobody_approves_for_the_agent_that_they_are(service: Service, who: str) -> None:
    """Neither a token that is bound to the agent nor one that is named like it; to deny is always allowed."""
    id = service.asks()
    assert service.refusal(who, RESOLVE, id=id, resolution="approve").status == 403
    assert service.status_of(id)["status"] == "pending"
    assert service.call(who, RESOLVE, id=id, resolution="deny")["status"] == "denied"


def test_nobody_approves_what_they_asked_for_under_another_name(service: Service) -> None:
    """A token that is agent and operator in one cannot say yes to itself, and somebody else can."""
    action = {"description": "Refund", "type": "issue_refund", "parameters": {"amount": 1000}}
    id = service.call("both", CHECK, action=action, agent={"id": "puppet"})["decisionId"]
    assert service.refusal("both", RESOLVE, id=id, resolution="approve").status == 403
    assert service.call("root", RESOLVE, id=id, resolution="approve")["allowed"]


def test_another_tenants_decision_is_not_there(service: Service) -> None:
    """-32007, for whoever it is, and nothing has happened to it."""
    id = service.asks()
    for method, params in ((RESOLVE, {"resolution": "approve"}), (AWAIT, {"timeoutMs": 0}), ("cstp.getDecision", {})):
        error = service.refusal("elsewhere", method, id=id, **params)
        assert (error.code, error.data) == (-32007, {"id": id})
    assert service.status_of(id)["status"] == "pending"
    assert service.call("elsewhere", "cstp.getTripwireStats") == {"total": 0, "tripwires": []}


def test_what_has_come_up_since_stands_against_an_approval(service: Service) -> None:
    """Looked at again, the agent's open circuit turns the decision down: `denied`, not allowed, with the reason."""
    id = service.asks("stranger")
    service.call("olivia", "cstp.tripCircuit", scope="agent:other-bot", reason="it lies")
    answer = service.call("olivia", RESOLVE, id=id, resolution="approve")
    assert (answer["status"], answer["allowed"]) == ("denied", False)
    assert [finding["scope"] for finding in answer["violations"]] == ["agent:other-bot"]
    assert "it lies" in answer["reason"]
    awaited = service.call("stranger", AWAIT, id=id)
    assert (awaited["status"], awaited["allowed"], awaited["reason"]) == ("denied", False, answer["reason"])
    service.call("olivia", "cstp.resetCircuit", scope="agent:other-bot")


def test_what_was_reviewed_while_it_waited_is_not_approved_any_more(service: Service) -> None:
    """Somebody went on anyway: the approval comes too late, and the decision was never allowed."""
    id = service.asks()
    service.call("ci", "cstp.reviewDecision", id=id, outcome="success")
    assert service.refusal("olivia", RESOLVE, id=id, resolution="approve").code == -32011
    awaited = service.call("bot", AWAIT, id=id)
    assert (awaited["status"], awaited["allowed"]) == ("reviewed", False)


def test_a_repeated_check_of_a_settled_decision_is_answered_as_recorded(service: Service) -> None:
    """The check's answer never becomes a yes; only `awaitDecision` says how it went on."""
    action = {"description": "Refund order 7", "type": "issue_refund", "parameters": {"amount": 900}}
    first = service.call("bot", CHECK, action=action, decisionId="order-7")
    service.call("olivia", RESOLVE, id="order-7", resolution="approve")
    assert service.call("bot", CHECK, action=action, decisionId="order-7") == first
    assert service.call("bot", AWAIT, id="order-7")["allowed"] is True


def test_waiting_for_what_is_settled_unknown_or_over(service: Service) -> None:
    """An allowed and a blocked decision are answered at once, an unknown one is -32007, and time that is up leaves it pending."""
    allowed = service.call("bot", CHECK, action={"description": "Look around"})["decisionId"]
    assert service.call("bot", AWAIT, id=allowed) == {"id": allowed, "status": "allowed", "allowed": True}
    action = {"description": "Write", "context": {"production_write": True}}
    blocked = service.call("bot", CHECK, action=action)
    assert blocked["pending"] is None
    answer = service.call("bot", AWAIT, id=blocked["decisionId"])
    assert (answer["status"], answer["allowed"], answer["reason"]) == ("blocked", False, blocked["violations"][0]["message"])
    error = service.refusal("bot", AWAIT, id="dec_none")
    assert (error.code, error.data) == (-32007, {"id": "dec_none"})
    id = service.asks()
    still = service.call("bot", AWAIT, id=id, timeoutMs=0)
    assert still == {"id": id, "status": "pending", "allowed": False, "reason": REASON, "pending": service.status_of(id)["pending"]}


def test_an_agent_waits_for_its_own_decisions_alone(service: Service) -> None:
    """Viewers and operators wait for any, another agent's is not there, and a reviewer may not."""
    id = service.asks()
    for who in ("bot", "eve", "olivia", "root"):
        assert service.call(who, AWAIT, id=id, timeoutMs=1)["status"] == "pending"
    assert service.refusal("stranger", AWAIT, id=id, timeoutMs=1).code == -32007
    assert service.refusal("ci", AWAIT, id=id, timeoutMs=1).status == 403


def test_a_batch_checks_resolves_and_waits_in_order(service: Service) -> None:
    """Each call sees the effects of those before it: the wait after the approval is over at once."""
    action = {"description": "Refund", "type": "issue_refund", "parameters": {"amount": 1000}}
    calls = [
        (CHECK, {"action": action, "agent": {"id": "batch-bot"}, "decisionId": "batch-1"}),
        (AWAIT, {"id": "batch-1", "timeoutMs": 0}),
        (RESOLVE, {"id": "batch-1", "resolution": "approve"}),
        (AWAIT, {"id": "batch-1"}),
        (RESOLVE, {"id": "batch-1", "resolution": "deny"}),
    ]
    body = json.dumps([{"jsonrpc": "2.0", "id": n, "method": method, "params": params} for n, (method, params) in enumerate(calls)])
    answers = service.server.raw(body, token=service.tokens["root"]).json()
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3, 4]
    assert [answer["result"].get("status") for answer in answers[:4]] == [None, "pending", "approved", "approved"]
    assert answers[4]["error"]["code"] == -32011


def test_two_hundred_who_wait_are_each_woken_by_their_own_approval(service: Service) -> None:
    """Every one of them hears of its own decision, although all of them wait at once."""
    ids = [service.asks() for _ in range(200)]
    headers = {who: {"authorization": f"Bearer {service.tokens[who]}"} for who in ("bot", "olivia")}

    async def story() -> list[Any]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=service.server.url, timeout=70, trust_env=False, limits=limits) as http:

            async def call(who: str, method: str, **params: Any) -> Any:
                body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
                return (await http.post("/cstp", json=body, headers=headers[who])).json()["result"]

            waiting = [asyncio.create_task(call("bot", AWAIT, id=id, timeoutMs=60_000)) for id in ids]
            done, _ = await asyncio.wait(waiting, timeout=1)
            assert done == set()
            for id in ids:
                await call("olivia", RESOLVE, id=id, resolution="approve")
            return await asyncio.gather(*waiting)

    answers = asyncio.run(story())
    assert [(answer["id"], answer["status"], answer["allowed"]) for answer in answers] == [(id, "approved", True) for id in ids]


def test_nobody_answers_and_the_decision_expires(start_server: StartServer, tmp_path: Path) -> None:
    """Who waits is told when the time for the approval is over: not allowed, and too late for everybody."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY + "postures: {approval_ttl_ms: 300}\n")
    service = _open(start_server(config=policy))
    for id, wanted in ((service.asks(), "an approval"), (service.asks_to_mail(), "a confirmation")):
        answer = service.call("bot", AWAIT, id=id, timeoutMs=60_000)
        assert answer == {"id": id, "status": "expired", "allowed": False, "reason": f"the time for {wanted} has run out"}
        assert service.refusal("olivia", RESOLVE, id=id, resolution="approve").code == -32011
        assert service.status_of(id)["resolution"]["by"] == "system"


def test_hits_are_counted_by_tripwire_and_agent(start_server: StartServer, tmp_path: Path) -> None:
    """The most often hit first, `total` being the sum of hits; those in shadow had no effect and are told apart."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        """
tripwires:
  limits: {max_refund: 500}
  rules:
    - {name: no_exports, severity: severe, when: 'action.type == "export"', mode: shadow}
"""
    )
    server = start_server(config=policy)
    tokens = {name: server.token(name, "agent", agent=name) for name in ("a", "b")}
    service = Service(server, tokens | {"eve": server.token("eve", "viewer")})
    for who in ("a", "b", "b"):
        service.asks(who)
    last = service.call("a", CHECK, action={"description": "Export all", "type": "export"})
    assert last["allowed"] is True
    service.call("a", CHECK, action={"description": "Refund", "type": "refund", "parameters": {"amount": 501}}, dryRun=True)
    stats = service.call("eve", "cstp.getTripwireStats")
    refund, export = stats["tripwires"]
    assert (stats["total"], refund["name"], refund["severity"], refund["hits"], refund["shadowHits"]) == (3, "max_refund", "standard", 3, 0)
    assert list(refund["agents"].items()) == [("b", 2), ("a", 1)]
    assert export == {
        "name": "no_exports",
        "severity": "severe",
        "hits": 0,
        "shadowHits": 1,
        "lastHit": last["evaluatedAt"],
        "agents": {},
    }
    of_a = service.call("eve", "cstp.getTripwireStats", agent="a")
    assert (of_a["total"], [found["name"] for found in of_a["tripwires"]]) == (1, ["max_refund", "no_exports"])
    since = service.call("eve", "cstp.getTripwireStats", since=last["evaluatedAt"])
    assert [found["name"] for found in since["tripwires"]] == ["no_exports"]
    assert service.refusal("a", "cstp.getTripwireStats").status == 403
