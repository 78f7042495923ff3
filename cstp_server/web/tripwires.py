"""Tripwires: how often each was run into, by whom, and what happened lately."""

import asyncio

from starlette.responses import Response

from cstp_server.domain.events import EventType
from cstp_server.services import tripwires
from cstp_server.services.catalogue import EventSearch
from cstp_server.web.context import Visit
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_DAY_MS = 86_400_000
_PERIODS = {"1h": 3_600_000, "24h": _DAY_MS, "7d": 7 * _DAY_MS, "30d": 30 * _DAY_MS}
_EVENTS = 50


async def hits(visit: Visit) -> Response:
    """The tripwires that were run into within a period, and the latest hits."""
    asked = visit.asked("since")
    period = asked if asked in _PERIODS else "24h"
    since = visit.now - _PERIODS[period]
    search = EventSearch(types=frozenset({EventType.TRIPWIRE_HIT}), since=since, limit=_EVENTS)
    pulse, stats, told = await asyncio.gather(
        pulse_of(visit),
        tripwires.stats(visit.dashboard.reader, visit.caller, since=since, agent=None),
        visit.dashboard.catalogue.events(visit.tenant, search),
    )
    values = {
        "pulse": pulse,
        "stats": stats,
        "told": told,
        "period": period,
        "periods": list(_PERIODS),
        "has_any": bool(visit.policy.tripwires.of_everyone),
    }
    return await show(visit, "tripwires.html", values)
