"""The tools over streamable HTTP, with the protocol's SDK.

Without sessions: each request is whole in itself, so that any server process can answer it, and nothing is kept for a client.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import structlog
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ListedTool
from starlette.types import Receive, Scope, Send

from cstp_server import __version__
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.values import dataclass
from cstp_server.mcp.advice import after_answer, after_error
from cstp_server.mcp.ports import CALLER, Calls
from cstp_server.mcp.problems import as_offered
from cstp_server.mcp.schemas import input_schema, output_schema
from cstp_server.mcp.tools import INSTRUCTIONS, TOOLS, Tool

T = TypeVar("T")

_NO_JSON = "the arguments hold what JSON does not: `NaN`, an infinity, half of a character, or far too much nesting"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Offer:
    """A tool as it is listed, and the roles that its method takes."""

    tool: Tool
    listed: ListedTool
    roles: tuple[Role, ...]


class ToolServer:
    """Answers the requests of callers that are known."""

    def __init__(self, calls: Calls, longest_body: int) -> None:
        self._calls = calls
        self._longest_body = longest_body
        self._under_way: set[asyncio.Future[Any]] = set()
        self._offers = {tool.name: _offer(tool, calls) for tool in TOOLS}
        self._server: Server[Any] = Server(
            "cstp",
            version=__version__,
            title="CSTP: governance for AI agents",
            instructions=INSTRUCTIONS,
            get_tool_input_schema=self._input_schema,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request whose scope holds its caller."""
        manager = StreamableHTTPSessionManager(self._server, json_response=True, stateless=True, max_request_body_size=self._longest_body)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        """What a tool takes, for the SDK to hold headers against; without it the SDK would list all tools at each call."""
        offer = self._offers.get(name)
        return offer.listed.input_schema if offer is not None else None

    async def _list(self, context: Any, _params: PaginatedRequestParams | None) -> ListToolsResult:
        caller: Caller = context.request.scope[CALLER]
        offers = self._offers.values()
        return ListToolsResult(tools=[offer.listed for offer in offers if offer.tool.open_to(caller, offer.roles)])

    async def _call(self, context: Any, params: CallToolRequestParams) -> CallToolResult:
        scope: Scope = context.request.scope
        try:
            return await self._carry_out(params.name, params.arguments or {}, scope)
        except Exception:  # the SDK sends the text of any exception to the caller
            id = self._calls.correlation_id(scope)
            log.exception("tool failed", tool=params.name, correlation_id=id)
            return failed(INTERNAL_ERROR, "Internal error", {"correlationId": id})

    async def _carry_out(self, name: str, arguments: Mapping[str, Any], scope: Scope) -> CallToolResult:
        caller: Caller = scope[CALLER]
        offer = self._offers.get(name)
        if offer is None:
            return failed(METHOD_NOT_FOUND, "there is no tool of that name", {"nearest": self._names_for(caller)})
        if not offer.tool.open_to(caller, offer.roles):
            wanted = " or ".join(f"`{role.value}`" for role in offer.tool.roles or offer.roles)
            return failed(-32001, f"`{name}` takes a token with the role {wanted}", {})
        if not _is_json(arguments):
            return failed(INVALID_PARAMS, _NO_JSON, {})
        calling = asyncio.ensure_future(self._calls.call(offer.tool.method, arguments, caller, scope))
        # who hangs up ends what only reads or waits; what changes something goes on to its end
        response = await (calling if offer.tool.read_only else self._to_its_end(calling))
        error = response.get("error")
        if error is not None:
            message, data = as_offered(error, offer.listed.input_schema)
            return failed(error["code"], message, data, name)
        return _answered(offer.tool, arguments, response["result"])

    def _to_its_end(self, calling: asyncio.Future[T]) -> asyncio.Future[T]:
        self._under_way.add(calling)
        calling.add_done_callback(self._under_way.discard)
        return asyncio.shield(calling)

    def _names_for(self, caller: Caller) -> list[str]:
        return [name for name, offer in self._offers.items() if offer.tool.open_to(caller, offer.roles)]


def failed(code: int, message: str, data: Mapping[str, Any], tool: str | None = None) -> CallToolResult:
    """An error that the model reads, and can do something about; `tool` is the one whose method it comes from."""
    return CallToolResult(content=[TextContent(type="text", text=after_error(code, message, data, tool))], is_error=True)


def _answered(tool: Tool, arguments: Mapping[str, Any], result: dict[str, Any]) -> CallToolResult:
    structured = {"next": after_answer(tool.name, arguments, result), **result} if tool.next else result
    text = json.dumps(structured, ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured)


def _offer(tool: Tool, calls: Calls) -> _Offer:
    described = calls.described(tool.method)
    listed = ListedTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool, described.params),
        output_schema=output_schema(tool, described.result),
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.read_only,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.idempotent,
            open_world_hint=False,
        ),
    )
    return _Offer(tool, listed, described.roles)


def _is_json(arguments: Mapping[str, Any]) -> bool:
    """Whether it is JSON: the SDK's parser takes more than that."""
    try:
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True
