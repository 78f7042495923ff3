"""Decisions that wait, of every kind, in a time that the test lets pass (SPEC 4)."""

from dataclasses import replace

import orjson
import pytest

from cstp_server.domain.findings import Intervention
from cstp_server.domain.guardrails import Guardrail
from cstp_server.policy.cel import compile_predicate
from tests.rpc.edge import Edge
from tests.rpc.memory import POLICY, START

CHECK, RESOLVE, AWAIT = "cstp.checkGuardrails", "cstp.resolveDecision", "cstp.awaitDecision"
KINDS = {"delay": "cancel_window", "confirm": "confirmation", "escalate": "approval"}
LASTS_MS = {"cancel_window": 5_000, "confirmation": 3_600_000, "approval": 3_600_000}


def _rule(intervention: Intervention) -> Guardrail:
    name = intervention.label
    return Guardrail(f"wants-{name}", "", intervention, f"this wants {name}", when=compile_predicate(f'action.type == "{name}"'))


@pytest.fixture
def waiting(edge: Edge) -> Edge:
    """An edge whose rules delay, confirm and escalate the actions of that type."""
    rules = tuple(map(_rule, (Intervention.DELAY, Intervention.CONFIRM, Intervention.ESCALATE)))
    edge.store.policy = replace(POLICY, guardrails=rules, rule_groups=())
    return edge


def _ask(edge: Edge, intervention: str) -> str:
    answer = edge.call(CHECK, {"action": {"description": "x", "type": intervention}, "agent": {"id": "bot"}})
    assert (answer["allowed"], answer["intervention"], answer["pending"]["kind"]) == (False, intervention, KINDS[intervention])
    return str(answer["decisionId"])


@pytest.mark.parametrize("intervention", KINDS)
@pytest.mark.parametrize("resolution", ["approve", "confirm", "deny", "cancel"])
def test_every_kind_is_settled_by_what_lifts_it(waiting: Edge, intervention: str, resolution: str) -> None:
    """An approval lifts all, a confirmation what asks for one; a cancel window can be used, and need not be confirmed."""
    id = _ask(waiting, intervention)
    if resolution == "confirm" and intervention != "confirm":
        assert waiting.error(RESOLVE, {"id": id, "resolution": resolution})["code"] == -32011
        return
    answer = waiting.call(RESOLVE, {"id": id, "resolution": resolution})
    status = {"approve": "approved", "confirm": "approved", "deny": "denied", "cancel": "cancelled"}[resolution]
    assert (answer["status"], answer["allowed"], answer["resolvedBy"]) == (status, status == "approved", "anonymous")
    assert answer["resolvedAt"] == "2026-02-11T13:08:00.125Z"
    awaited = waiting.call(AWAIT, {"id": id, "timeoutMs": 60_000})
    assert (awaited["status"], awaited["allowed"]) == (status, status == "approved")
    assert waiting.clock.at == START


@pytest.mark.parametrize(("intervention", "status"), [("delay", "allowed"), ("confirm", "expired"), ("escalate", "expired")])
def test_time_settles_what_nobody_does(waiting: Edge, intervention: str, status: str) -> None:
    """A cancel window that nobody used lets the decision through, at its end and not before; the others expire."""
    id = _ask(waiting, intervention)
    lasts = LASTS_MS[KINDS[intervention]]
    waiting.clock.pass_seconds(lasts / 1000 - 2)
    assert waiting.call(AWAIT, {"id": id, "timeoutMs": 1_000})["status"] == "pending"
    answer = waiting.call(AWAIT, {"id": id, "timeoutMs": 60_000})
    assert (answer["status"], answer["allowed"]) == (status, status == "allowed")
    assert waiting.clock.at == START + lasts
    (decision,) = waiting.call("cstp.listDecisions")["decisions"]
    assert (decision["status"], decision["pending"], decision["resolution"]["by"]) == (status, None, "system")


def test_a_resolution_that_comes_too_late_is_told_what_became_of_it(waiting: Edge) -> None:
    """-32011, and the decision is settled by time all the same."""
    for intervention, status in (("delay", "allowed"), ("escalate", "expired")):
        id = _ask(waiting, intervention)
        waiting.clock.pass_seconds(3600)
        error = waiting.error(RESOLVE, {"id": id, "resolution": "cancel"})
        assert (error["code"], error["data"]) == (-32011, {"id": id})
        assert f"`{status}`" in error["message"]


def test_what_one_batch_waits_for_takes_no_longer_than_one_wait(waiting: Edge) -> None:
    """Its first wait takes the time that was asked for, and the others what is left of a minute."""
    ids = [_ask(waiting, "escalate") for _ in range(4)]
    calls = [{"jsonrpc": "2.0", "id": id, "method": AWAIT, "params": {"id": id, "timeoutMs": 50_000}} for id in ids]
    answers = waiting.post(orjson.dumps(calls)).json()
    assert [answer["result"]["status"] for answer in answers] == ["pending"] * 4
    assert waiting.clock.at == START + 60_000


def test_half_a_minute_is_waited_where_no_time_is_named(waiting: Edge) -> None:
    """`timeoutMs` may be left out; the answer says what is still waited for."""
    id = _ask(waiting, "escalate")
    answer = waiting.call(AWAIT, {"id": id})
    assert (answer["status"], answer["reason"], waiting.clock.at) == ("pending", "this wants escalate", START + 30_000)


def test_a_notification_settles_too(waiting: Edge) -> None:
    """It is carried out, and nothing is answered."""
    id = _ask(waiting, "escalate")
    body = {"jsonrpc": "2.0", "method": RESOLVE, "params": {"id": id, "resolution": "deny", "note": "no"}}
    assert waiting.post(orjson.dumps(body)).status_code == 204
    resolution = waiting.call("cstp.getDecision", {"id": id})["decision"]["resolution"]
    assert (resolution["status"], resolution["note"]) == ("denied", "no")
