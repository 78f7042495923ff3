"""Events on record, for those who may see them (SPEC 11)."""

import difflib
from collections.abc import Sequence
from dataclasses import replace

from cstp_server.domain.callers import Caller
from cstp_server.domain.events import EventType
from cstp_server.services.ports import EventEntry, EventQuery, Reader

_TYPES = tuple(event_type.value for event_type in EventType)
_KINDS = tuple(dict.fromkeys(f"{name.partition('.')[0]}.*" for name in _TYPES))


class UnknownType(ValueError):
    """A pattern that no type of event matches; the message says what was perhaps meant."""


async def list_events(reader: Reader, caller: Caller, query: EventQuery) -> Sequence[EventEntry]:
    """Events of the caller's tenant that match, newest first."""
    types = tuple(dict.fromkeys(name for pattern in query.types for name in types_matching(pattern)))
    return await reader.event_entries(caller.tenant, replace(query, types=types))


def types_matching(pattern: str) -> Sequence[str]:
    """The types of events that a pattern names: one, or with `circuit.*` all of a kind. Raises `UnknownType`."""
    if pattern in _TYPES:
        return (pattern,)
    kind = pattern.removesuffix("*")
    found = [name for name in _TYPES if name.startswith(kind)] if pattern in _KINDS else []
    if not found:
        nearest = difflib.get_close_matches(pattern, (*_TYPES, *_KINDS), n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"there are {', '.join(f'`{known}`' for known in _KINDS)}"
        raise UnknownType(f"names no type of event: {hint}")
    return found
