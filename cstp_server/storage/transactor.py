"""The one transaction boundary: many calls, one transaction, one commit, and only then the answers.

A thread of its own drains the calls that wait. It loads the needs of all of them, hands each in turn to its pure `decide`, writes what they
decided in bulk, and commits; everyone who waited shares the price of the commit. A call whose decision faults is taken out and the rest is
carried out anew; a batch that the database refuses as a whole is carried out call by call, so that one call's rows cannot fail another's.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from cstp_server.clock import Clock
from cstp_server.domain.events import Event
from cstp_server.domain.refusals import Overloaded, Refusal, StoreUnavailable, Unauthorized
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Needs, UseCase
from cstp_server.storage import tables
from cstp_server.storage.engine import DATABASE_TIME, current_time, is_sqlite
from cstp_server.storage.loading import CircuitCache, Loader, TenantView
from cstp_server.storage.tokens import TOKENS_VERSION, Tokens
from cstp_server.storage.writing import Writer

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_ATTEMPTS = 5
_MOST_ROUNDS = 4
_RETRIED_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock


class Gauges(Protocol):
    """Who wants to know how the transactor is doing."""

    def committed(self, calls: int) -> None:
        """So many calls shared a transaction."""
        ...

    def queued(self, depth: int) -> None:
        """So many calls wait now."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls may wait, how many share a transaction, and how long one may wait, in ms."""

    queue: int = 10_000
    batch: int = 256
    deadline_ms: int = 5_000


@dataclass(slots=True)
class Job:
    """A call that waits. `result` is an answer or the exception that the caller gets."""

    use_case: UseCase[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    deadline: float
    result: Any = None


@dataclass(frozen=True, slots=True)
class Faulted(Exception):
    """A call's own code raised: a fault of ours, and nothing of that call is carried out."""

    job: Job
    cause: Exception


class BatchTransactor:
    """Carries out use cases for one process (`services.ports.Transactor`)."""

    def __init__(
        self,
        engine: Engine,
        policy: Callable[[], Policy],
        clock: Clock,
        tokens: Tokens,
        gauges: Gauges,
        limits: Limits = Limits(),
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._clock = clock
        self._tokens = tokens
        self._gauges = gauges
        self._limits = limits
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="transactor", daemon=True)
        self._accepting = False
        self._connection: Connection | None = None
        self._cache = CircuitCache()
        self._known_settings: set[str] = set()
        self._last_now = 0
        self._committing = False
        self.on_versions: Callable[[dict[str, int]], None] = lambda _versions: None
        """Called in the transactor's thread with the versions that a batch saw."""
        self.on_committed: Callable[[Sequence[Event]], None] = lambda _events: None
        """Called in the transactor's thread with the events of a batch, once they are durable."""

    def start(self) -> None:
        """Begin to carry out calls."""
        self._accepting = True
        self._thread.start()

    def stop(self) -> None:
        """Carry out what waits, then end."""
        self._accepting = False
        self._queue.put(None)
        self._thread.join()

    async def run(self, use_case: UseCase[T]) -> T | Refusal:
        """The use case's answer, once what it says is durable. Raises `StoreUnavailable` or `Overloaded`."""
        if not self._accepting or self._queue.qsize() >= self._limits.queue:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | Refusal] = loop.create_future()
        self._queue.put(Job(use_case, future, loop, self._clock.monotonic() + self._limits.deadline_ms / 1000))
        return await future

    def _work(self) -> None:
        ended = False
        while not ended:
            first = self._queue.get()
            jobs, ended = self._drain(first)
            if jobs:
                self._carry_out(jobs, self._clock.monotonic())
                self._answer(jobs)
                self._gauges.committed(len(jobs))
                self._gauges.queued(self._queue.qsize())
        self._disconnect()

    def _drain(self, first: Job | None) -> tuple[list[Job], bool]:
        jobs: list[Job] = []
        job = first
        while job is not None:
            jobs.append(job)
            if len(jobs) >= self._limits.batch:
                return jobs, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _carry_out(self, jobs: Sequence[Job], now: float) -> None:
        waiting = []
        for job in jobs:
            if job.deadline < now or job.future.cancelled():
                job.result = Overloaded()
            else:
                waiting.append(job)
        if not waiting:
            return
        try:
            self._attempt(waiting)
        except Exception as fault:  # noqa: BLE001 - whatever it is, everyone must get an answer and the thread must live on
            _log.error("transactor_faulted", exc_info=fault)
            self._disconnect()
            for job in waiting:
                job.result = StoreUnavailable()

    def _attempt(self, jobs: list[Job]) -> None:
        """Carry out a batch, however often it takes; one that cannot be carried out as a whole is carried out call by call."""
        for _ in range(_ATTEMPTS):
            try:
                self._transact(jobs)
                return
            except Faulted as fault:
                _log.error("call_faulted", use_case=type(fault.job.use_case).__name__, exc_info=fault.cause)
                fault.job.result = fault.cause
                jobs = [job for job in jobs if job is not fault.job]
                if not jobs:
                    return
            except SQLAlchemyError as error:
                self._disconnect()
                if not self._may_retry(error):
                    self._give_up(jobs, error)
                    return
        self._one_by_one(jobs)

    def _may_retry(self, error: SQLAlchemyError) -> bool:
        """Whether the same batch may go through the next time, and has certainly not gone through this time.

        Another process may have stored the same decision first, or held rows in the other order; a connection may have been dead
        before the transaction began. What happened to a commit that got no answer, nobody knows: the caller asks again.
        """
        if self._committing:
            return False
        if isinstance(error, IntegrityError):
            return True
        return isinstance(error, DBAPIError) and (error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _RETRIED_STATES)

    def _give_up(self, jobs: list[Job], error: SQLAlchemyError) -> None:
        if len(jobs) > 1 and isinstance(error, DataError):
            self._one_by_one(jobs)
            return
        _log.error("store_unavailable", calls=len(jobs), exc_info=error)
        for job in jobs:
            job.result = StoreUnavailable()

    def _one_by_one(self, jobs: list[Job]) -> None:
        if len(jobs) == 1:
            jobs[0].result = StoreUnavailable()
            return
        for job in jobs:
            self._attempt([job])

    def _transact(self, jobs: Sequence[Job]) -> None:
        connection = self._connected()
        results: list[Any] = []
        self._committing = False
        with connection.begin():
            versions, now = self._begin(connection)
            self.on_versions(versions)
            loader = Loader(connection, self._cache, len(jobs))
            writer = Writer(connection, loader.loaded, self._known_settings)
            batch = Batch(self._policy(), loader, writer, self._tokens, versions[TOKENS_VERSION])
            batch.load(jobs)
            # whoever held the locks before has written earlier times than those after them
            now = max(current_time(connection, self._clock), now) if loader.loaded.locked else now
            loader.load_pasts(batch.needs(jobs), now)
            results.extend(batch.decide(job, now) for job in jobs)
            writer.flush()
            self._committing = True
        self.on_committed(writer.written)
        self._last_now = max(self._last_now, now)
        self._known_settings |= writer.new_settings
        for job, result in zip(jobs, results, strict=True):
            job.result = result

    def _begin(self, connection: Connection) -> tuple[dict[str, int], int]:
        rows = connection.execute(_VERSIONS_AND_TIME if not is_sqlite(connection) else _VERSIONS).all()
        versions = {row.name: row.value for row in rows}
        now = rows[0].now if rows and not is_sqlite(connection) else self._clock.now()
        return versions, max(now, self._last_now)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except SQLAlchemyError:
                connection.invalidate()

    def _answer(self, jobs: Sequence[Job]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in jobs:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, answered in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everyone who waited
                loop.call_soon_threadsafe(_settle, answered)


class Batch:
    """The use cases of one transaction."""

    def __init__(self, policy: Policy, loader: Loader, writer: Writer, tokens: Tokens, tokens_version: int) -> None:
        self._policy = policy
        self._loader = loader
        self._writer = writer
        self._tokens = tokens
        self._tokens_version = tokens_version

    def load(self, jobs: Sequence[Job]) -> None:
        """Read what all of them need, until none needs more."""
        for _ in range(_MOST_ROUNDS):
            wanted = [found for found in self.needs(jobs) if self._loader.missing_rows(*found)]
            if not wanted:
                return
            self._loader.load_rows(wanted)

    def needs(self, jobs: Sequence[Job]) -> list[tuple[str, Needs]]:
        """What each of them needs, as far as is known by now."""
        return [(job.use_case.tenant, self._needs(job)) for job in jobs]

    def decide(self, job: Job, now: int) -> Any:
        """One use case's answer; its changes are there for the next one."""
        use_case = job.use_case
        caller = use_case.caller
        if caller is not None and not self._tokens.is_valid_at(caller, self._tokens_version, self._loader.connection):
            return Unauthorized("the token was revoked")
        self._complete(job, now)
        try:
            decided = use_case.decide(self._policy, TenantView(self._loader.loaded, use_case.tenant), now)
        except Exception as fault:  # one call's fault must not undo the others' changes
            raise Faulted(job, fault) from fault
        if self._writer.apply(use_case.tenant, decided):
            self._writer.flush()
            for changed in decided.circuits:
                self._loader.forget_past((use_case.tenant, changed.circuit.scope))
        return decided.answer

    def _complete(self, job: Job, now: int) -> None:
        """Read what this use case needs only since an earlier one of the batch changed something."""
        for _ in range(_MOST_ROUNDS):
            found = (job.use_case.tenant, self._needs(job))
            if not self._loader.missing(*found):
                return
            if any(need.log_from is not None for need in found[1].circuits.values()):
                self._writer.flush()
            self._loader.load_rows([found])
            self._loader.load_pasts([found], now)
            self._loader.load_logs([found])

    def _needs(self, job: Job) -> Needs:
        try:
            return job.use_case.needs(self._policy, TenantView(self._loader.loaded, job.use_case.tenant))
        except Exception as fault:  # one call's fault must not undo the others' changes
            raise Faulted(job, fault) from fault


def _settle(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if isinstance(job.result, Exception):
            job.future.set_exception(job.result)
        else:
            job.future.set_result(job.result)


_VERSIONS = select(tables.versions.c.name, tables.versions.c.value)
_VERSIONS_AND_TIME = _VERSIONS.add_columns(DATABASE_TIME)
