"""How many there are: circuits, agents and waiting decisions, and what happened to agents and circuits how often."""

from typing import Any

from sqlalchemy import JSON, Connection, Select, String, cast, func, select, type_coerce
from sqlalchemy.sql.elements import ColumnElement

from cstp_server.domain.circuit_state import State
from cstp_server.domain.events import EventType
from cstp_server.domain.postures import POSTURES, AgentPosture, Posture, TransitionType
from cstp_server.services.ports import AlertCounts, StoreCounts
from cstp_server.storage import tables
from cstp_server.storage.engine import is_sqlite
from cstp_server.storage.postures import posture_of

_MOVES = (EventType.POSTURE_UPGRADED, EventType.POSTURE_DOWNGRADED, EventType.POSTURE_MAINTAINED)
_OPENING = (EventType.CIRCUIT_OPENED, EventType.CIRCUIT_FORCED, EventType.CIRCUIT_AMENDED)


def store_counts(connection: Connection) -> StoreCounts:
    """What is in the store, over all tenants; a posture that cannot be read is `blocked`."""
    circuits, postures, decisions = tables.circuits, tables.postures, tables.decisions
    kind = _kind_of(connection)
    in_use = select(kind, circuits.c.state, func.count()).where(circuits.c.archived_at.is_(None)).group_by(kind, circuits.c.state)
    moved = select(postures.c.posture, func.count()).group_by(postures.c.posture)
    waiting = select(func.count(), func.min(decisions.c.at)).where(decisions.c.due_at.is_not(None))
    standing: dict[str, int] = {}
    for label, count in connection.execute(moved):
        known = label if label in POSTURES else Posture.BLOCKED.label
        standing[known] = standing.get(known, 0) + count
    count, since = connection.execute(waiting).one()
    circuits_in_use = {(row[0], row[1]): row[2] for row in connection.execute(in_use)}
    return StoreCounts(circuits_in_use, standing, count, since, _alerts(connection))


def _alerts(connection: Connection) -> dict[str, AlertCounts]:
    """Of every channel that has any."""
    table = tables.outbox
    waiting = select(table.c.channel, func.count(), func.min(table.c.queued_at)).where(table.c.dead_at.is_(None)).group_by(table.c.channel)
    dead = select(table.c.channel, func.count()).where(table.c.dead_at.is_not(None)).group_by(table.c.channel)
    given_up = {row[0]: row[1] for row in connection.execute(dead)}
    found = {channel: AlertCounts(dead=count) for channel, count in given_up.items()}
    for channel, count, since in connection.execute(waiting):
        found[channel] = AlertCounts(count, since, given_up.get(channel, 0))
    return found


def known_agents(connection: Connection, tenant: str) -> dict[str, AgentPosture | None]:
    """Every agent that has decisions or was ever moved; with one look into the index for each, however many decisions there are."""
    table, postures = tables.decisions, tables.postures
    first = select(func.min(table.c.agent_id).label("agent_id")).where(table.c.tenant == tenant)
    found = first.cte("found", recursive=True)
    following = select(func.min(table.c.agent_id)).where(table.c.tenant == tenant, table.c.agent_id > found.c.agent_id).scalar_subquery()
    found = found.union_all(select(following).where(found.c.agent_id.is_not(None)))
    agents: dict[str, AgentPosture | None] = dict.fromkeys(
        connection.execute(select(found.c.agent_id).where(found.c.agent_id.is_not(None))).scalars()
    )
    agents.update((row.agent_id, posture_of(row)) for row in connection.execute(select(postures).where(postures.c.tenant == tenant)))
    return agents


def moves(connection: Connection, tenant: str, since: int | None) -> dict[TransitionType, int]:
    """How often agents were moved, by type."""
    kind = _said(connection, "transition_type")
    query = _events(tenant, _MOVES, since, kind, func.count()).group_by(kind)
    return {TransitionType(row[0]): row[1] for row in connection.execute(query)}


def openings(connection: Connection, tenant: str, since: int | None) -> int:
    """How often circuits opened that had not been open."""
    opened = _events(tenant, _OPENING, since, func.count()).where(
        _said(connection, "state") == State.OPEN.value, _said(connection, "previous_state") != State.OPEN.value
    )
    return int(connection.execute(opened).scalar_one())


def _events(tenant: str, types: tuple[EventType, ...], since: int | None, *columns: Any) -> Select[Any]:
    table = tables.events
    query = select(*columns).where(table.c.tenant == tenant, table.c.type.in_([event_type.value for event_type in types]))
    return query.where(table.c.at >= since) if since is not None else query


def _said(connection: Connection, name: str) -> ColumnElement[str]:
    """A text in the data of an event."""
    data = tables.events.c.data
    if is_sqlite(connection):
        return type_coerce(func.json_extract(data, f"$.{name}"), String)
    return type_coerce(cast(data, JSON)[name].as_string(), String)


def _kind_of(connection: Connection) -> ColumnElement[str]:
    """What stands before the colon of a circuit's scope; all of it where there is none."""
    scope = tables.circuits.c.scope
    if is_sqlite(connection):
        return type_coerce(func.substr(scope, 1, func.instr(scope.concat(":"), ":") - 1), String)
    return type_coerce(func.split_part(scope, ":", 1), String)
