"""Power cuts, lost databases, shutdowns and floods: what was acknowledged stands, and what was refused did nothing."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.concurrency.crowd import Load, Told, ask, at_once, check, client, review
from tests.concurrency.store import assert_nothing_lost, decisions, watching
from tests.conftest import StartServer
from tests.postgres import Postgres
from tests.server import RunningServer

CLIENTS = 16


def under_load(server: RunningServer, name: str, then: Callable[[Load], None], *, until_broken: bool = True) -> Load:
    """Clients at work, while `then` happens to the service."""
    load = Load(name)
    thread = threading.Thread(target=lambda: asyncio.run(load.run(server.url, CLIENTS, until_broken=until_broken)))
    thread.start()
    try:
        wait_for(lambda: load.told >= 4 * CLIENTS, "the service to get to work")
        then(load)
    finally:
        load.stopping = True
        thread.join(60)
    assert not thread.is_alive()
    return load


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


@pytest.mark.parametrize(("kind", "rounds"), [("sqlite", 20), ("postgresql", 4)])
def test_nothing_acknowledged_is_lost_by_a_kill(
    start_server: StartServer, request: pytest.FixtureRequest, policy_file: Path, kind: str, rounds: int
) -> None:
    """Killed in the middle of its work, again and again: each time all that was told is on record, and the circuit is its log's fold."""
    url: str = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "ready_postgres_url")
    server = start_server(database_url=url, config=policy_file)
    loads = []
    with watching(url, policy_file) as world:
        for number in range(rounds):
            loads.append(under_load(server, f"round{number}", lambda _load: server.kill()))
            assert_nothing_lost(world, loads[-1:] if number % 5 else loads)
            server.start()
        assert_nothing_lost(world, loads)


def test_a_database_that_goes_away_is_refused_and_comes_back_by_itself(
    start_server: StartServer, own_postgres: Postgres, policy_file: Path
) -> None:
    """Refusals with -32012 and HTTP 503 while it is away, answers again without anybody's help, nothing acknowledged lost."""
    with own_postgres.database() as name:
        url = own_postgres.url(name)
        server = start_server(database_url=url, config=policy_file)

        def crash(load: Load) -> None:
            own_postgres.stop(immediate=True)
            wait_for(lambda: len(load.refused) >= CLIENTS, "refusals")
            assert httpx.get(f"{server.url}/ready", trust_env=False, timeout=10).status_code == 503
            assert httpx.get(f"{server.url}/health", trust_env=False, timeout=10).status_code == 200
            own_postgres.start()
            told = load.told
            wait_for(lambda: load.told >= told + 4 * CLIENTS, "the service to recover")

        loads = [under_load(server, f"crash{number}", crash, until_broken=False) for number in range(2)]
        for load in loads:
            assert {(told.code, told.status) for told in load.refused} <= {(-32012, 503), (-32013, 503), (-32007, 200)}
            assert (-32012, 503) in {(told.code, told.status) for told in load.refused}
        with watching(url, policy_file) as world:
            assert_nothing_lost(world, loads)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_that_is_told_to_end_answers_what_it_accepted(
    start_server: StartServer, server_url: str, policy_file: Path, workers: int
) -> None:
    """Whatever is on record after SIGTERM under load was told to the client that asked for it."""
    server = start_server(database_url=server_url, config=policy_file, workers=workers)
    load = under_load(server, "drained", lambda _load: server.terminate())
    with watching(server_url, policy_file) as world:
        assert_nothing_lost(world, [load])
        stored = decisions(world)
        assert set(stored) == set(load.checks)
        assert {id for id, decision in stored.items() if decision.reviewed is not None} == set(load.reviews)


def held(path: Path) -> sqlite3.Connection:
    """The write lock of a SQLite file, held by somebody else."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def flood(server: RunningServer, path: Path, calls: int, release_after: Callable[[list[Told]], bool]) -> list[Told]:
    """So many checks at once while nothing can be written, until `release_after` holds for the answers that came in so far."""

    async def everybody() -> list[Told]:
        lock, answers = held(path), list[Told]()
        async with client() as crowd:

            async def one(number: int) -> None:
                answers.append(await ask(crowd, server.url, check(f"flood-{number}")))

            waiting = [asyncio.create_task(one(0))]
            await asyncio.sleep(0.2)  # the first call is at the lock now, and whoever comes later queues behind it
            waiting += [asyncio.create_task(one(number)) for number in range(1, calls)]
            try:
                async with asyncio.timeout(15):
                    while not release_after(answers):  # noqa: ASYNC110 - what is waited for is any number of other tasks
                        await asyncio.sleep(0.01)
            finally:
                lock.execute("ROLLBACK")
                lock.close()
            await asyncio.gather(*waiting)
        return answers

    return asyncio.run(everybody())


def test_a_flood_beyond_the_queue_is_refused_and_leaves_nothing(start_server: StartServer, tmp_path: Path, policy_file: Path) -> None:
    """With room for eight, most of two hundred are refused with -32013 and HTTP 503 at once; what was accepted is on record, no more."""
    path = tmp_path / "flood.db"
    url = f"sqlite:///{path}"
    server = start_server(database_url=url, config=policy_file, env={"CSTP_QUEUE_LIMIT": "8"})
    told = flood(server, path, 200, lambda answers: len(answers) >= 150)
    refused = [one for one in told if not one.acknowledged]
    assert {(one.code, one.status) for one in refused} == {(-32013, 503)}
    assert len(refused) >= 150
    with watching(url, policy_file) as world:
        assert len(decisions(world)) == sum(one.acknowledged for one in told) > 0
    assert at_once([server.url], [check("afterwards")])[0].acknowledged


def test_a_call_that_waited_too_long_is_refused_and_does_nothing(start_server: StartServer, tmp_path: Path, policy_file: Path) -> None:
    """The deadline passed while somebody else held the store: -32013, and none of them is carried out later.

    Only of a call that was at the lock already nobody knows: it gets -32012, and may have gone through. Where it is work of
    the service's own that was at the lock, there is none.
    """
    path = tmp_path / "late.db"
    url = f"sqlite:///{path}"
    server = start_server(database_url=url, config=policy_file, env={"CSTP_DEADLINE_MS": "500"})
    started = time.monotonic()
    told = flood(server, path, 40, lambda _answers: time.monotonic() > started + 1.5)
    codes = [(one.code, one.status) for one in told]
    at_the_lock = codes.count((-32012, 503))
    assert at_the_lock <= 1
    assert codes.count((-32013, 503)) == len(codes) - at_the_lock == 40 - at_the_lock
    assert at_once([server.url], [review("nobody", "failure")])[0].code == -32007
    with watching(url, policy_file) as world:
        assert set(decisions(world)) <= {"flood-0"}
