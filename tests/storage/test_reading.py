"""Reads in threads of their own, as whoever waits for one sees it."""

import asyncio
import threading

import pytest
from sqlalchemy import Connection

from cstp_server.storage.engine import passing_engine
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
