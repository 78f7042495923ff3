"""The actors of the demo, whatever the service answers."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cstp_server.client import AsyncClient, Retry
from demo.agents import JOBS, work
from demo.narrator import narrate
from demo.pace import Pace
from demo.people import complain, forgive, operate
from demo.rogue import misbehave
from demo.stage import Stage

_DOWN = b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32012, "message": "the store does not answer"}}'
Actor = Callable[[Stage], Awaitable[None]]


class StoreIsDown(BaseHTTPRequestHandler):
    """A service whose store does not answer."""

    def do_POST(self) -> None:
        """Refuse a call, whatever it is."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(_DOWN)))
        self.end_headers()
        self.wfile.write(_DOWN)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads that."""


@contextmanager
def store_is_down() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), StoreIsDown) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("actor", [partial(work, job=JOBS[0]), misbehave, operate, forgive, complain, narrate])
def test_an_actor_whose_calls_fail_tells_and_goes_on(actor: Actor) -> None:
    """A service that answers nothing but errors ends nobody's part, and leads to no rush of calls without a pause."""
    told: list[str] = []
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    async def play(url: str) -> None:
        enough = asyncio.Event()

        def tell(line: str) -> None:
            told.append(line)
            if len(told) == 4:
                enough.set()

        async with AsyncClient(url, retry=Retry(attempts=1)) as client:
            stage = Stage(client, client, client, Pace(sleep=sleep), 1, tell)
            acting = asyncio.ensure_future(actor(stage))
            await asyncio.wait({acting, asyncio.ensure_future(enough.wait())}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            assert not acting.done()
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)

    with store_is_down() as url:
        asyncio.run(play(url))
    assert len(told) >= 4
    assert all("the store does not answer" in line for line in told)
    assert len(waits) >= 3
