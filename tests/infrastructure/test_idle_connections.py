"""Connections that are kept between two requests, for as long as uvicorn says, and no longer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from cstp_server.connections import ConnectionLimits, GuardedProtocol

KEPT_SECONDS = 5
REQUEST = b"GET /q%d HTTP/1.1\r\nhost: localhost\r\n\r\n"


class SetLoop(asyncio.SelectorEventLoop):
    """A loop whose time a test moves on."""

    ahead = 0.0

    def time(self) -> float:
        """The loop's time."""
        return super().time() + self.ahead


class Connection(asyncio.Transport):
    """Both ends of one connection, in memory. `gate` holds answers back while it is cleared."""

    def __init__(self, loop: SetLoop) -> None:
        super().__init__()
        self._loop = loop
        self.said = b""
        self.is_closed = False
        self.gate = asyncio.Event()
        self.gate.set()
        config = Config(self._answer, http="httptools", ws="none", lifespan="off", interface="asgi3", access_log=False, log_config=None,
                        timeout_keep_alive=KEPT_SECONDS)  # fmt: skip
        config.load()
        self.protocol = GuardedProtocol(ConnectionLimits(10, 60.0), config, ServerState(), {}, loop)
        self.protocol.connection_made(self)

    async def _answer(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    async def ask(self, *numbers: int) -> None:
        """Send requests, all at once, and let them be answered."""
        self.protocol.data_received(b"".join(REQUEST % number for number in numbers))
        await self.wait(0)

    async def wait(self, seconds: float) -> None:
        """Let so much time pass."""
        self._loop.ahead += seconds
        for _ in range(20):
            await asyncio.sleep(0)

    def write(self, data: Any) -> None:
        """What the service sends."""
        self.said += bytes(data)

    def is_closing(self) -> bool:
        """Whether the service has hung up."""
        return self.is_closed

    def close(self) -> None:
        """Hang up."""
        self.is_closed = True

    def pause_reading(self) -> None:
        """Nothing is read here by itself."""

    def resume_reading(self) -> None:
        """Nothing is read here by itself."""


def _run(test: Callable[[Connection], Coroutine[Any, Any, None]]) -> None:
    loop = SetLoop()

    async def on_connection() -> None:
        await test(Connection(loop))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(on_connection())


def test_a_connection_is_kept_from_its_last_answer_on() -> None:
    """A request within the time starts it anew; once it is over without one, the service hangs up."""

    async def test(connection: Connection) -> None:
        for number in (1, 2, 3):
            await connection.ask(number)
            await connection.wait(KEPT_SECONDS - 1)
            assert connection.said.endswith(b"/q%d" % number)
            assert not connection.is_closed
        await connection.wait(2)
        assert connection.is_closed

    _run(test)


def test_an_answer_that_takes_long_is_not_cut_off() -> None:
    """The time that a request waits for its answer is none in which the connection idles."""

    async def test(connection: Connection) -> None:
        await connection.ask(1)
        connection.gate.clear()
        await connection.ask(2)
        await connection.wait(3 * KEPT_SECONDS)
        assert not connection.is_closed
        connection.gate.set()
        await connection.wait(0)
        assert connection.said.endswith(b"/q2")
        await connection.wait(KEPT_SECONDS - 1)
        assert not connection.is_closed
        await connection.wait(2)
        assert connection.is_closed

    _run(test)


def test_requests_that_come_before_the_answer_are_answered_in_order() -> None:
    """One after the other, and then the connection is kept."""

    async def test(connection: Connection) -> None:
        await connection.ask(1, 2, 3)
        assert [connection.said.count(b"/q%d" % number) for number in (1, 2, 3)] == [1, 1, 1]
        assert connection.said.index(b"/q1") < connection.said.index(b"/q2") < connection.said.index(b"/q3")
        await connection.wait(KEPT_SECONDS - 1)
        assert not connection.is_closed

    _run(test)
