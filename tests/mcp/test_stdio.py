"""`cstp mcp`: the tools over standard input and output, as a client of a running server."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolRequestParams, CallToolResult
from mcp_types.version import LATEST_HANDSHAKE_VERSION

from cstp_server.client import AsyncClient
from cstp_server.mcp.endpoint import PATH
from cstp_server.mcp.stdio import Relay
from tests.mcp.conftest import Fleet, Tools, text_of, using
from tests.postgres import free_port
from tests.server import RunningServer

_HANDSHAKE = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "editor", "version": "1"}},
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
]


def spoken(server: RunningServer, *messages: object, **env: str) -> subprocess.CompletedProcess[str]:
    """What `cstp mcp` answers to these lines before it ends with its input."""
    lines = "".join(f"{json.dumps(message)}\n" for message in messages)
    return server.cli("mcp", stdin=lines, env={"CSTP_URL": server.url} | env, check=False)


def test_nothing_but_the_protocol_is_written_to_standard_output(fleet: Fleet) -> None:
    """Each line of output is a message, the process ends well with its input, and standard error stays quiet."""
    done = spoken(fleet.server, *_HANDSHAKE, CSTP_TOKEN=fleet.agent)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {answer["id"] for answer in answers} == {1, 2}
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_same_tools_are_offered_as_over_http(fleet: Fleet) -> None:
    """Names, schemas, descriptions and hints are those of the server."""

    async def listed(tools: Tools) -> list[object]:
        return [tool.model_dump() for tool in (await tools.client.list_tools()).tools]

    assert using(fleet.server, "stdio", fleet.ops, listed) == using(fleet.server, "http", fleet.ops, listed)


def test_a_server_that_is_down_is_told_to_the_model(tmp_path: Path) -> None:
    """The tools cannot be listed, a call fails with what to do, and both say where nobody answered."""
    server = RunningServer(tmp_path)
    server.port = free_port()

    async def work(tools: Tools) -> None:
        with pytest.raises(MCPError, match="is it running"):
            await tools.client.list_tools()
        said = await tools.error("check_guardrails", action={"description": "pay"})
        assert "is it running" in said
        assert "do not act" in said

    using(server, "stdio", None, work)


def test_a_token_that_is_refused_is_told_to_the_model(fleet: Fleet) -> None:
    """An unknown token fails each call, and says so."""

    async def work(tools: Tools) -> None:
        said = await tools.error("check_guardrails", action={"description": "pay"})
        assert "the token is unknown, revoked or expired" in said

    using(fleet.server, "stdio", "cstp_wrong", work)


def test_a_server_that_goes_by_another_name_is_told_to_the_model(fleet: Fleet) -> None:
    """No other arguments would help, so the model is not told to correct them."""

    async def answer() -> CallToolResult:
        headers = {"host": "other.example.org", "mcp-protocol-version": LATEST_HANDSHAKE_VERSION}
        async with AsyncClient(fleet.server.url, fleet.agent, path=PATH, headers=headers) as client:
            wanted = CallToolRequestParams(name="check_guardrails", arguments={"action": {"description": "pay"}})
            return await Relay(client).call_tool(None, wanted)

    said = text_of(asyncio.run(answer()))
    assert "`CSTP_ALLOWED_HOSTS`" in said
    assert "do not act, and tell the person you work for" in said
    assert "arguments" not in said


def test_an_interrupt_ends_it_at_once(fleet: Fleet) -> None:
    """Whoever started it by hand gets out with Ctrl-C, though it still waits for its input."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cstp_server", "mcp"],
        env=fleet.server.environment | {"CSTP_URL": fleet.server.url, "CSTP_TOKEN": fleet.agent},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write(f"{json.dumps(_HANDSHAKE[0])}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT


def test_an_address_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    """What can never be called is said at once, and nothing is written to standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "cstp_server", "--url", "gopher://x", "mcp"],
        env=RunningServer(tmp_path).environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "gopher://x" in done.stderr
