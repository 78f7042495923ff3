"""Several server processes on one port: one metric page, one reload, and no orphans."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.conftest import StartServer
from tests.server import RunningServer
from tests.story.test_the_loop import wait_for

POLICY = """
circuit_breakers:
  - {scope: "category:tooling", failure_threshold: 5, cooldown_ms: 60000}
"""
WAITING = """
guardrails:
  - {id: ask, when: 'action.type == "deploy"', action: escalate, message: "this wants approval"}
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
    wait_for(lambda: server.logs.count("startup complete") == 2, SECONDS)
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


def test_the_shared_metrics_of_a_killed_supervisor_are_removed(
    start_server: StartServer, policy: Path, sqlite_url: str, tmp_path: Path
) -> None:
    """The next start removes what was left behind; what a living supervisor uses stays, and an orderly end leaves nothing."""
    place = tmp_path / "temporary"
    place.mkdir()
    env = {"TMPDIR": str(place)}

    def folders() -> set[Path]:
        return set(place.glob("cstp-metrics-*"))

    first = start_server("first", config=policy, database_url=sqlite_url, workers=2, env=env)
    left = folders()
    assert len(left) == 1
    second = start_server("second", config=policy, database_url=sqlite_url, workers=2, env=env)
    assert len(folders()) == 2
    first.kill()
    assert left <= folders()
    third = start_server("third", config=policy, database_url=sqlite_url, workers=2, env=env)
    assert len(folders()) == 2
    assert not left & folders()
    for server in (second, third):
        assert "cstp_build_info{" in httpx.get(f"{server.url}/metrics", trust_env=False).text
        server.terminate()
    assert folders() == set()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_queue_is_seen_to_be_empty_once_it_is(start_server: StartServer, policy: Path, sqlite_url: str, workers: int) -> None:
    """After a burst of checks the depth returns to zero, in every process, without a further call."""
    server = start_server(config=policy, database_url=sqlite_url, workers=workers)

    def check(number: int) -> int:
        body = {"jsonrpc": "2.0", "id": 1, "method": "cstp.checkGuardrails", "params": {"action": {"description": f"action {number}"}}}
        return httpx.post(f"{server.url}/cstp", json=body, timeout=30, trust_env=False).status_code

    with ThreadPoolExecutor(30) as callers:
        assert set(callers.map(check, range(90))) == {httpx.codes.OK}
    time.sleep(0.3)
    texts = [httpx.get(f"{server.url}/metrics", trust_env=False).text for _ in range(4)]
    assert [re.findall(r"^cstp_queue_depth (\S+)$", text, re.MULTILINE) for text in texts] == [["0.0"]] * 4


@pytest.mark.parametrize("workers", [1, 2])
def test_who_waits_for_a_decision_is_answered_before_the_end(
    start_server: StartServer, tmp_path: Path, sqlite_url: str, workers: int
) -> None:
    """Told to end, the service answers every waiting call at once, that nothing is settled yet, and is gone within seconds."""
    policy = tmp_path / "waiting.yaml"
    policy.write_text(WAITING)
    server = start_server(config=policy, database_url=sqlite_url, workers=workers)
    action = {"description": "deploy build 7", "type": "deploy"}
    decision = server.call("cstp.checkGuardrails", {"action": action, "agent": {"id": "bot"}})
    assert decision["pending"]["kind"] == "approval"

    def wait(_number: int) -> tuple[str, float]:
        body = {"jsonrpc": "2.0", "id": 1, "method": "cstp.awaitDecision", "params": {"id": decision["decisionId"], "timeoutMs": 60_000}}
        answer = httpx.post(f"{server.url}/cstp", json=body, timeout=90, trust_env=False).json()
        return answer["result"]["status"], time.monotonic()

    with ThreadPoolExecutor(20) as callers:
        waiting = [callers.submit(wait, number) for number in range(20)]
        time.sleep(1)
        assert not any(call.done() for call in waiting)
        told = time.monotonic()
        server.terminate()
        ended = time.monotonic()
        answers = [call.result() for call in waiting]
    assert {status for status, _ in answers} == {"pending"}
    assert max(at for _, at in answers) - told < SECONDS
    assert ended - told < SECONDS
