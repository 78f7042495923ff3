"""`cstp.listEvents` (SPEC 11)."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from cstp_server.rpc.context import Context
from cstp_server.rpc.cursors import timed_cursor, timed_place
from cstp_server.rpc.errors import BadParams
from cstp_server.rpc.wire import JsonObject, Limit, Params, Result, Text, Time, TimeParam
from cstp_server.services import events
from cstp_server.services.events import UnknownType, types_matching
from cstp_server.services.ports import EventEntry, EventQuery

DEFAULT_LIMIT = 50
_MOST_TYPES = 100


class ListEventsParams(Params):
    """Which events to list, newest first."""

    types: Annotated[list[str], Field(max_length=_MOST_TYPES)] | None = Field(
        default=None, description="types such as `circuit.opened`, or all of a kind: `circuit.*`"
    )
    subject: Annotated[Text, Field(max_length=1024)] | None = Field(
        default=None, description="what it happened to: a decision's id, a circuit's scope, an agent, a token's name"
    )
    since: TimeParam | None = Field(default=None, description="only events from this time on")
    limit: Limit | None = Field(default=None, description=f"{DEFAULT_LIMIT} when left out")
    cursor: str | None = Field(default=None, description="the `nextCursor` of an earlier answer")


class EventResult(Result):
    """An event on record, with its place in the chain that proves it. `data` is as it was written."""

    id: str
    at: Time
    type: str
    subject: str
    actor: str
    policy_version: str
    data: JsonObject
    chain: str | None
    position: int | None
    hash: str | None

    @classmethod
    def of(cls, entry: EventEntry) -> "EventResult":
        """The event as it goes out."""
        return cls(
            id=entry.id,
            at=entry.at,
            type=entry.type,
            subject=entry.subject,
            actor=entry.actor,
            policy_version=entry.policy_version,
            data=dict(entry.data),
            chain=entry.chain,
            position=entry.position,
            hash=entry.hash.hex() if entry.hash is not None else None,
        )


class ListEventsResult(Result):
    """Some events, newest first; `nextCursor` leads to the next ones, and is null when there are none."""

    events: list[EventResult]
    count: int
    next_cursor: str | None


async def list_events(context: Context, params: ListEventsParams) -> ListEventsResult:
    """The events that match, a page at a time."""
    limit = params.limit if params.limit is not None else DEFAULT_LIMIT
    query = EventQuery(
        types=_checked(params.types or ()),
        subject=params.subject,
        since=params.since,
        before=timed_place(params.cursor) if params.cursor is not None else None,
        limit=limit + 1,
    )
    found = await events.list_events(context.services.reader, context.caller, query)
    page = found[:limit]
    more = timed_cursor(page[-1].at, page[-1].id) if len(found) > limit else None
    return ListEventsResult(events=[EventResult.of(entry) for entry in page], count=len(page), next_cursor=more)


def _checked(patterns: Sequence[str]) -> tuple[str, ...]:
    for place, pattern in enumerate(patterns):
        try:
            types_matching(pattern)
        except UnknownType as error:
            raise BadParams(f"types[{place}]", str(error)) from error
    return tuple(patterns)
