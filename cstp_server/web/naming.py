"""What decisions were about, for lists of events that only name them."""

from collections.abc import Iterable, Mapping

from cstp_server.services.catalogue import Told
from cstp_server.web.context import Visit

_DECISIONS = ("decision.", "enforcement.")


async def described(visit: Visit, told: Iterable[Told]) -> Mapping[str, str]:
    """What the agents said of the decisions that these events are about, by id, where the events do not tell it themselves."""
    events = [each.event for each in told]
    ids = {event.subject for event in events if event.type.value.startswith(_DECISIONS) and not event.data.get("description")}
    if not ids:
        return {}
    found = await visit.dashboard.catalogue.decisions_of(visit.tenant, sorted(ids))
    return {id: decision.facts.description for id, decision in found.items()}
