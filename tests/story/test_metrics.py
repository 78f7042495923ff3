"""What several processes on each database tell of one story: the same, whoever is asked, and after a restart (SPEC 11)."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import StartServer
from tests.server import RunningServer

SECONDS = 20.0
POLICY = """
agents: {"*": {posture: supervised}}
circuit_breakers: [{scope: "category:*", failure_threshold: 1}]
constraints: {global: {cost_limit: 100}}
guardrails:
  - {id: ask, when: action.context.ask == true, action: escalate, message: ask somebody}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The policy of the story."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def _call(server: RunningServer, method: str, **params: Any) -> Any:
    """A call on a connection of its own, so that any process may get it."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx.post(f"{server.url}/cstp", json=body, trust_env=False, timeout=30).json()["result"]


def _scraped(server: RunningServer) -> dict[str, float]:
    """The samples that a process of its own choice serves, by name and values of labels."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False, timeout=30).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {" ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value for sample in samples}


def _await(server: RunningServer, name: str, value: float | None = None) -> None:
    """Wait for a sample to have a value; any but 0 where none is given."""
    deadline = time.monotonic() + SECONDS
    while (found := _scraped(server).get(name)) != value and not (value is None and found):
        assert time.monotonic() < deadline, (name, found, server.logs)
        time.sleep(0.1)


def test_every_process_tells_the_same(start_server: StartServer, policy: Path, server_url: str) -> None:
    """Of the record at any time; of what is in the store once it was counted; of what they did themselves added up."""
    server = start_server(config=policy, database_url=server_url, workers=2)
    for number in range(12):
        action = {"description": "x", "category": f"c{number % 3}", "context": {"cost_used": 100 + number % 2}}
        _call(server, "cstp.checkGuardrails", action=action, agent={"id": f"bot-{number}"}, decisionId=f"d-{number}")
    for number in (0, 1, 2):
        _call(server, "cstp.reviewDecision", id=f"d-{number}", outcome="failure")
    _call(server, "cstp.transitionPosture", agentId="bot-1", toPosture="full_autonomy", reason="x")
    _call(server, "cstp.emergencyDowngrade", agentId="bot-2", reason="x")
    _call(server, "cstp.checkGuardrails", action={"description": "x", "context": {"ask": True, "cost_used": 1}}, agent={"id": "bot-3"})
    told = [_call(server, "cstp.getMetrics") for _ in range(8)]
    assert all(each == told[0] for each in told)
    assert told[0]["postureDistribution"] == {"full_autonomy": 1, "assisted": 0, "supervised": 10, "human_decides": 0, "blocked": 1}
    assert told[0]["averagePostureLevel"] == 3
    assert (told[0]["circuitBreakerOpens"], told[0]["emergencyDowngrades"], told[0]["transitionsByType"]["upgrade"]) == (3, 1, 1)
    assert (told[0]["evaluationsTotal"], told[0]["evaluationsPassed"], told[0]["dimensionFailures"]) == (13, 7, {"cost_limit": 6})
    for _ in range(8):  # either process, each with a count of its own
        _await(server, "cstp_circuits category open", 3)
    _await(server, "cstp_agents blocked", 1)
    _await(server, "cstp_decisions_waiting", 1)
    found = _scraped(server)
    assert found["cstp_decisions_waiting_since_timestamp_seconds"] == pytest.approx(time.time(), abs=120)
    assert (found["cstp_reviews_total failure"], found["cstp_enforcement_bypassed_total"]) == (3, 1)
    assert found["cstp_circuit_transitions_total threshold_reached category open"] == 3
    assert (found["cstp_store_up reading"], found["cstp_store_up writing"]) == (1, 1)
    assert found["cstp_commit_duration_seconds_count"] >= 17
    assert found["cstp_posture_transitions_total moved emergency_downgrade"] == 1
    assert len([name for name in found if name.startswith("cstp_policy_info")]) == 1
    server.restart()
    assert _call(server, "cstp.getMetrics") == told[0]


def test_an_outage_is_seen(start_server: StartServer, tmp_path: Path) -> None:
    """The store is down while its file is away, and up again once it is back; the metrics are served all the while."""
    database = tmp_path / "cstp.db"
    server = start_server(database_url=f"sqlite:///{database}")
    _await(server, "cstp_store_up reading", 1)
    moved = database.rename(tmp_path / "away.db")
    _await(server, "cstp_store_up reading", 0)
    check = {"jsonrpc": "2.0", "id": 1, "method": "cstp.checkGuardrails", "params": {"action": {"description": "x"}}}
    assert server.raw(check).json()["error"]["code"] == -32012
    found = _scraped(server)
    assert found["cstp_refused_total -32012"] == 1
    assert "cstp_circuits global open" in found, "as it was counted last"
    _await(server, "cstp_worker_rounds_total waited sweep")
    moved.rename(database)
    _await(server, "cstp_store_up reading", 1)
    assert server.call("cstp.checkGuardrails", {"action": {"description": "x"}})["allowed"]
