"""Duties that one process at a time has, on both databases: another takes over when the holder leaves it, or does not keep it."""

import threading
import time

from cstp_server.services.ports import Duty
from tests.services.world import World, policy_of
from tests.storage.conftest import MakeWorld

LONG_MS = 60_000


def take(world: World, holder: str, ms: int = LONG_MS, name: str = "work") -> Duty | None:
    return world.do(world.store.duties.take(name, holder, ms))


def keep(world: World, holder: str, progress: str, ms: int = LONG_MS) -> bool:
    return world.do(world.store.duties.keep("work", holder, ms, progress))


def test_one_process_at_a_time_has_a_duty(make_world: MakeWorld) -> None:
    """It may take it again and again; another duty is another one."""
    one, two = make_world(policy_of()), make_world(policy_of())
    for _ in range(2):
        taken = take(one, "one")
        assert taken is not None
        assert taken.progress == ""
        assert abs(taken.now - one.time()) < LONG_MS
        assert take(two, "two") is None
    assert take(two, "two", name="other work") is not None


def test_who_takes_over_goes_on_where_the_other_stopped(make_world: MakeWorld) -> None:
    """Once the time is up in which the holder has not kept it, whose word then counts no more."""
    one, two = make_world(policy_of()), make_world(policy_of())
    take(one, "one")
    assert keep(one, "one", "page 7", ms=1)
    time.sleep(0.01)  # the database's own time
    one.hand.advance(10)
    two.hand.advance(10)
    taken = take(two, "two")
    assert taken is not None
    assert taken.progress == "page 7"
    assert not keep(one, "one", "page 8")
    assert take(one, "one") is None
    assert keep(two, "two", "page 9")
    kept = take(two, "two")
    assert kept is not None
    assert kept.progress == "page 9"


def test_a_duty_that_was_left_is_free_at_once(make_world: MakeWorld) -> None:
    """Who does not have it cannot leave it."""
    one, two = make_world(policy_of()), make_world(policy_of())
    take(one, "one")
    two.do(two.store.duties.leave("work", "two"))
    assert take(two, "two") is None
    one.do(one.store.duties.leave("work", "one"))
    assert take(two, "two") is not None


def test_a_clock_that_is_put_back_keeps_nobody_from_a_duty_for_long(sqlite_world: MakeWorld) -> None:
    """Who has died has it for as long as it asked for, twice that at most, and not until that time of the day has come again."""
    world = sqlite_world(policy_of())
    take(world, "one")
    world.hand.advance(-LONG_MS)
    assert take(world, "two") is None
    world.hand.advance(-1)
    assert take(world, "two") is not None
    assert take(world, "one") is None
    assert not keep(world, "one", "page 7")


def test_of_many_who_find_a_duty_free_one_has_it(make_world: MakeWorld) -> None:
    """When nobody has ever had it, and when its time is up."""
    worlds = [make_world(policy_of()) for _ in range(4)]
    for turn in range(3):
        start, taken = threading.Barrier(4), list[str]()

        def race(world: World, holder: str, start: threading.Barrier = start, taken: list[str] = taken) -> None:
            start.wait(20)
            if take(world, holder) is not None:
                taken.append(holder)

        threads = [threading.Thread(target=race, args=(world, f"{turn}-{number}")) for number, world in enumerate(worlds)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(taken) == 1
        worlds[0].do(worlds[0].store.duties.leave("work", taken[0]))
