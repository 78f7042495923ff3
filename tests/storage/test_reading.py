"""Reads in threads of their own, as whoever waits for one sees it."""

import asyncio
import threading

import pytest
from sqlalchemy import Connection, text

from cstp_server.clock import SystemClock
from cstp_server.domain.refusals import SearchTooLong, StoreUnavailable
from cstp_server.storage.engine import database_url, passing_engine
from cstp_server.storage.outage import Outage
from cstp_server.storage.reader import ReadThreads
from tests.services.world import policy_of
from tests.storage.conftest import MakeWorld


def test_whoever_is_cancelled_in_the_moment_of_the_answer_is_cancelled(sqlite_world: MakeWorld) -> None:
    """Background work that is told to end just then would go on for ever."""
    world = sqlite_world(policy_of())
    threads = ReadThreads(passing_engine(world.url), 10, 20_000, Outage(world.clock, lambda _side, _works: None))
    entered, leave = threading.Event(), threading.Event()

    def read(_connection: Connection) -> int:
        entered.set()
        assert leave.wait(20)
        return 1

    async def run() -> None:
        task = asyncio.create_task(threads.read(read))
        await asyncio.to_thread(entered.wait, 20)
        leave.set()
        threads.stop()
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    world.do(run())


def test_a_search_that_takes_too_long_is_no_outage(ready_postgres_url: str) -> None:
    """PostgreSQL ends it: who searches is told so, and the store works. What a call reads must be there in time, or the store fails."""
    told: list[tuple[str, bool]] = []
    engine = passing_engine(database_url(ready_postgres_url))

    def search(connection: Connection) -> None:
        connection.execute(text("SET LOCAL statement_timeout = 50"))
        connection.execute(text("SELECT pg_sleep(20)"))

    for is_search, refusal, known in ((True, SearchTooLong, []), (False, StoreUnavailable, [("reading", False)])):
        outage = Outage(SystemClock(), lambda side, works: told.append((side, works)))
        threads = ReadThreads(engine, 10, 20_000, outage, search=is_search)
        with pytest.raises(StoreUnavailable) as failed:
            asyncio.run(threads.read(search))
        assert type(failed.value) is refusal
        assert told == known
        threads.stop()


def test_a_search_whose_time_is_up_says_so(sqlite_world: MakeWorld) -> None:
    """On SQLite nothing ends it but its deadline."""
    world = sqlite_world(policy_of())
    threads = ReadThreads(passing_engine(world.url), 10, 1, Outage(world.clock, lambda _side, _works: None), search=True)
    leave = threading.Event()

    async def run() -> None:
        with pytest.raises(SearchTooLong):
            await threads.read(lambda _connection: leave.wait(20))

    world.do(run())
    leave.set()
    threads.stop()
