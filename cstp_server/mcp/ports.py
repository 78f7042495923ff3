"""What the tools ask of the service."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from starlette.types import Scope

from cstp_server.domain.callers import Caller, Role

JsonObject = dict[str, Any]

CALLER = "cstp.caller"
"""Where an HTTP request's scope holds who sent it."""


class Described(NamedTuple):
    """A method of the service: the JSON Schemas of its params and of its result, and the roles of which any one may call it."""

    params: JsonObject
    result: JsonObject
    roles: tuple[Role, ...]


class Calls(Protocol):
    """Carries out the methods of the service for callers that are known."""

    def described(self, method: str) -> Described:
        """The method of that name."""
        ...

    def admit(self, caller: Caller) -> int:
        """Count a request: 0 when it may go on, else the ms after which the next one may."""
        ...

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller, scope: Scope) -> Mapping[str, Any]:
        """The JSON-RPC response to one call, with a `result` or an `error`; `scope` is the HTTP request that it came with."""
        ...

    def correlation_id(self, scope: Scope) -> str:
        """The id of an HTTP request in the log."""
        ...
