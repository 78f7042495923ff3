"""The one transaction boundary: many calls, one transaction, one commit, and only then the answers.

A thread of its own drains the calls that wait. It loads the needs of all of them, hands each in turn to its pure `decide`, writes what they
decided in bulk, and commits; everyone who waited shares the price of the commit. A call whose decision faults is taken out and the rest is
carried out anew; a batch that the database refuses as a whole is carried out call by call, so that one call's rows cannot fail another's.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from cstp_server.clock import Clock, RisingIds, new_id
from cstp_server.correlation import CURRENT
from cstp_server.domain.events import Event
from cstp_server.domain.refusals import Refusal, StoreUnavailable
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import UseCase
from cstp_server.storage import tables
from cstp_server.storage.batch import Batch, Faulted
from cstp_server.storage.calls import Calls, Job, Limits
from cstp_server.storage.database_file import FileLost, FileReplaced
from cstp_server.storage.engine import DATABASE_TIME, current_time, is_sqlite, verify_file
from cstp_server.storage.journal import Journal
from cstp_server.storage.loading import CircuitCache, Loader
from cstp_server.storage.outage import Outage, Side
from cstp_server.storage.tokens import TOKENS_VERSION, Tokens, stamped
from cstp_server.storage.trouble import is_spoiled
from cstp_server.storage.writing import Pending, Writer

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_ATTEMPTS = 5
_MOST_NAMED = 20
_RETRIED_STATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock


class Gauges(Protocol):
    """Who wants to know how the transactor is doing."""

    def committed(self, calls: int) -> None:
        """So many calls shared a transaction."""
        ...

    def commit_took(self, seconds: float) -> None:
        """A transaction was made durable."""
        ...

    def queued(self, depth: int) -> None:
        """So many calls wait now."""
        ...

    def store_works(self, side: str, works: bool) -> None:
        """The store has begun, or ceased, to do what is asked of it: `reading` or `writing`."""
        ...


class BatchTransactor:
    """Carries out use cases for one process (`services.ports.Transactor`)."""

    def __init__(
        self,
        engine: Engine,
        policy: Callable[[], Policy],
        clock: Clock,
        tokens: Tokens,
        journal: Journal,
        gauges: Gauges,
        limits: Limits,
        outage: Outage,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._clock = clock
        self._tokens = tokens
        self._journal = journal
        self._gauges = gauges
        self._limits = limits
        self._outage = outage
        self._calls = Calls(clock, limits, gauges.queued)
        self._ids = RisingIds(clock)
        self._counts_as = new_id("process")
        self._thread = threading.Thread(target=self._work, name="transactor", daemon=True)
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
        self._calls.open()
        self._thread.start()

    def stop(self) -> None:
        """Carry out what waits, then end."""
        self._calls.close()
        self._thread.join()

    async def run(self, use_case: UseCase[T]) -> T | Refusal:
        """The use case's answer, once what it says is durable. Raises `StoreUnavailable` or `Overloaded`."""
        return await self._calls.offer(use_case)

    def _work(self) -> None:
        ended = False
        while not ended:
            jobs, ended = self._calls.take()
            for start in range(0, len(jobs), self._limits.batch):
                batch = self._calls.begin(jobs[start : start + self._limits.batch])
                if batch:
                    self._carry_out(batch)
                    self._calls.answer(batch)
                    self._gauges.committed(len(batch))
        self._disconnect()

    def _carry_out(self, jobs: list[Job]) -> None:
        try:
            self._attempt(jobs)
        except Exception as fault:  # noqa: BLE001 - whatever it is, everyone must get an answer and the thread must live on
            ids = [job.correlation_id for job in jobs[:_MOST_NAMED] if job.correlation_id is not None]
            _log.error("transactor_faulted", calls=len(jobs), correlation_ids=ids, exc_info=fault)
            if self._committing:
                self._journal.forget()
            self._disconnect()
            if len(jobs) == 1 or self._committing:
                for job in jobs:
                    job.result = StoreUnavailable()
                return
            for job in jobs:  # what cannot be written fails its own call alone
                self._carry_out([job])

    def _attempt(self, jobs: list[Job]) -> None:
        """Carry out a batch, however often it takes; one that cannot be carried out as a whole is carried out call by call."""
        attempts = 0
        while jobs and attempts < _ATTEMPTS:
            try:
                self._transact(jobs)
                return
            except Faulted as fault:
                _log.error(
                    "call_faulted",
                    use_case=type(fault.job.use_case).__name__,
                    correlation_id=fault.job.correlation_id,
                    exc_info=fault.cause,
                )
                fault.job.result = fault.cause
                jobs = [job for job in jobs if job is not fault.job]
            except SQLAlchemyError as error:
                self._recover_from(error)
                if not self._may_retry(error):
                    self._give_up(jobs, error)
                    return
                attempts += 1
        self._journal.forget()  # what stands in the way may be in the next place of its chain
        self._one_by_one(jobs)

    def _may_retry(self, error: SQLAlchemyError) -> bool:
        """Whether the same batch may go through the next time, and has certainly not gone through this time.

        Another process may have stored the same decision first, or held rows in the other order; a connection may have been dead
        before the transaction began. What happened to a commit that got no answer, nobody knows: the caller asks again.
        """
        if self._committing:
            return False
        if isinstance(error, IntegrityError | FileReplaced):
            return True
        return isinstance(error, DBAPIError) and (error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _RETRIED_STATES)

    def _give_up(self, jobs: list[Job], error: SQLAlchemyError) -> None:
        if len(jobs) > 1 and isinstance(error, DataError):
            self._one_by_one(jobs)
            return
        self._outage.failed(Side.WRITING, error)
        for job in jobs:
            job.result = StoreUnavailable()

    def _one_by_one(self, jobs: list[Job]) -> None:
        if len(jobs) == 1:
            jobs[0].result = StoreUnavailable()
            return
        for job in jobs:
            self._attempt([job])

    def _transact(self, jobs: Sequence[Job]) -> None:
        self._committing = False
        CURRENT.set(None)
        connection = self._connected()
        results: list[Any] = []
        with connection.begin():
            started = self._clock.monotonic()
            versions, now = self._begin(connection)
            self._journal.begin(connection, now)
            self._tokens.follow(versions, started)
            self.on_versions(versions)
            policy = self._policy()
            loader = Loader(connection, self._cache, len(jobs))
            writer = Writer(connection, loader.loaded, self._known_settings, self._ids, self._journal, policy.alerts, self._counts_as)
            batch = Batch(policy, loader, writer, self._tokens, versions[TOKENS_VERSION])
            batch.load(jobs)
            # whoever held the locks before has written earlier times than those after them
            now = max(current_time(connection, self._clock), now) if loader.loaded.waited else now
            writer.now = now
            loader.load_pasts([(job.use_case.tenant, job.needs) for job in jobs], now)
            results.extend(batch.decide(job, now) for job in jobs)
            CURRENT.set(None)
            is_proof = self._outage.is_on(Side.WRITING) and writer.pending != Pending()
            writer.flush()
            self._committing = True
            committing = self._clock.monotonic()
        self._gauges.commit_took(self._clock.monotonic() - committing)
        self._journal.commit()
        verify_file(connection)  # what was committed to a file that nobody will find again is not on record
        if is_proof:
            self._outage.worked(Side.WRITING)
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
                versions = {row.name: row.value for row in connection.execute(_VERSIONS)}
                self._versions = versions | {TOKENS_VERSION: stamped(versions[TOKENS_VERSION], connection)}
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
        self._cache.forget()
        self._versions = {}
        self._data_version = None

    def _remember(self, loader: Loader, writer: Writer) -> None:
        """What this transaction read and wrote is what is in the store, as long as no other connection changes the file."""
        if self._data_version is not None:
            self._cache.keep(loader.loaded)
        if writer.bumped:
            self._versions = {}
        self._known_settings |= writer.new_settings

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _recover_from(self, error: SQLAlchemyError) -> None:
        """Begin anew on another connection; but keep the one to a file that is not there: it may come back, and must not be emptied."""
        if self._committing:
            self._journal.forget()
        if isinstance(error, FileLost) and not isinstance(error, FileReplaced):
            self._forget()
            return
        if self._connection is not None and is_spoiled(error):
            self._connection.invalidate()
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._forget()
        self._known_settings.clear()
        if connection is not None:
            try:
                connection.close()
            except SQLAlchemyError:
                connection.invalidate()


_VERSIONS = select(tables.versions.c.name, tables.versions.c.value)
_VERSIONS_AND_TIME = _VERSIONS.add_columns(DATABASE_TIME)
