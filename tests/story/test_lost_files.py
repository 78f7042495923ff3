"""The SQLite file is removed or replaced under the running service: it says no until the right file is there, then goes on by itself."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartServer
from tests.server import RpcError, RunningServer
from tests.story.test_the_loop import wait_for

SECONDS = 20
UNAVAILABLE = (-32012, 503)
UNKNOWN_DECISION = -32007


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the service keeps its data."""
    return tmp_path / "store" / "cstp.db"


@pytest.fixture(params=[1, 2])
def server(request: pytest.FixtureRequest, start_server: StartServer, database: Path) -> RunningServer:
    """The service, alone and with workers."""
    server = start_server(database_url=f"sqlite:///{database}", workers=request.param)
    wait_for(lambda: server.logs.count("startup complete") == request.param, SECONDS)
    return server


def beside(database: Path) -> list[Path]:
    """The write-ahead log and its index."""
    return [database.with_name(f"{database.name}{suffix}") for suffix in ("-wal", "-shm")]


def check(server: RunningServer, id: str) -> bool:
    """One harmless check; whether it is allowed."""
    allowed = server.call("cstp.checkGuardrails", {"action": {"description": "tidy the workshop"}, "decisionId": id})["allowed"]
    return bool(allowed)


def found(server: RunningServer, id: str) -> bool:
    """Whether a decision is on record."""
    try:
        return bool(server.call("cstp.getDecision", {"id": id})["found"])
    except RpcError as error:
        if error.code != UNKNOWN_DECISION:
            raise
        return False


def refusal(server: RunningServer, id: str) -> tuple[int, int]:
    """The code and the HTTP status with which a check is refused, on a connection of its own."""
    params = {"action": {"description": "tidy the workshop"}, "decisionId": id}
    request = {"jsonrpc": "2.0", "id": 1, "method": "cstp.checkGuardrails", "params": params}
    response = httpx.post(f"{server.url}/cstp", json=request, timeout=30, trust_env=False)
    return response.json()["error"]["code"], response.status_code


def readiness(server: RunningServer) -> set[int]:
    """What several connections, and so each worker, say about being ready."""
    return {httpx.get(f"{server.url}/ready", timeout=30, trust_env=False).status_code for _ in range(10)}


def back_up(database: Path, copy: Path) -> None:
    """Copy a database in use, as its operator should."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def test_a_removed_file_means_no_and_the_same_file_put_back_means_yes(server: RunningServer, database: Path) -> None:
    """Nothing is acknowledged meanwhile, no empty file takes its place, `/ready` turns 503, and nothing that was acknowledged is lost."""
    assert check(server, "dec_before")
    away = database.rename(database.with_name("away"))
    assert [refusal(server, f"dec_{number}") for number in range(10)] == [UNAVAILABLE] * 10
    assert readiness(server) == {503}
    assert server.http.get("/health").status_code == httpx.codes.OK
    with pytest.raises(RpcError) as unread:
        found(server, "dec_before")
    assert (unread.value.code, unread.value.status) == UNAVAILABLE
    assert not database.exists()
    told = server.cli("tokens", "create", "bot", "--role", "agent", check=False)
    assert (told.returncode, "is gone" in told.stderr, database.exists()) == (1, True, False)
    away.rename(database)
    wait_for(lambda: readiness(server) == {200}, SECONDS)
    assert all(found(server, "dec_before") for _ in range(10))
    assert check(server, "dec_after")


def test_a_backup_put_in_its_place_is_taken_up(server: RunningServer, database: Path, tmp_path: Path) -> None:
    """What the backup holds is there, what came after it is not, and the tokens are the backup's."""
    check(server, "dec_old")
    back_up(database, tmp_path / "copy")
    check(server, "dec_new")
    for file in (database, *beside(database)):
        file.unlink()
    assert refusal(server, "dec_lost") == UNAVAILABLE
    (tmp_path / "copy").rename(database)
    wait_for(lambda: readiness(server) == {200}, SECONDS)
    for _ in range(10):
        assert [found(server, id) for id in ("dec_old", "dec_new", "dec_lost")] == [True, False, False]
    assert check(server, "dec_next")
    assert all(found(server, "dec_next") for _ in range(10))
    server.restart()
    assert [found(server, id) for id in ("dec_old", "dec_next")] == [True, True]


def test_a_backup_is_not_mixed_with_the_log_of_the_file_before(server: RunningServer, database: Path, tmp_path: Path) -> None:
    """Until the old write-ahead log is removed the answer is no, and the service's log tells what to remove."""
    check(server, "dec_old")
    back_up(database, tmp_path / "copy")
    check(server, "dec_new")
    (tmp_path / "copy").rename(database)
    assert [refusal(server, f"dec_{number}") for number in range(10)] == [UNAVAILABLE] * 10
    assert readiness(server) == {503}
    assert "remove the two" in server.logs
    for file in beside(database):
        file.unlink()
    wait_for(lambda: readiness(server) == {200}, SECONDS)
    assert [found(server, id) for id in ("dec_old", "dec_new", "dec_1")] == [True, False, False]


def test_a_write_ahead_log_that_was_removed_is_saved_by_a_restart(server: RunningServer, database: Path) -> None:
    """Without its log nothing is acknowledged; ended in order, the service writes what was in it to the file."""
    assert check(server, "dec_before")
    for file in beside(database):
        file.unlink()
    assert [refusal(server, f"dec_{number}") for number in range(10)] == [UNAVAILABLE] * 10
    assert readiness(server) == {503}
    server.terminate()
    server.start()
    assert found(server, "dec_before")
    assert check(server, "dec_after")


def test_another_file_opens_no_door(server: RunningServer, database: Path, tmp_path: Path) -> None:
    """A store without tokens in the place of one with them lets nobody in, with an old token or without any."""
    token = server.token("alice", "admin")
    assert server.call("cstp.listGuardrails", token=token)
    other = RunningServer(tmp_path / "other", database_url=f"sqlite:///{tmp_path / 'other.db'}")
    other.directory.mkdir()
    other.cli("db", "upgrade")
    for file in (database, *beside(database)):
        file.unlink()
    (tmp_path / "other.db").rename(database)
    wait_for(lambda: readiness(server) == {200}, SECONDS)
    for presented in (token, None):
        with pytest.raises(RpcError) as refused:
            server.call("cstp.listGuardrails", token=presented)
        assert (refused.value.code, refused.value.status) == (-32001, 401)


def test_an_outage_is_two_lines_of_log(start_server: StartServer, database: Path) -> None:
    """However many calls meet it: one says what is wrong, without a traceback, one that it is over."""
    server = start_server(database_url=f"sqlite:///{database}")
    check(server, "dec_before")
    before = server.logs
    for _ in range(3):
        away = database.rename(database.with_name("away"))
        for number in range(5):
            refusal(server, f"dec_{number}")
        away.rename(database)
        assert check(server, "dec_between")

    later = itertools.count()

    def is_over() -> bool:
        return check(server, f"dec_after_{next(later)}") and "store_available_again" in server.logs

    wait_for(is_over, SECONDS)
    lines = server.logs.removeprefix(before).splitlines()
    assert ["store_unavailable" in lines[0], "store_available_again" in lines[1], len(lines)] == [True, True, 2], lines
    assert "is gone" in lines[0]
