"""Lists, counts and searches for people (`services.catalogue.Catalogue`): each through an index, none longer than its limit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, Select, and_, cast, func, literal, or_, select, union

from cstp_server.clock import Clock
from cstp_server.domain.circuit_state import Entry
from cstp_server.domain.decisions import Decision
from cstp_server.domain.postures import Posture
from cstp_server.domain.tripwire_rules import Per
from cstp_server.domain.tripwires import Hit
from cstp_server.domain.usage import Usage
from cstp_server.policy.compiled import Policy
from cstp_server.services.catalogue import (
    GLANCED,
    CircuitCounts,
    CircuitSearch,
    DecisionPage,
    DecisionSearch,
    EventSearch,
    Glance,
    Hits,
    Seen,
    Told,
    WaitingSearch,
)
from cstp_server.services.notifying import GivenUp
from cstp_server.services.ports import CircuitRow
from cstp_server.storage import browsing, tables
from cstp_server.storage.decisions import decision_of
from cstp_server.storage.engine import is_sqlite
from cstp_server.storage.hits import latest_hits, recent_hits
from cstp_server.storage.outbox import given_up
from cstp_server.storage.reader import ReadThreads
from cstp_server.storage.selecting import KeyedSelect
from cstp_server.storage.telling import told_events
from cstp_server.storage.usage import usage_of
from cstp_server.storage.waiting import waiting_counts, waiting_decisions

_DECISIONS = KeyedSelect(tables.decisions, "id")
_USAGE = KeyedSelect(tables.usage, "subject")


class SqlCatalogue:
    """Looks things up on the connections that reads have; what takes a look at many rows, on a few of its own."""

    def __init__(self, threads: ReadThreads, searching: ReadThreads, clock: Clock) -> None:
        self._threads = threads
        self._searching = searching
        self._clock = clock

    async def circuit_counts(self, tenant: str, policy: Policy) -> CircuitCounts:
        """How many circuits are in each state."""
        return await self._threads.read(browsing.circuit_counts, tenant, policy, self._clock)

    async def circuits(self, tenant: str, policy: Policy, search: CircuitSearch) -> Sequence[CircuitRow]:
        """Stored circuits that the policy covers and that match, by scope."""
        return await self._threads_for(search.text is not None).read(browsing.circuits, tenant, policy, search, self._clock)

    async def stored(self, tenant: str, scopes: Sequence[str]) -> frozenset[str]:
        """Which of these circuits are stored."""
        return await self._threads.read(browsing.are_stored, tenant, scopes)

    async def outcomes(self, tenant: str, lasts: Mapping[str, int], limit: int) -> Mapping[str, Sequence[Entry]]:
        """The latest outcomes of some circuits, oldest first."""
        return await self._threads.read(browsing.latest_outcomes, tenant, lasts, limit)

    async def search(self, tenant: str, search: DecisionSearch) -> DecisionPage:
        """Decisions that match."""
        return await self._threads_for(search.picks).read(_search, tenant, search)

    async def decisions_of(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Decision]:
        """Decisions by id."""
        return await self._threads.read(_decisions_of, tenant, ids)

    async def glance(self, tenant: str, since: int, limit: int) -> Glance:
        """The latest decisions since a time."""
        return await self._threads.read(_glance, tenant, since, limit)

    async def waiting(self, tenant: str) -> Mapping[str, int]:
        """How many decisions wait, by what for."""
        return await self._threads.read(waiting_counts, tenant)

    async def waiting_decisions(self, tenant: str, search: WaitingSearch) -> Sequence[Decision]:
        """The decisions that wait and match."""
        return await self._threads.read(waiting_decisions, tenant, search)

    async def hits(self, tenant: str, *, since: int, agent: str | None, limit: int) -> Hits:
        """How often agents ran into tripwires since a time, as far as that is counted."""
        return await self._threads_for(limit > GLANCED).read(recent_hits, tenant, since, agent, limit)

    async def hits_of(self, tenant: str, agent_id: str, since: int, limit: int) -> Sequence[Hit]:
        """The latest times that an agent ran into a tripwire."""
        return await self._threads.read(latest_hits, tenant, agent_id, since, limit)

    async def events(self, tenant: str, search: EventSearch) -> Sequence[Told]:
        """Events that match, newest first."""
        return await self._threads.read(told_events, tenant, search)

    async def agents(
        self, tenant: str, *, text: str | None, posture: Posture | None, after: str | None, limit: int
    ) -> Mapping[str, int | None]:
        """Agents by id, with the time of their last decision."""
        return await self._threads_for(text is not None).read(listed_agents, tenant, text, posture, after, limit)

    async def posture_counts(self, tenant: str) -> Mapping[str, int]:
        """How many agents that were ever moved are in each posture."""
        return await self._threads.read(_posture_counts, tenant)

    async def given_up(self, tenant: str, channels: Iterable[str]) -> Sequence[GivenUp]:
        """What was given up of the tenant's alerts on some channels."""
        return await self._threads.read(given_up, tenant, channels)

    async def usages(self, tenant: str, subjects: Sequence[str]) -> Mapping[str, Usage]:
        """What some subjects have used."""
        return await self._threads.read(_usages, tenant, subjects)

    async def usages_per(self, tenant: str, per: Per, limit: int) -> Mapping[str, Usage]:
        """What the first subjects of a kind have used."""
        return await self._threads.read(_usages_per, tenant, per, limit)

    def _threads_for(self, searches: bool) -> ReadThreads:
        return self._searching if searches else self._threads


def _search(connection: Connection, tenant: str, search: DecisionSearch) -> DecisionPage:
    table = tables.decisions
    search = search if search.picks else replace(search, scans=search.limit + 1)
    scanned = _scanned(tenant, search).subquery()
    matches = [
        scanned.c[name] == str(value)
        for name, value in {
            "status": search.status,
            "category": search.category,
            "outcome": search.outcome,
            "intervention": search.intervention,
        }.items()
        if value is not None
    ]
    declared = {"type": search.type, "stakes": search.stakes}
    matches += [_declared(connection, scanned.c.facts, name) == str(value) for name, value in declared.items() if value is not None]
    if search.text:
        matches.append(or_(scanned.c.facts.icontains(_as_stored(search.text), autoescape=True), scanned.c.id == search.text))
    query = select(scanned).where(*matches).order_by(scanned.c.at.desc(), scanned.c.id.desc()).limit(search.limit + 1)
    rows = connection.execute(query).all()
    decisions = [decision_of(row) for row in rows[: search.limit]]
    if len(rows) > search.limit:
        return DecisionPage(decisions, (decisions[-1].at, decisions[-1].id), is_full=True)
    ids = _scanned(tenant, search).with_only_columns(table.c.at, table.c.id).offset(search.scans - 1).limit(1)
    last = connection.execute(ids).one_or_none()
    return DecisionPage(decisions, (last.at, last.id) if last is not None else None, is_full=last is None)


def _scanned(tenant: str, search: DecisionSearch) -> Select[Any]:
    """The decisions to look through: a stretch of an index, so that what is rare costs no more than what is common."""
    table = tables.decisions
    query = select(table).where(table.c.tenant == tenant)
    if search.agent is not None:
        query = query.where(table.c.agent_id == search.agent)
    if search.since is not None:
        query = query.where(table.c.at >= search.since)
    if search.until is not None:
        query = query.where(table.c.at < search.until)
    if search.before is not None:
        at, id = search.before
        query = query.where(table.c.at <= at, or_(table.c.at < at, table.c.id < id))
    return query.order_by(table.c.at.desc(), table.c.id.desc()).limit(search.scans)


def _declared(connection: Connection, facts: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """A text among the facts of an action."""
    return func.json_extract(facts, f"$.{name}") if is_sqlite(connection) else cast(facts, JSON)[name].as_string()


def _as_stored(text: str) -> str:
    """The text as it stands within a JSON document."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _decisions_of(connection: Connection, tenant: str, ids: Sequence[str]) -> Mapping[str, Decision]:
    return {row.id: decision_of(row) for row in _DECISIONS.rows(connection, tenant, ids, lock=False)}


def _glance(connection: Connection, tenant: str, since: int, limit: int) -> Glance:
    table = tables.decisions
    query = (
        select(table.c.at, table.c.agent_id, table.c.status, table.c.intervention, table.c.outcome)
        .where(table.c.tenant == tenant, table.c.at >= since)
        .order_by(table.c.at.desc(), table.c.id.desc())
        .limit(limit + 1)
    )
    seen = [Seen(*row) for row in connection.execute(query)]
    return Glance(seen[:limit], len(seen) <= limit)


def listed_agents(
    connection: Connection, tenant: str, text: str | None, posture: Posture | None, after: str | None, limit: int
) -> Mapping[str, int | None]:
    """The agents that match, by id: one index look-up for each, and not one for each of its decisions or for those behind the last."""
    first = None if text else limit
    standing = _standing(tenant, posture, after, first)
    every = (standing if posture is not None else union(_deciding(tenant, after, first), standing)).subquery()
    query = select(every.c.agent_id).order_by(every.c.agent_id).limit(limit)
    if text:
        query = query.where(every.c.agent_id.icontains(text, autoescape=True))
    ids = list(connection.execute(query).scalars())
    return {agent_id: _last_decision(connection, tenant, agent_id) for agent_id in ids}


def _standing(tenant: str, posture: Posture | None, after: str | None, limit: int | None) -> Select[Any]:
    """The agents that were ever moved, or that were moved there; the first of them where that is enough."""
    table = tables.postures
    found = select(table.c.agent_id).where(table.c.tenant == tenant)
    if after is not None:
        found = found.where(table.c.agent_id > after)
    if posture is not None:
        found = found.where(table.c.posture == posture.label)
    first = found.order_by(table.c.agent_id).limit(limit).subquery()
    return select(first.c.agent_id)


def _deciding(tenant: str, after: str | None, limit: int | None) -> Select[Any]:
    """The agents that have decisions, found one after the other; the first of them where that is enough."""
    table = tables.decisions
    first = select(func.min(table.c.agent_id).label("agent_id"), literal(1).label("number")).where(table.c.tenant == tenant)
    found = (first.where(table.c.agent_id > after) if after is not None else first).cte("found", recursive=True)
    following = select(func.min(table.c.agent_id)).where(table.c.tenant == tenant, table.c.agent_id > found.c.agent_id).scalar_subquery()
    further = select(following, found.c.number + 1).where(found.c.agent_id.is_not(None))
    found = found.union_all(further.where(found.c.number < limit) if limit is not None else further)
    return select(found.c.agent_id).where(found.c.agent_id.is_not(None))


def _last_decision(connection: Connection, tenant: str, agent_id: str) -> int | None:
    table = tables.decisions
    last = select(func.max(table.c.at)).where(table.c.tenant == tenant, table.c.agent_id == agent_id)
    found: int | None = connection.execute(last).scalar_one()
    return found


def _posture_counts(connection: Connection, tenant: str) -> Mapping[str, int]:
    table = tables.postures
    query = select(table.c.posture, func.count().label("number")).where(table.c.tenant == tenant).group_by(table.c.posture)
    return {row.posture: row.number for row in connection.execute(query)}


def _usages(connection: Connection, tenant: str, subjects: Sequence[str]) -> Mapping[str, Usage]:
    return {row.subject: usage_of(row.subject, row.data) for row in _USAGE.rows(connection, tenant, subjects, lock=False)}


def _usages_per(connection: Connection, tenant: str, per: Per, limit: int) -> Mapping[str, Usage]:
    table = tables.usage
    of_kind = table.c.subject == per.value if per is Per.GLOBAL else and_(table.c.subject >= f"{per}:", table.c.subject < f"{per};")
    query = select(table.c.subject, table.c.data).where(table.c.tenant == tenant, of_kind).order_by(table.c.subject).limit(limit)
    return {row.subject: usage_of(row.subject, row.data) for row in connection.execute(query)}
