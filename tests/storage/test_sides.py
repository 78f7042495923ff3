"""What does not work is said of the side that does not: reading or writing."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, insert, select, text

from cstp_server.domain.refusals import StoreUnavailable
from cstp_server.storage import tables
from cstp_server.storage.store import Store
from tests.services.world import Unmeasured, World, policy_of
from tests.storage.conftest import MakeWorld


class Seen(Unmeasured):
    """Remembers what it was told of the store's sides."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def store_works(self, side: str, works: bool) -> None:
        self.told.append((side, works))


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(policy_of())


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def store(world: World, seen: Seen) -> Iterator[Store]:
    """The store of one more process."""
    store = Store(world.url, lambda: world.policy, world.clock, seen, world.limits, world.keys)
    store.start()
    yield store
    store.stop()


def fail(connection: Connection) -> None:
    connection.execute(text("DELETE FROM no_such_table"))


def do_nothing(connection: Connection) -> int:
    return len(connection.execute(select(tables.versions)).all()) * 0


def write(connection: Connection) -> int:
    connection.execute(insert(tables.versions).values(name="test", value=1))
    return 1


def test_upkeep_that_cannot_be_done_is_a_store_that_cannot_be_written_to(world: World, store: Store, seen: Seen) -> None:
    """Until something is written again; that there was nothing to do proves nothing."""
    with pytest.raises(StoreUnavailable):
        world.do(store._pruning.read(fail))
    assert seen.told == [("writing", False)]
    world.hand.advance(10_000)
    assert world.do(store._pruning.read(do_nothing)) == 0
    assert seen.told == [("writing", False)]
    assert world.do(store._pruning.read(write)) == 1
    assert seen.told == [("writing", False), ("writing", True)]


def test_a_read_that_fails_is_a_store_that_cannot_be_read(world: World, store: Store, seen: Seen) -> None:
    """Until one works again."""
    with pytest.raises(StoreUnavailable):
        world.do(store._threads.read(fail))
    world.hand.advance(10_000)
    world.do(store._threads.read(do_nothing))
    assert seen.told == [("reading", False), ("reading", True)]
