"""`cstp` as a process: what it loads, and what reaches which stream."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from tests.client.scripted_server import ScriptedServer, blocked, decision
from tests.conftest import ROOT


def _cstp(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-m", "cstp_server", *arguments], env=env, capture_output=True, text=True, check=False)


def test_a_blocked_check_as_a_process(scripted: ScriptedServer) -> None:
    """Standard output is the JSON alone, and the exit code is 3."""
    scripted.usual["cstp.checkGuardrails"] = blocked
    done = _cstp("check", "Deploy", "--json", CSTP_URL=scripted.url, CSTP_TOKEN="cstp_secret")
    assert (done.returncode, done.stderr) == (3, "")
    assert json.loads(done.stdout)["allowed"] is False
    assert scripted.headers[0]["authorization"] == "Bearer cstp_secret"


def test_nobody_there_as_a_process() -> None:
    """Exit 4, one line on standard error, nothing on standard output."""
    done = _cstp("circuits", CSTP_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (4, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("command", "code"), [("decisions", 0), ("decisions --json", 0), ("check Deploy --json", 3)])
def test_who_reads_no_more_is_told_no_more(scripted: ScriptedServer, command: str, code: int) -> None:
    """`cstp … | head -1` ends quietly, with the exit code that it would have had."""
    scripted.usual["cstp.checkGuardrails"] = blocked
    scripted.usual["cstp.listDecisions"] = lambda params: {"decisions": [decision(f"dec_{n}") for n in range(50)], "nextCursor": None}
    script = f"{shlex.quote(sys.executable)} -m cstp_server {command} | true; echo ${{PIPESTATUS[0]}}"
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT), "CSTP_URL": scripted.url}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{code}\n", "")


def test_a_usage_error_as_a_process() -> None:
    """Exit 2, on standard error."""
    done = _cstp("review", "dec_1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "OUTCOME" in done.stderr


COMMANDS = ["", "check", "tokens create", "policy check", "db current", "decisions", "approve", "await"]
COMMANDS += [f"posture {command}" for command in ("show", "set", "block", "history")]
COMMANDS += [f"constraints {command}" for command in ("eval", "tighten", "dimensions", "approve", "reject")]


@pytest.mark.parametrize("command", [name.split() for name in COMMANDS])
def test_help_has_examples(command: list[str]) -> None:
    """Every command shows how it is used."""
    done = _cstp(*command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"cstp {command[0]}" in done.stdout if command else "cstp serve" in done.stdout
    assert "\x1b" not in done.stdout


def test_help_lists_the_exit_codes() -> None:
    """Scripts find there what they may rely on."""
    text = " ".join(_cstp("--help").stdout.split())
    assert "3 a check, a decision or a posture that was not allowed, or a constraint that does not hold, 4 server not reachable," in text
    assert "5 no token or a bad one" in text


_LOADED = """
import sys
from cstp_server.__main__ import main
sys.argv = ["cstp", *{arguments!r}]
try:
    main()
except SystemExit:
    pass
print("\\n".join(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(("arguments", "also_without"), [(["--help"], {"httpx"}), (["--url", "http://127.0.0.1:9", "check", "x"], set())])
def test_a_command_loads_what_it_needs_and_no_more(arguments: list[str], also_without: set[str]) -> None:
    """The server, the store and the expression engine stay where they are; help does without HTTP too."""
    source = _LOADED.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()}
    rooms = {name for name in done.stderr.splitlines() if name.startswith("cstp_server.")}
    assert "typer" in loaded
    assert not loaded & ({"sqlalchemy", "starlette", "uvicorn", "jsonrpcserver", "cel_expr_python", "alembic", "structlog"} | also_without)
    assert not {
        room for room in rooms if room.startswith(("cstp_server.rpc", "cstp_server.storage", "cstp_server.policy", "cstp_server.app"))
    }
