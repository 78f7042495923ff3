"""One suite for both databases."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cstp_server.clock import Clock
from cstp_server.policy.compiled import Policy
from cstp_server.storage.engine import database_url as url_of
from cstp_server.storage.migrating import upgrade
from tests.services.world import World

MakeWorld = Callable[..., World]
"""`make_world(policy, clock=None)`: a store on a new database, or on the one of the world given as `beside`."""


@pytest.fixture
def make_world(server_url: str) -> Iterator[MakeWorld]:
    """Makes worlds, on each kind of database in turn."""
    with ExitStack() as stack:
        if server_url.startswith("sqlite"):
            upgrade(url_of(server_url))

        def make(policy: Policy, clock: Clock | None = None) -> World:
            world = World(server_url, policy, clock)
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture
def sqlite_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Makes worlds on SQLite, where the clock is the test's own."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'hand.db'}"
        upgrade(url_of(url))

        def make(policy: Policy, clock: Clock | None = None) -> World:
            world = World(url, policy, clock)
            stack.callback(world.close)
            return world

        yield make
