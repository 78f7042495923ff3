"""From a body to an answer, as JSON-RPC 2.0 says; the only place that knows `jsonrpcserver`.

The library finds the method, fits the arguments to it and makes the response. What it does not do as the specification and this service
want it is done here: splitting the body, checking the envelope, carrying out a batch in order, and keeping exceptions inside.
"""

import difflib
import inspect
import warnings
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import orjson
import structlog

from cstp_server.clock import Clock
from cstp_server.domain.values import dataclass
from cstp_server.rpc.context import Traced
from cstp_server.rpc.errors import Code, Failure, headers_of, internal_error, status_of
from cstp_server.rpc.json_text import BAD_INTEGER, Document, TooWide, parse, problem_in
from cstp_server.rpc.limits import Limits

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # on import the library reads its schema in a way that Python gives up
    from jsonrpcserver import Error, Success
    from jsonrpcserver import dispatcher as library
    from jsonrpcserver.async_dispatcher import dispatch_request
    from jsonrpcserver.dispatcher import create_request, to_response
    from jsonrpcserver.response import ErrorResponse

# with every call the library asks for the signature of a method that has been the same since the start
library.signature = lru_cache(maxsize=256)(inspect.signature)  # type: ignore[attr-defined]

C = TypeVar("C", bound=Traced)
Procedure = Callable[..., Awaitable[Any]]
"""A method: `(context, /, *positional, **named)`; answers what `orjson` can write, or a `Failure`."""

_JSON = (b"content-type", b"application/json")
_INVALID_REQUEST = Failure(Code.INVALID_REQUEST, "Invalid Request")
_UNKNOWN = "unknown"
_PARAMS = (dict, list)
_ID = (str, int, float)

log = structlog.get_logger(__name__)


class Gate(Protocol):
    """Counts what is called, and may refuse it."""

    def admit(self, context: Any) -> Failure | None:
        """Why this call is not carried out, if it is not."""
        ...

    def refused(self, code: int) -> None:
        """Something was answered with an error's code before any method was found for it."""
        ...

    def called(self, method: str, code: int, seconds: float) -> None:
        """A call of a known method was answered, with code 0 or an error's."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes out over HTTP; without a body when there is nothing to say."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]

    @staticmethod
    def of(status: int, body: bytes) -> "Reply":
        """A reply in JSON."""
        return Reply(status, body, [_JSON, (b"content-length", str(len(body)).encode())])


_NOTHING = Reply(204, b"", [])


@dataclass(frozen=True, slots=True)
class _Response:
    """The response to one call, and the failure that it says, if it says one."""

    content: dict[str, Any]
    failure: Failure | None = None


def failed(failure: Failure, id: Any = None, status: int | None = None) -> Reply:
    """The reply that says one failure."""
    body = orjson.dumps(_error(failure, id))
    reply = Reply.of(status_of(failure) if status is None else status, body)
    reply.headers.extend(headers_of(failure))
    return reply


def id_of(body: bytes, limits: Limits) -> Any:
    """The id of the single call in a body, for a failure that concerns it before it is looked at; none when there is none to be had."""
    document = parse(body, limits)
    if isinstance(document, Failure) or not isinstance(document.value, dict):
        return None
    id = document.value.get("id")
    return id if _is_id(id) and (not document.doubtful or problem_in(id, limits) is None) else None


class Dispatcher(Generic[C]):
    """Carries out calls of a table of methods."""

    def __init__(self, methods: Mapping[str, Procedure], limits: Limits, gate: Gate, clock: Clock) -> None:
        self._methods = {name: _kept_inside(name, procedure, gate, clock) for name, procedure in methods.items()}
        self._limits = limits
        self._gate = gate

    async def answer(self, body: bytes, context: C) -> Reply:
        """The answer to a body: one response, a batch of them in order, or nothing."""
        document = parse(body, self._limits)
        if isinstance(document, Failure):
            return self._refuse(context, document)
        if isinstance(document.value, list):
            return await self._answer_batch(document.value, document, context)
        response = await self._respond(document.value, document.doubtful, context)
        return _single(response)

    async def _answer_batch(self, calls: list[Any], document: Document, context: C) -> Reply:
        if not calls:
            return self._refuse(context, _INVALID_REQUEST)
        if len(calls) > self._limits.batch:
            too_many = {"expected": f"at most {self._limits.batch} calls in a batch"}
            return self._refuse(context, Failure(Code.INVALID_REQUEST, "Invalid Request", too_many))
        responses = [await self._respond(call, document.doubtful, context) for call in calls]
        said = [response.content for response in responses if response is not None]
        return Reply.of(200, orjson.dumps(said)) if said else _NOTHING

    def _refuse(self, context: C, failure: Failure) -> Reply:
        """The reply to a body of which nothing is carried out, for a reason of its own if its caller is admitted."""
        failure = self._gate.admit(context) or failure
        self._gate.refused(failure.code)
        return failed(failure)

    async def _respond(self, call: Any, doubtful: bool, context: C) -> _Response | None:
        """The response to one call; none for a notification."""
        refused = self._gate.admit(context)
        problem = _envelope_problem(call, self._limits, doubtful)
        failure = refused or problem
        if failure is None:
            request, result = await dispatch_request(self._methods, context, create_request(call))
            return None if "id" not in call else self._response(call, to_response(request, result))
        self._gate.refused(failure.code)
        is_call = problem is None or problem.code is not Code.INVALID_REQUEST
        return None if is_call and "id" not in call else _failed(failure, _id_or_none(call, self._limits, doubtful))

    def _response(self, call: dict[str, Any], response: Any) -> _Response:
        """The response as the library makes it, `Right` of a success or `Left` of an error, in the words of this service."""
        if hasattr(response, "_value"):
            success = response._value
            return _Response({"jsonrpc": "2.0", "result": success.result, "id": success.id})
        error: ErrorResponse = response._error
        return _failed(self._failure_of(error, call), error.id)

    def _failure_of(self, error: ErrorResponse, call: dict[str, Any]) -> Failure:
        """The failure that a method has answered with; where the library made the error, its words are replaced by our own."""
        if isinstance(error.data, Failure):
            return error.data
        if error.code == Code.METHOD_NOT_FOUND:
            self._gate.called(_UNKNOWN, error.code, 0.0)
            nearest = difflib.get_close_matches(call["method"][:128], self._methods, n=3)
            return Failure(Code.METHOD_NOT_FOUND, "Method not found", {"nearest": nearest} if nearest else None)
        return Failure(Code(error.code), error.message)


def _kept_inside(name: str, procedure: Procedure, gate: Gate, clock: Clock) -> Procedure:
    """The procedure as the library calls it: no exception leaves it, and its outcome is counted."""

    async def call(context: Any, /, *positional: Any, **named: Any) -> Any:
        started = clock.monotonic()
        try:
            outcome = await procedure(context, *positional, **named)
        except Exception:
            log.exception("call failed", method=name, correlation_id=context.correlation_id)
            outcome = internal_error(context.correlation_id)
        if isinstance(outcome, Failure):
            gate.called(name, outcome.code, clock.monotonic() - started)
            return Error(int(outcome.code), outcome.message, outcome)
        gate.called(name, 0, clock.monotonic() - started)
        return Success(outcome)

    call.__signature__ = _signature_of(procedure)  # type: ignore[attr-defined]
    return call


class _TakesAll(inspect.Signature):
    """The signature of `(context, /, *positional, **named)`: any arguments fit, so none are fitted."""

    def bind(self, *_args: Any, **_kwargs: Any) -> inspect.BoundArguments:
        return _NO_ARGUMENTS


_ALL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NO_ARGUMENTS = inspect.BoundArguments(inspect.Signature(), OrderedDict())


def _signature_of(procedure: Procedure) -> inspect.Signature:
    signature = inspect.signature(procedure)
    parameters = tuple(signature.parameters.values())
    return _TakesAll(parameters) if tuple(parameter.kind for parameter in parameters) == _ALL else signature


def _envelope_problem(call: Any, limits: Limits, doubtful: bool) -> Failure | None:
    """What is wrong with a call before its method looks at it.

    Where JSON-RPC's own examples print an error without data, none is given.
    """
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        return _INVALID_REQUEST
    if call.get("jsonrpc") != "2.0":
        return _invalid_request("jsonrpc", "must be `2.0`")
    if "id" in call and not _is_id(call["id"]):
        return _invalid_request("id", BAD_INTEGER if isinstance(call["id"], TooWide) else "must be a string, a number or null")
    if "params" in call and not isinstance(call["params"], _PARAMS):
        return _invalid_request("params", "must be an object")
    return _doubt(call, limits) if doubtful else None


def _doubt(call: dict[str, Any], limits: Limits) -> Failure | None:
    problem = problem_in(call, limits)
    if problem is None:
        return None
    member, _, rest = problem.field.partition(".")
    if member.partition("[")[0] != "params":
        return _invalid_request(problem.field, problem.message)
    field = rest or member
    data = {"field": field, "problems": [{"field": field, "message": problem.message}]}
    return Failure(Code.INVALID_PARAMS, f"invalid params: `{field}` {problem.message}", data)


def _invalid_request(field: str, expected: str) -> Failure:
    return Failure(Code.INVALID_REQUEST, "Invalid Request", {"field": field, "expected": expected})


def _is_id(id: Any) -> bool:
    return id is None or (isinstance(id, _ID) and not isinstance(id, bool))


def _id_or_none(call: Any, limits: Limits, doubtful: bool) -> Any:
    id = call.get("id") if isinstance(call, dict) else None
    if not _is_id(id) or (doubtful and problem_in(id, limits) is not None):
        return None
    return id


def _error(failure: Failure, id: Any) -> dict[str, Any]:
    error: dict[str, Any] = {"code": int(failure.code), "message": failure.message}
    if failure.data is not None:
        error["data"] = failure.data
    return {"jsonrpc": "2.0", "error": error, "id": id}


def _failed(failure: Failure, id: Any) -> _Response:
    return _Response(_error(failure, id), failure)


def _single(response: _Response | None) -> Reply:
    if response is None:
        return _NOTHING
    body = orjson.dumps(response.content)
    if response.failure is None:
        return Reply.of(200, body)
    reply = Reply.of(status_of(response.failure), body)
    reply.headers.extend(headers_of(response.failure))
    return reply
