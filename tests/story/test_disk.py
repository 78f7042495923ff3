"""The disk fails to write, or the database is none: the service says no, and its log and its commands say why."""

import itertools
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartServer
from tests.server import RpcError, RunningServer
from tests.story.test_lost_files import UNAVAILABLE, check, found, refusal
from tests.story.test_the_loop import wait_for

SECONDS = 20


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the service keeps its data."""
    return tmp_path / "store" / "cstp.db"


@contextmanager
def no_room(server: RunningServer, database: Path) -> Iterator[None]:
    """No file of the service can become longer than the write-ahead log is."""
    size = database.with_name(f"{database.name}-wal").stat().st_size
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_two_lines_of_log(start_server: StartServer, database: Path) -> None:
    """Every check is refused while there is no room, reads go on, and the log does not fill the disk further."""
    server = start_server(database_url=f"sqlite:///{database}")
    assert check(server, "dec_before")
    before = server.logs
    with no_room(server, database):
        assert [refusal(server, f"dec_{number}") for number in range(20)] == [UNAVAILABLE] * 20
        assert found(server, "dec_before")
    later = itertools.count()

    def is_over() -> bool:
        return check(server, f"dec_after_{next(later)}") and "store_available_again" in server.logs

    wait_for(is_over, SECONDS)
    lines = server.logs.removeprefix(before).splitlines()
    assert ["store_unavailable" in lines[0], "store_available_again" in lines[1], len(lines)] == [True, True, 2], lines
    assert "SQLITE_" in lines[0]


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database, whatever its name says\n" * 200)


def damage(path: Path) -> None:
    """Spoil every page but the first, so that the file still looks like a database."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))


@pytest.mark.parametrize(("spoil", "cause"), [(overwrite, "not a database"), (damage, "malformed")])
def test_a_damaged_database_is_named_in_the_log(
    start_server: StartServer, database: Path, tmp_path: Path, spoil: Callable[[Path], None], cause: str
) -> None:
    """It takes the place of the good one while the service runs: callers learn only that the store is away, the operator learns why."""
    server = start_server(database_url=f"sqlite:///{database}")
    assert check(server, "dec_before")
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    spoil(copy)
    for file in database.parent.iterdir():
        file.unlink()
    copy.rename(database)
    assert refusal(server, "dec_after") == UNAVAILABLE
    with pytest.raises(RpcError) as refused:
        check(server, "dec_after")
    assert refused.value.data is None or cause not in str(refused.value.data)
    assert server.http.get("/ready").status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert cause in server.logs
    assert "Traceback" not in server.logs


@pytest.mark.parametrize(("spoil", "advice"), [(overwrite, "the file is not a database"), (damage, "the file is damaged")])
def test_a_service_does_not_start_on_a_damaged_database(
    start_server: StartServer, database: Path, spoil: Callable[[Path], None], advice: str
) -> None:
    """The operator is told which file it is and what to do, and every command that needs the file says the same."""
    server = start_server(database_url=f"sqlite:///{database}")
    server.terminate()
    spoil(database)
    assert server.spawn_and_wait() == 1
    assert f"the database `{database}` cannot be used: {advice}" in server.logs
    assert advice in server.cli("tokens", "list", check=False).stderr
    assert "upgrade" not in server.cli("db", "current", check=False).stderr


def test_a_database_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Where the folder is a file, or the file a folder, the reason is told."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "cstp.db", tmp_path / "folder"):
        server = RunningServer(tmp_path / "server", database_url=f"sqlite:///{path}")
        assert server.spawn_and_wait() == 1
        last = server.logs.splitlines()[-1]
        assert last.startswith(f"error: the database `{path}` cannot be "), last


def test_a_postgresql_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    """Host and port are told, and that it is about connecting; the password is not."""
    server = RunningServer(tmp_path / "server", database_url="postgresql://cstp:hunter2@127.0.0.1:9/cstp")
    assert server.spawn_and_wait() == 1
    assert "PostgreSQL at `127.0.0.1:9/cstp` cannot be reached" in server.logs
    assert "hunter2" not in server.logs


def test_a_database_without_schema_is_told_from_one_that_is_away(tmp_path: Path, postgres_url: str) -> None:
    """Only then is `cstp db upgrade` the advice."""
    server = RunningServer(tmp_path / "server", database_url=postgres_url)
    server.directory.mkdir()
    assert "run `cstp db upgrade`" in server.cli("tokens", "list", check=False).stderr
