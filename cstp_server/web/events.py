"""What happened, in the order in which it did."""

import asyncio

from starlette.responses import Response

from cstp_server.domain.events import EventType
from cstp_server.services.catalogue import EventSearch
from cstp_server.web.context import Visit
from cstp_server.web.happenings import KINDS
from cstp_server.web.naming import described
from cstp_server.web.places import place_text, timed_place
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_PAGE = 60
_EXISTING = frozenset(event_type.value.partition(".")[0] for event_type in EventType)
_SHOWN = {kind: name for kind, name in KINDS.items() if kind in _EXISTING}


async def list_events(visit: Visit) -> Response:
    """A page of events, newest first."""
    asked, subject, before = visit.asked("kind"), visit.asked("subject"), visit.asked("before")
    kind = asked if asked in _SHOWN else None
    search = EventSearch(kind=kind, subject=subject, before=timed_place(before), limit=_PAGE + 1)
    pulse, found = await asyncio.gather(pulse_of(visit), visit.dashboard.catalogue.events(visit.tenant, search))
    values = {
        "pulse": pulse,
        "told": found[:_PAGE],
        "said": await described(visit, found[:_PAGE]),
        "kind": kind,
        "kinds": _SHOWN,
        "subject": subject,
        "before": before,
        "following": place_text(found[_PAGE - 1].place) if len(found) > _PAGE else None,
    }
    return await show(visit, "events.html", values)
