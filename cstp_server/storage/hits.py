"""Hits of tripwires: rows, and how many there are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Subquery, Table, case, func, select

from cstp_server.domain.findings import Mode
from cstp_server.domain.tripwires import Hit, TripwireSeverity
from cstp_server.services.catalogue import Hits
from cstp_server.services.ports import HitCount
from cstp_server.storage import tables


def hit_row(tenant: str, hit: Hit) -> dict[str, Any]:
    """The row of a hit."""
    return {
        "tenant": tenant,
        "tripwire": hit.tripwire,
        "at": hit.at,
        "decision_id": hit.decision_id,
        "agent_id": hit.agent_id,
        "severity": hit.severity,
        "mode": hit.mode.value,
        "trust_impact": hit.trust_impact,
    }


def hit_counts(connection: Connection, tenant: str, since: int | None, agent: str | None) -> Sequence[HitCount]:
    """How often agents ran into tripwires; the severity is the gravest that was recorded."""
    table = tables.tripwire_hits
    query = _counting(table).where(table.c.tenant == tenant)
    if since is not None:
        query = query.where(table.c.at >= since)
    if agent is not None:
        query = query.where(table.c.agent_id == agent)
    elif since is not None:
        query = query.where(table.c.tripwire.in_(_tripwires(tenant)))
    return _counted(connection, query)


def recent_hits(connection: Connection, tenant: str, since: int, agent: str | None, limit: int) -> Hits:
    """As `hit_counts`, of at most `limit` hits of each tripwire, or of the agent, the latest: no more rows than that are read for it."""
    table = tables.tripwire_hits
    stretches: list[ColumnElement[bool]] = [table.c.agent_id == agent]
    if agent is None:
        stretches = [table.c.tripwire == name for name in connection.execute(_tripwires(tenant)).scalars()]
    counts, is_all = list[HitCount](), True
    for stretch in stretches:
        latest = select(table).where(table.c.tenant == tenant, stretch, table.c.at >= since).order_by(table.c.at.desc()).limit(limit)
        found = _counted(connection, _counting(latest.subquery()))
        is_all = is_all and sum(count.hits + count.shadowed for count in found) < limit
        counts += found
    return Hits(counts, is_all)


def _counting(hits: Table | Subquery) -> Select[Any]:
    gravity = case({severity.label: severity.value for severity in TripwireSeverity}, value=hits.c.severity)
    shadowed = func.sum(case((hits.c.mode == Mode.SHADOW.value, 1), else_=0))
    columns = (hits.c.tripwire, hits.c.agent_id, func.count(), shadowed, func.max(hits.c.at), func.max(gravity))
    return select(*columns).group_by(hits.c.tripwire, hits.c.agent_id)


def _counted(connection: Connection, query: Select[Any]) -> Sequence[HitCount]:
    return [
        HitCount(tripwire, TripwireSeverity(gravest).label, agent_id, hits - int(shadows), int(shadows), last_at)
        for tripwire, agent_id, hits, shadows, last_at, gravest in connection.execute(query)
    ]


def _tripwires(tenant: str) -> Select[Any]:
    """The tripwires that were ever run into: one index look-up for each, so that of each only the hits that are asked for need be read."""
    table = tables.tripwire_hits
    found = select(func.min(table.c.tripwire).label("tripwire")).where(table.c.tenant == tenant).cte("found", recursive=True)
    following = select(func.min(table.c.tripwire)).where(table.c.tenant == tenant, table.c.tripwire > found.c.tripwire).scalar_subquery()
    found = found.union_all(select(following).where(found.c.tripwire.is_not(None)))
    return select(found.c.tripwire).where(found.c.tripwire.is_not(None))


def latest_hits(connection: Connection, tenant: str, agent: str, since: int, limit: int) -> Sequence[Hit]:
    """The latest times that an agent ran into a tripwire since a time, newest first."""
    table = tables.tripwire_hits
    query = select(table).where(table.c.tenant == tenant, table.c.agent_id == agent, table.c.at >= since)
    rows = connection.execute(query.order_by(table.c.at.desc(), table.c.decision_id.desc(), table.c.tripwire).limit(limit))
    return [hit_of(row) for row in rows]


def hit_of(row: Any) -> Hit:
    """The hit that `hit_row` wrote."""
    return Hit(row.tripwire, row.severity, row.agent_id, row.decision_id, row.at, Mode(row.mode), bool(row.trust_impact))
