"""The first page: is anything open, what waits, what changed in the last hour, who is misbehaving."""

import asyncio

from starlette.responses import Response

from cstp_server.domain.circuit_state import State
from cstp_server.domain.events import EventType
from cstp_server.domain.findings import Lift
from cstp_server.services import browsing
from cstp_server.services.catalogue import GLANCED, EventSearch, WaitingSearch
from cstp_server.services.notifying import MOST_GIVEN_UP
from cstp_server.services.troubles import troubles
from cstp_server.web import charts
from cstp_server.web.context import Visit
from cstp_server.web.naming import described
from cstp_server.web.pulse import pulse_of
from cstp_server.web.rendering import show

_HOUR_MS = 3_600_000
_LEAST_MS = 120_000
"""How much time is drawn at least; from the oldest decision of the hour on, where that is more."""
_CIRCUITS = 6
_EVENTS = 12
_WAITING = 6
_TROUBLES = 6
_NO_NEWS = frozenset(
    event_type for event_type in EventType if event_type.value.partition(".")[0] in {"notification", "retention", "session"}
)
"""What the service does by itself, and who looks at it: it has its place among the events, and would drown here what happened.

Alerts that did not arrive are told above all else."""
_FOR_A_PERSON = frozenset({Lift.CONFIRMATION, Lift.APPROVAL})


async def overview(visit: Visit) -> Response:
    """One look at everything."""
    dashboard, tenant, now = visit.dashboard, visit.tenant, visit.now
    catalogue, since = dashboard.catalogue, now - _HOUR_MS
    channels = [channel.name for channel in visit.policy.alerts.channels]
    page, glance, told, waiting, hits, (pulse, postures, given_up) = await asyncio.gather(
        browsing.circuits(catalogue, visit.policy, tenant, state=None, text=None, place=None, limit=_CIRCUITS),
        catalogue.glance(tenant, since, GLANCED),
        catalogue.events(tenant, EventSearch(since=since, without=_NO_NEWS, limit=_EVENTS)),
        catalogue.waiting_decisions(tenant, WaitingSearch(_FOR_A_PERSON, limit=_WAITING)),
        catalogue.hits(tenant, since=since, agent=None, limit=GLANCED),
        asyncio.gather(pulse_of(visit), catalogue.posture_counts(tenant), catalogue.given_up(tenant, channels)),
    )
    began = max(since, min(glance.seen[-1].at, now - _LEAST_MS)) if glance.seen else since
    return await show(
        visit,
        "overview.html",
        {
            "pulse": pulse,
            "circuits": [line for line in page.lines if line.view.state != State.CLOSED.value],
            "glance": glance,
            "activity": charts.activity(glance.seen, began, now),
            "told": told,
            "said": await described(visit, told),
            "waiting": waiting,
            "troubles": troubles(glance.seen, hits.counts, _TROUBLES),
            "hits": sum(hit.hits for hit in hits.counts),
            "is_more_hits": not hits.is_all,
            "postures": postures,
            "given_up": given_up,
            "most_given_up": MOST_GIVEN_UP,
            "is_empty": not glance.seen and not await catalogue.agents(tenant, text=None, posture=None, after=None, limit=1),
        },
    )
