"""Tripwires: how often each was run into, by whom, what happened lately, and how much of quotas and budgets is used."""

import asyncio
from collections.abc import Iterable, Sequence

from starlette.responses import Response

from cstp_server.domain.events import EventType
from cstp_server.domain.tripwire_rules import Per
from cstp_server.services import tripwires
from cstp_server.services.catalogue import EventSearch, Told
from cstp_server.services.ports import DecisionQuery
from cstp_server.services.quotas import LOOKED_AT, agent_quotas, quota_lines
from cstp_server.services.requests import TripwireStats
from cstp_server.web.context import Visit
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_DAY_MS = 86_400_000
_PERIODS = {"1h": 3_600_000, "24h": _DAY_MS, "7d": 7 * _DAY_MS, "30d": 30 * _DAY_MS}
_LIVE = frozenset({"1h", "24h"})
"""Of more time there is too much to count it anew with every hit."""
_COUNTED = 20_000
_EVENTS = 50
_QUOTAS = 50
_DECISIONS = 15


async def hits(visit: Visit) -> Response:
    """The tripwires that were run into within a period, by all agents or by one, and the latest hits."""
    asked, agent = visit.asked("since"), visit.asked("agent")
    period = asked if asked in _PERIODS else "24h"
    since = visit.now - _PERIODS[period]
    catalogue = visit.dashboard.catalogue
    pulse, found = await asyncio.gather(pulse_of(visit), catalogue.hits(visit.tenant, since=since, agent=agent, limit=_COUNTED))
    stats = tripwires.stats_of(found.counts)
    values = {
        "pulse": pulse,
        "stats": stats,
        "most": None if found.is_all else _COUNTED,
        "is_live": period in _LIVE,
        "agent": agent,
        "period": period,
        "periods": list(_PERIODS),
        "has_any": bool(visit.policy.tripwires.of_everyone),
        "looked_at": LOOKED_AT,
    }
    rest = await (_of_all(visit, since, stats) if agent is None else _of_agent(visit, since, agent))
    return await show(visit, "tripwires.html", values | rest)


async def _of_all(visit: Visit, since: int, stats: Sequence[TripwireStats]) -> dict[str, object]:
    """The latest hits of all agents, and every quota with those who have used the most of it."""
    catalogue, tenant = visit.dashboard.catalogue, visit.tenant
    told, reached = await asyncio.gather(
        catalogue.events(tenant, EventSearch(types=frozenset({EventType.TRIPWIRE_HIT}), since=since, limit=_EVENTS)),
        catalogue.events(tenant, EventSearch(types=frozenset({EventType.BUDGET_REACHED}), since=since, limit=_EVENTS)),
    )
    lines, number = await quota_lines(catalogue, visit.policy, tenant, _likely(reached, stats), _QUOTAS, visit.now)
    return {"told": told, "quotas": lines, "number": number}


def _likely(reached: Iterable[Told], stats: Iterable[TripwireStats]) -> Iterable[str]:
    """Who has probably used up much of something: who came close to a budget lately, or ran into a tripwire."""
    close = [str(each.event.data.get("of", "")) for each in reached]
    return [*close, *(f"{Per.AGENT}:{agent_id}" for stat in stats for agent_id in list(stat.agents)[:_EVENTS])]


async def _of_agent(visit: Visit, since: int, agent: str) -> dict[str, object]:
    """The latest hits of one agent with what it was about to do, and the quotas that it draws on."""
    dashboard, tenant = visit.dashboard, visit.tenant
    latest, hit = await asyncio.gather(
        dashboard.reader.decisions(tenant, DecisionQuery(agent=agent, limit=_DECISIONS)),
        dashboard.catalogue.hits_of(tenant, agent, since, _EVENTS),
    )
    named, uses = await asyncio.gather(
        dashboard.catalogue.decisions_of(tenant, sorted({each.decision_id for each in hit})),
        agent_quotas(dashboard.catalogue, visit.policy, tenant, agent, latest, visit.now),
    )
    return {"latest": hit, "decisions": named, "uses": uses}
