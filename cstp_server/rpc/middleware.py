"""A correlation id for every request: in the log, and in the answer's headers."""

import itertools
import re
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cstp_server.clock import new_id
from cstp_server.correlation import CURRENT
from cstp_server.redaction import redacted

CORRELATION_ID = "cstp.correlation_id"
_TAKEN = (b"x-request-id", b"x-correlation-id")
_SANE = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class CorrelationIds:
    """Gives each HTTP request an id: the caller's own where it is a sane one, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._process = new_id("req").encode()
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id, and put that into the answer's headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        id = _presented(scope["headers"]) or b"%s-%x" % (self._process, next(self._numbers))
        scope[CORRELATION_ID] = name = id.decode()
        CURRENT.set(name)

        def answer(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", id)]
            return send(message)

        await self._app(scope, receive, answer)


def correlation_id(scope: Scope) -> str:
    """The id of a request; a dash outside this middleware."""
    id: str = scope.get(CORRELATION_ID, "-")
    return id


def _presented(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name in _TAKEN and _SANE.fullmatch(value) and not _is_secret(value.decode()):
            return value
    return None


def _is_secret(id: str) -> bool:
    """Whether it looks like a credential, which must not get into the log."""
    return redacted(id) != id
