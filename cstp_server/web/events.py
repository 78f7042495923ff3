"""What happened, in the order in which it did."""

import asyncio

from starlette.responses import Response

from cstp_server.services.catalogue import EventSearch
from cstp_server.web.context import Visit
from cstp_server.web.places import place_text, timed_place
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_PAGE = 60
KINDS = ("circuit", "tripwire", "posture", "decision", "trust", "enforcement", "dimension", "policy", "token")


async def list_events(visit: Visit) -> Response:
    """A page of events, newest first."""
    asked, subject, before = visit.asked("kind"), visit.asked("subject"), visit.asked("before")
    kind = asked if asked in KINDS else None
    search = EventSearch(kind=kind, subject=subject, before=timed_place(before), limit=_PAGE + 1)
    pulse, found = await asyncio.gather(pulse_of(visit), visit.dashboard.catalogue.events(visit.tenant, search))
    values = {
        "pulse": pulse,
        "told": found[:_PAGE],
        "kind": kind,
        "kinds": KINDS,
        "subject": subject,
        "before": before,
        "following": place_text(found[_PAGE - 1].place) if len(found) > _PAGE else None,
    }
    return await show(visit, "events.html", values)
