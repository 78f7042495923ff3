"""Calls on their way to the transactor's thread and back: bounded in number, and none waits longer than its deadline."""

import asyncio
import contextlib
import queue
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, TypeVar

from cstp_server.clock import Clock
from cstp_server.correlation import CURRENT
from cstp_server.domain.refusals import Overloaded, Refusal, StoreUnavailable
from cstp_server.domain.values import dataclass
from cstp_server.services.ports import Needs, UseCase

T = TypeVar("T")
_WATCH_SECONDS = 0.1
_NO_NEEDS = Needs()


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls may wait, how many share a transaction, and how long one may wait, in ms."""

    queue: int = 10_000
    batch: int = 256
    deadline_ms: int = 5_000


@dataclass(slots=True)
class Job:
    """A call on its way. `result` is an answer or the exception that the caller gets; `needs` is what it last asked for.

    `correlation_id` names the request that it is part of.

    Whoever takes the one `ticket` decides: the thread, that the call is carried out; the watch, that it never will be. Once the call is
    answered, nothing is left but that it is.
    """

    use_case: UseCase[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    deadline: float
    correlation_id: str | None = None
    result: Any = None
    needs: Needs = _NO_NEEDS
    ticket: list[None] = field(default_factory=lambda: [None])
    is_answered: bool = False

    def take_ticket(self) -> bool:
        """Whether this was the first to ask for it; safe between threads, since taking from a list is one step."""
        try:
            self.ticket.pop()
        except IndexError:
            return False
        return True

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self.is_answered or self.future.done()

    def settle(self) -> None:
        """Give the caller its result, and let go of all that the call was about.

        The watch keeps the job until its next look, and what is only freed then has long left the processor's caches.
        """
        future, result = self.future, self.result
        self.is_answered = True
        del self.use_case, self.future, self.result, self.needs
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


class Calls:
    """The queue between the event loop that offers calls and the thread that takes them."""

    def __init__(self, clock: Clock, limits: Limits, on_depth: Callable[[int], None]) -> None:
        """`on_depth` is told every 0.1 s, while any do, how many calls wait, and once when none does any more."""
        self._clock = clock
        self._limits = limits
        self._on_depth = on_depth
        self._queue: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._gathered: list[Job] = []
        self._deadlines: deque[Job] = deque()
        self._watching: asyncio.AbstractEventLoop | None = None
        self._open = False
        self.waiting = 0

    def open(self) -> None:
        """Begin to accept calls."""
        self._open = True

    def close(self) -> None:
        """Accept no more; what waits is still to be taken."""
        self._open = False
        self._hand_over()
        self._queue.put(None)

    async def offer(self, use_case: UseCase[T]) -> T | Refusal:
        """The use case's answer. Raises `StoreUnavailable`, or `Overloaded` when too many wait or the deadline passes first."""
        if not self._open or self.waiting >= self._limits.queue:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | Refusal] = loop.create_future()
        job = Job(use_case, future, loop, self._clock.monotonic() + self._limits.deadline_ms / 1000, CURRENT.get())
        self._deadlines.append(job)
        if self._watching is not loop:
            self._watching = loop
            loop.call_later(_WATCH_SECONDS, self._watch, loop)
        if not self.waiting:
            self._queue.put([job])
        else:
            # calls that arrive in one turn of the loop are handed over as one: to wake another thread is dear
            if not self._gathered:
                loop.call_soon(self._hand_over)
            self._gathered.append(job)
        self.waiting += 1
        try:
            return await future
        finally:
            self.waiting -= 1

    def take(self) -> tuple[list[Job], bool]:
        """Everything that waits, once anything does, and whether that was the last of it. Called by the thread."""
        jobs: list[Job] = []
        gathered = self._queue.get()
        while gathered is not None:
            jobs.extend(gathered)
            if len(jobs) >= self._limits.batch:
                return jobs, False
            try:
                gathered = self._queue.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def begin(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that are to be carried out: those whose deadline has not passed. Called by the thread."""
        now = self._clock.monotonic()
        return [job for job in jobs if job.deadline >= now and job.take_ticket()]

    def answer(self, jobs: Sequence[Job]) -> None:
        """Give the jobs their results. Called by the thread."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in jobs:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, answered in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
                loop.call_soon_threadsafe(_settle, answered)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._queue.put(gathered)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse the calls whose deadline has passed, however stuck the thread is; they stand in the order of their deadlines."""
        now, deadlines = self._clock.monotonic(), self._deadlines
        while deadlines and (deadlines[0].is_over or deadlines[0].deadline < now):
            job = deadlines.popleft()
            if not job.is_over:
                job.future.set_exception(Overloaded() if job.take_ticket() else StoreUnavailable())
        self._watching = loop if deadlines else None
        loop.call_soon(self._tell_depth)  # after those whose calls are done have noticed
        if deadlines:
            loop.call_later(_WATCH_SECONDS, self._watch, loop)

    def _tell_depth(self) -> None:
        self._on_depth(self.waiting)


def _settle(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.settle()
