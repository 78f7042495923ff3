"""How often agents were let through, as their decisions have it."""

from collections.abc import Mapping

from sqlalchemy import Connection, func, or_, select

from cstp_server.clock import Clock
from cstp_server.domain.decisions import ALLOWING, Source
from cstp_server.domain.findings import Intervention
from cstp_server.domain.rates import SPANS
from cstp_server.storage import tables
from cstp_server.storage.engine import current_time

_COUNTED_EXACTLY = 10_000


def let_through(connection: Connection, tenant: str, agent_id: str, limits: Mapping[str, int], clock: Clock) -> Mapping[str, int]:
    """How many checks of an agent were let through lately, by period. Counting ends beyond the limit and what is quickly counted."""
    now = current_time(connection, clock)
    return {
        period: _since(connection, tenant, agent_id, now - (SPANS[period].rolling_ms or 0), max(limit + 1, _COUNTED_EXACTLY))
        for period, limit in limits.items()
    }


def _since(connection: Connection, tenant: str, agent_id: str, since: int, most: int) -> int:
    table = tables.decisions
    at_once = table.c.intervention.in_([intervention.label for intervention in Intervention if intervention.allows])
    later = [table.c.resolved.startswith(f'{{"status":"{status.value}"') for status in ALLOWING]  # what is resolved begins with its status
    found = (
        select(table.c.id)
        .where(table.c.tenant == tenant, table.c.agent_id == agent_id, table.c.at > since)
        .where(table.c.source == Source.CHECKED.value, or_(at_once, *later))
        .limit(most)
        .subquery()
    )
    return int(connection.execute(select(func.count()).select_from(found)).scalar_one())
