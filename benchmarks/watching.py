"""Open dashboards, in a process of their own: each holds its stream open and fetches its page anew as `static/dashboard.js` does."""

import asyncio
import multiprocessing
import re
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Literal
from urllib.parse import urlencode

import uvloop

_HOST = "127.0.0.1"
_PAGES = ("/", "/circuits", "/", "/decisions", "/pending", "/", "/agents", "/tripwires", "/", "/events")
"""Who keeps what open: the overview most of all."""
_FRAGMENT = "X-Fragment: live\r\n"
_TOPICS = re.compile(rb'id="live" data-topics="([^"]*)"')
_LONGEST_PAGE = 16 * 1024 * 1024
_Order = Literal["open", "close", "end"]


class NoDashboard(Exception):
    """The service did not answer a dashboard as it should."""


@dataclass(slots=True)
class Watched:
    """What open dashboards got while they were open. `refreshes` are fragments fetched because of a message, `took` how long each was."""

    seconds: float = 0.0
    messages: int = 0
    refreshes: int = 0
    received: int = 0
    took: list[float] = field(default_factory=list)
    cpu: float = 0.0
    """Seconds of CPU time that the dashboards themselves took."""


class Dashboards:
    """So many dashboards, which can be opened and closed again."""

    def __init__(self, orders: Connection) -> None:
        self._orders = orders

    def open(self) -> None:
        """Open them all; each has fetched its page anew once by then."""
        self._order("open")

    def close(self) -> Watched:
        """Close them all; what they got since they were open."""
        watched = self._order("close")
        assert isinstance(watched, Watched)
        return watched

    def _order(self, order: _Order) -> object:
        self._orders.send(order)
        answer = self._orders.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def dashboards(port: int, token: str, count: int) -> Iterator[Dashboards]:
    """So many dashboards that are signed in and closed; gone afterwards."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, port, token, count), daemon=True)
    process.start()
    there.close()
    try:
        yield Dashboards(here)
    finally:
        with suppress(BrokenPipeError):
            here.send("end")
        process.join()


def _serve(orders: Connection, port: int, token: str, count: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_follow(orders, port, token, count))


async def _follow(orders: Connection, port: int, token: str, count: int) -> None:
    """Open and close dashboards as ordered."""
    crowd = _Crowd(port, token, count)
    while (order := await asyncio.to_thread(_next, orders)) != "end":
        try:
            orders.send(await (crowd.open() if order == "open" else crowd.close()))
        except (NoDashboard, OSError, EOFError) as fault:
            orders.send(NoDashboard(str(fault)))


def _next(orders: Connection) -> _Order:
    try:
        order: _Order = orders.recv()
    except EOFError:
        return "end"
    return order


class _Crowd:
    """Everybody who watches."""

    def __init__(self, port: int, token: str, count: int) -> None:
        self._port = port
        self._token = token
        self._count = count
        self._tabs: list[_Tab] = []
        self._watching: list[asyncio.Task[None]] = []
        self._began = self._cpu = 0.0

    async def open(self) -> None:
        """Open all pages, one after the other: people do not open theirs in the same moment."""
        while len(self._tabs) < self._count:
            page = _PAGES[len(self._tabs) % len(_PAGES)]
            self._tabs.append(_Tab(self._port, await _sign_in(self._port, self._token), page))
        self._watching = []
        for tab in self._tabs:
            self._watching.append(asyncio.create_task(tab.watch()))
            await self._unless_broken(tab.is_open.wait())
        watched = Watched()
        for tab in self._tabs:
            tab.watched = watched
        self._began, self._cpu = time.perf_counter(), time.process_time()

    async def close(self) -> Watched:
        """Close them; what they got since all of them were open."""
        watched = self._tabs[0].watched
        watched.seconds, watched.cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        await self._unless_broken(asyncio.sleep(0))
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        return watched

    async def _unless_broken(self, waiting: Coroutine[object, object, object]) -> None:
        """Wait, as long as all pages are as they should be. Raises what is wrong with one."""
        task = asyncio.create_task(waiting)
        await asyncio.wait([task, *self._watching], return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        for watching in self._watching:
            if watching.done():
                watching.result()


async def _sign_in(port: int, token: str) -> str:
    """A session of its own; the cookie that holds it."""
    connection = _Connection(port)
    form = urlencode({"token": token}).encode()
    headers = f"Origin: http://{_HOST}:{port}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
    answer = await connection.ask(f"POST /sign-in HTTP/1.1\r\nHost: {_HOST}:{port}\r\n{headers}\r\n".encode() + form)
    connection.close()
    cookie = re.search(rb"set-cookie: ([^;]+)", answer.head, re.IGNORECASE)
    if answer.status != 303 or cookie is None:
        raise NoDashboard(f"signing in was answered with {answer.status}")
    return cookie[1].decode()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    head: bytes
    body: bytes


class _Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> _Answer:
        """Send a request, and read its answer."""
        reader = await self.send(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length is not None else b""
        return _Answer(int(head.split(b" ", 2)[1]), head, body)

    async def send(self, request: bytes) -> asyncio.StreamReader:
        """Send a request; where its answer comes."""
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self.close()
            self._reader, self._writer = await asyncio.open_connection(_HOST, self._port, limit=_LONGEST_PAGE)
        self._writer.write(request)
        return self._reader

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class _Tab:
    """One page that is kept open."""

    def __init__(self, port: int, cookie: str, page: str) -> None:
        self._port = port
        self._page = page
        self._common = f"HTTP/1.1\r\nHost: {_HOST}:{port}\r\nCookie: {cookie}\r\n"
        self._pages = _Connection(port)
        self._topics: frozenset[bytes] = frozenset()
        self._fetching: asyncio.Task[None] | None = None
        self._again = False
        self.is_open = asyncio.Event()
        self.watched = Watched()

    async def watch(self) -> None:
        """Load the page, listen, and fetch it anew for each message that is about it, until cancelled."""
        self.is_open.clear()
        stream = _Connection(self._port)
        try:
            self._take(await self._get(""))
            reader = await stream.send(f"GET /live {self._common}Accept: text/event-stream\r\n\r\n".encode())
            await self._listen(reader)
        finally:
            stream.close()
            self._pages.close()
            if self._fetching is not None:
                self._fetching.cancel()
                await asyncio.gather(self._fetching, return_exceptions=True)
                self._fetching = None

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        event = b""
        while line := await reader.readline():
            name, _, value = line.rstrip().partition(b": ")
            if name == b"event":
                event = value
            elif name == b"data" and event == b"end":
                break
            elif name == b"data":
                self.watched.messages += 1
                if event == b"hello" or not self._topics.isdisjoint(value.split()):
                    self._refresh()
        raise NoDashboard("a stream has ended")

    def _refresh(self) -> None:
        """Fetch the page anew; what comes meanwhile leads to one more fetch afterwards."""
        if self._fetching is None or self._fetching.done():
            if self._fetching is not None:
                self._fetching.result()
            self._fetching = asyncio.create_task(self._fetch())
        else:
            self._again = True

    async def _fetch(self) -> None:
        while True:
            self._again = False
            began = time.perf_counter()
            answer = await self._get(_FRAGMENT)
            self._take(answer)
            counted = self.watched
            counted.took.append(time.perf_counter() - began)
            counted.refreshes += 1
            counted.received += len(answer.body)
            self.is_open.set()
            if not self._again:
                return

    async def _get(self, headers: str) -> _Answer:
        request = f"GET {self._page} {self._common}{headers}\r\n".encode()
        try:
            return await self._pages.ask(request)
        except (asyncio.IncompleteReadError, ConnectionResetError):  # the server closes what is idle for long, as browsers know
            self._pages.close()
            return await self._pages.ask(request)

    def _take(self, answer: _Answer) -> None:
        topics = _TOPICS.search(answer.body)
        if answer.status != 200 or topics is None:
            raise NoDashboard(f"`{self._page}` was answered with {answer.status}")
        self._topics = frozenset(topics[1].split())
