"""Use cases on SQLite, with a clock of the test's own; on either database where time does not matter."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cstp_server.policy.compiled import Policy
from cstp_server.storage.engine import database_url as url_of
from cstp_server.storage.migrating import upgrade
from tests.services.world import World

MakeWorld = Callable[[Policy], World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes worlds on one new SQLite file."""
    url = f"sqlite:///{tmp_path / 'world.db'}"
    upgrade(url_of(url))
    with ExitStack() as stack:

        def make(policy: Policy) -> World:
            world = World(url, policy)
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture
def each_world(server_url: str) -> Iterator[MakeWorld]:
    """Makes worlds on one new database, of each kind in turn."""
    with ExitStack() as stack:
        if server_url.startswith("sqlite"):
            upgrade(url_of(server_url))

        def make(policy: Policy) -> World:
            world = World(server_url, policy)
            stack.callback(world.close)
            return world

        yield make
