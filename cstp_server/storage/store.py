"""The whole store of one process: who writes, who reads, who knows the tokens, and what keeps it in order."""

from collections.abc import Callable, Mapping, Sequence

import structlog
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cstp_server.clock import Clock
from cstp_server.domain.anchors import Anchor, AnchorKind, AuditKeys
from cstp_server.domain.decisions import Decision
from cstp_server.domain.refusals import StoreUnavailable
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import CircuitMark, StoreCounts
from cstp_server.storage import census, maintenance, migrating, pruning, tables, tallies
from cstp_server.storage.calls import Limits
from cstp_server.storage.catalogue import SqlCatalogue
from cstp_server.storage.duties import SqlDuties
from cstp_server.storage.engine import database_file, passing_engine, reading_engine, writing_engine
from cstp_server.storage.journal import Journal, Left, end_lapsed
from cstp_server.storage.loading import Key
from cstp_server.storage.outage import Outage, Side
from cstp_server.storage.outbox import SqlOutbox
from cstp_server.storage.reader import CONNECTIONS, ReadThreads, SqlReader
from cstp_server.storage.sessions import SqlSessions
from cstp_server.storage.tokens import Tokens
from cstp_server.storage.transactor import BatchTransactor, Gauges

_PRUNE_DEADLINE_MS = 60_000
_SEARCHES = 2
"""How many searches there are at once, on connections of their own, so that nothing a call reads waits for them."""
_MOST_SEARCHES = 32
_ANCHOR_INTERVAL_MS = 10_000
_LEFT_SECONDS = 60.0
_log = structlog.get_logger(__name__)


class Store:
    """Everything that a server process needs of its database."""

    def __init__(
        self,
        url: URL,
        policy: Callable[[], Policy],
        clock: Clock,
        gauges: Gauges,
        limits: Limits,
        keys: AuditKeys | None = None,
        anchor_interval_ms: int = _ANCHOR_INTERVAL_MS,
    ) -> None:
        """`keys` seal what is entered of the events' chains in the ledger, at most `anchor_interval_ms` after they were written."""
        self._url = url
        self._clock = clock
        self._keys = keys if keys is not None else AuditKeys()
        self._anchor_interval_ms = anchor_interval_ms
        self._journal = Journal(self._keys)
        self._anchored_at = self._left_at = 0.0
        self._seen_left: Left | None = None
        self._proven: Anchor | None = None
        file, outage = database_file(url), Outage(clock, gauges.store_works)
        self._writing = writing_engine(url, file)
        self._reading = reading_engine(url, CONNECTIONS, file)
        self._searched = reading_engine(url, _SEARCHES, file)
        self._threads = ReadThreads(self._reading, limits.queue, limits.deadline_ms, outage)
        self._searching = ReadThreads(self._searched, _MOST_SEARCHES, limits.deadline_ms, outage, _SEARCHES, search=True)
        self._passing = passing_engine(url, file)
        self._pruning = ReadThreads(self._passing, limits.queue, _PRUNE_DEADLINE_MS, outage, side=Side.WRITING)
        self.reader = SqlReader(self._threads, self._searching, clock)
        self.duties = SqlDuties(self._threads, self._pruning, clock)
        self.outbox = SqlOutbox(self._threads, self._pruning, self.duties, clock)
        self.tokens = Tokens(self._threads, clock)
        self.catalogue = SqlCatalogue(self._threads, self._searching, clock)
        self.sessions = SqlSessions(self._threads, self._pruning)
        self.transactor = BatchTransactor(self._writing, policy, clock, self.tokens, self._journal, gauges, limits, outage)

    def start(self) -> None:
        """Begin to carry out calls."""
        self.transactor.start()

    def stop(self) -> None:
        """Carry out what waits, then let go of every connection."""
        self.transactor.stop()
        self._pruning.stop()
        self._end_chain()
        self._threads.stop()
        self._searching.stop()
        self._reading.dispose()
        self._searched.dispose()
        self._writing.dispose()

    async def anchor(self) -> None:
        """Enter in the ledger how far this process's chain of events has come, if that is due, and where one that it has left ends."""
        now = self._clock.monotonic()
        await self._end_left(now)
        if not self._journal.is_due((now - self._anchored_at) * 1000, self._anchor_interval_ms):
            return
        made = await self._pruning.read(self._journal.anchor, self._clock, AnchorKind.HEAD)
        if made is not None:
            self._journal.anchored(*made)
        self._anchored_at = now

    async def _end_left(self, now: float) -> None:
        """Not at once: the transaction whose end nobody knows may still be about to end."""
        left = self._journal.left()
        if left is None or left is not self._seen_left:
            self._seen_left, self._left_at = left, now
        elif now - self._left_at >= _LEFT_SECONDS:
            await self._pruning.read(self._journal.end_left, self._clock, left)
            self._journal.ended(left)

    async def end_lapsed_chains(self) -> None:
        """End the chains that their processes have left without ending them."""
        while await self._pruning.read(end_lapsed, self._keys, self._clock, self._journal.writer):
            pass

    def _end_chain(self) -> None:
        """Enter where this process's chain ends; where that cannot be done, another process does it in time."""
        try:
            with self._passing.connect() as connection, connection.begin():
                made = self._journal.anchor(connection, self._clock, AnchorKind.END)
        except SQLAlchemyError as error:
            _log.warning("audit_chain_not_ended", reason=type(error).__name__)
            return
        if made is not None:
            self._journal.anchored(*made)

    async def report(self) -> Mapping[str, bool]:
        """Whether the store answers, and whether its schema is the newest."""
        try:
            revision = await self._threads.read(migrating.revision_of)
        except StoreUnavailable:
            return {"store": False, "migrations": False}
        return {"store": True, "migrations": revision == migrating.head()}

    async def due_circuits(self) -> Sequence[Key]:
        """Circuits that time has moved since they were stored."""
        return await self._threads.read(maintenance.due_circuits, self._clock)

    async def due_decisions(self) -> Sequence[Key]:
        """Decisions whose time of waiting is up."""
        return await self._threads.read(maintenance.due_decisions, self._clock)

    async def decisions_by_key(self, keys: Sequence[Key]) -> Mapping[Key, Decision]:
        """Decisions by tenant and id; one that is not there is left out."""
        return await self._threads.read(maintenance.decisions_by_key, keys)

    async def settled_among(self, keys: Sequence[Key]) -> set[Key]:
        """Which of these decisions wait no more, or are not there."""
        return await self._threads.read(maintenance.settled_among, keys)

    async def versions(self) -> Mapping[str, int]:
        """The counters that every process watches."""
        return await self._threads.read(maintenance.versions)

    async def all_circuits(self, after: Key | None, limit: int) -> Sequence[CircuitMark]:
        """Every circuit of every tenant, archived ones too, from the one after `after` on."""
        return await self._threads.read(maintenance.all_circuits, after, limit)

    async def counts(self) -> StoreCounts:
        """What is in the store, over all tenants."""
        return await self._threads.read(census.store_counts)

    async def latest_events(self, limit: int) -> Sequence[maintenance.Happened]:
        """The latest events of all tenants."""
        return await self._threads.read(maintenance.latest_events, limit)

    async def tenants(self) -> Sequence[str]:
        """Every tenant that has decisions."""
        return await self.tenants_in(tables.decisions.name)

    async def tenants_in(self, table: str) -> Sequence[str]:
        """Every tenant that has rows in a table whose key begins with the tenant."""
        return await self._threads.read(maintenance.tenants, table)

    async def chains_to_prune(self, before: int) -> Sequence[str]:
        """The chains that have events from before a time, so long ago that an anchor from before that time covers them."""
        return await self._threads.read(pruning.chains_to_prune, before)

    async def prune_chain(self, chain: str, before: int) -> int:
        """Cut a chain before a time and delete a small batch of what is before the cut; how many. Raises `Unproven`.

        Where the anchor to cut it at cannot be proven, nothing is deleted: else whoever can write to the ledger for a moment could have
        events deleted in such a way that nothing is missing.
        """
        ground = await self._threads.read(pruning.ground_for, chain, before)
        if ground is None:
            return 0
        if ground != self._proven:
            if not await self._is_proven(ground):
                pruning.refuse(ground)
            self._proven = ground
        return await self._pruning.read(pruning.prune_chain, self._keys, self._clock, self._journal.writer, ground)

    async def _is_proven(self, anchor: Anchor) -> bool:
        proven: Anchor | bool = anchor
        while isinstance(proven, Anchor):
            proven = await self._threads.read(pruning.prove, self._keys, proven)
        return proven

    async def tidy_outbox(self, dead_before: int) -> int:
        """Forget a small batch of the alerts that were given up before `dead_before`, and of what is open again; how many."""
        return await self.outbox.tidy(dead_before)

    async def prune_decisions(self, tenant: str, before: int) -> int:
        """Delete a small batch of decisions older than `before` (ms since the epoch); how many."""
        return await self._pruning.read(maintenance.prune_decisions, tenant, before)

    async def usage_subjects(self, after: Key | None, limit: int) -> Sequence[Key]:
        """Every subject that has used something of a quota, by tenant, in order, from the one after `after` on."""
        return await self._threads.read(maintenance.usage_subjects, after, limit)

    async def agents(self, tenant: str, after: str | None, limit: int) -> Sequence[str]:
        """Agents that have decisions, in order, from the one after `after` on."""
        return await self._threads.read(maintenance.agents, tenant, after, limit)

    async def agents_reviewed(self, since: int) -> Sequence[tuple[Key, int]]:
        """Agents of whose decisions any were reviewed since a time, in order, with the time of the last review."""
        return await self._threads.read(maintenance.agents_reviewed, since)

    async def agents_moved_with_decisions(self, tenant: str, since: int, before: int) -> Sequence[str]:
        """Agents that were ever moved, and have decisions from between two times, in order."""
        return await self._threads.read(maintenance.agents_moved_with_decisions, tenant, since, before)

    async def stopped_decisions(self, limit: int) -> Sequence[Key]:
        """Decisions that still wait although their agent was blocked since they began to."""
        return await self._threads.read(maintenance.stopped_decisions, limit)

    async def prune_hits(self, tenant: str, before: int) -> int:
        """Delete a small batch of hits of tripwires from before `before` (ms since the epoch); how many."""
        return await self._pruning.read(maintenance.prune_hits, tenant, before)

    async def prune_habits(self, before: int) -> int:
        """Delete a small batch of the habits that nobody has put on record since `before` (ms since the epoch); how many."""
        return await self._pruning.read(maintenance.prune_habits, before)

    async def merge_tallies(self, before: int) -> int:
        """Make one row each of a few tallies of hours that were over at `before` (ms since the epoch); how many there were."""
        return await self._pruning.read(tallies.merge_tallies, before)

    async def prune_tallies(self, tenant: str, before: int) -> int:
        """Delete a small batch of a tenant's tallies of hours before `before` (ms since the epoch); how many."""
        return await self._pruning.read(tallies.prune_tallies, tenant, before)

    async def prune_log(self, before: int, key: Key) -> int:
        """Delete a small batch of a circuit's log from before `before` that nothing needs any more; how many."""
        return await self._pruning.read(maintenance.prune_log, before, key)
