"""What goes wrong, in the words of the wire: codes, messages, data and HTTP status (SPEC 2)."""

import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from cstp_server.domain.refusals import (
    CircuitNotFound,
    Conflict,
    DecisionNotFound,
    Forbidden,
    InvalidInput,
    Overloaded,
    Refusal,
    StoreUnavailable,
    Unauthorized,
)
from cstp_server.domain.values import dataclass


class Code(IntEnum):
    """The codes of errors; those from -32700 to -32600 are JSON-RPC's own."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    UNAUTHORIZED = -32001
    RATE_LIMITED = -32002
    DECISION_NOT_FOUND = -32007
    CIRCUIT_NOT_FOUND = -32010
    CONFLICT = -32011
    STORE_UNAVAILABLE = -32012
    OVERLOADED = -32013


MEANINGS: Mapping[Code, str] = {
    Code.PARSE_ERROR: "the body is no JSON",
    Code.INVALID_REQUEST: "the JSON is no call",
    Code.METHOD_NOT_FOUND: "there is no method of that name",
    Code.INVALID_PARAMS: "the params do not fit the method; `data.field` names the first that does not",
    Code.INTERNAL_ERROR: "the service failed; `data.correlationId` is in its log",
    Code.UNAUTHORIZED: "no token or a bad one (HTTP 401), or one that may not do this (HTTP 403, `data.required` where another role may)",
    Code.RATE_LIMITED: "the token calls too often (HTTP 429, `data.retryAfterMs`)",
    Code.DECISION_NOT_FOUND: "there is no decision of that id",
    Code.CIRCUIT_NOT_FOUND: "no policy covers the scope (`data.scope`, `data.nearest`)",
    Code.CONFLICT: "the call contradicts what is recorded",
    Code.STORE_UNAVAILABLE: "the database does not answer; nothing was carried out, and nothing is allowed (HTTP 503)",
    Code.OVERLOADED: "too many calls are waiting, or the deadline has passed; nothing was carried out (HTTP 503, `data.retryAfterMs`)",
}

RETRY_AFTER_OVERLOAD_MS = 1_000
_UNAUTHORIZED, _FORBIDDEN = 401, 403


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it goes out. `message` is for people, `data` for programs; `status` is the HTTP status where the code does not say it."""

    code: Code
    message: str
    data: Mapping[str, Any] | None = None
    status: int | None = None


class BadParams(Exception):
    """Params that the model lets through and the method does not; `field` is the name on the wire."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the params; `message` reads on from the field's name."""

    field: str
    message: str


def invalid_params(problems: list[Problem]) -> Failure:
    """The failure that names what is wrong, the first problem in its message and all of them in its data."""
    first = problems[0]
    return Failure(
        Code.INVALID_PARAMS,
        f"invalid params: `{first.field}` {first.message}",
        {"field": first.field, "problems": [{"field": problem.field, "message": problem.message} for problem in problems]},
    )


def internal_error(correlation_id: str) -> Failure:
    """Something broke inside; the caller gets only the id under which the log has the rest."""
    return Failure(Code.INTERNAL_ERROR, "Internal error", {"correlationId": correlation_id})


def forbidden(required: tuple[str, ...], message: str | None = None) -> Failure:
    """The caller is known and may not; `required` are the roles of which any one would do, if any would."""
    roles = " or ".join(f"`{role}`" for role in required)
    data = {"required": list(required)} if required else None
    return Failure(Code.UNAUTHORIZED, message or f"this takes the role {roles}", data, _FORBIDDEN)


def failure_of(refusal: Refusal) -> Failure:
    """The failure that a use case's refusal is on the wire."""
    return _REFUSALS[type(refusal)](refusal)


def failure_of_fault(fault: StoreUnavailable | Overloaded) -> Failure:
    """The failure that a fault of the machinery is on the wire; its text stays inside."""
    if isinstance(fault, StoreUnavailable):
        return Failure(Code.STORE_UNAVAILABLE, "the store does not answer: nothing was carried out, and nothing is allowed")
    data = {"retryAfterMs": RETRY_AFTER_OVERLOAD_MS}
    return Failure(Code.OVERLOADED, "too many calls are waiting: nothing was carried out", data)


def status_of(failure: Failure) -> int:
    """The HTTP status of a single call's failure."""
    return failure.status or _STATUS.get(failure.code, 200)


def headers_of(failure: Failure) -> list[tuple[bytes, bytes]]:
    """The HTTP headers that go with a single call's failure."""
    if status_of(failure) == _UNAUTHORIZED:
        return [(b"www-authenticate", b"Bearer")]
    if failure.data is not None and "retryAfterMs" in failure.data:
        return [(b"retry-after", str(max(1, math.ceil(failure.data["retryAfterMs"] / 1000))).encode())]
    return []


_STATUS: Mapping[Code, int] = {
    Code.UNAUTHORIZED: _UNAUTHORIZED,
    Code.RATE_LIMITED: 429,
    Code.STORE_UNAVAILABLE: 503,
    Code.OVERLOADED: 503,
}


def _decision_not_found(refusal: Any) -> Failure:
    return Failure(Code.DECISION_NOT_FOUND, refusal.message, {"id": refusal.id})


def _circuit_not_found(refusal: Any) -> Failure:
    return Failure(Code.CIRCUIT_NOT_FOUND, refusal.message, {"scope": refusal.scope, "nearest": list(refusal.nearest)})


def _conflict(refusal: Any) -> Failure:
    return Failure(Code.CONFLICT, refusal.message, {"id": refusal.id} if refusal.id is not None else None)


def _forbidden(refusal: Any) -> Failure:
    return forbidden(tuple(refusal.required), refusal.message)


def _unauthorized(refusal: Any) -> Failure:
    return Failure(Code.UNAUTHORIZED, refusal.message)


def _invalid_input(refusal: Any) -> Failure:
    data = {"field": refusal.field, "problems": [{"field": refusal.field, "message": refusal.message}]}
    return Failure(Code.INVALID_PARAMS, f"invalid params: {refusal.message}", data)


_REFUSALS: Mapping[type[Refusal], Callable[[Any], Failure]] = {
    DecisionNotFound: _decision_not_found,
    CircuitNotFound: _circuit_not_found,
    Conflict: _conflict,
    Forbidden: _forbidden,
    Unauthorized: _unauthorized,
    InvalidInput: _invalid_input,
}
