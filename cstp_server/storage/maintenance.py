"""What the worker asks of the store: circuits that are due, versions that moved, rows past their retention."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, delete, func, select, tuple_

from cstp_server.clock import Clock
from cstp_server.domain.circuit_state import State
from cstp_server.domain.decisions import Decision
from cstp_server.domain.events import EventType
from cstp_server.services.ports import CircuitMark
from cstp_server.storage import tables
from cstp_server.storage.circuits import circuit_of
from cstp_server.storage.decisions import decision_of
from cstp_server.storage.engine import current_time
from cstp_server.storage.events import KNOWN_TYPES
from cstp_server.storage.loading import Key
from cstp_server.storage.selecting import KeyedSelect

DUE_AT_ONCE = 500
PRUNED_AT_ONCE = 500


def due_circuits(connection: Connection, clock: Clock) -> Sequence[Key]:
    """Tenant and scope of circuits that time has moved since they were stored, the longest due first."""
    table = tables.circuits
    now = current_time(connection, clock)
    query = (
        select(table.c.tenant, table.c.scope)
        .where(table.c.due_at.is_not(None), table.c.due_at <= now, table.c.archived_at.is_(None))
        .order_by(table.c.due_at)
        .limit(DUE_AT_ONCE)
    )
    return [(row.tenant, row.scope) for row in connection.execute(query)]


def due_decisions(connection: Connection, clock: Clock) -> Sequence[Key]:
    """Tenant and id of decisions whose time of waiting is up, the longest due first."""
    table = tables.decisions
    now = current_time(connection, clock)
    query = (
        select(table.c.tenant, table.c.id)
        .where(table.c.due_at.is_not(None), table.c.due_at <= now)
        .order_by(table.c.due_at)
        .limit(DUE_AT_ONCE)
    )
    return [(row.tenant, row.id) for row in connection.execute(query)]


def decisions_by_key(connection: Connection, keys: Sequence[Key]) -> dict[Key, Decision]:
    """Decisions by tenant and id; one that is not there is left out."""
    return {(row.tenant, row.id): decision_of(row) for row in _keyed(connection, _DECISIONS, keys)}


def settled_among(connection: Connection, keys: Sequence[Key]) -> set[Key]:
    """Which of these decisions wait no more, or are not there."""
    waiting = {(row.tenant, row.id) for row in _keyed(connection, _WAITING, keys) if row.due_at is not None}
    return set(keys) - waiting


def _keyed(connection: Connection, query: KeyedSelect, keys: Sequence[Key]) -> Iterator[Any]:
    for tenant, of_tenant in groupby(sorted(keys), key=itemgetter(0)):
        yield from query.rows(connection, tenant, [id for _, id in of_tenant], lock=False)


_DECISIONS = KeyedSelect(tables.decisions, "id")
_WAITING = KeyedSelect(tables.decisions, "id", ("tenant", "id", "due_at"))


def all_circuits(connection: Connection, after: Key | None, limit: int) -> Sequence[CircuitMark]:
    """Every circuit of every tenant, archived ones too, in order."""
    table = tables.circuits
    columns = (table.c.tenant, table.c.scope, table.c.archived_at, table.c.state)
    query: Select[Any] = select(*columns).order_by(table.c.tenant, table.c.scope).limit(limit)
    if after is not None:
        query = query.where(tuple_(table.c.tenant, table.c.scope) > tuple_(*after))
    rows = connection.execute(query)
    return [CircuitMark(row.tenant, row.scope, row.archived_at is not None, row.state == State.CLOSED.value) for row in rows]


def versions(connection: Connection) -> dict[str, int]:
    """The counters that processes watch."""
    return {row.name: row.value for row in connection.execute(select(tables.versions))}


class Happened(NamedTuple):
    """An event, as far as others are told of it."""

    id: str
    tenant: str
    type: EventType
    subject: str
    at: int


def latest_events(connection: Connection, limit: int) -> Sequence[Happened]:
    """The latest events of all tenants, but for those of a newer version that are of a type not known here."""
    table = tables.events
    query = (
        select(table.c.id, table.c.tenant, table.c.type, table.c.subject, table.c.at)
        .where(table.c.type.in_(KNOWN_TYPES))
        .order_by(table.c.id.desc())
        .limit(limit)
    )
    return [Happened(id, tenant, EventType(kind), subject, at) for id, tenant, kind, subject, at in connection.execute(query)]


def tenants(connection: Connection, table: str) -> Sequence[str]:
    """Every tenant that has rows in a table whose key begins with the tenant; one index look-up each."""
    tenant, found, last = tables.metadata.tables[table].c.tenant, list[str](), ""
    while (following := connection.execute(select(func.min(tenant)).where(tenant > last)).scalar()) is not None:
        found.append(following)
        last = following
    return found


def usage_subjects(connection: Connection, after: Key | None, limit: int) -> Sequence[Key]:
    """Every subject that has used something of a quota, by tenant, in order, from the one after `after` on."""
    table = tables.usage
    query: Select[Any] = select(table.c.tenant, table.c.subject).order_by(table.c.tenant, table.c.subject).limit(limit)
    if after is not None:
        query = query.where(tuple_(table.c.tenant, table.c.subject) > tuple_(*after))
    return [(row.tenant, row.subject) for row in connection.execute(query)]


def agents(connection: Connection, tenant: str, after: str | None, limit: int) -> Sequence[str]:
    """Agents that have decisions, in order; one index look-up each."""
    table = tables.decisions
    first = select(func.min(table.c.agent_id).label("agent_id")).where(table.c.tenant == tenant)
    found = (first.where(table.c.agent_id > after) if after is not None else first).cte("found", recursive=True)
    following = select(func.min(table.c.agent_id)).where(table.c.tenant == tenant, table.c.agent_id > found.c.agent_id).scalar_subquery()
    found = found.union_all(select(following).where(found.c.agent_id.is_not(None)))
    query = select(found.c.agent_id).where(found.c.agent_id.is_not(None)).limit(limit)
    return list(connection.execute(query).scalars())


def agents_reviewed(connection: Connection, since: int) -> Sequence[tuple[Key, int]]:
    """Tenant and agent of decisions that were reviewed since a time, in order, with the time of the last review."""
    table = tables.decisions
    query = select(table.c.tenant, table.c.agent_id, table.c.reviewed_at).where(table.c.reviewed_at >= since)
    last: dict[Key, int] = {}  # not grouped by the database, which would rather walk through all decisions in the order of their agents
    for tenant, agent_id, reviewed_at in connection.execute(query):
        last[tenant, agent_id] = max(reviewed_at, last.get((tenant, agent_id), 0))
    return sorted(last.items())


def agents_moved_with_decisions(connection: Connection, tenant: str, since: int, before: int) -> Sequence[str]:
    """Agents that were ever moved, and have decisions from between two times, in order."""
    table, moved = tables.decisions, tables.postures
    is_same = and_(moved.c.tenant == table.c.tenant, moved.c.agent_id == table.c.agent_id)
    query = (
        select(table.c.agent_id)
        .join(moved, is_same)
        .where(table.c.tenant == tenant, table.c.at >= since, table.c.at < before)
        .distinct()
        .order_by(table.c.agent_id)
    )
    return list(connection.execute(query).scalars())


def stopped_decisions(connection: Connection, limit: int) -> Sequence[Key]:
    """Tenant and id of decisions that still wait although their agent was blocked since they began to."""
    table, moved = tables.decisions, tables.postures
    is_same = and_(moved.c.tenant == table.c.tenant, moved.c.agent_id == table.c.agent_id)
    query = (
        select(table.c.tenant, table.c.id)
        .join(moved, is_same)
        .where(table.c.due_at.is_not(None), moved.c.blocked_at >= table.c.at)
        .order_by(table.c.due_at)
        .limit(limit)
    )
    return [(row.tenant, row.id) for row in connection.execute(query)]


def prune_decisions(connection: Connection, tenant: str, before: int) -> int:
    """Delete a small batch of a tenant's oldest decisions, except those that wait and have yet to give back what they hold; how many."""
    table = tables.decisions
    of_tenant = table.c.tenant == tenant
    is_over = (table.c.at < before, table.c.due_at.is_(None))
    oldest = select(table.c.id).where(of_tenant, *is_over).order_by(table.c.at, table.c.id).limit(PRUNED_AT_ONCE)
    found = [row.id for row in connection.execute(oldest)]
    if found:
        connection.execute(delete(table).where(of_tenant, table.c.id.in_(found)))
    return len(found)


def prune_hits(connection: Connection, tenant: str, before: int) -> int:
    """Delete a small batch of a tenant's hits of tripwires from before `before`; how many."""
    table = tables.tripwire_hits
    key = (table.c.tripwire, table.c.at, table.c.decision_id)
    found = connection.execute(select(*key).where(table.c.tenant == tenant, table.c.at < before).limit(PRUNED_AT_ONCE)).all()
    if found:
        connection.execute(delete(table).where(table.c.tenant == tenant, tuple_(*key).in_([tuple(row) for row in found])))
    return len(found)


def prune_habits(connection: Connection, before: int) -> int:
    """Delete a small batch of the habits that nobody has put on record since `before`; how many."""
    table = tables.habits
    key = (table.c.tenant, table.c.agent_id)
    found = connection.execute(select(*key).where(table.c.at < before).limit(PRUNED_AT_ONCE)).all()
    if found:
        connection.execute(delete(table).where(table.c.at < before, tuple_(*key).in_([tuple(row) for row in found])))
    return len(found)


def prune_log(connection: Connection, before: int, key: Key) -> int:
    """Delete a small batch of a circuit's oldest lines that no window and no later folding needs; how many.

    What is kept begins at the last snapshot before `before`, its own line included, and at whatever that snapshot's window still holds.
    """
    log, (tenant, scope) = tables.circuit_log, key
    of_circuit = (log.c.tenant == tenant, log.c.scope == scope)
    snapshot = select(log.c.snapshot).where(*of_circuit, log.c.at < before, log.c.snapshot.is_not(None)).order_by(log.c.seq.desc()).limit(1)
    text = connection.execute(snapshot).scalar_one_or_none()
    if text is None:
        return 0
    circuit = circuit_of(text)
    last = min(circuit.window.tail, circuit.window.head, circuit.seq - 1)
    oldest = select(log.c.seq).where(*of_circuit, log.c.seq <= last).order_by(log.c.seq).limit(PRUNED_AT_ONCE)
    found = [row.seq for row in connection.execute(oldest)]
    if found:
        connection.execute(delete(log).where(*of_circuit, log.c.seq.in_(found)))
    return len(found)
