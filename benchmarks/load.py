"""A light load generator in a process of its own: so many connections, each asking again as soon as it is answered."""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, cast

import uvloop

from benchmarks.bodies import Template, check_templates, review_templates
from benchmarks.processes import CpuTime, busy_seconds, cpu_time

Kind = Literal["check", "named_check", "review"]
_ID_DIGITS = 9
_BODIES = 4096
_EXPECTED: dict[Kind, bytes] = {"check": b'"allowed":', "named_check": b'"allowed":', "review": b'"success":true'}
_CONNECT_SECONDS = 10.0
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask of whom. The measured window begins after `warmup` seconds and lasts `seconds`, or until `most` answers came.

    Named checks and reviews count their decisions up from `first`: `<prefix><nine digits>`.
    """

    port: int
    pid: int
    connections: int
    seconds: float
    kind: Kind = "check"
    path: str = "/cstp"
    token: str | None = None
    warmup: float = 0.5
    most: int | None = None
    prefix: str = "bench-"
    first: int = 0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a plan. Times are in seconds; `unexpected` are answers that were not what was asked for, `lost` broken connections."""

    answers: int
    seconds: float
    allowed: int
    unexpected: int
    lost: int
    latencies: tuple[float, ...]
    server: CpuTime
    generator_cpu: float
    busy: float
    """Seconds that all cores together were busy, whoever used them."""
    asked: int
    """How many requests were sent, warm-up included."""
    example: str = ""
    """The beginning of an unexpected answer."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's CPU time per answer, in microseconds."""
        return self.server.total / max(1, self.answers) * 1e6

    @property
    def loop_us(self) -> float:
        """The part of it that the thread with the event loop took."""
        return self.server.main / max(1, self.answers) * 1e6

    @property
    def generator_us(self) -> float:
        """The generator's own CPU time per answer, in microseconds."""
        return self.generator_cpu / max(1, self.answers) * 1e6

    @property
    def others(self) -> float:
        """How many cores were busy with neither the server nor the generator."""
        return max(0.0, (self.busy - self.server.total - self.generator_cpu) / self.seconds)

    def latency(self, share: float) -> float:
        """The latency that `share` of the answers kept, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Generator:
    """The process that asks; it is kept for several plans."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def run(self, plan: Plan) -> Measured:
        """Carry out a plan."""
        return self._pool.submit(_drive, plan).result()


@contextmanager
def generator() -> Iterator[Generator]:
    """A generator, gone afterwards."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield Generator(pool)


@dataclass(slots=True)
class _Tally:
    """What all connections of a plan share."""

    plan: Plan
    templates: list[Template]
    head: bytes
    expected: bytes
    done: asyncio.Event
    next: int
    deadline: float = float("inf")
    counting: bool = False
    stopped: bool = False
    answers: int = 0
    allowed: int = 0
    unexpected: int = 0
    lost: int = 0
    example: str = ""
    latencies: list[float] = field(default_factory=list)

    def request(self) -> bytes:
        """The next request as it goes over the wire."""
        number = self.next
        self.next += 1
        template = self.templates[number % len(self.templates)]
        if template.tail is None:
            return b"%b%d\r\n\r\n%b" % (self.head, len(template.head), template.head)
        body = b"%b%b%09d%b" % (template.head, self.plan.prefix.encode(), number, template.tail)
        return b"%b%d\r\n\r\n%b" % (self.head, len(body), body)

    def count(self, answer: bytes, latency: float) -> None:
        """Take in one answer."""
        good = answer.startswith(b"HTTP/1.1 200") and self.expected in answer
        if not good:
            self.unexpected += 1
            self.example = self.example or answer[:600].decode(errors="replace")
        if self.counting:
            self.answers += 1
            self.latencies.append(latency)
            if b'"allowed":true' in answer:
                self.allowed += 1
            if self.plan.most is not None and self.answers >= self.plan.most:
                self.stop()

    def stop(self) -> None:
        self.stopped = True
        self.done.set()


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request on its way."""

    def __init__(self, tally: _Tally) -> None:
        self._tally = tally
        self._buffer = b""
        self._missing = 0
        self._sent_at = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's own is one without saying so

    def ask(self) -> None:
        """Send the next request."""
        if self._transport is not None:
            self._sent_at = time.perf_counter()
            self._transport.write(self._tally.request())

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + _length(data, end):
            self._buffer = data
            return
        self._buffer = b""
        now = time.perf_counter()
        self._tally.count(data, now - self._sent_at)
        if now >= self._tally.deadline:
            self._tally.stop()
        if not self._tally.stopped:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        self._transport = None
        if not self._tally.stopped:
            self._tally.lost += 1
            self._tally.stop()


def _length(data: bytes, end: int) -> int:
    """The Content-Length of the answer whose header ends at `end`."""
    head = data[: end + 2].lower()
    at = head.index(b"content-length:") + 15
    return int(head[at : head.index(b"\r\n", at)])


@lru_cache(maxsize=8)
def _templates(kind: Kind, seed: int) -> list[Template]:
    if kind == "review":
        return review_templates(seed, _BODIES)
    return check_templates(seed, _BODIES, named=kind == "named_check")


def _drive(plan: Plan) -> Measured:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(plan))


async def _measure(plan: Plan) -> Measured:
    loop = asyncio.get_running_loop()
    tally = _Tally(plan, _templates(plan.kind, plan.seed), _head(plan), _EXPECTED[plan.kind], asyncio.Event(), plan.first)
    connections: list[_Connection] = []
    for _ in range(plan.connections):
        _, connection = await asyncio.wait_for(
            loop.create_connection(lambda: _Connection(tally), "127.0.0.1", plan.port), timeout=_CONNECT_SECONDS
        )
        connections.append(connection)
    for connection in connections:
        connection.ask()
    if plan.warmup:
        await asyncio.sleep(plan.warmup)
    tally.counting, started, own, server = True, time.perf_counter(), time.process_time(), cpu_time(plan.pid)
    busy = busy_seconds()
    tally.deadline = started + plan.seconds
    with suppress(TimeoutError):
        await asyncio.wait_for(tally.done.wait(), plan.seconds + _PATIENCE_SECONDS)
    tally.stopped = True
    ended, own, server = time.perf_counter(), time.process_time() - own, cpu_time(plan.pid).since(server)
    busy = busy_seconds() - busy
    tally.counting = False
    await _drain(connections)
    return Measured(
        tally.answers,
        ended - started,
        tally.allowed,
        tally.unexpected,
        tally.lost,
        tuple(tally.latencies),
        server,
        own,
        busy,
        tally.next - plan.first,
        tally.example,
    )


async def _drain(connections: list[_Connection]) -> None:
    """Let the last answers come, so that what was asked was carried out."""
    await asyncio.sleep(0.05)
    for connection in connections:
        if connection._transport is not None:
            connection._transport.close()
    await asyncio.sleep(0)


def _head(plan: Plan) -> bytes:
    authorization = f"Authorization: Bearer {plan.token}\r\n" if plan.token is not None else ""
    return (
        f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\n{authorization}Content-Length: "
    ).encode()
