"""Several server processes on one port: one metric page, one reload, and no orphans."""

import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartServer
from tests.server import RunningServer

POLICY = """
circuit_breakers:
  - {scope: "category:tooling", failure_threshold: 5, cooldown_ms: 60000}
"""
SECONDS = 15


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy with one circuit."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def served(server: RunningServer) -> bool:
    """Whether anybody answers on the service's port."""
    try:
        return httpx.get(f"{server.url}/health", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_the_processes_end_with_their_supervisor_even_when_it_is_killed(start_server: StartServer, policy: Path, sqlite_url: str) -> None:
    """The port is free again soon after, so that the service can be started anew."""
    server = start_server(config=policy, database_url=sqlite_url, workers=2)
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while served(server):
        assert time.monotonic() < deadline, server.logs
        time.sleep(0.1)


def test_a_hangup_of_the_supervisor_reloads_the_policy_in_every_process(start_server: StartServer, policy: Path, sqlite_url: str) -> None:
    """Both processes have the new circuit, though only the supervisor got the signal; nobody is restarted for it."""
    server = start_server(config=policy, database_url=sqlite_url, workers=2)
    policy.write_text(POLICY + '  - {scope: "category:billing"}\n')
    server.signal(signal.SIGHUP)

    def knows_it() -> bool:
        answer = httpx.post(  # a connection of its own each time, so that either process may get it
            f"{server.url}/cstp",
            json={"jsonrpc": "2.0", "id": 1, "method": "cstp.getCircuitState", "params": {"scope": "category:billing"}},
            trust_env=False,
        )
        return "result" in answer.json()

    deadline = time.monotonic() + SECONDS
    while not all(knows_it() for _ in range(20)):
        assert time.monotonic() < deadline, server.logs
        time.sleep(0.1)
    assert server.logs.count("Started server process") == 2


def test_any_process_tells_the_metrics_of_all(start_server: StartServer, policy: Path, sqlite_url: str) -> None:
    """Forty checks over many connections count forty, whichever process is asked for its metrics."""
    server = start_server(config=policy, database_url=sqlite_url, workers=2)
    for number in range(40):
        body = {"jsonrpc": "2.0", "id": 1, "method": "cstp.checkGuardrails", "params": {"action": {"description": f"action {number}"}}}
        assert httpx.post(f"{server.url}/cstp", json=body, trust_env=False).json()["result"]["allowed"]
    for _ in range(4):
        text = httpx.get(f"{server.url}/metrics", trust_env=False).text
        assert 'cstp_calls_total{code="0",method="cstp.checkGuardrails"} 40.0' in text
