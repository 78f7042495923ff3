"""The stream that keeps open pages up to date: it says what has changed, and the page fetches that anew (SPEC 11)."""

from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.services.feeds import EVERYTHING, Topic
from cstp_server.web.context import Visit, requested

_LOOK_EVERY_SECONDS = 5.0
_RETRY_MS = 2_000


async def live(visit: Visit) -> Response:
    """The stream, until the session is over, the page is closed, or the service ends."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_changes(visit), media_type="text/event-stream", headers=headers)


async def _changes(visit: Visit) -> AsyncIterator[str]:
    feed, tenant = visit.dashboard.feed, visit.tenant
    with feed.listen(tenant) as listener:
        mark = feed.edition(tenant)
        seen = visit.request.headers.get("last-event-id")
        yield f"retry: {_RETRY_MS}\n"
        yield _message("change" if seen not in (None, mark) else "hello", mark, EVERYTHING)
        while not listener.is_over:
            topics = await listener.next(_LOOK_EVERY_SECONDS)
            if not await _stands(visit):
                yield _message("end", None, frozenset())
                return
            yield _message("change", feed.edition(tenant), topics) if topics else ": still here\n\n"


async def _stands(visit: Visit) -> bool:
    """Whether the session still does; a store that does not answer ends nobody's."""
    try:
        return await visit.dashboard.desk.find(visit.signed_in.secret, requested(visit.request)) is not None
    except (StoreUnavailable, Overloaded):
        return True


def _message(event: str, mark: str | None, topics: frozenset[Topic]) -> str:
    id = f"id: {mark}\n" if mark is not None else ""
    return f"{id}event: {event}\ndata: {' '.join(sorted(topics))}\n\n"
