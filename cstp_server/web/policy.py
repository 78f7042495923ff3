"""The policy in force: its version, and every guard that it has."""

import asyncio

from starlette.responses import Response

from cstp_server.domain.events import EventType
from cstp_server.services.catalogue import EventSearch
from cstp_server.services.guardrails import list_guardrails
from cstp_server.web.context import Visit
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_MOST_SHOWN = 300
_EVENTS = 5


async def policy(visit: Visit) -> Response:
    """The guards, of one type or of all, whose name or words contain a text."""
    asked, text = visit.asked("type"), visit.asked("q")
    guards = list_guardrails(visit.policy, visit.dashboard.guardians.installed)
    types = list(dict.fromkeys(guard.type for guard in guards))
    wanted = asked if asked in types else None
    found = [
        guard
        for guard in guards
        if (wanted is None or guard.type == wanted)
        and (text is None or text.casefold() in f"{guard.id} {guard.description} {guard.scope or ''} {guard.condition or ''}".casefold())
    ]
    search = EventSearch(types=frozenset({EventType.POLICY_LOADED, EventType.POLICY_REJECTED}), limit=_EVENTS)
    pulse, told = await asyncio.gather(pulse_of(visit), visit.dashboard.catalogue.events(visit.tenant, search))
    values = {
        "pulse": pulse,
        "policy": visit.policy,
        "problems": visit.dashboard.policy_source.problems,
        "guards": found[:_MOST_SHOWN],
        "found": len(found),
        "number": len(guards),
        "types": {name: sum(guard.type == name for guard in guards) for name in types},
        "type": wanted,
        "q": text,
        "told": told,
    }
    return await show(visit, "policy.html", values)
