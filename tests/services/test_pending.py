"""Decisions that wait: who and what settles them, as what, and what looking at them again turns down (SPEC 1, 4 and 7)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Text, select
from sqlalchemy.types import String

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Status
from cstp_server.domain.facts import Stakes
from cstp_server.domain.findings import Intervention, Lift
from cstp_server.domain.postures import Posture
from cstp_server.domain.refusals import Conflict, DecisionNotFound, Forbidden
from cstp_server.domain.resolutions import Resolution
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import DecisionQuery
from cstp_server.services.requests import ResolveAnswer
from cstp_server.services.tripwires import stats
from cstp_server.storage import tables
from tests.services.conftest import MakeWorld
from tests.services.waiting_policy import APPROVAL_MS, AT_ONCE, CANCEL_MS, WANTED, waiting_policy, wanting
from tests.services.world import OPS, START, World, checking, resolving, reviewing

TOOLING = "category:tooling"
CIRCUIT = {"scope": TOOLING, "failure_threshold": 2, "cooldown_ms": 10_000}
AMOUNT = "action.parameters.amount"
BIG = {"name": "big", "limit": {"field": AMOUNT, "max": 50}, "applies_to": {"tags": ["pays"]}}


def budget(max: float = 100) -> dict[str, Any]:
    return {"name": "money", "quota": {"sum": AMOUNT, "window": "total", "max": max}, "applies_to": {"tags": ["pays"]}}


def few(max: int = 3) -> dict[str, Any]:
    return {"name": "few", "quota": {"count": True, "window": "hour", "max": max}}


BUDGET, FEW = budget(), few()
OPERATOR = Caller("olga", frozenset({Role.OPS, Role.VIEWER}))
BOT = Caller("bot-token", frozenset({Role.AGENT}), agent_id="bot")
OTHER_BOT = Caller("other-token", frozenset({Role.AGENT}), agent_id="other")
MIGHTY_BOT = Caller("mighty", frozenset({Role.AGENT, Role.OPS, Role.VIEWER, Role.CI}), agent_id="bot")
STRANGER = Caller("stranger", frozenset(Role), "elsewhere")

OUTCOMES = {
    ("cancel_window", "approve"): "approved",
    ("cancel_window", "deny"): "denied",
    ("cancel_window", "cancel"): "cancelled",
    ("cancel_window", "confirm"): None,
    ("confirmation", "approve"): "approved",
    ("confirmation", "deny"): "denied",
    ("confirmation", "cancel"): "cancelled",
    ("confirmation", "confirm"): "approved",
    ("approval", "approve"): "approved",
    ("approval", "deny"): "denied",
    ("approval", "cancel"): "cancelled",
    ("approval", "confirm"): None,
}
IN_THE_END = {"cancel_window": "allowed", "confirmation": "expired", "approval": "expired"}


def tripwires(*rules: dict[str, Any], **sections: Any) -> Policy:
    return waiting_policy(tripwires={"rules": list(rules)}, **sections)


def wait_for(world: World, kind: str, id: str = "waiting", **details: Any) -> None:
    """Have a decision wait for that."""
    answer = world.check(id, context={**wanting(kind), **details.pop("context", {})}, **details)
    assert answer.pending is not None
    assert answer.pending.kind == kind


def paying(amount: float) -> dict[str, Any]:
    return {"tags": ("pays",), "parameters": {"amount": amount}}


def spent(world: World, subject: str = "agent:bot") -> tuple[float, float]:
    """What is used of the money and of the few."""
    return world.used("money", subject), world.used("few", subject)


def events_of(world: World, id: str) -> list[str]:
    return [event.type.value for event in world.events() if event.subject == id]


def let_go(world: World, kind: str, id: str = "waiting") -> str:
    """Have it settled in favour, by whoever does that for this kind; its status then."""
    if kind == "cancel_window":
        world.hand.advance(CANCEL_MS)
        world.sweep()
    else:
        world.run(resolving(id, "confirm" if kind == "confirmation" else "approve"))
    return world.status(id)


@pytest.mark.parametrize(("kind", "resolution"), OUTCOMES)
def test_each_resolution_of_each_kind(each_world: MakeWorld, kind: str, resolution: str) -> None:
    """What lets it through claims, what turns it down gives back, what does not fit is a conflict and leaves it waiting."""
    world = each_world(tripwires(BUDGET, FEW))
    wait_for(world, kind, **paying(10))
    assert spent(world) == (10, 1)
    expected = OUTCOMES[kind, resolution]
    answer = world.run(resolving("waiting", resolution, note="a note", caller=OPERATOR))
    decision = world.decision("waiting")
    assert decision is not None
    if expected is None:
        assert isinstance(answer, Conflict)
        assert decision.status is Status.PENDING
        assert spent(world) == (10, 1)
        return
    assert isinstance(answer, ResolveAnswer)
    assert (answer.status.value, answer.by, answer.objections) == (expected, "olga", ())
    assert decision.status is answer.status
    assert decision.resolved is not None
    assert (decision.resolved.status, decision.resolved.by, decision.resolved.note) == (answer.status, "olga", "a note")
    let_through = expected == "approved"
    assert decision.was_allowed is let_through
    assert spent(world) == ((10, 1) if let_through else (0, 0))
    assert bool(decision.claims) is let_through
    assert decision.resolved.reason == (None if let_through else "a note")
    assert events_of(world, "waiting") == ["decision.checked", "decision.pending", f"decision.{expected}"]


@pytest.mark.parametrize("kind", WANTED)
def test_time_settles_each_kind_when_it_is_up_and_not_before(make_world: MakeWorld, kind: str) -> None:
    """A cancel window that nobody used lets it through, an approval or a confirmation that nobody gave does not."""
    world = make_world(tripwires(BUDGET, FEW))
    wait_for(world, kind, **paying(10))
    answer = world.check("waiting", context=wanting(kind), **paying(10))
    length = CANCEL_MS if kind == "cancel_window" else APPROVAL_MS
    assert answer.pending is not None
    assert answer.pending.until == START + length
    world.hand.advance(length - 1)
    world.sweep()
    assert world.status("waiting") == "pending"
    world.hand.advance(1)
    world.sweep()
    assert world.status("waiting") == IN_THE_END[kind]
    assert spent(world) == ((10, 1) if kind == "cancel_window" else (0, 0))
    assert events_of(world, "waiting")[-1] == f"decision.{IN_THE_END[kind]}"
    assert world.do(world.store.due_decisions()) == []
    world.sweep()
    assert len(events_of(world, "waiting")) == 3


@pytest.mark.parametrize("resolution", Resolution)
@pytest.mark.parametrize("kind", WANTED)
def test_nobody_settles_what_time_has_settled(each_world: MakeWorld, kind: str, resolution: Resolution) -> None:
    """Time up and no sweep yet: whoever comes is told that it is too late, and it is settled as time does."""
    world = each_world(tripwires(BUDGET, FEW, waits=AT_ONCE))
    wait_for(world, kind, **paying(10))
    answer = world.run(resolving("waiting", resolution.value))
    assert isinstance(answer, Conflict)
    assert "run out" in answer.message
    assert world.status("waiting") == IN_THE_END[kind]
    assert spent(world) == ((10, 1) if kind == "cancel_window" else (0, 0))


def test_what_waits_is_listed_and_not_allowed(each_world: MakeWorld) -> None:
    """Under `status: pending` until it is settled; the check itself was not allowed."""
    world = each_world(waiting_policy())
    for kind in WANTED:
        wait_for(world, kind, kind)
    world.check("free")
    waiting = world.do(world.store.reader.decisions("default", DecisionQuery(status=Status.PENDING)))
    assert {decision.id for decision in waiting} == set(WANTED)
    assert not any(decision.was_allowed or decision.intervention.allows for decision in waiting)
    for kind in WANTED:
        world.resolve(kind, "deny")
    assert world.do(world.store.reader.decisions("default", DecisionQuery(status=Status.PENDING))) == []


def test_asking_again_gives_the_recorded_answer_whatever_became_of_it(each_world: MakeWorld) -> None:
    """The answer is that of the check; the decision's status tells the rest."""
    world = each_world(tripwires(FEW))
    first = world.check("waiting", context=wanting("approval"))
    assert world.check("waiting", context=wanting("approval")) == first
    world.resolve("waiting")
    assert world.check("waiting", context=wanting("approval")) == first
    assert world.used("few") == 1


def test_a_dry_run_says_what_would_wait_and_nothing_does(each_world: MakeWorld) -> None:
    """`pending` in the answer, nothing in the store."""
    world = each_world(tripwires(FEW))
    answer = world.run(checking("tried", dry_run=True, context=wanting("confirmation")))
    assert answer.pending.kind == "confirmation"
    assert world.decision("tried") is None
    assert world.used("few") == 0
    assert world.events() == []


def test_what_waits_survives_a_restart_and_a_reload(each_world: MakeWorld) -> None:
    """It waits for what it waited for, until the same time, and is settled under the policy of that day."""
    world = each_world(tripwires(BIG))
    pending = world.check("waiting", **paying(60)).pending
    world.restart()
    world.policy = tripwires({**BIG, "mode": "off"})
    decision = world.decision("waiting")
    assert decision is not None
    assert decision.waits_for == pending
    assert world.resolve("waiting").status is Status.APPROVED


# What happens meanwhile


def _halted(world: World) -> None:
    assert world.check(context={"data_exfiltration": True}).verdict.intervention is Intervention.HALT


def _opened(world: World) -> None:
    for id in ("f1", "f2"):
        world.check(id, agent="other")
        world.review(id, "failure")
    assert world.stored(TOOLING).state is State.OPEN


def _tripped(world: World) -> None:
    world.trip(TOOLING)


def _tripwire_in_force(world: World) -> None:
    world.policy = tripwires(BUDGET, FEW, {"name": "new", "when": 'action.category == "tooling"'}, circuit_breakers=[CIRCUIT])


def _rule_in_force(world: World) -> None:
    rule = {"id": "new", "when": "true", "message": "no more of that"}
    world.policy = tripwires(BUDGET, FEW, circuit_breakers=[CIRCUIT], guardrails=[rule])


def _budget_lowered(world: World) -> None:
    world.policy = tripwires(budget(max=9), FEW, circuit_breakers=[CIRCUIT])


def _quota_lowered(world: World) -> None:
    world.policy = tripwires(BUDGET, few(max=0), circuit_breakers=[CIRCUIT])


MEANWHILE: dict[Callable[[World], None], str] = {
    _halted: "the agent is blocked",
    _opened: "Circuit breaker OPEN",
    _tripped: "Circuit breaker OPEN: forced open",
    _tripwire_in_force: "Tripwire triggered: new",
    _rule_in_force: "no more of that",
    _budget_lowered: "Tripwire triggered: amount exceeds money of 9",
    _quota_lowered: "Tripwire triggered: number of actions exceeds few of 0",
}


@pytest.mark.parametrize("kind", WANTED)
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_what_came_up_meanwhile_turns_it_down_after_all(make_world: MakeWorld, meanwhile: Callable[[World], None], kind: str) -> None:
    """Looked at again, it is denied with the reason, and everything that it had reserved is given back."""
    world = make_world(tripwires(BUDGET, FEW, circuit_breakers=[CIRCUIT]))
    wait_for(world, kind, **paying(10))
    meanwhile(world)
    assert let_go(world, kind) == "denied"
    decision = world.decision("waiting")
    assert decision is not None
    assert decision.resolved is not None
    assert decision.resolved.reason is not None
    assert decision.resolved.reason.startswith(f"looked at again: {MEANWHILE[meanwhile]}")
    assert not decision.was_allowed
    assert decision.claims == ()
    assert spent(world) == (0, 0)
    assert "decision.denied" in events_of(world, "waiting")


def test_a_quota_used_up_meanwhile_turns_down_what_had_reserved_nothing(each_world: MakeWorld) -> None:
    """A tripwire blocks and asks; while nobody answers, others use the quota up; the approval comes too late."""
    world = each_world(tripwires(BIG, FEW))
    world.check("waiting", **paying(60))
    assert world.used("few") == 0
    assert all(world.check().verdict.allowed for _ in range(3))
    answer = world.resolve("waiting")
    assert (answer.status, [finding.guardrail for finding in answer.objections]) == (Status.DENIED, ["few"])
    assert world.used("few") == 3


def test_what_it_reserved_itself_does_not_stand_against_it(each_world: MakeWorld) -> None:
    """The last place of a quota, and the rest of a budget, are its own while it waits; nobody else gets them."""
    world = each_world(tripwires(BUDGET, FEW))
    for _ in range(2):
        assert world.check(**paying(20)).verdict.allowed
    wait_for(world, "approval", **paying(60))
    assert not world.check(**paying(1)).verdict.allowed
    assert world.resolve("waiting").status is Status.APPROVED
    assert spent(world) == (100, 3)


def test_an_approval_lifts_what_was_on_record_though_it_is_still_there(each_world: MakeWorld) -> None:
    """The limit still stands against it, and the approval was for exactly that; the next one asks again."""
    world = each_world(tripwires(BIG, BUDGET))
    refused = world.check("waiting", **paying(60))
    assert refused.verdict.intervention is Intervention.BLOCK
    assert refused.verdict.violations[0].message == "Tripwire triggered: amount exceeds big of 50"
    assert refused.pending is not None
    assert refused.pending.kind == "approval"
    assert world.used("money") == 0
    assert world.resolve("waiting").status is Status.APPROVED
    assert world.used("money") == 60
    again = world.check("again", **paying(60))
    assert {finding.guardrail for finding in again.verdict.violations} == {"big", "money"}


def test_an_approval_lets_one_action_past_a_full_quota(each_world: MakeWorld) -> None:
    """What a human has let past counts too, beyond the limit."""
    world = each_world(tripwires(FEW))
    for _ in range(3):
        world.check()
    refused = world.check("waiting")
    assert refused.pending is not None
    assert world.resolve("waiting").status is Status.APPROVED
    assert world.used("few") == 4
    assert not world.check().verdict.allowed


def test_an_approval_lifts_nothing_that_only_has_the_same_name(each_world: MakeWorld) -> None:
    """A rule called as the tripwire that was approved is another guard, and new."""
    world = each_world(tripwires(BIG))
    world.check("waiting", **paying(60))
    rule = {"id": "big", "when": "true", "action": "escalate", "message": "a rule of that name"}
    world.policy = tripwires(guardrails=[rule])
    answer = world.resolve("waiting")
    assert answer.status is Status.DENIED
    assert [finding.message for finding in answer.objections] == ["a rule of that name"]


def test_an_approval_does_not_lift_what_has_become_graver(each_world: MakeWorld) -> None:
    """A standard tripwire that is critical by now; one that is severe halts the agent even then."""
    world = each_world(tripwires(BIG))
    for id in ("first", "second", "third"):
        assert world.check(id, **paying(60)).pending is not None
    world.policy = tripwires({**BIG, "severity": "critical"})
    assert world.resolve("first").status is Status.DENIED
    assert world.posture() is None
    world.policy = tripwires({**BIG, "severity": "severe"})
    answer = world.resolve("second")
    assert (answer.status, answer.objections[0].intervention) == (Status.DENIED, Intervention.HALT)
    posture = world.posture()
    assert posture is not None
    assert (posture.posture, posture.reason) == (Posture.BLOCKED, "Tripwire triggered: amount exceeds big of 50")
    world.policy = tripwires(BIG)
    third = world.resolve("third")
    assert [finding.guardrail for finding in third.objections] == ["posture"]
    assert world.hits()["big"].hits == 3


def test_a_confirmation_does_not_lift_what_now_wants_an_approval(each_world: MakeWorld) -> None:
    """The rule on record confirms, and escalates by now."""
    world = each_world(waiting_policy())
    wait_for(world, "confirmation")
    policy = world.policy
    rules = tuple(replace(rule, action=Intervention.ESCALATE) if rule.id == "rule-confirm" else rule for rule in policy.guardrails)
    world.policy = replace(policy, guardrails=rules, rule_groups=())
    assert world.resolve("waiting", "confirm").status is Status.DENIED


def test_a_second_look_hits_a_tripwire_that_it_runs_into_only_now(each_world: MakeWorld) -> None:
    """It is recorded and counted as any hit; what was hit at the check is not counted twice; one that halts, halts."""
    world = each_world(tripwires(BIG))
    world.check("waiting", **paying(60))
    wait_for(world, "approval", "halting")
    assert world.hits()["big"].hits == 1
    shadow = {"name": "quiet", "when": "true", "mode": "shadow"}
    world.policy = tripwires(BIG, {"name": "new", "when": 'action.context.wants != "escalate"'}, shadow)
    world.resolve("waiting")
    assert {name: (count.hits, count.shadowed) for name, count in world.hits().items()} == {"big": (1, 0), "new": (1, 0), "quiet": (0, 1)}
    hits = [event.subject for event in world.events("tripwire.hit")]
    assert hits == ["big", "new", "quiet"]
    world.policy = tripwires({"name": "worst", "severity": "severe", "when": "true"})
    answer = world.resolve("halting")
    assert (answer.status, answer.objections[0].intervention) == (Status.DENIED, Intervention.HALT)
    posture = world.posture()
    assert posture is not None
    assert posture.posture is Posture.BLOCKED
    assert [event.subject for event in world.events("posture.downgraded")] == ["bot"]


# Who may say what


def test_nobody_approves_the_decision_of_the_agent_that_they_are(each_world: MakeWorld) -> None:
    """Not with whatever roles; they may turn it down, and anybody else may approve it."""
    world = each_world(waiting_policy())
    for id in ("one", "two", "three"):
        world.run(checking(id, caller=MIGHTY_BOT, context=wanting("approval")))
        assert isinstance(world.run(resolving(id, "approve", caller=MIGHTY_BOT)), Forbidden)
        assert world.status(id) == "pending"
    assert world.resolve("one", "cancel", caller=MIGHTY_BOT).status is Status.CANCELLED
    assert world.resolve("two", "deny", caller=MIGHTY_BOT).status is Status.DENIED
    assert world.resolve("three", "approve", caller=OPERATOR).status is Status.APPROVED


def test_an_agent_that_asked_under_another_name_does_not_approve_either(each_world: MakeWorld) -> None:
    """Its token speaks for no agent in particular: to name another one does not make it another one."""
    sly = Caller("sly", frozenset({Role.AGENT, Role.OPS, Role.VIEWER}))
    world = each_world(waiting_policy())
    world.run(checking("waiting", caller=sly, agent="somebody-else", context=wanting("approval")))
    assert isinstance(world.run(resolving("waiting", "approve", caller=sly)), Forbidden)
    world.run(checking("asked by ops", caller=OPERATOR, agent="somebody-else", context=wanting("approval")))
    assert world.resolve("asked by ops", "approve", caller=OPERATOR).status is Status.APPROVED


@pytest.mark.parametrize("resolution", Resolution)
def test_an_agent_confirms_and_cancels_its_own_and_nothing_more(each_world: MakeWorld, resolution: Resolution) -> None:
    """Approving and denying take `ops`; another agent's decision is as if it were not there, and so is another tenant's."""
    world = each_world(waiting_policy())
    world.run(checking("own", caller=BOT, context=wanting("confirmation")))
    world.run(checking("others", caller=OTHER_BOT, agent="other", context=wanting("confirmation")))

    def said(id: str, caller: Caller) -> Any:
        return world.settle(id, resolution, caller=caller)

    by_agents = resolution in {Resolution.CONFIRM, Resolution.CANCEL}
    assert isinstance(said("others", BOT), DecisionNotFound if by_agents else Forbidden)
    assert isinstance(said("own", STRANGER), DecisionNotFound)
    assert isinstance(said("own", BOT), ResolveAnswer if by_agents else Forbidden)
    assert (world.status("own") == "pending") is not by_agents
    assert world.status("others") == "pending"


def test_only_the_first_resolution_counts(each_world: MakeWorld) -> None:
    """Every later one is a conflict, whatever it says, in the same transaction or later, and nothing is given back twice."""
    world = each_world(tripwires(BUDGET, FEW))
    for number, (first, second) in enumerate((one, other) for one in Resolution for other in Resolution):
        id = f"d{number}"
        wait_for(world, "confirmation", id, agent=id, **paying(10))
        said = world.batch(resolving(id, first.value), resolving(id, second.value))
        assert isinstance(said[0], ResolveAnswer)
        assert isinstance(said[1], Conflict)
        assert isinstance(world.run(resolving(id, second.value)), Conflict)
        let_through = first in {Resolution.APPROVE, Resolution.CONFIRM}
        assert spent(world, f"agent:{id}") == ((10, 1) if let_through else (0, 0))


def test_what_does_not_wait_cannot_be_resolved(each_world: MakeWorld) -> None:
    """An allowed one, a blocked one, an unknown one."""
    world = each_world(waiting_policy())
    world.check("allowed")
    world.check("blocked", context={"wants": "block"})
    assert isinstance(world.run(resolving("allowed", "deny")), Conflict)
    assert isinstance(world.run(resolving("blocked")), Conflict)
    assert isinstance(world.run(resolving("nobody")), DecisionNotFound)
    assert (world.status("allowed"), world.status("blocked")) == ("allowed", "blocked")


@pytest.mark.parametrize("kind", WANTED)
def test_what_was_reviewed_while_it_waited_can_no_longer_be_let_through(make_world: MakeWorld, kind: str) -> None:
    """Somebody went on anyway: that is a bypass, and neither a person nor time settles it any more."""
    world = make_world(tripwires(BUDGET, FEW))
    wait_for(world, kind, **paying(10))
    world.review("waiting", "success", actual_cost=30)
    assert events_of(world, "waiting")[-2:] == ["decision.reviewed", "enforcement.bypassed"]
    for resolution in Resolution:
        assert isinstance(world.run(resolving("waiting", resolution.value)), Conflict)
    world.hand.advance(APPROVAL_MS)
    world.sweep()
    assert world.status("waiting") == "reviewed"
    assert spent(world) == (30, 1)
    decision = world.decision("waiting")
    assert decision is not None
    assert not decision.was_allowed


@pytest.mark.parametrize("life", ["blocked", "pending", "denied", "cancelled", "expired", "refused", "allowed", "approved", "window"])
@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_a_review_of_what_was_never_let_through_is_a_bypass(make_world: MakeWorld, life: str, outcome: str) -> None:
    """Whatever became of it, and only then; the outcome counts in the circuits all the same."""
    world = make_world(tripwires(circuit_breakers=[{**CIRCUIT, "failure_threshold": 100}]))
    kind = "cancel_window" if life == "window" else "approval"
    context = {"wants": "block"} if life == "blocked" else {} if life == "allowed" else wanting(kind)
    world.check("one", context=context)
    if life in {"denied", "cancelled", "approved"}:
        world.resolve("one", {"denied": "deny", "cancelled": "cancel", "approved": "approve"}[life])
    elif life in {"expired", "window"}:
        world.hand.advance(APPROVAL_MS)
        world.sweep()
    elif life == "refused":
        world.trip(TOOLING)
        assert world.resolve("one").status is Status.DENIED
        world.reset(TOOLING)
    world.review("one", outcome)
    was_let_through = life in {"allowed", "approved", "window"}
    assert len(world.events("enforcement.bypassed")) == (not was_let_through)
    assert world.stored(TOOLING).window.reviewed == 1
    decision = world.decision("one")
    assert decision is not None
    assert decision.was_allowed is was_let_through


# Probes


def test_a_probe_is_leased_only_when_it_is_let_through(make_world: MakeWorld) -> None:
    """A decision that waits holds no probe; when it is approved it takes the free one, and when there is none it is turned down."""
    world = make_world(waiting_policy(circuit_breakers=[CIRCUIT]))
    world.fail("f1", "f2")
    world.hand.advance(10_000)
    for id in ("first", "second", "third"):
        wait_for(world, "approval", id)
    assert world.seen(TOOLING).state is State.HALF_OPEN
    assert not world.stored(TOOLING).leases
    assert world.resolve("first").status is Status.APPROVED
    assert [lease.decision_id for lease in world.stored(TOOLING).leases] == ["first"]
    assert [event.data["decision_id"] for event in world.events("circuit.probe_claimed")] == ["first"]
    refused = world.resolve("second")
    assert refused.status is Status.DENIED
    assert refused.objections[0].message.startswith("Circuit breaker HALF_OPEN")
    world.resolve("third", "deny")
    assert len(world.stored(TOOLING).leases) == 1
    world.review("first", "success")
    assert world.stored(TOOLING).state is State.CLOSED


# What waits


@pytest.mark.parametrize(
    ("tier", "severity"), [(tier, severity) for tier in range(1, 5) for severity in ("standard", "critical", "severe")]
)
def test_what_follows_from_a_tripwire_by_severity_and_tier(each_world: MakeWorld, tier: int, severity: str) -> None:
    """Standard asks for an approval up to tier 2, critical halts from tier 3 on, severe always halts; nothing lifts the last two."""
    world = each_world(tripwires({**BIG, "severity": severity}, agents={"bot": {"acl_tier": tier}}))
    answer = world.check("one", **paying(60))
    asks = severity == "standard" and tier <= 2
    halts = severity == "severe" or (severity == "critical" and tier >= 3)
    assert answer.verdict.intervention is (Intervention.HALT if halts else Intervention.BLOCK)
    assert not answer.verdict.allowed
    assert (answer.pending is not None) is asks
    assert answer.verdict.lift is (Lift.APPROVAL if asks else None)
    assert world.status("one") == ("pending" if asks else "blocked")
    assert ("approval" in [remedy.change for remedy in answer.remedies]) is asks
    posture = world.posture()
    assert (posture is not None and posture.posture is Posture.BLOCKED) is halts


def test_the_default_tier_is_two(each_world: MakeWorld) -> None:
    """An agent of which the policy says nothing may ask; what it says of all agents holds for those that it does not name."""
    world = each_world(tripwires(BIG))
    assert world.check(**paying(60)).pending is not None
    world.policy = tripwires(BIG, agents={"*": {"acl_tier": 3}, "trusted": {"acl_tier": 1}})
    assert world.check(**paying(60)).pending is None
    assert world.check(agent="trusted", **paying(60)).pending is not None


def test_a_halt_blocks_the_agent_from_then_on(each_world: MakeWorld) -> None:
    """At once, in the same transaction too, after a restart; nobody else, and nobody of that name elsewhere; what waits does not pass."""
    world = each_world(waiting_policy())
    wait_for(world, "approval")
    wait_for(world, "confirmation", "confirming")
    said = world.batch(
        checking(),
        checking("halted", context={"collusion_detected": True}),
        checking("after"),
        checking(agent="other"),
        checking(caller=STRANGER),
        resolving("waiting"),
    )
    assert [answer.verdict.allowed for answer in said[:5]] == [True, False, False, True, True]
    assert said[1].verdict.intervention is Intervention.HALT
    assert said[2].verdict.violations[0].guardrail == "posture"
    assert (said[2].posture, said[2].pending) == ("blocked", None)
    assert said[5].status is Status.DENIED
    world.restart()
    assert not world.check().verdict.allowed
    assert world.resolve("confirming", "confirm").status is Status.DENIED
    posture = world.posture()
    assert posture is not None
    assert (posture.posture, posture.set_by, posture.reason) == (Posture.BLOCKED, "anonymous", "Tripwire triggered: collusion_detected")
    assert world.check(context={"data_exfiltration": True}).verdict.intervention is Intervention.HALT
    downgraded = world.events("posture.downgraded")
    assert [(event.subject, event.data["from_posture"], event.data["transition_type"]) for event in downgraded] == [
        ("bot", "supervised", "emergency_downgrade")
    ]
    assert downgraded[0].data["decision_id"] == "halted"


def test_a_dry_run_halts_nobody(each_world: MakeWorld) -> None:
    """It says `halt`, and the agent goes on."""
    world = each_world(waiting_policy())
    assert world.run(checking(dry_run=True, context={"data_exfiltration": True})).verdict.intervention is Intervention.HALT
    assert world.posture() is None
    assert world.hits() == {}
    assert world.check().verdict.allowed


def test_a_rule_that_escalates_asks_for_an_approval(each_world: MakeWorld) -> None:
    """As a limit above which an approval is required does; approved, both pass."""
    rule = {"id": "ask-first", "when": 'action.stakes == "high"', "action": "escalate", "message": "ask first"}
    world = each_world(waiting_policy(tripwires={"require_approval_above": 50}, guardrails=[rule]))
    answer = world.check("one", stakes=Stakes.HIGH)
    assert (answer.verdict.intervention, world.status("one")) == (Intervention.ESCALATE, "pending")
    assert world.resolve("one").status is Status.APPROVED
    answer = world.check("two", parameters={"amount": 51})
    assert (answer.verdict.intervention, world.status("two")) == (Intervention.ESCALATE, "pending")
    assert world.check(parameters={"amount": 50}).verdict.allowed
    assert world.resolve("two").status is Status.APPROVED


def test_a_circuit_that_confirms_asks_for_a_confirmation(make_world: MakeWorld) -> None:
    """While it is open every action wants the user's; given, that one passes, though the circuit is still open."""
    world = make_world(waiting_policy(circuit_breakers=[{**CIRCUIT, "on_open": {"effect": "confirm"}}]))
    world.fail("f1", "f2")
    answer = world.check("one")
    assert answer.verdict.intervention is Intervention.CONFIRM
    assert answer.pending is not None
    assert answer.pending.kind == "confirmation"
    assert {remedy.change for remedy in answer.remedies} == {"wait", "confirm"}
    assert world.resolve("one", "confirm", caller=OPS).status is Status.APPROVED
    assert world.stored(TOOLING).state is State.OPEN
    world.check("two")
    world.hand.advance(10_000)
    assert world.resolve("two", "confirm").status is Status.APPROVED
    assert [lease.decision_id for lease in world.stored(TOOLING).leases] == ["two"]


def test_of_several_reasons_the_greatest_decides_what_is_waited_for(each_world: MakeWorld) -> None:
    """An approval does for a confirmation too; one reason that nothing lifts leaves nothing to wait for."""
    ask = {"id": "ask", "when": "action.context.also == true", "action": "escalate", "message": "ask"}
    world = each_world(tripwires(BIG, guardrails=[ask]))
    wait_for(world, "approval", "two reasons", context={"also": True})
    answer = world.check("confirming too", context={"wants": "confirm", "also": True})
    assert answer.pending is not None
    assert answer.pending.kind == "approval"
    assert world.resolve("confirming too").status is Status.APPROVED
    answer = world.check("blocked too", context={"wants": "block", "also": True}, **paying(60))
    assert (answer.verdict.intervention, answer.pending) == (Intervention.BLOCK, None)
    assert {finding.guardrail for finding in answer.verdict.violations} == {"rule-block", "ask", "big"}
    assert world.status("blocked too") == "blocked"
    assert world.check(context={"wants": "warn"}).verdict.allowed


# Hits


def test_hits_are_recorded_and_counted(each_world: MakeWorld) -> None:
    """By tripwire and agent, each once, whatever followed from it; duplicates and dry runs are none; other tenants have their own."""
    world = each_world(tripwires(BIG, FEW, {"name": "quiet", "when": 'action.category == "quiet"', "mode": "shadow"}))
    for _ in range(2):
        world.check("same", **paying(60))
    world.check(agent="other", **paying(60))
    world.run(checking(dry_run=True, **paying(60)))
    world.check(category="quiet")
    world.run(checking(caller=STRANGER, **paying(60)))
    hits = world.do(world.store.reader.hits("default", since=None, agent=None))
    assert {(count.tripwire, count.agent_id): (count.hits, count.shadowed) for count in hits} == {
        ("big", "bot"): (1, 0),
        ("big", "other"): (1, 0),
        ("quiet", "bot"): (0, 1),
    }
    only = world.do(world.store.reader.hits("default", since=None, agent="other"))
    assert [(count.tripwire, count.agent_id) for count in only] == [("big", "other")]
    assert world.do(world.store.reader.hits("default", since=world.events()[-1].at + 60_000, agent=None)) == []
    said = world.do(stats(world.store.reader, OPS, since=None, agent=None))
    assert [(stat.name, stat.hits, stat.shadow_hits, dict(stat.agents)) for stat in said] == [
        ("big", 2, 0, {"bot": 1, "other": 1}),
        ("quiet", 0, 1, {}),
    ]
    recorded = [(event.subject, event.data["agent"], event.data["severity"]) for event in world.events("tripwire.hit")]
    assert sorted(recorded) == sorted(
        [("big", "bot", "standard"), ("big", "other", "standard"), ("quiet", "bot", "standard"), ("big", "bot", "standard")]
    )


@pytest.mark.parametrize("order", [("standard", "critical"), ("critical", "standard"), ("severe", "critical"), ("standard", "severe")])
def test_a_tripwires_severity_in_the_statistics_is_the_gravest(each_world: MakeWorld, order: tuple[str, str]) -> None:
    """The severity may have changed between two hits, of one agent or of two."""
    world = each_world(tripwires(BIG))
    for severity in order:
        world.policy = tripwires({**BIG, "severity": severity})
        world.check(**paying(60))
        world.check(agent=severity, **paying(60))
    gravest = max(order, key=("standard", "critical", "severe").index)
    assert world.do(stats(world.store.reader, OPS, since=None, agent="bot"))[0].severity == gravest
    assert world.do(stats(world.store.reader, OPS, since=None, agent=None))[0].severity == gravest


# Secrets

AWS_KEY = "AKIA" + "Z7QX4M2NB6TLW3RV"


def texts_in_store(world: World) -> Iterator[tuple[str, str]]:
    """Every text of every column of every table."""
    with world.connected() as connection:
        for table in tables.metadata.sorted_tables:
            columns = [column for column in table.c if isinstance(column.type, String | Text)]
            for row in connection.execute(select(*columns)):
                for column, value in zip(columns, row, strict=True):
                    if value is not None:
                        yield f"{table.name}.{column.name}", value


WHERE: dict[str, dict[str, Any]] = {
    "description": {"description": f"use {AWS_KEY} for it"},
    "parameters": {"parameters": {"env": {"deep": [f"AWS={AWS_KEY}"]}}},
    "the name of a parameter": {"parameters": {AWS_KEY: 1}},
    "context": {"context": {"note": AWS_KEY}},
    "details": {"details": {"reasons": [{"text": f"because {AWS_KEY}"}]}},
    "a tag": {"tags": (f"tag-{AWS_KEY}".lower(), f"key {AWS_KEY}")},
    "category": {"category": f"deploy {AWS_KEY}"},
    "type": {"type": f"deploy {AWS_KEY}"},
}


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
@pytest.mark.parametrize("where", WHERE)
def test_a_credential_reaches_no_row(each_world: MakeWorld, where: str, mode: str) -> None:
    """Wherever the action has it: no table holds it, checked, recorded, reviewed, waiting or settled; and it is said to be there."""
    quotas = [
        {"name": "per-category", "quota": {"count": True, "per": "category", "window": "hour", "max": 100}},
        {"name": "per-user", "quota": {"count": True, "per": "user", "window": "day", "max": 100}},
    ]
    circuits = [{"scope": "category:*", "failure_threshold": 1}, {"scope": "tag:*", "failure_threshold": 1}]
    world = each_world(tripwires({"name": "secrets", "mode": mode}, *quotas, circuit_breakers=circuits))
    details = {"description": "an action", **WHERE[where]}
    context = details.pop("context", {})
    answer = world.check("one", context=context, **details)
    found = answer.verdict.violations if mode == "enforce" else answer.verdict.shadow
    assert [finding.guardrail for finding in found] == ["secrets"]
    world.check("two", context={**context, **wanting("approval")}, **details)
    if mode == "shadow":
        world.resolve("two")
    for id in ("one", "two"):
        world.review(id, "failure")
    again = world.check("three", context=context, **details)
    opened = [finding.circuit.scope for finding in again.verdict.violations if finding.circuit is not None]
    assert any(scope.startswith("tag:" if where == "a tag" else "category:") for scope in opened)
    texts = list(texts_in_store(world))
    assert any(column == "decisions.facts" and "redacted" in text for column, text in texts)
    assert [column for column, text in texts if AWS_KEY.lower() in text.lower()] == []


def test_what_waits_outlives_its_retention(make_world: MakeWorld) -> None:
    """A decision that still waits is not pruned: what it holds of budgets could never be given back."""
    world = make_world(tripwires(BUDGET))
    wait_for(world, "approval", **paying(10))
    world.check("over", **paying(10))
    later = START + APPROVAL_MS
    while world.do(world.store.prune_decisions("default", later)):
        pass
    assert world.decision("over") is None
    assert world.resolve("waiting", "deny").status is Status.DENIED
    assert world.used("money") == 10


def test_a_whole_life_in_one_transaction(each_world: MakeWorld) -> None:
    """One is approved, reviewed and amended, one denied, one reviewed while it waits; each call sees the effects of those before it."""
    world = each_world(tripwires(BUDGET, FEW))
    said = world.batch(
        *(checking(id, context=wanting("approval"), **paying(10)) for id in "abc"),
        checking("full", **paying(10)),
        resolving("a"),
        resolving("b", "deny"),
        checking("free", **paying(60)),
        reviewing("c", "abandoned"),
        reviewing("a", "success", actual_cost=5),
        resolving("c"),
        reviewing("a", "success", actual_cost=7, amend=True),
        checking("last", **paying(33)),
        checking("over", **paying(0.1)),
    )
    assert not said[3].verdict.allowed
    assert said[6].verdict.allowed
    assert isinstance(said[9], Conflict)
    assert said[11].verdict.allowed
    assert not said[12].verdict.allowed
    assert spent(world) == (100, 3)
