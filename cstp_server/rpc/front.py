"""The way in: calls go straight to their endpoint, everything else to the router.

The router's stack of exception handlers and matchers costs a call about as much as looking at its rules, and has nothing to do for it:
the endpoint answers its own errors.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Receive, Scope, Send

from cstp_server.rpc.endpoint import CstpEndpoint

CALLS = "/cstp"


class Front:
    """Sends calls to `endpoint` and all other requests to `rest`."""

    def __init__(self, endpoint: CstpEndpoint, rest: ASGIApp) -> None:
        self._endpoint = endpoint
        self._rest = rest

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the request on."""
        if scope["type"] == "http" and scope["path"] == CALLS:
            return self._endpoint(scope, receive, send)
        if scope["type"] == "http" and len(scope["path"]) > 1 and scope["path"].endswith("/"):
            # the router would redirect to wherever the caller's own `Host` says
            return self({**scope, "path": scope["path"].rstrip("/") or "/"}, receive, send)
        return self._rest(scope, receive, send)
