"""Autonomy that is earned by a record, and lost when nobody tells how decisions turned out (SPEC 8)."""

from collections.abc import Callable
from typing import Any

import pytest

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.decisions import Decision, Source, Status
from cstp_server.domain.posture_guards import TransitionRequest
from cstp_server.domain.postures import EARNED_BY, POSTURES, AgentPosture, Posture, TransitionType
from cstp_server.domain.refusals import Conflict, Forbidden
from cstp_server.domain.trust_scores import Record, wilson_lower_bound
from cstp_server.policy.compiled import Policy, SelfReported
from cstp_server.services.earning import MoveEarned, Propose
from cstp_server.services.ports import DecisionQuery
from cstp_server.storage import tables
from tests.services.conftest import MakeWorld
from tests.services.governing import appraise, attempt, block, history, known, move
from tests.services.test_postures import Installed
from tests.services.world import START, World, checking, policy_of, resolving, reviewing

DAY_MS = 86_400_000
WINDOW_MS, DUE_MS, TTL_MS = 30 * DAY_MS, DAY_MS, 3_600_000
ASSISTED: dict[str, Any] = {"to": "assisted", "min_score": 0.4, "min_reviewed": 5}
FULL: dict[str, Any] = {"to": "full_autonomy", "min_score": 0.6, "min_reviewed": 8}
OLGA = Caller("olga", frozenset({Role.OPS, Role.VIEWER}))
BOT = Caller("bots-token", frozenset(Role), agent_id="bot")


def earning(*earned: dict[str, Any], **sections: Any) -> Policy:
    """A policy under which postures are earned."""
    return policy_of(postures={"earned": list(earned), **sections.pop("postures", {})}, **sections)


def record(world: World, agent: str = "bot", *, since: int = 0, due_before: int | None = None, counts: str = "count") -> Record:
    """The agent's record; everything that is not newer than now is due unless `due_before` says otherwise."""
    until = due_before if due_before is not None else world.time() + 1
    reading = world.store.reader.record("default", agent, since=since, due_before=until, self_reported=SelfReported(counts))
    return world.do(reading)


def work(world: World, number: int, outcome: str = "success", agent: str = "bot", name: str = "work") -> None:
    """So many decisions with that outcome."""
    calls: list[Any] = []
    for index in range(number):
        id = f"{name}-{agent}-{outcome}-{world.hand.now()}-{index}"
        calls += [checking(id, agent=agent), reviewing(id, outcome)]
    world.batch(*calls)


def proposals(world: World, agent: str = "bot") -> list[Decision]:
    """What was ever proposed for an agent, newest first."""
    found = world.do(world.store.reader.decisions("default", DecisionQuery(agent=agent, limit=500)))
    return [decision for decision in found if decision.source is Source.PROPOSED]


def current(world: World, agent: str = "bot") -> str:
    return known(world, agent).posture.posture.label


# records


def test_a_record_counts_outcomes_and_hits(each_world: Callable[[Policy], World]) -> None:
    """Neither `partial` nor `abandoned`, nor what nobody has reviewed; hits of tripwires that bear on trust, and not in the shadow."""
    rules = [
        {"name": "counts", "when": "action.context.bad == true"},
        {"name": "harmless", "when": "action.context.bad == true", "trust_impact": False},
        {"name": "shadowed", "when": "action.context.bad == true", "mode": "shadow"},
    ]
    world = each_world(policy_of(tripwires=rules))
    for number, outcome in enumerate(["success", "success", "failure", "partial", "abandoned", None]):
        world.check(f"d{number}")
        if outcome is not None:
            world.review(f"d{number}", outcome)
    world.check("bad", context={"bad": True})
    world.check("others", agent="other")
    world.review("others", "success")
    found = record(world)
    assert (found.succeeded, found.failed, found.hits, found.reviewed) == (2, 1, 1, 3)
    assert (found.due, found.covered) == (6, 5)
    assert found.score == wilson_lower_bound(2, 4)
    assert record(world, "nobody") == Record()


def test_a_record_of_another_tenant_is_another_one(each_world: Callable[[Policy], World]) -> None:
    """The same agent there has none."""
    world = each_world(policy_of())
    world.check("a")
    world.review("a", "success")
    elsewhere = world.store.reader.record("elsewhere", "bot", since=0, due_before=2**62, self_reported=SelfReported.COUNT)
    assert world.do(elsewhere) == Record()


def test_a_record_begins_and_ends_where_it_says(make_world: MakeWorld) -> None:
    """What was decided at its first millisecond counts, at the one before not; due is what is older than `due_before`."""
    world = make_world(policy_of(tripwires=[{"name": "limit", "when": "action.context.bad == true"}]))
    for number in range(3):
        world.check(f"d{number}")
        world.check(f"bad{number}", context={"bad": True})
        world.review(f"d{number}", "success")
        world.hand.advance(1)
    found = record(world, since=START + 1, due_before=START + 2)
    assert (found.succeeded, found.hits, found.due, found.covered) == (2, 2, 1, 1)


def test_an_outcome_belongs_to_the_time_of_its_decision(make_world: MakeWorld) -> None:
    """A late review does not make the decision younger; an amended one counts as what it is now."""
    world = make_world(policy_of())
    world.check("a")
    world.hand.advance(10)
    world.review("a", "failure")
    assert record(world, since=START + 1) == Record()
    world.review("a", "success", amend=True)
    assert (record(world).succeeded, record(world).failed) == (1, 0)


def test_what_is_due_is_what_was_allowed(each_world: Callable[[Policy], World]) -> None:
    """Also by an approval, before and after its review; nothing that was refused, waits, was bypassed, or was never asked for."""
    rules = [
        {"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask"},
        {"id": "no", "when": "action.context.no == true", "action": "block", "message": "no"},
    ]
    world = each_world(policy_of(guardrails=rules))
    ask, no = {"context": {"ask": True}}, {"context": {"no": True}}
    for id, details in {"a": {}, "b": ask, "c": ask, "d": ask, "e": ask, "f": no, "g": no, "h": ask}.items():
        world.check(id, **details)
    for id in "bc":
        world.resolve(id)
    world.resolve("d", "deny")
    assert (record(world).due, record(world).covered) == (3, 0)
    for id in "aceg":
        world.review(id, "success")
    world.resolve("h", "cancel", note='{"status":"approved"')
    world.review("inline", "success", inline=checking(agent="bot").declared)
    found = record(world)
    assert (found.due, found.covered, found.succeeded) == (3, 2, 5)
    assert found.coverage == 2 / 3


@pytest.mark.parametrize(("rule", "succeeded", "failed", "covered"), [("count", 2, 2, 4), ("failures_only", 1, 2, 3), ("ignore", 1, 1, 2)])
def test_outcomes_that_the_agent_has_told_itself_count_as_the_policy_says(
    each_world: Callable[[Policy], World], rule: str, succeeded: int, failed: int, covered: int
) -> None:
    """Nobody earns autonomy by grading themselves where self-reports do not count, whatever their reports say."""
    world = each_world(earning(ASSISTED, reviews={"self_reported": rule}))
    for id in "abcd":
        world.check(id)
    lie: dict[str, Any] = {"notes": '"self_reported":true,"duplicate":false', "affected_kpis": {"self_reported": "true"}}
    for id, outcome, caller in (("a", "success", BOT), ("b", "failure", BOT), ("c", "success", OLGA), ("d", "failure", OLGA)):
        world.review(id, outcome, caller=caller, **lie)
    found = record(world, counts=rule)
    assert (found.succeeded, found.failed, found.due, found.covered) == (succeeded, failed, 4, covered)
    assert known(world).record.reviewed == succeeded + failed


# earning


def test_get_posture_tells_what_is_missing(make_world: MakeWorld) -> None:
    """So many more successes as it takes, and no longer once they are there."""
    world = make_world(earning(FULL, ASSISTED))
    first = known(world)
    assert first.earnable is not None
    assert (first.earnable.to, first.earnable.successes_needed) == (Posture.ASSISTED, 5)
    work(world, 3)
    assert getattr(known(world).earnable, "successes_needed", None) == 2
    work(world, 1, "failure")
    needed = getattr(known(world).earnable, "successes_needed", 0)
    work(world, needed - 1, name="more")
    appraise(world)
    assert proposals(world) == []
    work(world, 1, name="last")
    assert getattr(known(world).earnable, "successes_needed", None) == 0
    appraise(world)
    assert [decision.facts.parameters["toPosture"] for decision in proposals(world)] == ["assisted"]


def test_an_earned_posture_is_proposed_once_and_raised_when_approved(each_world: Callable[[Policy], World]) -> None:
    """A pending decision that says what it rests on; nothing is moved before; then it is, by who approved, and as earned."""
    world = each_world(earning(ASSISTED))
    work(world, 5)
    for _ in range(3):
        appraise(world)
    (proposed,) = proposals(world)
    assert (proposed.status, proposed.facts.agent_id, proposed.principal) == (Status.PENDING, "bot", EARNED_BY)
    assert proposed.facts.parameters == {"fromPosture": "supervised", "toPosture": "assisted"}
    assert "5 of 5 reviewed decisions succeeded" in proposed.facts.description
    assert proposed.waits_for is not None
    assert (proposed.waits_for.kind, proposed.waits_for.until - proposed.at) == ("approval", TTL_MS)
    assert [event.subject for event in world.events("decision.pending")] == [proposed.id]
    assert (world.posture(), history(world)) == (None, [])
    assert world.resolve(proposed.id, caller=OLGA, note="well done").status is Status.APPROVED
    raised = world.posture()
    assert raised is not None
    assert (raised.posture, raised.set_by, raised.reason) == (Posture.ASSISTED, "olga", "well done")
    assert raised.earned_from == (Posture.SUPERVISED,)
    (entry,) = history(world)
    assert (entry.by, entry.type, entry.decision_id) == ("olga", "upgrade", proposed.id)
    appraise(world)
    assert len(proposals(world)) == 1


def test_a_proposal_has_no_outcome(make_world: MakeWorld) -> None:
    """Nobody reviews it, and it is no part of any record."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    before = record(world)
    appraise(world)
    (proposed,) = proposals(world)
    assert isinstance(world.run(reviewing(proposed.id, "success")), Conflict)
    assert record(world) == before
    world.resolve(proposed.id)
    assert isinstance(world.run(reviewing(proposed.id, "success")), Conflict)
    assert record(world) == before


def test_no_more_than_one_proposal_waits(make_world: MakeWorld) -> None:
    """However much the agent's record grows meanwhile, and however many of its decisions wait."""
    world = make_world(
        earning(ASSISTED, guardrails=[{"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask"}])
    )
    for number in range(3):
        work(world, 5)
        world.hand.advance(1)
        world.batch(*(checking(f"waits-{number}-{index}", context={"ask": True}) for index in range(60)))
        world.hand.advance(1)
        appraise(world)
    assert len(proposals(world)) == 1


@pytest.mark.parametrize("end", ["deny", "expire"])
def test_what_was_turned_down_is_proposed_again_only_with_more_evidence(make_world: MakeWorld, end: str) -> None:
    """Neither at once nor after the next success, but when there is as much again."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    if end == "deny":
        world.resolve(proposed.id, "deny")
    else:
        world.hand.advance(TTL_MS)
        world.sweep()
    assert world.status(proposed.id) == {"deny": "denied", "expire": "expired"}[end]
    assert current(world) == "supervised"
    world.hand.advance(1)
    work(world, 4)
    appraise(world)
    assert len(proposals(world)) == 1
    work(world, 1, name="one more")
    appraise(world)
    assert len(proposals(world)) == 2


@pytest.mark.parametrize("steps", [["human_decides"], ["full_autonomy"], ["blocked", "supervised"], ["assisted", "supervised"]])
def test_a_proposal_for_an_agent_that_was_moved_since_is_turned_down(make_world: MakeWorld, steps: list[str]) -> None:
    """Also when it has come back to where it was: what it did before has been judged since."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    for to in steps:
        world.hand.advance(1)
        move(world, "bot", to)
    answer = world.resolve(proposed.id)
    assert answer.status is Status.DENIED
    assert "looked at again" in str(answer.reason)
    assert current(world) == steps[-1]


def test_a_proposal_for_an_agent_that_a_circuit_holds_is_turned_down(make_world: MakeWorld) -> None:
    """Nor is one made while it is held."""
    circuit = {"scope": "agent:*", "failure_threshold": 2, "on_open": {"downgrade_to": "human_decides"}}
    world = make_world(earning(ASSISTED, circuit_breakers=[circuit]))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    world.hand.advance(1)
    world.trip("agent:bot")
    assert world.resolve(proposed.id).status is Status.DENIED
    assert known(world).earnable is None
    work(world, 10)
    appraise(world)
    assert (current(world), len(proposals(world))) == ("human_decides", 1)


def test_an_agent_does_not_approve_its_own_proposal(make_world: MakeWorld) -> None:
    """By whatever token it has."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    for caller in (BOT, Caller("bot", frozenset(Role))):
        assert isinstance(world.settle(proposed.id, caller=caller), Forbidden)
    assert (world.status(proposed.id), current(world)) == ("pending", "supervised")


def test_auto_grants_at_once_and_one_step_after_another(make_world: MakeWorld) -> None:
    """By nobody's approval; the next step takes evidence of its own."""
    world = make_world(earning({**FULL, "auto": True}, {**ASSISTED, "auto": True}))
    work(world, 20)
    world.hand.advance(1)
    appraise(world)
    raised = world.posture()
    assert raised is not None
    assert (raised.posture, raised.set_by, raised.since) == (Posture.ASSISTED, EARNED_BY, world.hand.now())
    assert "20 of 20 reviewed decisions succeeded: a trust score of 0.84" in raised.reason
    appraise(world)
    assert current(world) == "assisted"
    for number in range(8):
        world.check(f"next-{number}")
    world.hand.advance(5_000)
    world.sweep()
    for number in range(7):
        world.review(f"next-{number}", "success")
    appraise(world)
    assert current(world) == "assisted"
    world.review("next-7", "success")
    appraise(world)
    assert current(world) == "full_autonomy"
    assert [(entry.by, entry.type) for entry in history(world)] == [(EARNED_BY, "upgrade")] * 2
    assert proposals(world) == []


def test_what_was_decided_before_the_last_move_is_no_evidence(make_world: MakeWorld) -> None:
    """Not even when its outcome comes later."""
    world = make_world(earning(ASSISTED))
    work(world, 4)
    world.check("early")
    world.hand.advance(1)
    move(world, "bot", "human_decides")
    move(world, "bot", "supervised")
    world.review("early", "success")
    work(world, 4)
    appraise(world)
    assert proposals(world) == []
    work(world, 1, name="last")
    appraise(world)
    assert len(proposals(world)) == 1


def test_outcomes_leave_the_window(make_world: MakeWorld) -> None:
    """A good record of long ago is none."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    world.hand.advance(WINDOW_MS)
    assert known(world).record.reviewed == 5
    world.hand.advance(1)
    assert known(world).record.reviewed == 0
    appraise(world)
    assert proposals(world) == []


@pytest.mark.parametrize("way", ["emergency", "policy"])
def test_a_blocked_agent_earns_nothing(make_world: MakeWorld, way: str) -> None:
    """However good its record; a person decides."""
    earned = {"to": "human_decides", "min_score": 0, "min_reviewed": 1, "auto": True}
    world = make_world(earning(earned, agents={"*": {"posture": "blocked" if way == "policy" else "supervised"}}))
    if way == "emergency":
        block(world, "bot")
    work(world, 10)
    appraise(world)
    assert (current(world), known(world).earnable, proposals(world)) == ("blocked", None, [])


@pytest.mark.parametrize("auto", [False, True])
def test_guards_are_asked_before_anything_is_proposed_or_granted(make_world: MakeWorld, auto: bool) -> None:
    """They see the record; one that refuses leaves nothing behind."""
    asked: list[TransitionRequest] = []

    def refuse(request: TransitionRequest) -> str | None:
        asked.append(request)
        return None if request.reviewed > 5 else "not yet"

    world = make_world(earning({**ASSISTED, "auto": auto}))
    work(world, 5)
    appraise(world, guards=[Installed(refuse)])
    assert (proposals(world), world.posture()) == ([], None)
    (request,) = asked
    assert (request.requester, request.type, request.to_posture, request.reviewed) == (
        EARNED_BY,
        TransitionType.UPGRADE,
        Posture.ASSISTED,
        5,
    )
    assert request.score == wilson_lower_bound(5, 5)
    work(world, 1, name="last")
    appraise(world, guards=[Installed(refuse)])
    assert (len(proposals(world)), current(world)) == ((0, "assisted") if auto else (1, "supervised"))


def test_guards_are_not_asked_again_and_again_about_the_same(make_world: MakeWorld) -> None:
    """While it waits, and when it was turned down."""
    asked: list[TransitionRequest] = []

    def consent(request: TransitionRequest) -> str | None:
        asked.append(request)
        return None

    world = make_world(earning(ASSISTED))
    work(world, 5)
    for _ in range(3):
        appraise(world, guards=[Installed(consent)])
    world.resolve(proposals(world)[0].id, "deny")
    appraise(world, guards=[Installed(consent)])
    assert len(asked) == 1


# review debt


def test_nothing_is_earned_while_reviews_are_missing(make_world: MakeWorld) -> None:
    """Decisions that are due and have no outcome; those that are young are no debt yet."""
    world = make_world(earning(ASSISTED, postures={"min_review_coverage": 0.6}))
    work(world, 5)
    for number in range(4):
        world.check(f"open-{number}")
    world.hand.advance(DUE_MS)
    assert known(world).record.coverage == 1.0
    world.hand.advance(1)
    assert known(world).record.coverage == 5 / 9
    appraise(world)
    assert proposals(world) == []
    world.review("open-0", "partial")
    appraise(world)
    assert len(proposals(world)) == 1


@pytest.mark.parametrize("way", ["approved", "auto"])
def test_what_was_earned_is_lost_in_review_debt(make_world: MakeWorld, way: str) -> None:
    """Back to what the policy begins with, by the record, with the reason; then it is to be earned anew."""
    world = make_world(earning({**ASSISTED, "auto": way == "auto"}, postures={"min_review_coverage": 0.5}))
    work(world, 5)
    world.hand.advance(1)
    appraise(world)
    if way == "approved":
        world.resolve(proposals(world)[0].id)
    assert current(world) == "assisted"
    world.check("a")
    world.check("b")
    world.hand.advance(5_000)
    world.sweep()
    world.review("a", "success")
    world.hand.advance(DUE_MS)
    appraise(world)
    assert current(world) == "assisted"
    world.check("c")
    world.hand.advance(5_000)
    world.sweep()
    world.hand.advance(DUE_MS + 1)
    appraise(world)
    lost = world.posture()
    assert lost is not None
    assert (lost.posture, lost.set_by, lost.earned_from) == (Posture.SUPERVISED, EARNED_BY, ())
    entry = history(world)[0]
    assert (entry.type, entry.reason) == ("downgrade", "only 1 of 3 decisions that are due were reviewed")
    appraise(world)
    assert len(history(world)) == 2


def test_what_was_given_by_hand_is_not_lost_in_review_debt(make_world: MakeWorld) -> None:
    """Only what was earned is."""
    world = make_world(earning(ASSISTED, postures={"min_review_coverage": 1.0}))
    move(world, "bot", "full_autonomy")
    world.check("a")
    world.hand.advance(DUE_MS + 1)
    appraise(world)
    assert current(world) == "full_autonomy"


def test_debt_takes_back_no_more_than_was_given(make_world: MakeWorld) -> None:
    """What it was before it had earned more, whatever the policy would have it begin with by now."""
    world = make_world(earning({**ASSISTED, "auto": True}, postures={"min_review_coverage": 1.0}))
    work(world, 5)
    appraise(world)
    world.check("a")
    world.hand.advance(5_000)
    world.sweep()
    world.hand.advance(DUE_MS + 1)
    world.policy = earning(ASSISTED, postures={"min_review_coverage": 1.0}, agents={"*": {"posture": "full_autonomy"}})
    appraise(world)
    assert current(world) == "supervised"
    world.hand.advance(1)
    appraise(world)
    assert [(entry.before, entry.after) for entry in history(world)] == [("assisted", "supervised"), ("supervised", "assisted")]


def owing(world: World) -> None:
    """A decision that goes on by itself, and that nobody reviews when it should be."""
    world.check(f"owed-{world.hand.now()}")
    world.hand.advance(5_000)
    world.sweep()
    world.hand.advance(DUE_MS + 1)


def test_of_several_steps_one_is_lost_at_a_time(make_world: MakeWorld) -> None:
    """Back to what the agent had earned before, and only with more debt further back; what it was given by hand it keeps."""
    steps = [{**ASSISTED, "to": to, "auto": True} for to in ("supervised", "assisted", "full_autonomy")]
    world = make_world(earning(*steps, postures={"min_review_coverage": 1.0}))
    move(world, "bot", "human_decides")
    for _ in steps:
        world.hand.advance(1)
        work(world, 5)
        for decision in world.do(world.store.reader.decisions("default", DecisionQuery(status=Status.PENDING, limit=500))):
            world.resolve(decision.id, "deny")
        world.hand.advance(1)
        appraise(world)
    assert current(world) == "full_autonomy"
    fallen = []
    for _ in range(5):
        owing(world)
        for _ in range(2):
            appraise(world)
        fallen.append(current(world))
    assert fallen == ["assisted", "supervised", "human_decides", "human_decides", "human_decides"]


def test_what_an_older_version_had_stored_as_earned_is_lost_by_one_step(each_world: Callable[[Policy], World]) -> None:
    """It had not written from what: it falls one posture, and no row of that kind is unreadable."""
    world = each_world(earning(ASSISTED, postures={"min_review_coverage": 1.0}))
    old = '{"set_by":"olga","reason":"good","original":null,"holds":[["category:x","human_decides"]],"earned":true,"blocked_at":null}'
    with world.connected() as connection, connection.begin():
        row = {
            "tenant": "default",
            "agent_id": "bot",
            "posture": "assisted",
            "since": 1,
            "data": old.replace('["category:x","human_decides"]', ""),
        }
        connection.execute(tables.postures.insert(), [row, {**row, "agent_id": "held", "posture": "human_decides", "data": old}])
    world.check("a")
    world.run(reviewing("a", "abandoned"))
    known_held, known_bot = known(world, "held").posture, known(world).posture
    assert (known_bot.posture, known_bot.earned_from, known_bot.set_by) == (Posture.ASSISTED, (Posture.SUPERVISED,), "olga")
    assert [(hold.scope, hold.to, hold.restores) for hold in known_held.holds] == [("category:x", Posture.HUMAN_DECIDES, True)]
    assert world.run(MoveEarned("default", known_bot, Posture.SUPERVISED, "debt"))
    assert current(world) == "supervised"


# while a circuit is open


@pytest.mark.parametrize("to", ["human_decides", "assisted"])
@pytest.mark.parametrize("scope", ["agent:*", "category:tooling"])
def test_nothing_is_earned_while_a_circuit_is_open_that_lowers(make_world: MakeWorld, scope: str, to: str) -> None:
    """Also where the agent had no more autonomy than the circuit leaves it; once it has closed the record counts again."""
    circuit = {"scope": scope, "failure_threshold": 1, "on_open": {"downgrade_to": to}}
    world = make_world(
        earning({**ASSISTED, "to": "full_autonomy", "auto": True}, circuit_breakers=[circuit], agents={"*": {"posture": "assisted"}})
    )
    if to == "human_decides":
        move(world, "bot", "human_decides")
        world.hand.advance(1)
    before = current(world)
    world.fail("bad")
    assert (current(world), known(world).earnable, len(history(world))) == (before, None, to == "human_decides")
    work(world, 20)
    appraise(world)
    assert current(world) == before
    world.reset("agent:bot" if scope == "agent:*" else scope)
    assert current(world) == before
    appraise(world)
    assert current(world) == "full_autonomy"


def test_an_agent_that_was_held_and_never_moved_is_what_the_policy_says(make_world: MakeWorld) -> None:
    """A circuit that came and went without moving it has not made its first posture its own."""
    circuit = {"scope": "agent:*", "failure_threshold": 1, "on_open": {"downgrade_to": "assisted"}}
    world = make_world(policy_of(circuit_breakers=[circuit]))
    world.fail("bad")
    world.reset("agent:bot")
    world.policy = policy_of(circuit_breakers=[circuit], agents={"*": {"posture": "full_autonomy"}})
    assert current(world) == "full_autonomy"


# approving


def test_guards_are_asked_anew_when_a_proposal_is_approved(each_world: Callable[[Policy], World]) -> None:
    """One that refuses by now turns it down, and both the decision and the agent's history say so; the approver is who asks."""
    asked: list[TransitionRequest] = []

    def refuse(request: TransitionRequest) -> str | None:
        asked.append(request)
        return "not on a friday"

    world = each_world(earning(ASSISTED))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    answer = world.resolve(proposed.id, caller=OLGA, note="well done", guards=[Installed(refuse)])
    assert (answer.status, answer.reason) == (Status.DENIED, "looked at again: not on a friday")
    assert [(finding.guardrail, finding.message) for finding in answer.objections] == [("installed", "not on a friday")]
    (request,) = asked
    assert (request.requester, request.reason, request.type) == ("olga", "well done", TransitionType.UPGRADE)
    assert (request.from_posture, request.to_posture, request.reviewed) == (Posture.SUPERVISED, Posture.ASSISTED, 5)
    (entry,) = history(world)
    assert (entry.success, entry.by, entry.blocked_by, entry.refusal, entry.decision_id) == (
        False,
        "olga",
        "installed",
        "not on a friday",
        proposed.id,
    )
    assert current(world) == "supervised"


def test_guards_of_the_policy_are_asked_anew_too(make_world: MakeWorld) -> None:
    """As they are when the approval comes."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    world.policy = earning(ASSISTED, postures={"guards": [{"name": "never", "when": 'request.requester == "nobody"', "reason": "no"}]})
    assert world.resolve(proposed.id).status is Status.DENIED
    assert history(world)[0].blocked_by == "never"


@pytest.mark.parametrize("way", ["failures", "debt", "policy", "nothing earned"])
def test_a_record_that_has_become_worse_earns_nothing_any_more(make_world: MakeWorld, way: str) -> None:
    """Failures since the proposal, decisions that nobody reviewed, a policy that asks for more: the approval comes too late."""
    world = make_world(earning(ASSISTED, postures={"min_review_coverage": 0.6, "approval_ttl_ms": 10 * DAY_MS}))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    world.hand.advance(1)
    if way == "failures":
        work(world, 3, "failure")
    elif way == "debt":
        for number in range(5):
            world.check(f"open-{number}")
        world.hand.advance(DUE_MS + 1)
    else:
        world.policy = earning({**ASSISTED, "min_reviewed": 6}) if way == "policy" else earning()
    answer = world.resolve(proposed.id, caller=OLGA)
    assert (answer.status, current(world)) == (Status.DENIED, "supervised")
    expected = "no record earns `assisted` any more" if way == "nothing earned" else "the agent's record does not earn `assisted` any more"
    assert answer.reason == f"looked at again: {expected}"
    assert [(entry.success, entry.by, entry.blocked_by) for entry in history(world)] == [(False, "olga", "record")]


def test_an_approval_that_nobody_has_looked_behind_gives_nothing(make_world: MakeWorld) -> None:
    """Whatever way it comes."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    assert isinstance(world.run(resolving(proposed.id, caller=OLGA)), Conflict)
    assert (world.status(proposed.id), current(world)) == ("pending", "supervised")


def test_nobody_approves_what_their_own_token_would_gain_by(make_world: MakeWorld) -> None:
    """Bound to the agent or named like it, or asked for by themselves as an agent; without tokens everybody is alone and may."""
    world = make_world(earning(ASSISTED, agents={"*": {"posture": "supervised"}, "asking": {"posture": "human_decides"}}))
    work(world, 5)
    appraise(world)
    (proposed,) = proposals(world)
    both = frozenset({Role.AGENT, Role.OPS, Role.VIEWER})
    for caller in (Caller("t", both, agent_id="bot"), Caller("bot", both, agent_id="another"), Caller("bot", frozenset({Role.OPS}))):
        assert isinstance(world.settle(proposed.id, caller=caller), Forbidden)
    sly = Caller("sly", both)
    world.run(checking("own", caller=sly, agent="asking"))
    world.run(checking("others", caller=Caller("other", both), agent="asking"))
    assert isinstance(world.settle("own", caller=sly), Forbidden)
    assert world.resolve("others", caller=sly).status is Status.APPROVED
    world.check("alone", agent="asking")
    assert world.resolve("alone").status is Status.APPROVED
    assert world.resolve(proposed.id).status is Status.APPROVED


# behind somebody's back


@pytest.mark.parametrize("auto", [False, True])
def test_what_was_seen_before_a_move_moves_nobody(make_world: MakeWorld, auto: bool) -> None:
    """The guards were asked about another posture; also where only the policy has changed what an agent begins with."""
    world = make_world(earning(ASSISTED))
    (earned,) = world.policy.postures.earned
    seen = AgentPosture("bot", POSTURES["supervised"])
    work(world, 5)

    def carry_out() -> bool:
        found = record(world)
        answer = world.run(
            MoveEarned("default", seen, earned.to, "good", earned=True) if auto else Propose("default", seen, earned, found, "good")
        )
        assert isinstance(answer, bool)
        return answer

    world.policy = earning(ASSISTED, agents={"*": {"posture": "full_autonomy"}})
    assert not carry_out()
    world.policy = earning(ASSISTED)
    move(world, "bot", "human_decides")
    assert not carry_out()
    assert (current(world), proposals(world)) == ("human_decides", [])


def test_an_agent_that_was_moved_by_hand_in_between_is_asked_about_anew(make_world: MakeWorld) -> None:
    """A proposal is approved, the agent lowered by hand: the old evidence does not propose it again."""
    world = make_world(earning(ASSISTED))
    work(world, 5)
    appraise(world)
    world.resolve(proposals(world)[0].id, caller=OLGA)
    world.hand.advance(1)
    assert getattr(attempt(world, "bot", "supervised"), "success", False)
    appraise(world)
    assert len(proposals(world)) == 1
