"""One call from first attempt to answer: what to send, what an answer or a silence means, whether and when to try again.

Without input or output of its own, so that the sync and the async client are the same in all of this: `exchange` is a generator that
says `Send` or `Pause`, and is told what came of it.
"""

import json
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from cstp_server.client.calls import Call
from cstp_server.client.errors import (
    BadAnswer,
    Conflict,
    CstpError,
    Overloaded,
    RateLimited,
    StoreUnavailable,
    Unreachable,
    Unsendable,
    rpc_error,
)
from cstp_server.clock import Clock, SystemClock, new_id

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to go on trying. Delays double from `first_ms` to `longest_ms`, each somewhere between half and whole of that.

    The call gives up after `attempts`, or when the next one could not start within `total_ms` of the first. A server that says how
    long to wait (429) is believed.

    >>> Retry(jitter=lambda: 1.0).delay_ms(3)
    400
    """

    attempts: int = 10
    total_ms: int = 10_000
    first_ms: int = 100
    longest_ms: int = 2_000
    jitter: Callable[[], float] = field(default=random.random, repr=False)

    def delay_ms(self, attempt: int) -> int:
        """The delay in ms after the n-th attempt, counted from 1."""
        whole = min(self.longest_ms, self.first_ms * 2 ** min(attempt - 1, 30))
        return int(whole * (0.5 + self.jitter() / 2))


NO_RETRY = Retry(attempts=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """How a client waits: `timeout` in seconds for each attempt (to connect, and for each piece of the answer), and its retries."""

    timeout: float = 5.0
    retry: Retry = Retry()
    clock: Clock = field(default_factory=SystemClock, repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    """Post `body`, and wait `timeout` seconds at most for each step of it, `waits` seconds more for the answer to begin."""

    body: bytes
    timeout: float
    waits: float = 0.0

    @property
    def timeouts(self) -> httpx.Timeout:
        """As the transport wants them."""
        return httpx.Timeout(self.timeout, read=self.timeout + self.waits)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


Attempt = httpx.Response | httpx.TransportError
Exchange = Generator[Send | Pause, Attempt | None, T]


@dataclass(frozen=True, slots=True)
class _Failure:
    """An attempt that brought no result. `transient`: another may; `carried_out`: this one may have done its work nevertheless."""

    error: CstpError
    transient: bool = False
    carried_out: bool = True
    wait_ms: int | None = None


def exchange(call: Call[T], limits: Limits) -> Exchange[T]:
    """The course of one call. Returns its result; raises `CstpError`."""
    request_id = new_id("req")
    body = _encode(call, request_id)
    retry, clock = limits.retry, limits.clock
    deadline = clock.monotonic() + retry.total_ms / 1000
    attempt = 0
    maybe_done = False
    while True:
        attempt += 1
        left = max(deadline - clock.monotonic(), 0.001)
        reply = yield Send(body, min(limits.timeout, left) if attempt > 1 else limits.timeout, call.waits)
        result = _read_reply(reply, request_id)
        if not isinstance(result, _Failure):
            return call.read(result)
        if isinstance(result.error, Conflict):
            result.error.repeated = maybe_done
        maybe_done = maybe_done or (result.transient and result.carried_out)
        delay_ms = result.wait_ms if result.wait_ms is not None else retry.delay_ms(attempt)
        may_repeat = result.transient and (call.repeatable or not result.carried_out)
        if not may_repeat or attempt >= retry.attempts or clock.monotonic() + delay_ms / 1000 >= deadline:
            raise result.error
        yield Pause(delay_ms / 1000)


def _encode(call: Call[Any], request_id: str) -> bytes:
    request = {"jsonrpc": "2.0", "id": request_id, "method": call.method, "params": call.params}
    try:
        return json.dumps(request, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise Unsendable(f"the params of `{call.method}` cannot be sent as JSON: {error}") from error


def _read_reply(reply: Attempt | None, request_id: str) -> Any:
    """The result that a reply carries, or the failure."""
    if isinstance(reply, httpx.Response):
        return _read_response(reply, request_id)
    return _silence(reply)


_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NEVER_WORKS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.ProxyError)


def _silence(error: httpx.TransportError | None) -> _Failure:
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.UnsupportedProtocol):
        return _Failure(Unsendable(f"the url is not one that can be called: {reason}"), carried_out=False)
    if isinstance(error, _NEVER_WORKS):
        return _Failure(Unreachable(f"the service cannot be asked this way: {reason}", reached=False), carried_out=False)
    if isinstance(error, _NEVER_SENT):
        text = f"the service does not answer ({reason}): is it running, and is the url right?"
        return _Failure(Unreachable(text, reached=False), transient=True, carried_out=False)
    if isinstance(error, httpx.TimeoutException):
        return _Failure(Unreachable("the service did not answer in time"), transient=True)
    return _Failure(Unreachable(f"the connection broke before the answer was whole ({reason})"), transient=True)


def _read_response(response: httpx.Response, request_id: str) -> Any:
    if response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        return _Failure(Unsendable("the call is larger than the server takes"), carried_out=False)
    answer = _json_object(response)
    if answer is None or ("result" not in answer and not isinstance(answer.get("error"), Mapping)):
        return _read_status(response)
    if answer.get("id") not in (request_id, None):
        return _Failure(BadAnswer("the answer belongs to another call"))
    if "result" in answer and "error" not in answer:
        return answer["result"]
    return _refusal(answer["error"], response)


def _json_object(response: httpx.Response) -> Mapping[str, Any] | None:
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(error: Mapping[str, Any], response: httpx.Response) -> _Failure:
    code, message, data = error.get("code"), error.get("message"), error.get("data")
    if not isinstance(code, int) or not isinstance(message, str):
        return _Failure(BadAnswer("the error in the answer has no code and message: is this a CSTP server?"))
    refusal = rpc_error(code, message, data if isinstance(data, Mapping) else None, response.status_code)
    if isinstance(refusal, RateLimited | Overloaded):
        asked_for = refusal.retry_after_ms
        wait_ms = asked_for if asked_for is not None else _retry_after_ms(response)
        return _Failure(refusal, transient=True, carried_out=False, wait_ms=wait_ms)
    return _Failure(refusal, transient=isinstance(refusal, StoreUnavailable))


_AUTH_TEXTS = {401: "the token was refused", 403: "the token may not do this"}
_GATEWAYS = {502, 503, 504}


def _read_status(response: httpx.Response) -> _Failure:
    """What an answer means that is no JSON-RPC: a gateway's, a limit's, or another server's altogether."""
    status = response.status_code
    if status in _AUTH_TEXTS:
        return _Failure(rpc_error(-32001, _AUTH_TEXTS[status], None, status))
    if status == httpx.codes.TOO_MANY_REQUESTS:
        limited = RateLimited("too many calls", -32002)
        return _Failure(limited, transient=True, carried_out=False, wait_ms=_retry_after_ms(response))
    if status in _GATEWAYS:
        return _Failure(Unreachable(f"a gateway in front of the service answered HTTP {status}"), transient=True)
    return _Failure(BadAnswer(f"the answer (HTTP {status}) is no JSON-RPC: is the url that of a CSTP server?"))


def _retry_after_ms(response: httpx.Response) -> int | None:
    seconds = response.headers.get("retry-after", "")
    return int(seconds) * 1000 if seconds.isascii() and seconds.isdigit() else None
