"""The service as models meet it: through the protocol's own client, over each transport and each version of the protocol."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import httpx2
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from tests.server import RunningServer

T = TypeVar("T")
Way = Literal["http", "http of the newest version", "stdio"]
WAYS: tuple[Way, ...] = ("http", "http of the newest version", "stdio")

POLICY = """
circuit_breakers:
  - {scope: "category:*", failure_threshold: 2, cooldown_ms: 600000}
tripwires: {max_refund: 500}
guardrails:
  - {id: ask-a-person, when: 'action.type == "deploy"', action: escalate, message: a person looks at each deployment}
"""


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of one connection."""

    client: Client

    async def names(self) -> list[str]:
        """Those that are offered."""
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def ask(self, name: str, **arguments: Any) -> Any:
        """What a tool answers, as a structure; it must be no error."""
        result = await self.call(name, **arguments)
        assert not result.is_error, text_of(result)
        return result.structured_content

    async def error(self, name: str, **arguments: Any) -> str:
        """What a tool says when it fails, which it must."""
        result = await self.call(name, **arguments)
        assert result.is_error, text_of(result)
        return text_of(result)

    async def call(self, name: str, **arguments: Any) -> CallToolResult:
        """The whole result."""
        return await self.client.call_tool(name, arguments)


def text_of(result: CallToolResult) -> str:
    """What a client without a sense for structures shows."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@asynccontextmanager
async def connected(server: RunningServer, way: Way, token: str | None) -> AsyncIterator[Tools]:
    """A connection of the SDK's own client."""
    if way == "stdio":
        environment = server.environment | {"CSTP_URL": server.url} | ({"CSTP_TOKEN": token} if token is not None else {})
        program = StdioServerParameters(command=sys.executable, args=["-m", "cstp_server", "mcp"], env=environment, cwd=server.directory)
        async with Client(stdio_client(program), mode="legacy") as client:
            yield Tools(client)
        return
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with httpx2.AsyncClient(headers=headers, timeout=70, trust_env=False) as http:
        transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
        async with Client(transport, mode="legacy" if way == "http" else "auto") as client:
            yield Tools(client)


def using(server: RunningServer, way: Way, token: str | None, work: Callable[[Tools], Awaitable[T]]) -> T:
    """What comes of working with the tools."""

    async def run() -> T:
        async with connected(server, way, token) as tools:
            return await work(tools)

    return asyncio.run(run())


@dataclass(frozen=True, slots=True)
class Fleet:
    """A service, and a token for each of those who call it."""

    server: RunningServer
    agent: str
    ci: str
    viewer: str
    ops: str


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A service of two processes with a policy; the agent's token is bound to `bot`."""
    folder = tmp_path_factory.mktemp("fleet")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with RunningServer(folder / "server", config=policy, workers=2) as server:
        yield Fleet(
            server,
            agent=server.token("bot", "agent", agent="bot"),
            ci=server.token("pipeline", "ci"),
            viewer=server.token("wall", "viewer"),
            ops=server.token("ann", "ops"),
        )


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each way to the tools in turn."""
    way: Way = request.param
    return way
