"""Hits of tripwires: rows, and how many there are."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, func, select

from cstp_server.domain.findings import Mode
from cstp_server.domain.tripwires import Hit, TripwireSeverity
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
    gravity = case({severity.label: severity.value for severity in TripwireSeverity}, value=table.c.severity)
    shadowed = func.sum(case((table.c.mode == Mode.SHADOW.value, 1), else_=0))
    query = (
        select(table.c.tripwire, table.c.agent_id, func.count(), shadowed, func.max(table.c.at), func.max(gravity))
        .where(table.c.tenant == tenant)
        .group_by(table.c.tripwire, table.c.agent_id)
    )
    if since is not None:
        query = query.where(table.c.at >= since)
    if agent is not None:
        query = query.where(table.c.agent_id == agent)
    return [
        HitCount(tripwire, TripwireSeverity(gravest).label, agent_id, hits - int(shadows), int(shadows), last_at)
        for tripwire, agent_id, hits, shadows, last_at, gravest in connection.execute(query)
    ]
