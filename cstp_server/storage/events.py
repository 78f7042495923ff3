"""Events: rows <-> domain."""

from typing import Any

import orjson

from cstp_server.clock import new_id
from cstp_server.domain.events import Event, EventType


def event_row(event: Event) -> dict[str, Any]:
    """The row of an event, under a new id."""
    return {
        "id": new_id("evt"),
        "at": event.at,
        "tenant": event.tenant,
        "type": event.type.value,
        "subject": event.subject,
        "actor": event.actor,
        "policy_version": event.policy_version,
        "data": orjson.dumps(event.data).decode(),
    }


def event_of(row: Any) -> Event:
    """The event that `event_row` wrote."""
    return Event(
        type=EventType(row.type),
        tenant=row.tenant,
        subject=row.subject,
        actor=row.actor,
        at=row.at,
        policy_version=row.policy_version,
        data=orjson.loads(row.data),
    )
