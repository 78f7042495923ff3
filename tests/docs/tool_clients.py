"""Connects to the tools as the configuration of a program says: over HTTP with its headers, or to the process that it names."""

import asyncio
import re
import sys
from collections.abc import Mapping
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.docs.shell import DOCUMENTED_URL, Shell, Unclear

_PLACE_OF_THE_TOKEN = re.compile(r"\$\{(?:env:|input:)?(?:CSTP_TOKEN|cstp-token)\}")
_SECTIONS = ("mcpServers", "servers")
_KNOWN = {"type", "url", "headers", "command", "args", "env"}


def offered_by(config: Mapping[str, Any], shell: Shell) -> set[str]:
    """The names of the tools that a program with that configuration gets from its one server."""
    (section,) = [config[name] for name in _SECTIONS if name in config]
    (server,) = section.values()
    if not set(server) <= _KNOWN:
        raise Unclear(f"no check knows {sorted(set(server) - _KNOWN)}")
    if "url" in server:
        assert server.get("type", "http") == "http"
        return asyncio.run(
            _over_http(_filled(server["url"], shell), {name: _filled(value, shell) for name, value in server["headers"].items()})
        )
    assert server["command"] == "cstp"
    environment = shell.server.environment | {name: _filled(value, shell) for name, value in server["env"].items()}
    return asyncio.run(
        _over_stdio(StdioServerParameters(command=sys.executable, args=["-m", "cstp_server", *server["args"]], env=environment))
    )


def _filled(text: str, shell: Shell) -> str:
    return _PLACE_OF_THE_TOKEN.sub(shell.variables["CSTP_TOKEN"], text).replace(DOCUMENTED_URL, shell.server.url)


async def _over_http(url: str, headers: Mapping[str, str]) -> set[str]:
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode="legacy") as client,
    ):
        return {tool.name for tool in (await client.list_tools()).tools}


async def _over_stdio(program: StdioServerParameters) -> set[str]:
    async with Client(stdio_client(program), mode="legacy") as client:
        return {tool.name for tool in (await client.list_tools()).tools}
