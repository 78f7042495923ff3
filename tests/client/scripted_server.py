"""A server that speaks the wire over real HTTP on loopback, and misbehaves exactly as a test tells it to."""

import asyncio
import json
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Message = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """Answer with this result."""

    value: Any


@dataclass(frozen=True)
class Error:
    """Answer with a JSON-RPC error."""

    code: int
    message: str
    data: Mapping[str, Any] | None = None
    status: int = 200


@dataclass(frozen=True)
class Plain:
    """Answer with something that is no JSON-RPC."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Drop:
    """Take the call, begin the answer, and drop the connection in the middle of it."""


@dataclass(frozen=True)
class Stall:
    """Take the call and never answer."""


Reply = Result | Error | Plain | Drop | Stall


class ScriptedServer:
    """Answers with the replies of its `script` in order, and when that is empty, with the usual one for the method."""

    def __init__(self) -> None:
        self.script: deque[Reply] = deque()
        self.usual: dict[str, Callable[[Message], Any]] = {}
        self.calls: list[Message] = []
        self.headers: list[Mapping[str, str]] = []
        self._called = threading.Condition()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._thread: threading.Thread | None = None
        self._stalled: list[asyncio.Event] = []
        app = Starlette(routes=[Route("/cstp", self._answer, methods=["POST"])])
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))

    @property
    def url(self) -> str:
        """Where it listens once it has been started; before that, connections are refused."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def methods(self) -> list[str]:
        """The methods called, in order."""
        return [call["method"] for call in self.calls]

    def params(self, method: str) -> list[Message]:
        """The params of every call of a method, in order."""
        return [call["params"] for call in self.calls if call["method"] == method]

    def await_calls(self, count: int) -> None:
        """Wait until so many calls have come in."""
        with self._called:
            assert self._called.wait_for(lambda: len(self.calls) >= count, 30)

    def start(self) -> None:
        """Begin to listen; a second time does nothing."""
        if self._thread is None:
            self._socket.listen()
            self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop listening and let the thread end."""
        for stalled in self._stalled:
            self._loop.call_soon_threadsafe(stalled.set)
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    async def _answer(self, request: Request) -> Response:
        call: Message = json.loads(await request.body())
        with self._called:
            self.calls.append(call)
            self.headers.append(dict(request.headers))
            self._called.notify_all()
        reply: Reply = self.script.popleft() if self.script else Result(self.usual[call["method"]](call["params"]))
        return await self._respond(reply, call["id"])

    async def _respond(self, reply: Reply, id: Any) -> Response:
        match reply:
            case Result(value):
                return JSONResponse({"jsonrpc": "2.0", "id": id, "result": value})
            case Error(code, message, data, status):
                error = {"code": code, "message": message} | ({"data": dict(data)} if data is not None else {})
                return JSONResponse({"jsonrpc": "2.0", "id": id, "error": error}, status)
            case Plain(status, body, headers):
                return Response(body, status, dict(headers))
            case Drop():
                return StreamingResponse(_broken_off(), headers={"content-length": "1000"}, media_type="application/json")
            case Stall():
                return await self._never()

    async def _never(self) -> Response:
        self._loop = asyncio.get_running_loop()
        stalled = asyncio.Event()
        self._stalled.append(stalled)
        await stalled.wait()
        return Response(status_code=500)


async def _broken_off() -> AsyncIterator[bytes]:
    yield b'{"jsonrpc": "2.0", "id"'


def allowed(params: Message) -> Message:
    """The usual answer to a check: go on."""
    return {
        "allowed": True,
        "intervention": "allow",
        "decisionId": params.get("decisionId", "dec_of_the_server"),
        "posture": "supervised",
        "violations": [],
        "warnings": [],
        "shadow": [],
        "probes": [],
        "pending": None,
        "remedies": [],
        "evaluated": 9,
        "evaluatedAt": "2026-02-11T13:00:00Z",
        "policyVersion": "sha256:0",
    }


OPEN_CIRCUIT: Message = {
    "guardrail": "category-tooling-breaker",
    "guardrailId": "category-tooling-breaker",
    "type": "circuit_breaker",
    "state": "open",
    "severity": "block",
    "action": "block",
    "message": "Circuit breaker OPEN: 5/5 recent tooling decisions failed. Cooldown: 22m remaining.",
    "failureRate": 1.0,
    "recentFailures": ["dec_abc", "dec_def"],
    "resetAt": "2026-02-11T13:30:00Z",
    "scope": "category:tooling",
}


def blocked(params: Message) -> Message:
    """An answer that says no, because a circuit is open."""
    return allowed(params) | {
        "allowed": False,
        "intervention": "block",
        "violations": [OPEN_CIRCUIT],
        "remedies": [{"change": "wait", "until": "2026-02-11T13:30:00Z"}],
    }


TRIPPED: Message = {
    "guardrail": "max_refund",
    "guardrailId": "max_refund",
    "type": "tripwire",
    "severity": "block",
    "action": "block",
    "tripwireSeverity": "standard",
    "message": "Tripwire triggered: amount exceeds max_refund of 500",
}


def waits(params: Message) -> Message:
    """An answer that says no, and asks for an approval."""
    return allowed(params) | {
        "allowed": False,
        "intervention": "block",
        "violations": [TRIPPED],
        "pending": {"kind": "approval", "until": "2026-02-11T14:00:00Z"},
        "remedies": [{"change": "approval"}],
    }


def awaited(id: str, status: str = "pending", **fields: Any) -> Message:
    """How a decision stands as the server tells whom it keeps waiting."""
    still = {"pending": {"kind": "approval", "until": "2026-02-11T14:00:00Z"}} if status == "pending" else {}
    return {"id": id, "status": status, "allowed": status in ("allowed", "approved")} | still | fields


def resolved(params: Message) -> Message:
    """The usual answer to a resolution: so it is."""
    status = {"approve": "approved", "confirm": "approved", "deny": "denied", "cancel": "cancelled"}[params["resolution"]]
    return {
        "id": params["id"],
        "resolution": params["resolution"],
        "status": status,
        "allowed": status == "approved",
        "resolvedBy": "olivia",
        "resolvedAt": "2026-02-11T13:05:00Z",
        "violations": [],
    }


def reviewed(params: Message) -> Message:
    """The usual answer to a review: one circuit counted it."""
    return {
        "success": True,
        "id": params["id"],
        "status": "reviewed",
        "reviewedAt": "2026-02-11T13:05:00Z",
        "outcome": params["outcome"],
        "circuits": [{"scope": "category:tooling", "previousState": "closed", "state": "open", "failureCount": 5}],
        "duplicate": False,
        "selfReported": False,
    }


def circuit(scope: str, state: str = "closed", **fields: Any) -> Message:
    """A circuit as the server shows it."""
    return {
        "scope": scope,
        "state": state,
        "failureCount": 2,
        "failureThreshold": 5,
        "weightedFailures": 2.5,
        "failureRate": 0.5,
        "reviewedCount": 4,
        "successCount": 2,
        "lastFailure": "2026-02-11T12:00:00Z",
        "windowMs": 3600000,
        "cooldownMs": 1800000,
        "openedAt": None,
        "resetAt": None,
        "cooldownRemainingMs": 0,
        "probesInFlight": 0,
        "probeSuccesses": 0,
        "forced": False,
        "mode": "enforce",
        "policyId": "breaker",
        "fromConfig": True,
    } | fields


def decision(id: str, status: str = "allowed", **fields: Any) -> Message:
    """A decision on record as the server shows it."""
    return {
        "id": id,
        "status": status,
        "source": "checked",
        "description": "Refund order 1142",
        "type": "issue_refund",
        "category": "billing",
        "stakes": "high",
        "agentId": "refund-bot",
        "intervention": "allow",
        "outcome": None,
        "createdAt": "2026-02-11T13:00:00Z",
    } | fields
