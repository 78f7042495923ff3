"""Events: rows <-> domain."""

from collections.abc import Sequence
from typing import Any

import orjson

from cstp_server.domain.events import Event, EventType


def event_rows(events: Sequence[Event], batch: str) -> list[dict[str, Any]]:
    """The rows of events that are written together, under ids that begin with the batch's and sort in their order."""
    return [_row(event, f"{batch}.{number:04}") for number, event in enumerate(events)]


def _row(event: Event, id: str) -> dict[str, Any]:
    return {
        "id": id,
        "at": event.at,
        "tenant": event.tenant,
        "type": event.type.value,
        "subject": event.subject,
        "actor": event.actor,
        "policy_version": event.policy_version,
        "data": orjson.dumps(event.data).decode(),
    }


def event_of(row: Any) -> Event:
    """The event that `event_rows` wrote."""
    return Event(
        type=EventType(row.type),
        tenant=row.tenant,
        subject=row.subject,
        actor=row.actor,
        at=row.at,
        policy_version=row.policy_version,
        data=orjson.loads(row.data),
    )
