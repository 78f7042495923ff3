"""The methods of the RPC interface as the tools call them: the two edges meet here, as neither may import the other."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Scope

from cstp_server.domain.callers import Caller
from cstp_server.mcp.ports import Described
from cstp_server.rpc.context import Context, Services
from cstp_server.rpc.dispatch import Dispatcher
from cstp_server.rpc.errors import Failure
from cstp_server.rpc.methods import METHODS, procedures
from cstp_server.rpc.middleware import correlation_id

_METHODS = {method.name: method for method in METHODS}


class _Counted:
    """Counts what is called. Whether a call is admitted was asked when its request came."""

    def __init__(self, services: Services) -> None:
        self.called = services.metrics.called
        self.refused = services.metrics.refused

    def admit(self, _context: Context) -> Failure | None:
        """Why this call is not carried out: it always is."""
        return None


class RpcCalls:
    """Carries out methods with the params, limits, roles, metrics and errors that they have over `/cstp`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._dispatcher: Dispatcher[Context] = Dispatcher(procedures(), services.limits, _Counted(services), services.clock)

    def described(self, method: str) -> Described:
        """The method of that name, as its models have it."""
        found = _METHODS[method]
        return Described(
            params=found.params.model_json_schema(by_alias=True, mode="validation"),
            result=found.result.model_json_schema(by_alias=True, mode="serialization"),
            roles=found.roles,
        )

    def admit(self, caller: Caller) -> int:
        """Count a request: 0 when it may go on, else the ms after which the next one may."""
        return self._services.rate_limiter.take(caller.token_digest)

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller, scope: Scope) -> Mapping[str, Any]:
        """The response to one call."""
        # integers of any length are written, and refused like any other caller's
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, ensure_ascii=False).encode()
        context = Context(self._services, caller, correlation_id(scope), self._services.clock.monotonic())
        reply = await self._dispatcher.answer(body, context)
        response: Mapping[str, Any] = orjson.loads(reply.body)
        return response

    def correlation_id(self, scope: Scope) -> str:
        """The id of an HTTP request in the log."""
        return correlation_id(scope)
