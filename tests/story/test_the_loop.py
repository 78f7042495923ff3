"""The README's story: a fleet works, CI reports failures, a circuit opens, blocks, proves itself, and closes."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, StartServer
from tests.server import RunningServer

COOLDOWN_MS = 700
FLEET = 200
TOOLING = "category:tooling"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The example policy, cooling down within the test's time."""
    text = (ROOT / "config" / "policy.yaml").read_text()
    shortened, count = re.subn(r"cooldown_ms: 1800000\b", f"cooldown_ms: {COOLDOWN_MS}", text)
    assert count == 1
    path = tmp_path / "policy.yaml"
    path.write_text(shortened)
    return path


@pytest.fixture
def server(start_server: StartServer, policy: Path, database_url: str) -> RunningServer:
    """The service with that policy, on either database."""
    return start_server(config=policy, database_url=database_url)


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something is so, and fail when it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def tooling(agent: str, number: int) -> dict[str, Any]:
    """One decision of the fleet."""
    return {
        "action": {"description": f"apply refactoring number {number}", "category": "tooling", "confidence": 0.9, "tags": ["refactor"]},
        "agent": {"id": agent},
    }


def test_a_circuit_opens_blocks_half_opens_by_itself_lets_one_probe_through_and_closes(server: RunningServer) -> None:
    """Over HTTP, with a token for each part: 200 decisions go on, five fail, the 201st is refused, one probe heals the circuit."""
    ops, ci, agent = server.token("ops", "ops"), server.token("ci", "ci"), server.token("fleet", "agent")

    def state() -> str:
        return str(server.call("cstp.getCircuitState", {"scope": TOOLING}, token=agent)["state"])

    with ThreadPoolExecutor(16) as fleet:
        answers = list(fleet.map(lambda n: server.call("cstp.checkGuardrails", tooling(f"agent-{n % 20}", n), token=agent), range(FLEET)))
    assert all(answer["allowed"] for answer in answers)
    ids = [answer["decisionId"] for answer in answers]
    assert len(set(ids)) == FLEET

    for id in ids[5:20]:
        server.call("cstp.reviewDecision", {"id": id, "outcome": "success"}, token=ci)
    reviews = [server.call("cstp.reviewDecision", {"id": id, "outcome": "failure", "errorType": "TestsFailed"}, token=ci) for id in ids[:5]]
    moves = [move for move in reviews[-1]["circuits"] if move["scope"] == TOOLING]
    assert moves == [{"scope": TOOLING, "previousState": "closed", "state": "open", "failureCount": 5}]

    refused = server.call("cstp.checkGuardrails", tooling("agent-7", 201), token=agent)
    assert refused["allowed"] is False
    assert refused["intervention"] == "block"
    (violation,) = refused["violations"]
    assert violation["guardrail"] == "category-tooling-breaker"
    assert violation["message"] == "Circuit breaker OPEN: 5/20 recent tooling decisions failed. Cooldown: 1s remaining."
    assert violation["recentFailures"] == list(reversed(ids[:5]))
    assert refused["remedies"] == [{"change": "wait", "until": violation["resetAt"]}]

    wait_for(lambda: state() == "half_open")
    probe = server.call("cstp.checkGuardrails", tooling("agent-1", 202), token=agent)
    assert probe["allowed"] is True
    assert [lease["scope"] for lease in probe["probes"]] == [TOOLING]
    second = server.call("cstp.checkGuardrails", tooling("agent-2", 203), token=agent)
    assert second["allowed"] is False
    assert second["violations"][0]["state"] == "half_open"

    server.call("cstp.reviewDecision", {"id": probe["decisionId"], "outcome": "success"}, token=ci)
    assert state() == "closed"
    assert server.call("cstp.checkGuardrails", tooling("agent-2", 204), token=agent)["allowed"] is True

    history = server.call("cstp.getCircuitHistory", {"scope": TOOLING}, token=ops)["transitions"]
    assert [(entry["previousState"], entry["state"], entry["cause"]) for entry in reversed(history)] == [
        ("closed", "open", "threshold_reached"),
        ("open", "half_open", "cooldown_elapsed"),
        ("half_open", "closed", "probes_succeeded"),
    ]


def test_a_circuit_half_opens_without_any_traffic(server: RunningServer) -> None:
    """The sweeper moves it within a second of the end of its cooldown, as history tells, though nobody checks or looks."""
    check = server.call("cstp.checkGuardrails", tooling("solo", 1))
    server.call("cstp.reviewDecision", {"id": check["decisionId"], "outcome": "failure", "severity": "critical"})

    def transitions() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.call("cstp.getCircuitHistory", {"scope": TOOLING})["transitions"]
        return found

    wait_for(lambda: transitions()[0]["state"] == "half_open")
    assert transitions()[0]["actor"] == "system"


def test_an_operator_tells_the_same_story_with_the_command_line(start_server: StartServer, database_url: str) -> None:
    """`cstp check`, `review`, `state`, `circuits`, `history`, `reset`, `trip` and `decisions`, with exit codes that scripts can use."""
    server = start_server(config=ROOT / "config", database_url=database_url)
    env = {"CSTP_URL": server.url, "CSTP_TOKEN": server.token("ops", "ops", "ci")}

    def cstp(*arguments: str, code: int = 0) -> str:
        done = server.cli(*arguments, env=env, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def asked(*arguments: str, code: int = 0) -> Any:
        return json.loads(cstp(*arguments, "--json", code=code))

    check = ("check", "apply a refactoring", "--category", "tooling", "--agent", "another-bot")
    allowed = asked("check", "apply a refactoring", "--category", "tooling", "--agent", "clumsy-bot")
    assert allowed["allowed"] is True
    asked("review", allowed["decisionId"], "failure", "--severity", "critical")
    assert asked("state", TOOLING)["state"] == "open"
    assert "Circuit breaker OPEN: 1/1 recent tooling decisions failed" in cstp(*check, code=3)

    assert asked("reset", TOOLING, "--reason", "the runner was out of disk")["newState"] == "closed"
    assert asked(*check)["allowed"] is True
    asked("trip", TOOLING, "--reason", "moving the build farm")
    forced = asked(*check, code=3)
    assert forced["violations"][0]["message"] == (
        "Circuit breaker OPEN: forced open by ops: moving the build farm. It stays open until it is reset."
    )
    assert asked("reset", TOOLING, "--probe-first")["newState"] == "half_open"
    probe = asked(*check)
    asked("review", probe["decisionId"], "success")
    assert asked("state", TOOLING)["state"] == "closed"

    assert TOOLING in cstp("circuits")
    assert "the runner was out of disk" in cstp("history", TOOLING)
    assert probe["decisionId"] in cstp("decisions", "--category", "tooling")
    cstp("state", "category:nothing", code=1)
    cstp("state", code=2)
