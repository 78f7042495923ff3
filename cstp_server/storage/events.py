"""Events: rows <-> domain."""

from collections.abc import Sequence
from typing import Any

import orjson

from cstp_server.domain.events import Event, EventType

KNOWN_TYPES = tuple(event_type.value for event_type in EventType)
"""While processes of two versions share a store, there are events of types that the older one does not know."""


def event_rows(events: Sequence[Event], batch: str) -> list[tuple[Any, ...]]:
    """The rows (`EVENT_COLUMNS`) of events that are written together, under ids that begin with the batch's and sort in their order."""
    return [
        (
            f"{batch}.{number:04}",
            event.at,
            event.tenant,
            event.type.value,
            event.subject,
            event.actor,
            event.policy_version,
            orjson.dumps(event.data).decode(),
        )
        for number, event in enumerate(events)
    ]


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
