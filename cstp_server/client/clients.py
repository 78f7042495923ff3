"""The sync and the async client."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import wraps
from time import sleep as _sleep
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx

from cstp_server import __version__
from cstp_server.client import calls, courses
from cstp_server.client.calls import Call
from cstp_server.client.courses import Ask, Course
from cstp_server.client.errors import CstpError, Unsendable
from cstp_server.client.exchange import Attempt, Limits, Pause, Retry, Send, exchange
from cstp_server.client.results import Awaited, Circuit, Decision, Event
from cstp_server.clock import Clock, SystemClock

P = ParamSpec("P")
T = TypeVar("T")

_CALLS = "/cstp"
_POOL = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)
"""Connections are dropped sooner than servers do, so that none is closed under a call."""

_WAITING_POOL = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=2.0)
"""Calls that wait have a pool of their own: however many there are, no check has to wait for one of them."""


def _blocking(build: Callable[P, Call[T]]) -> "Callable[Concatenate[Client, P], T]":
    @wraps(build)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run(build(*args, **kwargs))

    return method


def _awaited(build: Callable[P, Call[T]]) -> "Callable[Concatenate[AsyncClient, P], Awaitable[T]]":
    @wraps(build)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(build(*args, **kwargs))

    return method


def _followed(begin: Callable[P, Course[T]]) -> "Callable[Concatenate[Client, P], T]":
    @wraps(begin)
    def method(self: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.follow(begin(*args, **kwargs))

    return method


def _followed_async(begin: Callable[P, Course[T]]) -> "Callable[Concatenate[AsyncClient, P], Awaitable[T]]":
    @wraps(begin)
    async def method(self: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.follow(begin(*args, **kwargs))

    return method


class Client:
    """Calls the service, and waits.

    `url` is that of the server, without `/cstp`. `timeout` is in seconds and holds for one attempt; `retry` says how long to go on.
    Nothing is read from the environment: for proxies or private certificates pass a `transport` made for them.

        with Client("http://127.0.0.1:8787", token="cstp_…") as client:
            answer = client.check("Deploy build 7", category="deployment", stakes="high")
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8787",
        token: str | None = None,
        *,
        timeout: float = 5.0,
        retry: Retry | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = _sleep,
        clock: Clock | None = None,
    ) -> None:
        self._url = _endpoint(url)
        self.limits = _limits(timeout, retry, clock)
        self._sleep = sleep
        headers, verify = _headers(token), _verification(self._url)
        self._http = httpx.Client(headers=headers, transport=transport, verify=verify, trust_env=False, limits=_POOL)
        self._waiting = (
            self._http if transport is not None else httpx.Client(headers=headers, verify=verify, trust_env=False, limits=_WAITING_POOL)
        )

    check = _blocking(calls.check)
    check_proposal = _blocking(calls.check_proposal)
    review = _blocking(calls.review)
    record_decision = _blocking(calls.record_decision)
    resolve_decision = _followed(courses.resolve_decision)
    approve = _followed(courses.approve)
    deny = _followed(courses.deny)
    confirm = _followed(courses.confirm)
    cancel = _followed(courses.cancel)
    get_decision = _blocking(calls.get_decision)
    decisions_page = _blocking(calls.decisions_page)
    circuit_state = _blocking(calls.circuit_state)
    circuits_page = _blocking(calls.circuits_page)
    circuit_history = _blocking(calls.circuit_history)
    reset_circuit = _blocking(calls.reset_circuit)
    trip_circuit = _blocking(calls.trip_circuit)
    events_page = _blocking(calls.events_page)
    tripwire_stats = _blocking(calls.tripwire_stats)
    metrics = _blocking(calls.metrics)
    get_posture = _blocking(calls.get_posture)
    transition_posture = _blocking(calls.transition_posture)
    emergency_downgrade = _blocking(calls.emergency_downgrade)
    posture_history = _blocking(calls.posture_history)
    record_damage = _blocking(calls.record_damage)
    record_success = _blocking(calls.record_success)
    get_autonomy_level = _blocking(calls.get_autonomy_level)
    should_require_confirmation = _blocking(calls.should_require_confirmation)
    reset_trust = _blocking(calls.reset_trust)
    trust_metrics = _blocking(calls.trust_metrics)
    evaluate_constraints = _blocking(calls.evaluate_constraints)
    validate_tightening = _blocking(calls.validate_tightening)
    list_dimensions = _blocking(calls.list_dimensions)
    approve_dimension = _blocking(calls.approve_dimension)
    reject_dimension = _blocking(calls.reject_dimension)
    list_guardrails = _blocking(calls.list_guardrails)
    reload_policy = _blocking(calls.reload_policy)
    discover = _blocking(calls.discover)

    def await_decision(self, id: str, timeout: float = 30.0) -> Awaited:
        """How a decision stands once it waits no more, or after `timeout` seconds, however long that is: `status` is then still `pending`.

        if client.await_decision("dec_01J…", timeout=600).allowed: ...
        """
        return self.follow(courses.await_decision(id, timeout, self.limits))

    def list_decisions(
        self,
        *,
        status: str | None = None,
        agent: str | None = None,
        category: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Decision]:
        """Every decision that matches, newest first, fetched page by page as they are asked for.

        newest = next(client.list_decisions(agent="refund-bot", outcome="failure"), None)
        """
        cursor: str | None = None
        while True:
            page = self.decisions_page(
                status=status, agent=agent, category=category, outcome=outcome, since=since, limit=page_size, cursor=cursor
            )
            yield from page.decisions
            cursor = page.next_cursor
            if cursor is None:
                return

    def list_circuits(self, *, state: str | None = None, prefix: str | None = None, page_size: int | None = None) -> Iterator[Circuit]:
        """Every circuit that matches, by scope, fetched page by page as they are asked for.

        open_ones = [circuit.scope for circuit in client.list_circuits(state="open")]
        """
        cursor: str | None = None
        while True:
            page = self.circuits_page(state=state, prefix=prefix, limit=page_size, cursor=cursor)
            yield from page.circuits
            cursor = page.next_cursor
            if cursor is None:
                return

    def list_events(
        self,
        *,
        types: Sequence[str] | None = None,
        subject: str | None = None,
        since: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Event]:
        """Every event that matches, newest first, fetched page by page as they are asked for.

        opened = [event.subject for event in client.list_events(types=["circuit.opened"])]
        """
        cursor: str | None = None
        while True:
            page = self.events_page(types=types, subject=subject, since=since, limit=page_size, cursor=cursor)
            yield from page.events
            cursor = page.next_cursor
            if cursor is None:
                return

    def run(self, call: Call[T], *, retry: Retry | None = None) -> T:
        """Carry out one call, with other retries than the client's own if given. Raises `CstpError`."""
        course = exchange(call, _with_retry(self.limits, retry))
        reply: Attempt | None = None
        while True:
            try:
                step = course.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = self._carry_out(step)

    def follow(self, course: Course[T]) -> T:
        """Carry out what takes several calls. Raises `CstpError`."""
        reply: object = None
        while True:
            try:
                step = course.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = self._take(step)

    def _take(self, step: Ask | Pause) -> object:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        try:
            return self.run(step.call, retry=step.retry)
        except CstpError as error:
            return error

    def _carry_out(self, step: Send | Pause) -> Attempt | None:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        if self._http.is_closed:
            raise Unsendable("the client is closed: make a new one")
        try:
            http = self._waiting if step.waits else self._http
            return http.post(self._url, content=step.body, timeout=step.timeouts)
        except httpx.TransportError as error:
            return error

    def close(self) -> None:
        """Close the connections; no more calls after this."""
        self._http.close()
        self._waiting.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncClient:
    """Calls the service without blocking the event loop; the same methods as `Client`, to be awaited.

    async with AsyncClient("http://127.0.0.1:8787", token="cstp_…") as client:
        answer = await client.check("Deploy build 7", category="deployment", stakes="high")

    `path` is where on the server the calls go, and `headers` go with each of them: for other protocols over JSON-RPC than this one.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8787",
        token: str | None = None,
        *,
        timeout: float = 5.0,
        retry: Retry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Clock | None = None,
        path: str = _CALLS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = _endpoint(url, path)
        self.limits = _limits(timeout, retry, clock)
        self._sleep = sleep
        sent, verify = _headers(token) | dict(headers or {}), _verification(self._url)
        self._http = httpx.AsyncClient(headers=sent, transport=transport, verify=verify, trust_env=False, limits=_POOL)
        self._waiting = (
            self._http if transport is not None else httpx.AsyncClient(headers=sent, verify=verify, trust_env=False, limits=_WAITING_POOL)
        )

    check = _awaited(calls.check)
    check_proposal = _awaited(calls.check_proposal)
    review = _awaited(calls.review)
    record_decision = _awaited(calls.record_decision)
    resolve_decision = _followed_async(courses.resolve_decision)
    approve = _followed_async(courses.approve)
    deny = _followed_async(courses.deny)
    confirm = _followed_async(courses.confirm)
    cancel = _followed_async(courses.cancel)
    get_decision = _awaited(calls.get_decision)
    decisions_page = _awaited(calls.decisions_page)
    circuit_state = _awaited(calls.circuit_state)
    circuits_page = _awaited(calls.circuits_page)
    circuit_history = _awaited(calls.circuit_history)
    reset_circuit = _awaited(calls.reset_circuit)
    trip_circuit = _awaited(calls.trip_circuit)
    events_page = _awaited(calls.events_page)
    tripwire_stats = _awaited(calls.tripwire_stats)
    metrics = _awaited(calls.metrics)
    get_posture = _awaited(calls.get_posture)
    transition_posture = _awaited(calls.transition_posture)
    emergency_downgrade = _awaited(calls.emergency_downgrade)
    posture_history = _awaited(calls.posture_history)
    record_damage = _awaited(calls.record_damage)
    record_success = _awaited(calls.record_success)
    get_autonomy_level = _awaited(calls.get_autonomy_level)
    should_require_confirmation = _awaited(calls.should_require_confirmation)
    reset_trust = _awaited(calls.reset_trust)
    trust_metrics = _awaited(calls.trust_metrics)
    evaluate_constraints = _awaited(calls.evaluate_constraints)
    validate_tightening = _awaited(calls.validate_tightening)
    list_dimensions = _awaited(calls.list_dimensions)
    approve_dimension = _awaited(calls.approve_dimension)
    reject_dimension = _awaited(calls.reject_dimension)
    list_guardrails = _awaited(calls.list_guardrails)
    reload_policy = _awaited(calls.reload_policy)
    discover = _awaited(calls.discover)

    async def await_decision(self, id: str, timeout: float = 30.0) -> Awaited:  # noqa: ASYNC109 - it is the service that waits
        """How a decision stands once it waits no more, or after `timeout` seconds, however long that is: `status` is then still `pending`.

        if await client.await_decision("dec_01J…", timeout=600).allowed: ...
        """
        return await self.follow(courses.await_decision(id, timeout, self.limits))

    async def list_decisions(
        self,
        *,
        status: str | None = None,
        agent: str | None = None,
        category: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Decision]:
        """Every decision that matches, newest first, fetched page by page as they are asked for.

        async for decision in client.list_decisions(agent="refund-bot"): ...
        """
        cursor: str | None = None
        while True:
            page = await self.decisions_page(
                status=status, agent=agent, category=category, outcome=outcome, since=since, limit=page_size, cursor=cursor
            )
            for decision in page.decisions:
                yield decision
            cursor = page.next_cursor
            if cursor is None:
                return

    async def list_circuits(
        self, *, state: str | None = None, prefix: str | None = None, page_size: int | None = None
    ) -> AsyncIterator[Circuit]:
        """Every circuit that matches, by scope, fetched page by page as they are asked for.

        open_ones = [circuit.scope async for circuit in client.list_circuits(state="open")]
        """
        cursor: str | None = None
        while True:
            page = await self.circuits_page(state=state, prefix=prefix, limit=page_size, cursor=cursor)
            for circuit in page.circuits:
                yield circuit
            cursor = page.next_cursor
            if cursor is None:
                return

    async def list_events(
        self,
        *,
        types: Sequence[str] | None = None,
        subject: str | None = None,
        since: str | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Event]:
        """Every event that matches, newest first, fetched page by page as they are asked for.

        async for event in client.list_events(subject="refund-77"): ...
        """
        cursor: str | None = None
        while True:
            page = await self.events_page(types=types, subject=subject, since=since, limit=page_size, cursor=cursor)
            for event in page.events:
                yield event
            cursor = page.next_cursor
            if cursor is None:
                return

    async def run(self, call: Call[T], *, retry: Retry | None = None) -> T:
        """Carry out one call, with other retries than the client's own if given. Raises `CstpError`."""
        course = exchange(call, _with_retry(self.limits, retry))
        reply: Attempt | None = None
        while True:
            try:
                step = course.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = await self._carry_out(step)

    async def follow(self, course: Course[T]) -> T:
        """Carry out what takes several calls. Raises `CstpError`."""
        reply: object = None
        while True:
            try:
                step = course.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            reply = await self._take(step)

    async def _take(self, step: Ask | Pause) -> object:
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        try:
            return await self.run(step.call, retry=step.retry)
        except CstpError as error:
            return error

    async def _carry_out(self, step: Send | Pause) -> Attempt | None:
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        if self._http.is_closed:
            raise Unsendable("the client is closed: make a new one")
        try:
            http = self._waiting if step.waits else self._http
            return await http.post(self._url, content=step.body, timeout=step.timeouts)
        except httpx.TransportError as error:
            return error

    async def aclose(self) -> None:
        """Close the connections; no more calls after this."""
        await self._http.aclose()
        await self._waiting.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


def _endpoint(url: str, path: str = _CALLS) -> httpx.URL:
    try:
        parsed = httpx.URL(url.strip().rstrip("/").removesuffix(_CALLS).removesuffix(path) + path)
    except httpx.InvalidURL as error:
        raise ValueError(f"`{url}` is no url: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"`{url}` is no url of a server: use one such as `http://127.0.0.1:8787`")
    return parsed


def _verification(url: httpx.URL) -> ssl.SSLContext | bool:
    """How certificates are verified, where there will be any; to load them takes longer than a call. Redirects are never followed."""
    return httpx.create_ssl_context(trust_env=False) if url.scheme == "https" else False


def _headers(token: str | None) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept": "application/json", "user-agent": f"cstp-client/{__version__}"}
    if token is None:
        return headers
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("the token is empty, or holds characters that no token has (spaces, line ends, letters beyond ASCII)")
    return headers | {"authorization": f"Bearer {token}"}


def _limits(timeout: float, retry: Retry | None, clock: Clock | None) -> Limits:
    if not timeout > 0:
        raise ValueError(f"`timeout` is {timeout} and should be a positive number of seconds")
    return Limits(timeout, retry if retry is not None else Retry(), clock if clock is not None else SystemClock())


def _with_retry(limits: Limits, retry: Retry | None) -> Limits:
    return limits if retry is None else Limits(limits.timeout, retry, limits.clock)
