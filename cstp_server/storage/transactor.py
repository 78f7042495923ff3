"""The one transaction boundary: many calls, one transaction, one commit, and only then the answers.

A thread of its own drains the calls that wait. It loads the needs of all of them, hands each in turn to its pure `decide`, writes what they
decided in bulk, and commits; everyone who waited shares the price of the commit. A call whose decision faults is taken out and the rest is
carried out anew; a batch that the database refuses as a whole is carried out call by call, so that one call's rows cannot fail another's.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from cstp_server.clock import Clock
from cstp_server.domain.events import Event
from cstp_server.domain.refusals import Overloaded, Refusal, StoreUnavailable, Unauthorized
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import Decided, Needs, UseCase
from cstp_server.storage import tables
from cstp_server.storage.engine import DATABASE_TIME, current_time, is_sqlite
from cstp_server.storage.loading import CircuitCache, Key, Loader, TenantView
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


_NO_NEEDS = Needs()


@dataclass(slots=True)
class Job:
    """A call that waits. `result` is an answer or the exception that the caller gets."""

    use_case: UseCase[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    deadline: float
    result: Any = None
    needs: Needs = _NO_NEEDS


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
        self._queue: queue.SimpleQueue[list[Job] | None] = queue.SimpleQueue()
        self._gathered: list[Job] = []
        self._waiting = 0
        self._thread = threading.Thread(target=self._work, name="transactor", daemon=True)
        self._accepting = False
        self._connection: Connection | None = None
        self._cache = CircuitCache()
        self._known_settings: set[str] = set()
        self._last_now = 0
        self._committing = False
        self._versions: Mapping[str, int] = {}
        self._data_version: int | None = None
        self.on_versions: Callable[[Mapping[str, int]], None] = lambda _versions: None
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
        self._hand_over()
        self._queue.put(None)
        self._thread.join()

    async def run(self, use_case: UseCase[T]) -> T | Refusal:
        """The use case's answer, once what it says is durable. Raises `StoreUnavailable` or `Overloaded`."""
        if not self._accepting or self._waiting >= self._limits.queue:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | Refusal] = loop.create_future()
        job = Job(use_case, future, loop, self._clock.monotonic() + self._limits.deadline_ms / 1000)
        if not self._waiting:
            self._queue.put([job])
        else:
            # calls that arrive in one turn of the loop are handed over as one: to wake another thread is dear
            if not self._gathered:
                loop.call_soon(self._hand_over)
            self._gathered.append(job)
        self._waiting += 1
        try:
            return await future
        finally:
            self._waiting -= 1

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._queue.put(gathered)

    def _work(self) -> None:
        ended = False
        while not ended:
            jobs, ended = self._drain()
            for start in range(0, len(jobs), self._limits.batch):
                batch = jobs[start : start + self._limits.batch]
                self._carry_out(batch, self._clock.monotonic())
                self._answer(batch)
                self._gauges.committed(len(batch))
                self._gauges.queued(self._waiting)
        self._disconnect()

    def _drain(self) -> tuple[list[Job], bool]:
        """Everything that waits, once anything does; and whether that was the last of it."""
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
            _log.error("transactor_faulted", calls=len(waiting), exc_info=fault)
            self._disconnect()
            if len(waiting) == 1 or self._committing:
                for job in waiting:
                    job.result = StoreUnavailable()
                return
            for job in waiting:  # what cannot be written fails its own call alone
                self._carry_out([job], now)

    def _attempt(self, jobs: list[Job]) -> None:
        """Carry out a batch, however often it takes; one that cannot be carried out as a whole is carried out call by call."""
        attempts = 0
        while jobs and attempts < _ATTEMPTS:
            try:
                self._transact(jobs)
                return
            except Faulted as fault:
                _log.error("call_faulted", use_case=type(fault.job.use_case).__name__, exc_info=fault.cause)
                fault.job.result = fault.cause
                jobs = [job for job in jobs if job is not fault.job]
            except SQLAlchemyError as error:
                self._disconnect()
                if not self._may_retry(error):
                    self._give_up(jobs, error)
                    return
                attempts += 1
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
            started = self._clock.monotonic()
            versions, now = self._begin(connection)
            self._tokens.follow(versions, started)
            self.on_versions(versions)
            loader = Loader(connection, self._cache, len(jobs))
            writer = Writer(connection, loader.loaded, self._known_settings)
            batch = Batch(self._policy(), loader, writer, self._tokens, versions[TOKENS_VERSION])
            batch.load(jobs)
            # whoever held the locks before has written earlier times than those after them
            now = max(current_time(connection, self._clock), now) if loader.loaded.locked else now
            loader.load_pasts([(job.use_case.tenant, job.needs) for job in jobs], now)
            results.extend(batch.decide(job, now) for job in jobs)
            writer.flush()
            self._committing = True
        self.on_committed(writer.written)
        self._last_now = max(self._last_now, now)
        self._remember(loader, writer)
        for job, result in zip(jobs, results, strict=True):
            job.result = result

    def _begin(self, connection: Connection) -> tuple[Mapping[str, int], int]:
        """The versions and the time, and whether what is remembered of circuits still holds."""
        if is_sqlite(connection):
            self._forget_if_changed(connection)
            if not self._versions:
                self._versions = {row.name: row.value for row in connection.execute(_VERSIONS)}
            now = self._clock.now()
        else:
            rows = connection.execute(_VERSIONS_AND_TIME).all()
            self._versions, now = {row.name: row.value for row in rows}, rows[0].now
        return self._versions, max(now, self._last_now)

    def _forget_if_changed(self, connection: Connection) -> None:
        """SQLite tells whether another connection has changed the file since; this one holds the write lock, so none can any more."""
        data_version = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
        if data_version != self._data_version:
            self._forget()
            self._data_version = data_version

    def _forget(self) -> None:
        self._cache.current.clear()
        self._versions = {}
        self._data_version = None

    def _remember(self, loader: Loader, writer: Writer) -> None:
        """What this transaction read and wrote is what is in the store, as long as no other connection changes the file."""
        if self._data_version is not None:
            self._cache.keep({**loader.loaded.circuits, **writer.circuits})
        if writer.bumped:
            self._versions = {}
        self._known_settings |= writer.new_settings

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._forget()
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
        self._views: dict[str, TenantView] = {}
        self._changed_decisions: set[Key] = set()
        self._rewritten = False

    def load(self, jobs: Sequence[Job]) -> None:
        """Read what all of them need, until none needs more."""
        asking = jobs
        for _ in range(_MOST_ROUNDS):
            for job in asking:
                self._ask(job)
            asking = [job for job in asking if self._loader.missing_rows(job.use_case.tenant, job.needs)]
            if not asking:
                return
            self._loader.load_rows([(job.use_case.tenant, job.needs) for job in asking])

    def decide(self, job: Job, now: int) -> Any:
        """One use case's answer; its changes are there for the next one."""
        use_case = job.use_case
        caller = use_case.caller
        if caller is not None and not self._tokens.is_valid_at(caller, self._tokens_version, self._loader.connection):
            return Unauthorized("the token was revoked")
        if self._is_overtaken(job):
            self._complete(job, now)
        try:
            decided = use_case.decide(self._policy, self._view(use_case.tenant), now)
        except Exception as fault:  # one call's fault must not undo the others' changes
            raise Faulted(job, fault) from fault
        self._loader.forget_logs()
        self._take_over(use_case.tenant, decided)
        return decided.answer

    def _take_over(self, tenant: str, decided: Decided[Any]) -> None:
        for decision in (decided.new_decision, decided.changed_decision):
            if decision is not None:
                self._changed_decisions.add((tenant, decision.id))
        if self._writer.apply(tenant, decided):
            self._writer.flush()
            for changed in decided.circuits:
                self._loader.forget_past((tenant, changed.circuit.scope))
            self._rewritten = True

    def _is_overtaken(self, job: Job) -> bool:
        """Whether an earlier use case of the batch may have changed what this one needs: its decision, or a log that it reads."""
        if self._rewritten or any((job.use_case.tenant, id) in self._changed_decisions for id in job.needs.decisions):
            return True
        return any(need.log_from is not None for need in job.needs.circuits.values()) if job.needs.decisions else False

    def _complete(self, job: Job, now: int) -> None:
        """Read what this use case needs only since an earlier one of the batch changed something."""
        for _ in range(_MOST_ROUNDS):
            self._ask(job)
            found = (job.use_case.tenant, job.needs)
            if not self._loader.missing(*found):
                return
            if any(need.log_from is not None for need in job.needs.circuits.values()):
                self._writer.flush()
            self._loader.load_rows([found])
            self._loader.load_pasts([found], now)
            self._loader.load_logs([found])

    def _ask(self, job: Job) -> None:
        try:
            job.needs = job.use_case.needs(self._policy, self._view(job.use_case.tenant))
        except Exception as fault:
            raise Faulted(job, fault) from fault

    def _view(self, tenant: str) -> TenantView:
        view = self._views.get(tenant)
        if view is None:
            view = self._views[tenant] = TenantView(self._loader.loaded, tenant)
        return view


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
