"""Reads that change nothing: on connections of their own, waiting for no writer (`services.ports.Reader`)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from cstp_server.clock import Clock
from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit
from cstp_server.domain.decisions import Decision, Status
from cstp_server.domain.dimension_reviews import DimensionReview
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.postures import AgentPosture, TransitionType
from cstp_server.domain.refusals import Overloaded, SearchTooLong, StoreUnavailable
from cstp_server.domain.trust_scores import Record
from cstp_server.policy.compiled import Policy, SelfReported
from cstp_server.services.ports import CircuitNeed, CircuitRow, DecisionQuery, EventEntry, EventQuery, HitCount, Needs
from cstp_server.storage import census, records, tables
from cstp_server.storage.circuits import circuit_of
from cstp_server.storage.database_file import FileReplaced
from cstp_server.storage.decisions import decision_of
from cstp_server.storage.dimensions import dimension_reviews
from cstp_server.storage.engine import current_time
from cstp_server.storage.events import event_of
from cstp_server.storage.hits import hit_counts
from cstp_server.storage.listing import event_entries
from cstp_server.storage.loading import CircuitCache, Loader
from cstp_server.storage.outage import Outage, Side
from cstp_server.storage.rates import let_through
from cstp_server.storage.tallies import tallies_since
from cstp_server.storage.trouble import is_cancelled, is_spoiled

P = ParamSpec("P")
T = TypeVar("T")
CONNECTIONS = 4
_TRANSITIONS = tuple(
    event_type.value
    for event_type in (
        EventType.CIRCUIT_OPENED,
        EventType.CIRCUIT_HALF_OPENED,
        EventType.CIRCUIT_CLOSED,
        EventType.CIRCUIT_FORCED,
        EventType.CIRCUIT_CLEARED,
        EventType.CIRCUIT_AMENDED,
        EventType.CIRCUIT_ARCHIVED,
    )
)


class ReadThreads:
    """A few threads that read, each call on a connection of its own; no more than `limit` calls wait, none longer than its deadline.

    Those of the writing `side` keep the store in order: each call is a transaction, and what it returns says whether it wrote anything.
    Those that `search` may be asked for more than can be found in time, which says nothing about the store.
    """

    def __init__(
        self,
        engine: Engine,
        limit: int,
        deadline_ms: int,
        outage: Outage,
        threads: int = CONNECTIONS,
        side: Side = Side.READING,
        *,
        search: bool = False,
    ) -> None:
        self._search = search
        self._side = side
        self._engine = engine
        self._outage = outage
        self._limit = limit
        self._deadline = deadline_ms / 1000
        self._waiting = 0
        self._connections = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    async def read(self, work: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work(connection, …)` returns.

        Raises `StoreUnavailable` when the database does not answer in time, which for a search is `SearchTooLong`, and `Overloaded` when
        too many calls wait.
        """
        if self._waiting >= self._limit:
            raise Overloaded
        self._waiting += 1
        try:
            reading = asyncio.get_running_loop().run_in_executor(
                self._threads, copy_context().run, lambda: self._read(work, *args, **kwargs)
            )
            async with asyncio.timeout(self._deadline):  # `wait_for` takes no notice of being cancelled when the answer is just there
                return await reading
        except TimeoutError:
            raise (SearchTooLong if self._search else StoreUnavailable) from None
        finally:
            self._waiting -= 1

    def stop(self) -> None:
        """Wait for what is being read."""
        self._threads.shutdown()

    def _read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            answer = self._insist(work, *args, **kwargs)
        except SQLAlchemyError as error:
            if self._search and is_cancelled(error):
                raise SearchTooLong from error
            self._outage.failed(self._side, error)
            raise StoreUnavailable from error
        if self._side is Side.READING or answer:  # a transaction that had nothing to write proves nothing
            self._outage.worked(self._side)
        return answer

    def _insist(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read, though the file was replaced, which each of the connections notices by itself."""
        for _ in range(self._connections):
            with suppress(FileReplaced):
                return self._attempt(work, *args, **kwargs)
        return self._attempt(work, *args, **kwargs)

    def _attempt(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._engine.connect() as connection:
            try:
                with connection.begin():
                    return work(connection, *args, **kwargs)
            except SQLAlchemyError as error:
                if is_spoiled(error):
                    connection.invalidate()
                raise


class SqlReader:
    """Reads of decisions and circuits; what has no end, on the connections of searches."""

    def __init__(self, threads: ReadThreads, searching: ReadThreads, clock: Clock) -> None:
        self._threads = threads
        self._searching = searching
        self._clock = clock

    async def decision(self, tenant: str, id: str) -> Decision | None:
        """One decision."""
        return await self._threads.read(_decision, tenant, id)

    async def decisions(self, tenant: str, query: DecisionQuery) -> Sequence[Decision]:
        """Decisions that match, newest first."""
        return await self._threads.read(listed_decisions, tenant, query)

    async def circuit(self, tenant: str, scope: str, settings: CircuitSettings) -> CircuitRow:
        """One circuit, as time has left it."""
        return await self._threads.read(_circuit, tenant, scope, settings, self._clock)

    async def circuits(self, tenant: str, policy: Policy, *, after: str | None, prefix: str | None, limit: int) -> Sequence[CircuitRow]:
        """Stored circuits that the policy covers, by scope."""
        return await self._threads.read(_circuits, tenant, policy, after, prefix, limit, self._clock)

    async def hits(self, tenant: str, *, since: int | None, agent: str | None) -> Sequence[HitCount]:
        """How often agents ran into tripwires, by tripwire and agent."""
        return await self._searching.read(hit_counts, tenant, since, agent)

    async def posture(self, tenant: str, agent_id: str) -> AgentPosture | None:
        """The posture of an agent, if it was ever moved."""
        return await self._threads.read(records.posture, tenant, agent_id)

    async def postures(self, tenant: str, agent_ids: Sequence[str]) -> Mapping[str, AgentPosture]:
        """The postures of those of these agents that were ever moved."""
        return await self._threads.read(records.postures, tenant, agent_ids)

    async def last_refusal(self, tenant: str, agent_id: str, actor: str) -> Event | None:
        """The last attempt of that actor to move the agent that was refused."""
        return await self._threads.read(records.last_refusal, tenant, agent_id, actor)

    async def posture_events(self, tenant: str, agent_id: str, limit: int) -> Sequence[Event]:
        """The attempts to move an agent, newest first."""
        return await self._threads.read(records.posture_events, tenant, agent_id, limit)

    async def record(self, tenant: str, agent_id: str, *, since: int, due_before: int, self_reported: SelfReported) -> Record:
        """What is known of an agent's decisions since a time."""
        return await self._threads.read(records.record, tenant, agent_id, since, due_before, self_reported)

    async def records(
        self, tenant: str, agent_ids: Sequence[str], *, since: int, due_before: int, self_reported: SelfReported
    ) -> Mapping[str, Record]:
        """As `record`, of many agents at once."""
        return await self._threads.read(records.records, tenant, agent_ids, since, due_before, self_reported)

    async def event_entries(self, tenant: str, query: EventQuery) -> Sequence[EventEntry]:
        """Events that match, newest first."""
        return await self._threads.read(event_entries, tenant, query)

    async def known_agents(self, tenant: str) -> Mapping[str, AgentPosture | None]:
        """Every agent that has decisions or was ever moved, with its posture if it was."""
        return await self._threads.read(census.known_agents, tenant)

    async def moves(self, tenant: str, *, since: int | None) -> Mapping[TransitionType, int]:
        """How often agents were moved, by type."""
        return await self._threads.read(census.moves, tenant, since)

    async def openings(self, tenant: str, *, since: int | None) -> int:
        """How often circuits opened."""
        return await self._threads.read(census.openings, tenant, since)

    async def tallies(self, tenant: str, *, since: int | None) -> Mapping[str, int]:
        """What was counted by name."""
        return await self._threads.read(tallies_since, tenant, since)

    async def transitions(self, tenant: str, scope: str, limit: int) -> Sequence[Event]:
        """The circuit's transitions, newest first."""
        return await self._threads.read(_transitions, tenant, scope, limit)

    async def let_through(self, tenant: str, agent_id: str, limits: Mapping[str, int]) -> Mapping[str, int]:
        """How many checks of an agent were let through lately, by period."""
        return await self._threads.read(let_through, tenant, agent_id, limits, self._clock)

    async def dimension_reviews(self, tenant: str) -> Sequence[DimensionReview]:
        """The last review of each version of each dimension."""
        return await self._threads.read(dimension_reviews, tenant)


def _decision(connection: Connection, tenant: str, id: str) -> Decision | None:
    table = tables.decisions
    row = connection.execute(select(table).where(table.c.tenant == tenant, table.c.id == id)).one_or_none()
    return decision_of(row) if row is not None else None


def listed_decisions(connection: Connection, tenant: str, query: DecisionQuery) -> Sequence[Decision]:
    """The decisions that match, newest first."""
    table = tables.decisions
    found = select(table).where(table.c.tenant == tenant)
    equal = {"status": query.status, "agent_id": query.agent, "category": query.category, "outcome": query.outcome}
    for name, value in equal.items():
        if value is not None:
            found = found.where(table.c[name] == str(value))
    newest: ColumnElement[Any] = table.c.at
    if query.status is Status.PENDING:
        found = found.where(table.c.due_at.is_not(None))  # few decisions wait, and an index knows them
        newest = table.c.at + 0  # so that they are not looked for among all, in the order of another index
    if query.since is not None:
        found = found.where(table.c.at >= query.since)
    if query.before is not None:
        at, id = query.before
        found = found.where(or_(table.c.at < at, and_(table.c.at == at, table.c.id < id)))
    rows = connection.execute(found.order_by(newest.desc(), table.c.id.desc()).limit(query.limit))
    return [decision_of(row) for row in rows]


def _circuit(connection: Connection, tenant: str, scope: str, settings: CircuitSettings, clock: Clock) -> CircuitRow:
    now = current_time(connection, clock)
    loader = Loader(connection, CircuitCache(), 1)
    loader.read_rows([(tenant, Needs(circuits={scope: CircuitNeed(settings)}))])
    key = (tenant, scope)
    circuit = loader.loaded.circuits[key]
    return CircuitRow(breaker.advance(circuit, settings, loader.past(key, settings, now), now).circuit, now)


def _circuits(
    connection: Connection, tenant: str, policy: Policy, after: str | None, prefix: str | None, limit: int, clock: Clock
) -> Sequence[CircuitRow]:
    now = current_time(connection, clock)
    found: list[CircuitRow] = []
    while len(found) < limit:
        page = _stored(connection, tenant, after, prefix, limit)
        for circuit in page:
            settings = policy.circuits.covering_text(circuit.scope)
            if settings is not None:
                loader = Loader(connection, CircuitCache(), 1)
                loader.loaded.circuits[tenant, circuit.scope] = circuit
                past = loader.past((tenant, circuit.scope), settings, now)
                found.append(CircuitRow(breaker.advance(circuit, settings, past, now).circuit, now))
        if len(page) < limit:
            break
        after = page[-1].scope
    return found[:limit]


def _stored(connection: Connection, tenant: str, after: str | None, prefix: str | None, limit: int) -> Sequence[Circuit]:
    table = tables.circuits
    query: Select[Any] = select(table.c.data).where(table.c.tenant == tenant, table.c.archived_at.is_(None))
    if after is not None:
        query = query.where(table.c.scope > after)
    if prefix:
        query = query.where(table.c.scope.startswith(prefix, autoescape=True))
    return [circuit_of(row.data) for row in connection.execute(query.order_by(table.c.scope).limit(limit))]


def _transitions(connection: Connection, tenant: str, scope: str, limit: int) -> Sequence[Event]:
    table = tables.events
    query = (
        select(table)
        .where(table.c.tenant == tenant, table.c.subject == scope, table.c.type.in_(_TRANSITIONS))
        .order_by(table.c.at.desc(), table.c.id.desc())
        .limit(limit)
    )
    return [event_of(row) for row in connection.execute(query)]
