"""What services of this kind are known to get wrong, each with a test of its name; over real use cases on a real store."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Answer, Review, ReviewAnswer
from cstp_server.domain.decisions import Outcome as Says
from cstp_server.domain.facts import Facts, Stakes
from cstp_server.domain.refusals import Conflict, Forbidden, InvalidInput
from cstp_server.rpc.actions import CheckParams
from cstp_server.rpc.actions import facts_of as facts_of_params
from cstp_server.rpc.limits import Limits
from cstp_server.services import reviewing as review_service
from cstp_server.services.requests import CheckRequest, ReviewRequest, ScopeRequest
from cstp_server.services.resetting import trip
from cstp_server.settings import Settings
from tests.services.conftest import MakeWorld
from tests.services.world import World, circuits_policy, facts_of, moving, policy_of, reviewing

TOOLING = "category:tooling"
CIRCUIT = {"scope": TOOLING, "failure_threshold": 3, "cooldown_ms": 60_000, "probe_timeout_ms": 10_000}
CI = Caller("ci", frozenset({Role.CI}), token_digest=None)


def half_open(make_world: MakeWorld, **changes: Any) -> World:
    world = make_world(circuits_policy({**CIRCUIT, **changes}))
    world.fail("a", "b", "c")
    world.hand.advance(60_000)
    return world


def test_an_unreported_probe_does_not_block_for_ever(make_world: MakeWorld) -> None:
    """Its slot is free once its time is up, by the sweep or by the next look, and the lease's end is recorded."""
    world = half_open(make_world)
    assert world.check("lost").probes
    assert not world.check("too soon").verdict.allowed
    world.hand.advance(10_000)
    assert world.check("next").probes
    assert [event.data["decision_id"] for event in world.events("circuit.probe_expired")] == ["lost"]


def test_a_blocked_check_does_not_eat_the_probe(make_world: MakeWorld) -> None:
    """A rule blocks the decision: the probe is still there for the next one, and nothing is in the log."""
    rule = {"id": "no", "when": "action.context.forbidden == true", "message": "no"}
    world = make_world(circuits_policy(CIRCUIT, guardrails=[rule]))
    world.fail("a", "b", "c")
    world.hand.advance(60_000)
    lines = len(world.log(TOOLING))
    blocked = world.check("blocked", context={"forbidden": True})
    assert (blocked.verdict.allowed, blocked.probes) == (False, ())
    assert len(world.log(TOOLING)) == lines
    assert world.check("free").probes


def test_a_check_blocked_by_one_circuit_takes_no_probe_of_another(make_world: MakeWorld) -> None:
    """Claims are all or nothing."""
    world = make_world(circuits_policy(CIRCUIT, {**CIRCUIT, "scope": "agent:*", "cooldown_ms": 600_000}))
    world.fail("a", "b", "c")
    world.hand.advance(60_000)
    assert world.check("blocked").probes == ()
    assert world.seen(TOOLING).leases == ()
    assert world.check("other", agent="other").probes


def test_a_stragglers_success_does_not_close_a_half_open_circuit(make_world: MakeWorld) -> None:
    """A decision of before the opening, reviewed late."""
    world = make_world(circuits_policy(CIRCUIT))
    world.check("straggler")
    world.fail("a", "b", "c")
    world.hand.advance(60_000)
    world.review("straggler", "success")
    assert world.seen(TOOLING).state is State.HALF_OPEN
    world.check("probe")
    world.review("probe", "success")
    assert world.seen(TOOLING).state is State.CLOSED


@pytest.mark.parametrize(("on_success", "left"), [("none", 2), ("decrement", 1), ("reset", 0)])
def test_one_success_wipes_all_failures_only_where_the_policy_says_so(make_world: MakeWorld, on_success: str, left: int) -> None:
    """Two failures and a success."""
    world = make_world(circuits_policy({**CIRCUIT, "on_success": on_success}))
    world.fail("a", "b")
    world.check("c")
    assert world.review("c", "success").circuits[0].failure_count == left


def test_a_double_review_does_not_count_twice(make_world: MakeWorld) -> None:
    """The same again is a duplicate with the first answer, another one a conflict, and the count stays."""
    world = make_world(circuits_policy(CIRCUIT))
    world.check("a")
    first = world.review("a", "failure")
    assert world.review("a", "failure") == replace(first, duplicate=True)
    assert isinstance(world.run(reviewing("a", "success")), Conflict)
    assert isinstance(world.run(reviewing("a", "failure", "critical")), Conflict)
    assert world.seen(TOOLING).window.failures == 1


def test_context_fields_do_not_override_stakes(make_world: MakeWorld) -> None:
    """The high stakes that were declared decide which circuit counts and which rule applies."""
    rule = {"id": "careful", "when": 'action.stakes == "high"', "requires": ["reviewed"], "message": "review first"}
    world = make_world(policy_of(circuit_breakers=[{"scope": "stakes:high"}, {"scope": "stakes:low"}], guardrails=[rule]))
    lies = {"stakes": "low", "action": {"stakes": "low"}, "action.stakes": "low"}
    assert not world.check("a", stakes=Stakes.HIGH, context=lies).verdict.allowed
    assert world.check("b", stakes=Stakes.HIGH, context={**lies, "reviewed": True}).verdict.allowed
    assert [move.scope for move in world.review("b", "failure").circuits] == ["stakes:high"]


def test_an_agent_cannot_talk_its_stakes_down(make_world: MakeWorld) -> None:
    """Classification raises them before anything else looks."""
    classification = [{"when": "action.parameters.amount > 1000", "stakes": "high", "tags": ["large"]}]
    world = make_world(policy_of(circuit_breakers=[{"scope": "stakes:high"}, {"scope": "tag:large"}], classification=classification))
    world.check("a", stakes=Stakes.LOW, parameters={"amount": 1001})
    assert [move.scope for move in world.review("a", "failure").circuits] == ["stakes:high", "tag:large"]


def said(world: World, caller: Caller, request: ReviewRequest) -> Any:
    return world.do(review_service.review(world.store.transactor, caller, request))


def test_an_agents_failures_are_not_counted_against_the_reviewer(make_world: MakeWorld) -> None:
    """The circuits are those of the recorded context; what is said inline of a decision that is known changes nothing."""
    world = make_world(circuits_policy({"scope": "agent:*"}))
    world.check("a", agent="bot")
    inline = CheckRequest(facts_of("other"), "other", "digest")
    answer = said(world, CI, ReviewRequest("a", Review(Says.FAILURE), inline=inline))
    assert isinstance(answer, ReviewAnswer)
    assert [move.scope for move in answer.circuits] == ["agent:bot"]
    assert world.stored("agent:ci").seq == world.stored("agent:other").seq == 0


def test_an_unchecked_decision_of_nobody_in_particular_is_not_the_reviewers(make_world: MakeWorld) -> None:
    """A reviewer that does not say whose decision it was has not said that it was its own."""
    world = make_world(circuits_policy({"scope": "agent:*"}))
    answer = said(world, CI, ReviewRequest("a", Review(Says.FAILURE), inline=CheckRequest(facts_of(""), None, "digest")))
    assert isinstance(answer, ReviewAnswer)
    assert [move.scope for move in answer.circuits] == ["agent:anonymous"]
    assert not answer.self_reported
    named = said(world, CI, ReviewRequest("b", Review(Says.FAILURE), inline=CheckRequest(facts_of(""), "bot", "digest")))
    assert [move.scope for move in named.circuits] == ["agent:bot"]


def test_a_bad_rule_does_not_silently_stop_enforcing(make_world: MakeWorld) -> None:
    """What cannot be evaluated counts as matched, and the finding says so."""
    world = make_world(policy_of(guardrails=[{"id": "limit", "when": "action.parameters.amount > 1000", "message": "too much"}]))
    answer = world.check("a", parameters={"amount": "a lot"})
    assert not answer.verdict.allowed
    assert "could not be evaluated and counts as matched" in answer.verdict.violations[0].message
    assert not world.check("b").verdict.allowed
    assert world.check("c", parameters={"amount": 5}).verdict.allowed


def test_failures_while_open_do_not_put_the_probing_off(make_world: MakeWorld) -> None:
    """The cooldown that began is the one that ends."""
    world = make_world(circuits_policy(CIRCUIT))
    for id in "abcdef":
        world.check(id)
    for id in "abc":
        world.review(id, "failure")
    reset_at = world.seen(TOOLING).reset_at
    world.hand.advance(59_000)
    for id in "def":
        world.review(id, "failure")
    assert world.seen(TOOLING).reset_at == reset_at
    world.hand.advance(1_000)
    assert world.check("probe").probes


def test_denials_are_not_failures(make_world: MakeWorld) -> None:
    """However often it is asked, a blocked decision moves nothing."""
    world = make_world(circuits_policy(CIRCUIT))
    world.fail("a", "b", "c")
    before = world.stored(TOOLING)
    for _ in range(20):
        assert not world.check().verdict.allowed
    assert world.stored(TOOLING) == before


def test_a_review_of_a_blocked_decision_counts_and_is_a_bypass(make_world: MakeWorld) -> None:
    """Somebody went on anyway: the outcome moves the circuit, and an event says what happened."""
    world = make_world(circuits_policy(CIRCUIT))
    world.fail("a", "b", "c")
    world.check("blocked")
    world.review("blocked", "failure")
    assert world.seen(TOOLING).window.failed == 4
    assert [event.subject for event in world.events("enforcement.bypassed")] == ["blocked"]


def test_a_sweep_moves_what_is_due_and_tells_of_it_once(make_world: MakeWorld) -> None:
    """Cooled down without any traffic, and not moved again by the next sweep."""
    world = half_open(make_world)
    world.sweep()
    world.sweep()
    assert [event.type.value for event in world.events("circuit.")] == ["circuit.opened", "circuit.half_opened"]
    assert world.stored(TOOLING).state is State.HALF_OPEN


def test_a_shadowed_circuit_does_everything_but_block(make_world: MakeWorld) -> None:
    """It opens, cools down, leases probes and closes; nobody is refused."""
    world = half_open(make_world, mode="shadow")
    assert world.check("probe").probes
    second = world.check("second")
    assert (second.verdict.allowed, second.probes, len(second.verdict.shadow)) == (True, (), 1)
    world.review("probe", "success")
    assert world.seen(TOOLING).state is State.CLOSED


def test_a_circuit_that_is_off_neither_blocks_nor_counts(make_world: MakeWorld) -> None:
    """As if it were not there."""
    world = make_world(circuits_policy({**CIRCUIT, "mode": "off"}))
    world.fail("a", "b", "c", "d")
    assert world.check("e").verdict.allowed
    assert world.stored(TOOLING).seq == 0


@pytest.mark.parametrize(("rule", "failures"), [("count", 1), ("failures_only", 1), ("ignore", 0)])
def test_an_agent_that_grades_itself_moves_what_the_policy_says(make_world: MakeWorld, rule: str, failures: int) -> None:
    """Marked in the answer; under `failures_only` its successes move nothing."""
    world = make_world(circuits_policy({**CIRCUIT, "on_success": "reset"}, reviews={"self_reported": rule}))
    bot = Caller("bot", frozenset({Role.AGENT, Role.CI}), agent_id="bot")
    world.check("a")
    world.check("b")
    assert world.run(reviewing("a", "failure", caller=bot)).self_reported
    assert world.seen(TOOLING).window.failures == failures
    world.run(reviewing("b", "success", caller=bot))
    assert world.seen(TOOLING).window.failures == (1 if rule == "failures_only" else 0)


def test_amending_takes_an_operator_and_tripping_takes_a_reason(make_world: MakeWorld) -> None:
    """A reviewer's `amend` is refused, a trip without a reason as well."""
    world = make_world(circuits_policy(CIRCUIT))
    world.fail("a")
    assert isinstance(said(world, CI, ReviewRequest("a", Review(Says.SUCCESS), amend=True)), Forbidden)
    assert isinstance(world.do(trip(world.store.transactor, CI, ScopeRequest(TOOLING, "  "))), InvalidInput)


def test_waiting_is_a_remedy_that_holds(make_world: MakeWorld) -> None:
    """Not a millisecond before, and then it does."""
    world = make_world(circuits_policy(CIRCUIT))
    world.fail("a", "b", "c")
    (remedy,) = world.check("blocked").remedies
    assert (remedy.change, remedy.until) == ("wait", world.hand.now() + 60_000)
    world.hand.advance(59_999)
    assert not world.check("early").verdict.allowed
    world.hand.advance(1)
    assert world.check("in time").verdict.allowed


def test_a_forced_circuit_offers_nothing_to_wait_for(make_world: MakeWorld) -> None:
    """Until somebody resets it; with `probe_first` it proves itself."""
    world = make_world(circuits_policy(CIRCUIT))
    world.trip(TOOLING)
    answer = world.check("blocked")
    assert isinstance(answer, Answer)
    assert (answer.verdict.allowed, answer.remedies) == (False, ())
    world.hand.advance(10**9)
    assert not world.check("still").verdict.allowed
    world.run(moving(TOOLING, probe_first=True))
    assert world.check("probe").probes


def test_a_dry_run_stores_nothing(make_world: MakeWorld) -> None:
    """No decision, no probe, no event; and says what a check would."""
    world = half_open(make_world)
    events = world.events()
    assert world.check("dry", dry_run=True).verdict.allowed
    assert world.decision("dry") is None
    assert world.events() == events
    assert world.check("probe").probes


def test_tags_that_are_null_are_no_tags(make_world: MakeWorld) -> None:
    """As are other optional fields that a client sends as null."""
    nothing = {"tags": None, "category": None, "stakes": None, "context": None, "parameters": None, "confidence": None}
    facts = facts_on_the_wire({"description": "x", **nothing}, Limits.of(Settings()))
    assert (facts.tags, facts.category, facts.stakes, facts.context, facts.parameters) == ((), None, Stakes.MEDIUM, {}, {})
    world = make_world(circuits_policy({"scope": "tag:*"}, {"scope": "global"}))
    world.check("a", tags=facts.tags)
    assert [move.scope for move in world.review("a", "failure").circuits] == ["global"]


@pytest.mark.parametrize("name", ["", " ", "*", " * ", "\x1c", "\x1f*", "\x1d \x1e"])
@pytest.mark.parametrize("field", ["category", "type", "tags"])
def test_a_name_of_which_nothing_is_left_once_it_is_trimmed_is_refused(name: str, field: str) -> None:
    """It would make a circuit that no scope names, and that no sweep can read."""
    with pytest.raises(ValidationError):
        facts_on_the_wire({"description": "x", field: [name] if field == "tags" else name}, Limits.of(Settings()))


def facts_on_the_wire(action: dict[str, Any], limits: Limits) -> Facts:
    return facts_of_params(CheckParams.model_validate({"action": action}), limits)
