"""The stream that keeps open pages up to date: it says what has changed, and the page fetches that anew (SPEC 11)."""

from collections.abc import AsyncIterator

from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.services.feeds import EVERYTHING, Topic
from cstp_server.web.context import Visit, requested
from cstp_server.web.headers import REASON

_LOOK_EVERY_SECONDS = 5.0
_RETRY_MS = 2_000
_AGAIN_SECONDS = 30
_TOO_MANY = "too many pages are open"
_KIND = "text/event-stream"
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def live(visit: Visit) -> Response:
    """The stream, until the session is over, the page is closed, or the service ends. HEAD asks whether there would be one."""
    if not visit.dashboard.streams.has_room(visit.signed_in):
        return PlainTextResponse(_TOO_MANY, 429, {"retry-after": str(_AGAIN_SECONDS), REASON: _TOO_MANY})
    return Response(headers=_HEADERS, media_type=_KIND) if visit.request.method == "HEAD" else Stream(visit)


class Stream(StreamingResponse):
    """The stream of one page, which counts as open as long as it is being sent."""

    def __init__(self, visit: Visit) -> None:
        super().__init__(_changes(visit), headers=_HEADERS, media_type=_KIND)
        self._visit = visit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._visit.dashboard.streams.open(self._visit.signed_in):
            await super().__call__(scope, receive, send)


async def _changes(visit: Visit) -> AsyncIterator[str]:
    feed, tenant, clock = visit.dashboard.feed, visit.tenant, visit.dashboard.clock
    with feed.listen(tenant) as listener:
        mark, looked = feed.edition(tenant), clock.monotonic()
        seen = visit.request.headers.get("last-event-id")
        yield f"retry: {_RETRY_MS}\n"
        yield _message("change" if seen not in (None, mark) else "hello", mark, EVERYTHING)
        while not listener.is_over:
            topics = await listener.next(max(looked + _LOOK_EVERY_SECONDS - clock.monotonic(), 0.0))
            if clock.monotonic() - looked >= _LOOK_EVERY_SECONDS:
                looked = clock.monotonic()
                if not await _stands(visit):
                    yield _message("end", None, frozenset())
                    return
                if not topics:
                    yield ": still here\n\n"
            if topics:
                yield _message("change", feed.edition(tenant), topics)


async def _stands(visit: Visit) -> bool:
    """Whether the session still does; a store that does not answer ends nobody's."""
    try:
        return await visit.dashboard.desk.find(visit.signed_in.secret, requested(visit.request)) is not None
    except (StoreUnavailable, Overloaded):
        return True


def _message(event: str, mark: str | None, topics: frozenset[Topic]) -> str:
    id = f"id: {mark}\n" if mark is not None else ""
    return f"{id}event: {event}\ndata: {' '.join(sorted(topics))}\n\n"
