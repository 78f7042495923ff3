"""What leaves a window is read from the log when it leaves, and no sooner: the state is the fold of the log all the same."""

import random
from dataclasses import replace

import pytest

from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Outcome
from tests.domain.comparing import comparable, folded
from tests.services.world import World, checking, circuits_policy, reviewing
from tests.storage.conftest import MakeWorld

TOOLING = "category:tooling"


def assert_folded(world: World) -> None:
    now = world.hand.now()
    again = replace(folded(world.log(TOOLING), world.settings_on_record(), world.settings(TOOLING), now), scope=TOOLING)
    assert comparable(world.seen(TOOLING)) == comparable(again)


def busy(world: World, size: int, chance: random.Random) -> None:
    ids = [f"d{chance.getrandbits(60)}" for _ in range(size)]
    world.batch(*(checking(id) for id in ids))
    world.batch(*(reviewing(id, chance.choice(["failure", "failure", "success", "partial"])) for id in ids))


@pytest.mark.parametrize("on_success", ["decrement", "reset", "none"])
@pytest.mark.parametrize("window_ms", [200, 10_000])
def test_thousands_of_outcomes_that_come_and_go(sqlite_world: MakeWorld, on_success: str, window_ms: int) -> None:
    """Batches of every size, with pauses from nothing to several windows: after each the stored circuit is the fold of the whole log."""
    world = sqlite_world(
        circuits_policy({"scope": TOOLING, "failure_threshold": 1_000_000, "window_ms": window_ms, "on_success": on_success})
    )
    chance = random.Random(window_ms)
    for round_number in range(40):
        busy(world, chance.choice([1, 1, 2, 7, 60, 200]), chance)
        assert_folded(world)
        world.hand.advance(int(window_ms * chance.choice([0, 0.001, 0.01, 1 / 64, 0.3, 0.5, 0.999, 1, 1.001, 3])))
        if round_number % 10 == 9:
            world.restart()
    assert len(world.log(TOOLING)) > 1_000


@pytest.mark.parametrize("step", [1, 3, 30])
def test_a_window_that_slides_in_small_steps(sqlite_world: MakeWorld, step: int) -> None:
    """Across the boundary of what leaves, one millisecond at a time and several."""
    world = sqlite_world(circuits_policy({"scope": TOOLING, "failure_threshold": 1_000_000, "window_ms": 640}))
    for number in range(60):
        world.check(f"d{number}")
        world.review(f"d{number}", "failure" if number % 3 else "success")
        world.hand.advance(step)
    world.hand.advance(640 - 40 * step if step < 16 else 0)
    for number in range(60, 120):
        world.check(f"d{number}")
        world.review(f"d{number}", "failure" if number % 2 else "success")
        assert_folded(world)
        world.hand.advance(step)


def test_a_success_takes_off_a_failure_that_is_older_than_all_that_was_read(sqlite_world: MakeWorld) -> None:
    """Many failures of long ago are held; many successes in one batch take off one each, the oldest first, with its weight."""
    world = sqlite_world(circuits_policy({"scope": TOOLING, "failure_threshold": 1_000_000, "window_ms": 1_000_000}))
    for number in range(300):
        world.hand.advance(1)
        world.check(f"f{number}")
        world.review(f"f{number}", "failure", "low" if number < 100 else "high")
    world.batch(*(checking(f"s{number}") for number in range(120)))
    world.batch(*(reviewing(f"s{number}", "success") for number in range(120)))
    window = world.stored(TOOLING).window
    assert (window.failures, window.weighted) == (180, 180 * 2_000_000)
    assert_folded(world)


def test_successes_take_off_failures_of_their_own_batch_once_the_old_ones_are_gone(sqlite_world: MakeWorld) -> None:
    """Two old failures, then failures and successes in one transaction."""
    world = sqlite_world(circuits_policy({"scope": TOOLING, "failure_threshold": 1_000_000}))
    world.fail("a", "b")
    names = "fssssffs"
    world.batch(*(checking(f"n{number}") for number in range(len(names))))
    world.batch(*(reviewing(f"n{number}", "failure" if letter == "f" else "success") for number, letter in enumerate(names)))
    assert world.stored(TOOLING).window.failures == 1
    assert_folded(world)


def test_a_reload_to_another_window_counts_from_then_on(sqlite_world: MakeWorld) -> None:
    """A shorter window drops at the next outcome what is too old for it; failures never open what is not in the window."""
    world = sqlite_world(circuits_policy({"scope": TOOLING, "failure_threshold": 4, "window_ms": 100_000}))
    for number in range(3):
        world.fail(f"d{number}")
        world.hand.advance(1_000)
    world.policy = circuits_policy({"scope": TOOLING, "failure_threshold": 4, "window_ms": 1_500})
    world.fail("x")
    assert world.stored(TOOLING).window.failures == 2
    world.policy = circuits_policy({"scope": TOOLING, "failure_threshold": 3, "window_ms": 100_000})
    world.fail("y")
    assert world.stored(TOOLING).state is State.OPEN
    assert_folded(world)


def test_a_policy_that_begins_to_decrement_takes_off_the_oldest_held_failure(sqlite_world: MakeWorld) -> None:
    """Failures that were counted under `none` are there for `decrement`."""
    world = sqlite_world(circuits_policy({"scope": TOOLING, "failure_threshold": 100, "on_success": "none"}))
    world.fail("a", "b", "c")
    world.policy = circuits_policy({"scope": TOOLING, "failure_threshold": 100, "on_success": "decrement"})
    world.check("s")
    world.review("s", "success")
    assert world.stored(TOOLING).window.failures == 2
    assert_folded(world)


def test_pruning_keeps_windows_and_amendments_right(sqlite_world: MakeWorld) -> None:
    """Old lines go, those of the window and of the last snapshot stay, and the circuit goes on as if nothing had happened."""
    world = sqlite_world(circuits_policy({"scope": TOOLING, "failure_threshold": 1_000_000, "window_ms": 5_000}))
    chance = random.Random(3)
    for _ in range(30):
        busy(world, 30, chance)
        world.hand.advance(400)
    before = world.hand.now() - 3_000
    whole = world.log(TOOLING)
    while world.do(world.store.prune_decisions("default", before)):
        pass
    while world.do(world.store.prune_log(before, ("default", TOOLING))):
        pass
    kept = world.log(TOOLING)
    assert 0 < len(kept) < len(whole)
    assert kept == whole[-len(kept) :]
    settings, now = world.settings_on_record(), world.hand.now()
    expected = replace(folded(whole, settings, world.settings(TOOLING), now), scope=TOOLING)
    assert comparable(world.seen(TOOLING)) == comparable(expected)
    reviewed = {entry.decision_id: entry.seq for entry in whole}
    remaining = [id for id in reviewed if id is not None and world.decision(id) is not None]
    oldest = min(remaining, key=lambda id: reviewed[id])
    world.review(oldest, "abandoned", "critical", amend=True)
    abandoned = {"outcome": Outcome.ABANDONED, "failed": False, "weight": 0}
    changed = [replace(entry, **abandoned) if entry.decision_id == oldest else entry for entry in whole]  # type: ignore[arg-type]  # by name
    again = replace(folded(changed, settings, world.settings(TOOLING), now), scope=TOOLING)
    assert comparable(world.seen(TOOLING)) == comparable(again)


def test_pruning_keeps_the_line_that_carries_the_last_snapshot(sqlite_world: MakeWorld) -> None:
    """Even when that very line cleared the window, so that no line up to it counts any more."""
    world = sqlite_world(circuits_policy({"scope": TOOLING, "failure_threshold": 1_000_000}))
    world.batch(*(checking(f"d{number}") for number in range(255)))
    world.batch(*(reviewing(f"d{number}", "failure") for number in range(255)))
    world.reset(TOOLING)
    generation = world.stored(TOOLING).generation
    world.hand.advance(10)
    before = world.hand.now()
    world.fail("later")
    while world.do(world.store.prune_log(before, ("default", TOOLING))):
        pass
    world.review("later", "partial", amend=True)
    assert world.stored(TOOLING).generation == generation
    assert world.stored(TOOLING).seq == 257
