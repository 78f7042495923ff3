"""`POST /cstp` as a plain ASGI application: read the body, know the caller, dispatch, write the answer."""

from collections.abc import Mapping
from dataclasses import replace

import structlog
from starlette.types import Receive, Scope, Send

from cstp_server.domain.callers import Caller
from cstp_server.domain.refusals import Overloaded, Refusal, StoreUnavailable
from cstp_server.rpc.context import Context, Services
from cstp_server.rpc.dispatch import Dispatcher, Reply, failed, id_of
from cstp_server.rpc.errors import Code, Failure, failure_of, failure_of_fault, internal_error
from cstp_server.rpc.methods import procedures
from cstp_server.rpc.middleware import correlation_id
from cstp_server.rpc.traced import propagated, traced
from cstp_server.services.identifying import Identification

_JSON_TYPES = frozenset({b"application/json", b"application/json-rpc", b"application/jsonrequest"})

log = structlog.get_logger(__name__)


class Admission:
    """Counts calls, and refuses those of a token that calls too often."""

    def __init__(self, services: Services) -> None:
        self._take = services.rate_limiter.take
        self.called = services.metrics.called
        self.refused = services.metrics.refused

    def admit(self, context: Context) -> Failure | None:
        """Why this call is not carried out, if it is not."""
        wait = self._take(context.caller.token_digest)
        if not wait:
            return None
        return Failure(Code.RATE_LIMITED, "this token calls too often", {"retryAfterMs": wait})


class Disconnected(Exception):
    """The caller hung up before its body was complete."""


class CstpEndpoint:
    """The service's one RPC endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limits = services.limits
        self._identification = Identification(services.authenticator, services.token_key)
        self._is_traced = services.tracer is not None
        methods = procedures() if services.tracer is None else traced(procedures(), services.tracer)
        self._dispatcher: Dispatcher[Context] = Dispatcher(methods, services.limits, Admission(services), services.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        try:
            reply = await self._reply(scope, receive)
        except Disconnected:
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        headers = dict(scope["headers"])
        refused = self._refusal(scope, headers)
        if refused is not None:
            self._services.metrics.refused(Code.INVALID_REQUEST)
            return refused
        body = await self._read(receive)
        if body is None:
            self._services.metrics.refused(Code.INVALID_REQUEST)
            return self._too_large()
        caller = await self._caller(scope, headers)
        if isinstance(caller, Failure):
            self._services.metrics.refused(caller.code)
            return failed(caller, id_of(body, self._limits))
        context = Context(self._services, caller, correlation_id(scope), self._services.clock.monotonic())
        if self._is_traced:
            context = replace(context, propagated=propagated(headers))
        return await self._dispatcher.answer(body, context)

    async def _caller(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller | Failure:
        """The caller, or why there is none."""
        client = scope.get("client")
        try:
            caller = await self._identification.caller_of(client[0] if client is not None else None, headers)
        except (StoreUnavailable, Overloaded) as fault:
            return failure_of_fault(fault)
        except Exception:
            id = correlation_id(scope)
            log.exception("identification failed", correlation_id=id)
            return internal_error(id)
        return failure_of(caller) if isinstance(caller, Refusal) else caller

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Reply | None:
        """What is wrong with the request before its body is read."""
        if scope["method"] != "POST":
            return _with(failed(_invalid("method", "must be `POST`"), status=405), b"allow", b"POST")
        if not is_json(headers.get(b"content-type", b"")):
            return failed(_invalid("Content-Type", "must be `application/json` in UTF-8"), status=415)
        announced = headers.get(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > self._limits.body_bytes:
            return self._too_large()
        return None

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; none when it is longer than it may be."""
        message = await receive()
        body: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body"):
            return body if len(body) <= self._limits.body_bytes else None
        parts, length = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            length += len(parts[-1])
            if length > self._limits.body_bytes:
                return None
        if message["type"] == "http.disconnect":
            raise Disconnected
        return b"".join(parts)

    def _too_large(self) -> Reply:
        expected = f"must be at most {self._limits.body_bytes} bytes long"
        return _with(failed(_invalid("body", expected), status=413), b"connection", b"close")


def is_json(content_type: bytes) -> bool:
    """Whether a content type is JSON in UTF-8."""
    if content_type == b"application/json":
        return True
    kind, _, options = content_type.lower().partition(b";")
    kind = kind.strip()
    if kind not in _JSON_TYPES and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return False
    charset = next((value for name, _, value in (o.partition(b"=") for o in options.split(b";")) if name.strip() == b"charset"), b"utf-8")
    return charset.strip().strip(b'"') in (b"utf-8", b"utf8", b"us-ascii")


def _invalid(field: str, expected: str) -> Failure:
    return Failure(Code.INVALID_REQUEST, "Invalid Request", {"field": field, "expected": expected})


def _with(reply: Reply, name: bytes, value: bytes) -> Reply:
    return replace(reply, headers=[*reply.headers, (name, value)])
