"""What the tests share: databases of both kinds, and the service as a process."""

import ipaddress
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres
from tests.server import RunningServer

ROOT = Path(__file__).resolve().parent.parent
StartServer = Callable[..., RunningServer]
"""`start_server(name="server", **arguments of RunningServer)`: one more service, ready, killed at the end of the test."""


def _refuse_the_outside(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host and not _is_local(host):
        raise RuntimeError(f"a test reaches for the network: `{host}`")


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


sys.addaudithook(_refuse_the_outside)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's PostgreSQL server. Tests that stop or restart one take `own_postgres`."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test alone, to stop, restart and crash."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'cstp.db'}"


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    with postgres.database() as name:
        yield postgres.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new, empty database, of each kind in turn."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(scope="session")
def postgres_at_head(postgres: Postgres) -> Iterator[str]:
    """The name of a PostgreSQL database that `cstp db upgrade` has prepared, for making others from."""
    with postgres.database() as name:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "DATABASE_URL": postgres.url(name)}
        done = subprocess.run(
            [sys.executable, "-m", "cstp_server", "db", "upgrade"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"`cstp db upgrade` ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        yield name


@pytest.fixture
def ready_postgres_url(postgres: Postgres, postgres_at_head: str) -> Iterator[str]:
    """The URL of a new PostgreSQL database with the schema at head."""
    with postgres.database(postgres_at_head) as name:
        yield postgres.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def server_url(request: pytest.FixtureRequest) -> str:
    """The URL of a new database that a service can start on at once, of each kind in turn."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "ready_postgres_url")
    return url


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts services; each is killed when the test ends."""
    with ExitStack() as stack:

        def start(name: str = "server", **arguments: Any) -> RunningServer:
            return stack.enter_context(RunningServer(tmp_path / name, **arguments))

        yield start


@pytest.fixture
def server(start_server: StartServer, sqlite_url: str) -> RunningServer:
    """The service with the example policy of `config/`, on SQLite."""
    return start_server(database_url=sqlite_url, config=ROOT / "config")


@pytest.fixture
def server_on_each(start_server: StartServer, server_url: str) -> RunningServer:
    """The service with the example policy of `config/`, on each kind of database in turn."""
    return start_server(database_url=server_url, config=ROOT / "config")
