"""The first page: is anything open, what waits, what changed in the last hour, who is misbehaving."""

import asyncio

from starlette.responses import Response

from cstp_server.domain.circuit_state import State
from cstp_server.domain.findings import Lift
from cstp_server.services import browsing
from cstp_server.services.catalogue import EventSearch, WaitingSearch
from cstp_server.services.troubles import troubles
from cstp_server.web import charts
from cstp_server.web.context import Visit
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_HOUR_MS = 3_600_000
_GLANCED = 5_000
_CIRCUITS = 6
_EVENTS = 12
_WAITING = 6
_TROUBLES = 6
_FOR_A_PERSON = frozenset({Lift.CONFIRMATION, Lift.APPROVAL})


async def overview(visit: Visit) -> Response:
    """One look at everything."""
    dashboard, tenant, now = visit.dashboard, visit.tenant, visit.now
    catalogue, since = dashboard.catalogue, now - _HOUR_MS
    page, glance, told, waiting, hits, (pulse, postures) = await asyncio.gather(
        browsing.circuits(catalogue, visit.policy, tenant, state=None, text=None, place=None, limit=_CIRCUITS),
        catalogue.glance(tenant, since, _GLANCED),
        catalogue.events(tenant, EventSearch(since=since, limit=_EVENTS)),
        catalogue.waiting_decisions(tenant, WaitingSearch(_FOR_A_PERSON, limit=_WAITING)),
        dashboard.reader.hits(tenant, since=since, agent=None),
        asyncio.gather(pulse_of(visit), catalogue.posture_counts(tenant)),
    )
    began = since if glance.is_all or not glance.seen else max(since, glance.seen[-1].at)
    return await show(
        visit,
        "overview.html",
        {
            "pulse": pulse,
            "circuits": [line for line in page.lines if line.view.state != State.CLOSED.value],
            "glance": glance,
            "activity": charts.activity(glance.seen, began, now),
            "told": told,
            "waiting": waiting,
            "troubles": troubles(glance.seen, hits, _TROUBLES),
            "hits": sum(hit.hits for hit in hits),
            "postures": postures,
            "is_empty": not glance.seen and not await catalogue.agents(tenant, text=None, posture=None, after=None, limit=1),
        },
    )
