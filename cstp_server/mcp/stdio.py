"""`cstp mcp`: the tools of a running server, for programs that start theirs as a process and speak to it over standard input and output.

Each listing and each call is passed on to the server's `/mcp`, so the tools are those that the server has for this token.
"""

import asyncio
import signal
from collections.abc import Mapping
from typing import Any

from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from mcp_types.version import LATEST_HANDSHAKE_VERSION

from cstp_server import __version__
from cstp_server.client import AsyncClient, CstpError, Retry, RpcError
from cstp_server.client.calls import Call
from cstp_server.mcp.advice import after_error
from cstp_server.mcp.endpoint import PATH
from cstp_server.mcp.tools import INSTRUCTIONS, TOOLS

_DEFAULT_WAIT_MS = 30_000
_LONGEST_WAIT_MS = 60_000
_REPEATABLE = frozenset(tool.name for tool in TOOLS if tool.idempotent)
_AWAIT = "await_decision"


def serve(url: str, token: str | None) -> None:
    """Serve until standard input ends. Raises `ValueError` when the url or the token cannot be one."""
    client = AsyncClient(
        url,
        token,
        retry=Retry(attempts=4, total_ms=5_000),
        path=PATH,
        headers={"mcp-protocol-version": LATEST_HANDSHAKE_VERSION},
    )
    # a thread that reads standard input cannot be interrupted, and there is nothing to tidy up
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(_serve(client))


async def _serve(client: AsyncClient) -> None:
    relay = Relay(client)
    server: Server[Any] = Server(
        "cstp", version=__version__, instructions=INSTRUCTIONS, on_list_tools=relay.list_tools, on_call_tool=relay.call_tool
    )
    async with client, stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


class Relay:
    """Passes listings and calls on to the server."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list_tools(self, _context: Any, _params: PaginatedRequestParams | None) -> ListToolsResult:
        """The tools that the server has for this token."""
        try:
            return await self._client.run(Call("tools/list", {}, ListToolsResult.model_validate))
        except CstpError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None

    async def call_tool(self, _context: Any, params: CallToolRequestParams) -> CallToolResult:
        """What the server answers; one that cannot be asked is told to the model."""
        arguments = params.arguments or {}
        call = Call(
            "tools/call",
            {"name": params.name, "arguments": arguments},
            CallToolResult.model_validate,
            repeatable=params.name in _REPEATABLE,
            waits=_waits(arguments) if params.name == _AWAIT else 0.0,
        )
        try:
            return await self._client.run(call)
        except RpcError as error:
            # the request is this process's: what is wrong with it lies in how it is set up, and no argument would change that
            return _failed(_unheard(error.message) if error.code == INVALID_REQUEST else after_error(error.code, error.message, error.data))
        except CstpError as error:
            return _failed(_unheard(str(error)))


def _unheard(why: str) -> str:
    return f"error: {why}\nnext: nothing is allowed meanwhile: do not act, and tell the person you work for"


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _waits(arguments: Mapping[str, Any]) -> float:
    """How many seconds the server may take to answer a wait."""
    asked = arguments.get("timeoutMs", arguments.get("timeout_ms", _DEFAULT_WAIT_MS))
    return min(asked, _LONGEST_WAIT_MS) / 1000 if isinstance(asked, int) and asked > 0 else 0.0
