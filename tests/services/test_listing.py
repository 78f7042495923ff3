"""Circuits as callers see them, and what a reload does to those that no policy covers any more (SPEC 5 and 12)."""

from collections.abc import Sequence

from cstp_server.domain.circuit_state import State
from cstp_server.domain.refusals import CircuitNotFound, InvalidInput
from cstp_server.services.circuits import get_state, history, list_circuits
from cstp_server.services.policies import Align
from cstp_server.services.recording import RecordDecision
from cstp_server.services.requests import CircuitView, RecordAnswer, RecordRequest
from tests.services.conftest import MakeWorld
from tests.services.world import OPS, World, circuits_policy, facts_of

TOOLING = "category:tooling"


def listed(world: World, *, state: str | None = None, prefix: str | None = None, limit: int = 100) -> list[CircuitView]:
    """All circuits, a page at a time."""
    found: list[CircuitView] = []
    while True:
        after = found[-1].scope if found else None
        page: Sequence[CircuitView] = world.do(
            list_circuits(world.store.reader, world.policy, OPS, state=state, prefix=prefix, after=after, limit=limit)
        )
        found.extend(page)
        if len(page) < limit:
            return found


def test_pages_of_any_size_list_every_circuit_once_and_in_order(make_world: MakeWorld) -> None:
    """Those in use, and those with an exact scope before their first use, merged."""
    exact = [{"scope": f"category:c{number}"} for number in range(5)]
    world = make_world(circuits_policy(*exact, {"scope": "agent:*"}, {"scope": "global"}))
    for number in range(7):
        world.check(f"d{number}", agent=f"a{number}", category=f"c{number % 2 * 3}")
        world.review(f"d{number}", "failure")
    expected = sorted([f"agent:a{number}" for number in range(7)] + [f"category:c{number}" for number in range(5)] + ["global"])
    for limit in (1, 2, 3, 5, 100):
        assert [view.scope for view in listed(world, limit=limit)] == expected
        assert [view.scope for view in listed(world, prefix="category:", limit=limit)] == [f"category:c{number}" for number in range(5)]
    assert {view.scope for view in listed(world) if view.from_config} == {"global", *(f"category:c{number}" for number in range(5))}


def test_a_page_of_one_state_is_full_unless_there_are_no_more(make_world: MakeWorld) -> None:
    """The open ones among many closed ones, whatever lies between."""
    world = make_world(circuits_policy({"scope": "agent:*", "failure_threshold": 1}))
    for number in range(12):
        world.check(f"d{number}", agent=f"a{number:02}")
        world.review(f"d{number}", "failure" if number % 4 == 3 else "success")
    for limit in (1, 2, 100):
        assert [view.scope for view in listed(world, state="open", limit=limit)] == ["agent:a03", "agent:a07", "agent:a11"]


def test_a_circuit_is_seen_as_time_has_left_it(make_world: MakeWorld) -> None:
    """Without a sweep or traffic: half-open once cooled down, failures gone once out of the window."""
    world = make_world(circuits_policy({"scope": TOOLING, "failure_threshold": 2, "window_ms": 1_000, "cooldown_ms": 500}))
    world.fail("a", "b")
    view = world.do(get_state(world.store.reader, world.policy, OPS, TOOLING))
    assert isinstance(view, CircuitView)
    assert (view.state, view.failure_count, view.cooldown_remaining_ms) == ("open", 2, 500)
    world.hand.advance(1_000)
    view = world.do(get_state(world.store.reader, world.policy, OPS, TOOLING))
    assert isinstance(view, CircuitView)
    assert (view.state, view.failure_count, view.cooldown_remaining_ms) == ("half_open", 0, 0)
    assert world.stored(TOOLING).state is State.OPEN


def test_asking_for_what_has_no_state_says_so(make_world: MakeWorld) -> None:
    """A template, and a scope that no policy covers, with what is near."""
    world = make_world(circuits_policy({"scope": "agent:*"}, {"scope": TOOLING}))
    assert isinstance(world.do(get_state(world.store.reader, world.policy, OPS, "agent:*")), InvalidInput)
    missing = world.do(get_state(world.store.reader, world.policy, OPS, "category:toolin"))
    assert isinstance(missing, CircuitNotFound)
    assert missing.nearest[0] == TOOLING


def test_the_history_has_one_entry_a_move_newest_first(make_world: MakeWorld) -> None:
    """With cause, actor and reason."""
    world = make_world(circuits_policy({"scope": TOOLING, "failure_threshold": 1, "cooldown_ms": 500}))
    world.fail("a")
    world.hand.advance(500)
    world.check("probe")
    world.review("probe", "failure")
    world.hand.advance(500)
    world.reset(TOOLING, reason="looked into it")
    entries = world.do(history(world.store.reader, world.policy, OPS, TOOLING, 10))
    assert not isinstance(entries, CircuitNotFound)
    assert [(entry.previous_state, entry.cause, entry.state, entry.actor) for entry in entries] == [  # type: ignore[union-attr]  # not a refusal
        ("half_open", "reset", "closed", "anonymous"),
        ("open", "cooldown_elapsed", "half_open", "system"),
        ("half_open", "probe_failed", "open", "anonymous"),
        ("open", "cooldown_elapsed", "half_open", "system"),
        ("closed", "threshold_reached", "open", "anonymous"),
    ]
    assert entries[0].reason == "looked into it"  # type: ignore[index]  # not a refusal


def test_a_circuit_that_no_policy_covers_is_archived_and_comes_back_as_it_was(make_world: MakeWorld) -> None:
    """Out of sight and out of effect, with its counts kept."""
    policy = circuits_policy({"scope": TOOLING, "failure_threshold": 2})
    world = make_world(policy)
    world.fail("a", "b")
    open_since = world.stored(TOOLING)
    world.policy = circuits_policy({"scope": "global"})
    assert world.run(Align("default", [TOOLING])) == 1
    assert world.run(Align("default", [TOOLING])) == 0
    assert [view.scope for view in listed(world)] == ["global"]
    assert world.check("c").verdict.allowed
    assert [event.subject for event in world.events("circuit.archived")] == [TOOLING]
    world.hand.advance(10**8)
    assert world.do(world.store.due_circuits()) == []
    world.policy = policy
    assert world.run(Align("default", [TOOLING])) == 1
    assert world.stored(TOOLING) == open_since


def test_a_decision_that_was_taken_without_asking_is_on_record_with_what_the_guards_say(make_world: MakeWorld) -> None:
    """It uses up no probe, its outcome counts, and going on past an open circuit is a bypass."""
    world = make_world(circuits_policy({"scope": TOOLING, "failure_threshold": 2, "cooldown_ms": 500}))
    world.fail("a", "b")
    request = RecordRequest(facts_of(), "bot", "digest")
    answer = world.run(RecordDecision(OPS, request, facts_of(), "told"))
    assert isinstance(answer, RecordAnswer)
    assert [finding.guardrail for finding in answer.warnings] == ["category-tooling-breaker"]
    assert [event.subject for event in world.events("enforcement.bypassed")] == ["told"]
    world.hand.advance(500)
    assert world.run(RecordDecision(OPS, request, facts_of(), "later")).warnings == ()
    assert world.seen(TOOLING).leases == ()
    world.review("later", "failure")
    assert (world.seen(TOOLING).state, world.seen(TOOLING).window.failed) == (State.HALF_OPEN, 3)
