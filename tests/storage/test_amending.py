"""Another outcome in the place of an earlier one, long afterwards (SPEC 4)."""

import random
from dataclasses import replace

import pytest
from sqlalchemy import select

from cstp_server.domain.circuit_state import State
from cstp_server.storage import tables
from cstp_server.storage.circuits import SNAPSHOT_EVERY
from tests.domain.comparing import comparable, folded
from tests.services.world import World, checking, circuits_policy, moving, reviewing
from tests.storage.conftest import MakeWorld

TOOLING = "category:tooling"
LONG = circuits_policy({"scope": TOOLING, "failure_threshold": 5, "cooldown_ms": 60_000, "window_ms": 3_600_000})


def assert_folded(world: World, now: int | None = None) -> None:
    """The circuit is what its log gives, both looked at at one time."""
    seen = world.seen(TOOLING)
    now = now if now is not None else max(seen.logged_at, seen.since)
    again = replace(folded(world.log(TOOLING), world.settings_on_record(), world.settings(TOOLING), now), scope=TOOLING)
    assert comparable(seen) == comparable(again)


def snapshots(world: World) -> list[int]:
    log = tables.circuit_log
    with world.connected() as connection:
        return [row.seq for row in connection.execute(select(log.c.seq).where(log.c.snapshot.is_not(None)).order_by(log.c.seq))]


def fill(world: World, outcomes: str) -> None:
    """One decision per letter, `d1` and so on, reviewed in order."""
    letters = {"f": "failure", "s": "success", "p": "partial"}
    for start in range(0, len(outcomes), 200):
        part = list(enumerate(outcomes[start : start + 200], start + 1))
        world.batch(*(checking(f"d{number}") for number, _ in part))
        world.batch(*(reviewing(f"d{number}", letters[letter]) for number, letter in part))


@pytest.mark.parametrize("amended", [1, 100, SNAPSHOT_EVERY, SNAPSHOT_EVERY + 1, 2 * SNAPSHOT_EVERY, 700])
def test_an_amendment_anywhere_in_a_long_log_gives_what_folding_all_of_it_gives(make_world: MakeWorld, amended: int) -> None:
    """From the first line to the last, on and beside the snapshots; which snapshots are kept, and made anew, is right as well."""
    world = make_world(circuits_policy({"scope": TOOLING, "failure_threshold": 100_000}))
    chance = random.Random(7)
    outcomes = "".join(chance.choice("ffsp") for _ in range(700))
    fill(world, outcomes)
    assert snapshots(world) == [SNAPSHOT_EVERY, 2 * SNAPSHOT_EVERY]
    answer = world.review(f"d{amended}", "abandoned", amend=True)
    assert answer.circuits[0].failure_count == world.stored(TOOLING).window.failures
    assert_folded(world)
    assert snapshots(world) == [seq for seq in (SNAPSHOT_EVERY, 2 * SNAPSHOT_EVERY) if seq < amended]
    world.review("d3", "success", "high", amend=True)
    world.review("d699", "failure", "critical", amend=True)
    assert_folded(world)
    world.fail(*(f"later{number}" for number in range(3)))
    assert_folded(world)


def test_an_amendment_to_what_stands_already_changes_nothing(make_world: MakeWorld) -> None:
    """It is a duplicate; back and forth it ends where it began."""
    world = make_world(LONG)
    world.fail("a", "b", "c")
    before = world.stored(TOOLING)
    assert world.review("a", "failure", amend=True).duplicate
    assert world.stored(TOOLING) == before
    assert not world.review("a", "success", amend=True).duplicate
    assert not world.review("a", "failure", amend=True).duplicate
    assert comparable(world.stored(TOOLING)) == comparable(before)


def test_a_circuit_that_only_the_amended_failure_tripped_closes_again(make_world: MakeWorld) -> None:
    """And says why; what came while it was open is counted as it came."""
    world = make_world(LONG)
    world.fail("a", "b", "c", "d", "e")
    assert world.stored(TOOLING).state is State.OPEN
    answer = world.review("e", "abandoned", amend=True)
    assert [(move.previous_state, move.state, move.failure_count) for move in answer.circuits] == [("open", "closed", 4)]
    assert world.check().verdict.allowed
    amended = world.events("circuit.amended")
    assert [(event.data["previous_state"], event.data["state"], event.data["reason"]) for event in amended] == [
        ("open", "closed", "the outcome of `e` was amended")
    ]


def test_a_circuit_that_other_failures_keep_open_stays_open(make_world: MakeWorld) -> None:
    """Six failed, one of them never did: it opened one failure later."""
    world = make_world(LONG)
    world.batch(*(checking(f"d{number}") for number in range(6)))
    for number in range(6):
        world.review(f"d{number}", "failure")
    opened_at = world.stored(TOOLING).opened_at
    assert world.review("d0", "partial", amend=True).circuits[0].state == "open"
    assert world.stored(TOOLING).opened_at == world.log(TOOLING)[5].at >= (opened_at or 0)
    assert world.events("circuit.amended") == []


def test_a_success_amended_to_a_failure_opens(make_world: MakeWorld) -> None:
    """The amended failure stands in the success's place and time."""
    world = make_world(LONG)
    world.fail("a", "b", "c", "d")
    world.check("e")
    world.review("e", "partial")
    assert world.review("e", "failure", amend=True).circuits[0].state == "open"
    assert world.stored(TOOLING).opened_at == world.log(TOOLING)[4].at


def test_another_severity_is_an_amendment_as_well(make_world: MakeWorld) -> None:
    """A failure that was critical after all."""
    world = make_world(LONG)
    world.fail("a")
    assert world.review("a", "failure", "critical", amend=True).circuits[0].state == "open"


def test_an_amendment_does_not_undo_what_time_has_done_since(sqlite_world: MakeWorld) -> None:
    """The circuit cooled down before the amendment; it stays half-open, and nobody is told of a move that was none."""
    world = sqlite_world(LONG)
    world.batch(*(checking(f"d{number}") for number in range(7)))
    for number in range(7):
        world.review(f"d{number}", "failure")
    world.hand.advance(60_000)
    world.sweep()
    assert world.stored(TOOLING).state is State.HALF_OPEN
    answer = world.review("d6", "partial", amend=True)
    assert [(move.previous_state, move.state) for move in answer.circuits] == [("half_open", "half_open")]
    assert world.stored(TOOLING).state is State.HALF_OPEN
    assert [event.type.value for event in world.events("circuit.")] == ["circuit.opened", "circuit.half_opened"]
    assert_folded(world, world.hand.now())


def test_an_amendment_sees_what_time_did_before_it_looks(sqlite_world: MakeWorld) -> None:
    """Nobody had looked since the cooldown ended: that it is half-open is time's doing, with time's event."""
    world = sqlite_world(LONG)
    world.batch(*(checking(f"d{number}") for number in range(7)))
    for number in range(7):
        world.review(f"d{number}", "failure")
    world.hand.advance(60_000)
    answer = world.review("d6", "partial", amend=True)
    assert [(move.previous_state, move.state) for move in answer.circuits] == [("half_open", "half_open")]
    assert [event.type.value for event in world.events("circuit.")] == ["circuit.opened", "circuit.half_opened"]


def test_an_amended_probe_did_what_its_amended_outcome_does(sqlite_world: MakeWorld) -> None:
    """The probe failed and opened the circuit again; amended to a success it had closed it, and what came after counts anew."""
    world = sqlite_world(LONG)
    world.fail("a", "b", "c", "d", "e")
    world.hand.advance(60_000)
    assert world.check("probe").probes
    world.review("probe", "failure")
    world.hand.advance(10)
    assert not world.check("blocked").verdict.allowed
    assert [(move.previous_state, move.state, move.failure_count) for move in world.review("probe", "success", amend=True).circuits] == [
        ("open", "closed", 0)
    ]
    assert_folded(world, world.hand.now())


def test_amending_under_another_policy_judges_the_past_by_its_own(sqlite_world: MakeWorld) -> None:
    """Four failures under a threshold of five did not open, whatever the threshold is now."""
    world = sqlite_world(LONG)
    world.fail("a", "b", "c", "d")
    world.policy = circuits_policy({"scope": TOOLING, "failure_threshold": 2})
    assert world.review("a", "partial", amend=True).circuits[0].state == "closed"
    world.check("e")
    assert world.review("e", "failure").circuits[0].state == "open"
    assert_folded(world, world.hand.now())


def test_an_amendment_folds_resets_and_claims_in_their_places(sqlite_world: MakeWorld) -> None:
    """Resets clear what was before them, whichever way it had been."""
    world = sqlite_world(LONG)
    world.fail("a", "b", "c")
    world.run(moving(TOOLING))
    world.fail("d", "e")
    assert world.review("a", "success", amend=True).circuits[0].failure_count == 2
    assert world.review("d", "partial", amend=True).circuits[0].failure_count == 1
    assert_folded(world, world.hand.now())
