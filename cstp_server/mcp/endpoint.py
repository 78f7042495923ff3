"""`POST /mcp` as a plain ASGI application: hosts, caller and size are seen to here, and only then the protocol's SDK is asked.

The SDK is loaded by the first request that gets so far: server processes that never see one do not pay for it.
"""

import asyncio
import importlib
import json
import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cstp_server.domain.callers import Caller
from cstp_server.domain.refusals import Overloaded, StoreUnavailable, Unauthorized
from cstp_server.domain.values import dataclass
from cstp_server.mcp.hosts import Hosts
from cstp_server.mcp.ports import CALLER, Calls
from cstp_server.services.identifying import Identification

PATH = "/mcp"
_ANSWERING = "cstp_server.mcp.answering"
_OVERLOADED_MS = 1000

log = structlog.get_logger(__name__)


class _Code(IntEnum):
    """Codes of errors (SPEC 2)."""

    PARSE = -32700
    INVALID = -32600
    INTERNAL = -32603
    UNAUTHORIZED = -32001
    RATE_LIMITED = -32002
    UNAVAILABLE = -32012
    OVERLOADED = -32013


class _Refused(NamedTuple):
    """Why a request goes no further, as a JSON-RPC error over HTTP."""

    status: int
    code: _Code
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    retry_after_ms: int | None = None


class _Gone(Exception):
    """The caller hung up before its body was complete."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What stands before the tools: who calls, under which names this service is known, and how long a body may be."""

    calls: Calls
    identification: Identification
    hosts: Hosts
    longest_body: int


class McpEndpoint:
    """The tools' one address."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._loading = asyncio.Lock()
        self._server: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        headers = dict(scope["headers"])
        refused = self._refusal(scope, headers)
        if refused is not None:
            await _refuse(refused, None, send)
            return
        try:
            body = await self._read(receive)
        except _Gone:
            return
        if body is None:
            await _refuse(self._too_long(), None, send)
            return
        message = _message_in(body)
        caller = await self._caller(scope, headers)
        refused = caller if isinstance(caller, _Refused) else _problem_with(message)
        if refused is not None:
            await _refuse(refused, _id_of(message), send)
            return
        server = self._server or await self._load()
        await _while_listening(server, {**scope, CALLER: caller}, body, receive, send)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> _Refused | None:
        """What is wrong with the request before it matters who sent it."""
        host, origin = _text(headers, b"host"), _text(headers, b"origin")
        if host is None or not self._edge.hosts.answers(host):
            return _Refused(
                421, _Code.INVALID, "this service is not known by that `Host`: its operator can name it in `CSTP_ALLOWED_HOSTS`"
            )
        if origin is not None and not self._edge.hosts.trusts(origin, host):
            return _Refused(403, _Code.INVALID, "pages of that `Origin` may not call: its operator can name it in `CSTP_ALLOWED_HOSTS`")
        if scope["method"] != "POST":
            return _Refused(
                405, _Code.INVALID, "send each message with `POST`: there are no sessions to open or end", ((b"allow", b"POST"),)
            )
        announced = headers.get(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > self._edge.longest_body:
            return self._too_long()
        return None

    async def _caller(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller | _Refused:
        client = scope.get("client")
        try:
            caller = await self._edge.identification.caller_of(client[0] if client is not None else None, headers)
        except StoreUnavailable:
            return _Refused(503, _Code.UNAVAILABLE, "the store does not answer: nothing was carried out, and nothing is allowed")
        except Overloaded:
            return _later(503, _Code.OVERLOADED, "too much is going on right now: nothing was carried out", _OVERLOADED_MS)
        except Exception:  # whatever it is, its text stays inside
            id = self._edge.calls.correlation_id(scope)
            log.exception("identification failed", correlation_id=id)
            return _Refused(500, _Code.INTERNAL, f"internal error: the server's log has the reason under `{id}`")
        if isinstance(caller, Unauthorized):
            return _Refused(401, _Code.UNAUTHORIZED, caller.message, ((b"www-authenticate", b"Bearer"),))
        wait_ms = self._edge.calls.admit(caller)
        return _later(429, _Code.RATE_LIMITED, "this token calls too often", wait_ms) if wait_ms else caller

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; none when it is longer than it may be."""
        parts: list[bytes] = []
        length = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            parts.append(message.get("body", b""))
            length += len(parts[-1])
            if length > self._edge.longest_body:
                return None
            if not message.get("more_body"):
                return b"".join(parts)

    def _too_long(self) -> _Refused:
        return _Refused(413, _Code.INVALID, f"`body` must be at most {self._edge.longest_body} bytes long", ((b"connection", b"close"),))

    async def _load(self) -> ASGIApp:
        async with self._loading:
            if self._server is None:
                # in a thread, so that checks go on meanwhile
                answering = await asyncio.to_thread(importlib.import_module, _ANSWERING)
                self._server = answering.ToolServer(self._edge.calls, self._edge.longest_body)
        return self._server


def _later(status: int, code: _Code, message: str, wait_ms: int) -> _Refused:
    seconds = str(max(1, math.ceil(wait_ms / 1000))).encode()
    return _Refused(status, code, message, ((b"retry-after", seconds),), wait_ms)


def _message_in(body: bytes) -> Any:
    """The JSON of a body; `_Refused` where there is none. The SDK finds that out as well, and answers with the text of its exceptions."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Refused(400, _Code.PARSE, "the body is no JSON")


def _problem_with(message: Any) -> _Refused | None:
    """Why it is no message."""
    if isinstance(message, _Refused):
        return message
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or not isinstance(message.get("method"), str):
        return _Refused(400, _Code.INVALID, "send one JSON-RPC 2.0 request or notification: an object with `jsonrpc` and `method`")
    if "id" in message and _id_of(message) is None:
        return _Refused(400, _Code.INVALID, "`id` must be a string or an integer")
    if not isinstance(message.get("params", {}), dict):
        return _Refused(400, _Code.INVALID, "`params` must be an object")
    return None


def _id_of(message: Any) -> str | int | None:
    """The id that an answer to a message carries; none where it has no good one."""
    id = message.get("id") if isinstance(message, dict) else None
    return id if isinstance(id, str | int) and not isinstance(id, bool) else None


async def _while_listening(server: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Have the server answer for as long as the caller is there: whoever hangs up waits for nothing any more."""
    said = False
    gone = asyncio.Event()

    async def replay() -> Message:
        nonlocal said
        if not said:
            said = True
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    tasks = [asyncio.ensure_future(work) for work in (server(scope, replay, send), _disconnected(receive))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.set()
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(refused: _Refused, id: str | int | None, send: Send) -> None:
    error: dict[str, object] = {"code": refused.code, "message": refused.message}
    if refused.retry_after_ms is not None:
        error["data"] = {"retryAfterMs": refused.retry_after_ms}
    body = json.dumps({"jsonrpc": "2.0", "error": error, "id": id}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *refused.headers]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return value.decode("latin-1") if value is not None else None
