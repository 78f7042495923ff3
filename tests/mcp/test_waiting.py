"""Whoever hangs up waits for nothing any more: the endpoint in this process, with a service that never answers."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.types import Message, Scope

from cstp_server.domain.callers import LOOPBACK, Caller, Role
from cstp_server.mcp.endpoint import Edge, McpEndpoint
from cstp_server.mcp.hosts import Hosts
from cstp_server.mcp.ports import Described
from cstp_server.rpc.methods import METHODS
from cstp_server.services.identifying import Identification

_WAIT = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "await_decision", "arguments": {"id": "dec_1"}}}
_RESET = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "reset_circuit", "arguments": {"scope": "global"}}}
_HEADERS = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]


class NobodyHasTokens:
    """An authenticator without tokens: callers from this machine have every role."""

    async def caller_of(self, digest: bytes) -> Caller | None:
        """Nobody."""
        return None

    async def any_tokens(self) -> bool:
        """None."""
        return False


class NeverAnswers:
    """A service whose calls go on until they may end or are cancelled, which it remembers; or that breaks, when it is told to."""

    def __init__(self, broken: str | None = None) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._broken = broken

    def described(self, method: str) -> Described:
        """The method, as it is."""
        found = next(known for known in METHODS if known.name == method)
        return Described(found.params.model_json_schema(), found.result.model_json_schema(mode="serialization"), (Role.AGENT,))

    def admit(self, caller: Caller) -> int:
        """Everybody."""
        return 0

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller, scope: Scope) -> Mapping[str, Any]:
        """Nothing, for as long as it may not end."""
        if self._broken is not None:
            raise RuntimeError(self._broken)
        assert caller is LOOPBACK
        self.begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.ended.set()
        return {"result": {}}

    def correlation_id(self, scope: Scope) -> str:
        """Always the same."""
        return "req-1"


def endpoint_of(calls: NeverAnswers) -> McpEndpoint:
    return McpEndpoint(Edge(calls, Identification(NobodyHasTokens(), b""), Hosts(), 1_000_000))


def scope_of() -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "http_version": "1.1",
        "client": ("127.0.0.1", 50_000),
        "headers": _HEADERS,
    }


async def unanswered(_message: Message) -> None:
    raise AssertionError("nobody is there to be answered")


async def call_and_hang_up(calls: NeverAnswers, message: object) -> None:
    """Send a message, and be gone as soon as its call has begun."""
    messages: list[Message] = [{"type": "http.request", "body": json.dumps(message).encode()}]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await calls.begun.wait()
        return {"type": "http.disconnect"}

    await asyncio.wait_for(endpoint_of(calls)(scope_of(), receive, unanswered), 30)


def test_a_caller_that_hangs_up_waits_no_more() -> None:
    """A wait ends with the connection that it was for."""

    async def run() -> None:
        calls = NeverAnswers()
        await call_and_hang_up(calls, _WAIT)
        assert calls.cancelled.is_set()

    asyncio.run(run())


def test_listening_has_ended_when_the_answer_has() -> None:
    """Nothing of a request goes on by itself after it: who listens for the caller's end is gone, however long that takes."""

    async def run() -> None:
        calls = NeverAnswers()
        calls.may_end.set()
        messages: list[Message] = [{"type": "http.request", "body": json.dumps(_WAIT).encode()}]
        has_ended = False

        async def receive() -> Message:
            nonlocal has_ended
            if messages:
                return messages.pop(0)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                has_ended = True
            raise AssertionError("never set")

        async def send(_message: Message) -> None:
            assert not has_ended

        async def answered() -> bool:
            await endpoint_of(calls)(scope_of(), receive, send)
            return has_ended

        assert await asyncio.wait_for(answered(), 30)

    asyncio.run(run())


def test_a_connection_that_breaks_is_told_of() -> None:
    """What the server says of a broken connection ends the wait, and is not lost."""

    async def run() -> None:
        calls = NeverAnswers()
        messages: list[Message] = [{"type": "http.request", "body": json.dumps(_WAIT).encode()}]

        async def receive() -> Message:
            if messages:
                return messages.pop(0)
            await calls.begun.wait()
            raise ConnectionError("cut off")

        with pytest.raises(ConnectionError, match="cut off"):
            await asyncio.wait_for(endpoint_of(calls)(scope_of(), receive, unanswered), 30)
        assert calls.cancelled.is_set()

    asyncio.run(run())


def test_what_changes_something_goes_on_when_its_caller_hangs_up() -> None:
    """A call that has begun to change something is carried out to its end, as it is at `/cstp`."""

    async def run() -> None:
        calls = NeverAnswers()
        await call_and_hang_up(calls, _RESET)
        calls.may_end.set()
        await asyncio.wait_for(calls.ended.wait(), 30)
        assert not calls.cancelled.is_set()

    asyncio.run(run())


def test_what_breaks_inside_stays_inside() -> None:
    """The text of an exception is in the log, and its id in the answer; the model is told not to act."""

    async def run() -> str:
        calls = NeverAnswers(broken="the secret of the house")
        said: list[Message] = []
        ended = asyncio.Event()
        messages: list[Message] = [{"type": "http.request", "body": json.dumps(_WAIT).encode()}]

        async def receive() -> Message:
            if messages:
                return messages.pop(0)
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            said.append(message)

        await asyncio.wait_for(endpoint_of(calls)(scope_of(), receive, send), 30)
        return b"".join(message.get("body", b"") for message in said).decode()

    answer = json.loads(asyncio.run(run()))["result"]
    assert answer["isError"] is True
    (content,) = answer["content"]
    assert "`req-1`" in content["text"]
    assert "do not act" in content["text"]
    assert "secret" not in content["text"]
