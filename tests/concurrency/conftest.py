"""Several processes of the service on one database."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.concurrency.crowd import POLICY
from tests.concurrency.store import watching
from tests.server import RunningServer
from tests.services.world import World


@pytest.fixture(scope="session")
def policy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy of these tests."""
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY)
    return path


@dataclass(frozen=True, slots=True)
class Pair:
    """Two processes on one database: where they are reached, and what is in it."""

    urls: list[str]
    world: World


@pytest.fixture(scope="module", params=["sqlite-workers", "sqlite-servers", "postgresql-workers", "postgresql-servers"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, policy_file: Path) -> Iterator[Pair]:
    """Two worker processes of one server, and two servers, on each kind of database."""
    kind, arrangement = request.param.split("-")
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if kind == "sqlite":
            url = f"sqlite:///{folder / 'shared.db'}"
        else:
            postgres = request.getfixturevalue("postgres")
            url = postgres.url(stack.enter_context(postgres.database(request.getfixturevalue("postgres_at_head"))))
        servers = [("one", 2)] if arrangement == "workers" else [("one", 1), ("two", 1)]
        running = [
            stack.enter_context(RunningServer(folder / name, database_url=url, config=policy_file, workers=workers))
            for name, workers in servers
        ]
        world = stack.enter_context(watching(url, policy_file))
        yield Pair([server.url for server in running], world)
