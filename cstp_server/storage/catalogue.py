"""Lists, counts and searches for people (`services.catalogue.Catalogue`): each through an index, none longer than its limit."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, or_, select, union

from cstp_server.clock import Clock
from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_state import Circuit, Entry, EntryKind, State
from cstp_server.domain.decisions import Decision, Status
from cstp_server.domain.postures import Posture
from cstp_server.domain.usage import Usage
from cstp_server.policy.compiled import Policy
from cstp_server.services.catalogue import CircuitCounts, CircuitSearch, DecisionPage, DecisionSearch, EventSearch, Glance, Seen, Told
from cstp_server.services.ports import CircuitRow
from cstp_server.storage import tables
from cstp_server.storage.circuits import circuit_of, entry_of
from cstp_server.storage.decisions import decision_of
from cstp_server.storage.engine import current_time
from cstp_server.storage.events import event_of
from cstp_server.storage.loading import CircuitCache, Loader
from cstp_server.storage.reader import ReadThreads
from cstp_server.storage.selecting import KeyedSelect
from cstp_server.storage.usage import usage_of

_USERS, _AFTER_USERS = "user:", "user;"
_MOST_WAITING = 1_000
_SCOPES = KeyedSelect(tables.circuits, "scope", ("scope",))
_DECISIONS = KeyedSelect(tables.decisions, "id")


class SqlCatalogue:
    """Looks things up on the connections that reads have; what takes a look at many rows, on a few of its own."""

    def __init__(self, threads: ReadThreads, searching: ReadThreads, clock: Clock) -> None:
        self._threads = threads
        self._searching = searching
        self._clock = clock

    async def circuit_counts(self, tenant: str) -> CircuitCounts:
        """How many circuits are in each state."""
        return await self._threads.read(_circuit_counts, tenant)

    async def circuits(self, tenant: str, policy: Policy, search: CircuitSearch) -> Sequence[CircuitRow]:
        """Stored circuits that the policy covers and that match, by scope."""
        return await self._threads_for(search.text is not None).read(_circuits, tenant, policy, search, self._clock)

    async def stored(self, tenant: str, scopes: Sequence[str]) -> frozenset[str]:
        """Which of these circuits are stored."""
        return await self._threads.read(_are_stored, tenant, scopes)

    async def outcomes(self, tenant: str, lasts: Mapping[str, int], limit: int) -> Mapping[str, Sequence[Entry]]:
        """The latest outcomes of some circuits, oldest first."""
        return await self._threads.read(_outcomes, tenant, lasts, limit)

    async def search(self, tenant: str, search: DecisionSearch) -> DecisionPage:
        """Decisions that match."""
        return await self._threads_for(search.narrows).read(_search, tenant, search)

    async def decisions_of(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Decision]:
        """Decisions by id."""
        return await self._threads.read(_decisions_of, tenant, ids)

    async def glance(self, tenant: str, since: int, limit: int) -> Glance:
        """The latest decisions since a time."""
        return await self._threads.read(_glance, tenant, since, limit)

    async def waiting(self, tenant: str) -> Mapping[str, int]:
        """How many decisions wait, by what for."""
        return await self._threads.read(_waiting, tenant)

    async def events(self, tenant: str, search: EventSearch) -> Sequence[Told]:
        """Events that match, newest first."""
        return await self._threads.read(_events, tenant, search)

    async def agents(
        self, tenant: str, *, text: str | None, posture: Posture | None, after: str | None, limit: int
    ) -> Mapping[str, int | None]:
        """Agents by id, with the time of their last decision."""
        return await self._threads_for(text is not None).read(_agents, tenant, text, posture, after, limit)

    async def posture_counts(self, tenant: str) -> Mapping[str, int]:
        """How many agents that were ever moved are in each posture."""
        return await self._threads.read(_posture_counts, tenant)

    async def usage(self, tenant: str, subject: str) -> Usage:
        """What a subject has used."""
        return await self._threads.read(_usage, tenant, subject)

    def _threads_for(self, searches: bool) -> ReadThreads:
        return self._searching if searches else self._threads


def _circuit_counts(connection: Connection, tenant: str) -> CircuitCounts:
    table = tables.circuits
    of_users = and_(table.c.scope >= _USERS, table.c.scope < _AFTER_USERS)
    kind = case((of_users, 1), else_=0)
    query = (
        select(kind, table.c.state, func.count())
        .where(table.c.tenant == tenant, table.c.archived_at.is_(None))
        .group_by(kind, table.c.state)
    )
    counts: tuple[dict[State, int], dict[State, int]] = ({}, {})
    for which, state, number in connection.execute(query):
        counts[which][State(state)] = number
    return CircuitCounts(*counts)


def _circuits(connection: Connection, tenant: str, policy: Policy, search: CircuitSearch, clock: Clock) -> Sequence[CircuitRow]:
    now, after = current_time(connection, clock), search.after
    found: list[CircuitRow] = []
    while len(found) < search.limit:
        page = [circuit_of(row.data) for row in connection.execute(_circuits_query(tenant, search, after))]
        found.extend(row for circuit in page if (row := _as_of(connection, tenant, policy, circuit, now)) is not None)
        if len(page) < search.limit:
            break
        after = page[-1].scope
    return found[: search.limit]


def _circuits_query(tenant: str, search: CircuitSearch, after: str | None) -> Select[Any]:
    table = tables.circuits
    query = select(table.c.data).where(table.c.tenant == tenant, table.c.archived_at.is_(None))
    if search.of_users:
        query = query.where(table.c.scope >= _USERS, table.c.scope < _AFTER_USERS)
    else:
        query = query.where(or_(table.c.scope < _USERS, table.c.scope >= _AFTER_USERS))
    if search.state is not None:
        query = query.where(table.c.state == search.state.value)
    if after is not None:
        query = query.where(table.c.scope > after)
    if search.text:
        query = query.where(table.c.scope.icontains(search.text, autoescape=True))
    return query.order_by(table.c.scope).limit(search.limit)


def _as_of(connection: Connection, tenant: str, policy: Policy, circuit: Circuit, now: int) -> CircuitRow | None:
    """The circuit, time having passed for it; none when no policy covers it."""
    settings = policy.circuits.covering_text(circuit.scope)
    if settings is None:
        return None
    loader = Loader(connection, CircuitCache(), 1)
    loader.loaded.circuits[tenant, circuit.scope] = circuit
    past = loader.past((tenant, circuit.scope), settings, now)
    return CircuitRow(breaker.advance(circuit, settings, past, now).circuit, now)


def _are_stored(connection: Connection, tenant: str, scopes: Sequence[str]) -> frozenset[str]:
    return frozenset(row.scope for row in _SCOPES.rows(connection, tenant, scopes, lock=False))


def _outcomes(connection: Connection, tenant: str, lasts: Mapping[str, int], limit: int) -> Mapping[str, Sequence[Entry]]:
    table = tables.circuit_log
    used = [and_(table.c.scope == scope, table.c.seq > last - limit) for scope, last in lasts.items() if last]
    found: dict[str, list[Entry]] = {scope: [] for scope in lasts}
    if used:
        query = select(table).where(table.c.tenant == tenant, or_(*used), table.c.kind == EntryKind.OUTCOME.value)
        for row in connection.execute(query.order_by(table.c.scope, table.c.seq)):
            found[row.scope].append(entry_of(row))
    return found


def _search(connection: Connection, tenant: str, search: DecisionSearch) -> DecisionPage:
    table = tables.decisions
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
    if search.before is not None:
        at, id = search.before
        query = query.where(table.c.at <= at, or_(table.c.at < at, table.c.id < id))
    return query.order_by(table.c.at.desc(), table.c.id.desc()).limit(search.scans)


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


def _waiting(connection: Connection, tenant: str) -> Mapping[str, int]:
    table = tables.decisions
    query = (
        select(table)
        .where(table.c.tenant == tenant, table.c.due_at.is_not(None), table.c.status == Status.PENDING.value)
        .limit(_MOST_WAITING)
    )
    counts: dict[str, int] = {}
    for row in connection.execute(query):
        pending = decision_of(row).waits_for
        if pending is not None:
            counts[pending.kind] = counts.get(pending.kind, 0) + 1
    return counts


def _events(connection: Connection, tenant: str, search: EventSearch) -> Sequence[Told]:
    table = tables.events
    query = select(table).where(table.c.tenant == tenant)
    query = query.where(table.c.subject == search.subject) if search.subject is not None else query.where(tables.TOLD)
    if search.kind is not None:
        query = query.where(table.c.type.startswith(f"{search.kind}.", autoescape=True))
    if search.types:
        query = query.where(table.c.type.in_(sorted(event_type.value for event_type in search.types)))
    if search.since is not None:
        query = query.where(table.c.at >= search.since)
    if search.before is not None:
        query = query.where(table.c.id < search.before)
    rows = connection.execute(query.order_by(table.c.id.desc()).limit(search.limit))
    return [Told(row.id, event_of(row)) for row in rows]


def _agents(
    connection: Connection, tenant: str, text: str | None, posture: Posture | None, after: str | None, limit: int
) -> Mapping[str, int | None]:
    """One index look-up for each agent, and not one for each of its decisions."""
    moved = tables.postures
    standing = select(moved.c.agent_id).where(moved.c.tenant == tenant)
    if after is not None:
        standing = standing.where(moved.c.agent_id > after)
    if posture is not None:
        every = standing.where(moved.c.posture == posture.label).subquery()
    else:
        every = union(_deciding(tenant, after), standing).subquery()
    query = select(every.c.agent_id).order_by(every.c.agent_id).limit(limit)
    if text:
        query = query.where(every.c.agent_id.icontains(text, autoescape=True))
    ids = list(connection.execute(query).scalars())
    return {agent_id: _last_decision(connection, tenant, agent_id) for agent_id in ids}


def _deciding(tenant: str, after: str | None) -> Select[Any]:
    table = tables.decisions
    first = select(func.min(table.c.agent_id).label("agent_id")).where(table.c.tenant == tenant)
    found = (first.where(table.c.agent_id > after) if after is not None else first).cte("found", recursive=True)
    following = select(func.min(table.c.agent_id)).where(table.c.tenant == tenant, table.c.agent_id > found.c.agent_id).scalar_subquery()
    found = found.union_all(select(following).where(found.c.agent_id.is_not(None)))
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


def _usage(connection: Connection, tenant: str, subject: str) -> Usage:
    table = tables.usage
    text = connection.execute(select(table.c.data).where(table.c.tenant == tenant, table.c.subject == subject)).scalar_one_or_none()
    return usage_of(subject, text) if text is not None else Usage(subject)
