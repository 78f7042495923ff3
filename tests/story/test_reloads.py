"""A policy that changes while the service runs: a good one comes into force, a bad one changes nothing, and counts survive (SPEC 12)."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.server import RpcError, RunningServer
from tests.story.test_the_loop import wait_for

RULE = """
guardrails:
  - {id: no-refunds, when: 'action.type == "refund"', message: no}
"""
CIRCUITS = """
circuit_breakers:
  - {scope: "category:tooling", failure_threshold: 2, cooldown_ms: 600000}
  - {scope: "agent:*", failure_threshold: 100}
"""
EXACT = """
circuit_breakers:
  - {scope: "agent:bot", failure_threshold: 50}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy file that has the service's log beside it."""
    path = tmp_path / "server" / "policy.yaml"
    path.parent.mkdir()
    path.write_text(RULE + CIRCUITS)
    return path


@pytest.fixture
def server(start_server: StartServer, policy: Path) -> RunningServer:
    """The service with that policy."""
    return start_server(config=policy)


def check(server: RunningServer, **action: Any) -> Any:
    params = {"action": {"description": "an action", **action}, "agent": {"id": "bot"}}
    return server.call("cstp.checkGuardrails", params)


def state(server: RunningServer, scope: str) -> tuple[str, int, int, bool]:
    """The circuit's state, failures and threshold, and whether its scope stands in the policy."""
    circuit = server.call("cstp.getCircuitState", {"scope": scope})
    return circuit["state"], circuit["failureCount"], circuit["failureThreshold"], circuit["fromConfig"]


def reload(server: RunningServer, policy: Path, text: str) -> None:
    policy.write_text(text)
    assert server.call("cstp.reloadPolicy")["success"]


def folder_in_place(policy: Path) -> None:
    policy.unlink()
    policy.mkdir()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda policy: policy.write_text(""),
        lambda policy: policy.write_bytes(b"\x00\xff\xfe"),
        lambda policy: policy.write_text("[" * 3000),
        lambda policy: policy.write_text("circuit_breakerz: []"),
        Path.unlink,
        folder_in_place,
    ],
    ids=["empty", "no text", "too deep", "a typo", "gone", "an empty folder"],
)
def test_a_policy_that_cannot_be_read_leaves_the_old_one_in_force(
    server: RunningServer, policy: Path, spoil: Callable[[Path], object]
) -> None:
    """The rule still refuses, the caller is told what is wrong, and the good file is taken again as soon as it is back."""
    before = check(server)["policyVersion"]
    spoil(policy)
    answer = server.call("cstp.reloadPolicy")
    assert (answer["success"], answer["changed"], answer["policyVersion"], bool(answer["problems"])) == (False, False, before, True)
    assert not check(server, type="refund")["allowed"]
    if policy.is_dir():
        shutil.rmtree(policy)
    reload(server, policy, CIRCUITS)
    assert check(server, type="refund")["allowed"]


def test_counts_survive_while_their_circuit_has_no_policy(server: RunningServer, policy: Path) -> None:
    """An open circuit is out of sight and out of force until its policy is back, then as open as it was."""
    for _ in range(2):
        server.call("cstp.reviewDecision", {"id": check(server, category="tooling")["decisionId"], "outcome": "failure"})
    reload(server, policy, EXACT)
    with pytest.raises(RpcError) as caught:
        state(server, "category:tooling")
    assert (caught.value.code, check(server, category="tooling")["allowed"]) == (-32010, True)
    assert [circuit["scope"] for circuit in server.call("cstp.listBreakers")["breakers"]] == ["agent:bot"]
    assert state(server, "agent:bot") == ("closed", 2, 50, True)
    reload(server, policy, CIRCUITS)
    assert state(server, "category:tooling") == ("open", 2, 2, True)
    assert state(server, "agent:bot") == ("closed", 2, 100, False)
    assert not check(server, category="tooling")["allowed"]


def test_a_log_beside_the_policy_does_not_feed_on_itself(server: RunningServer, policy: Path) -> None:
    """To notice that a file changed writes no line: the line would change the log, and that would be noticed again."""
    before = check(server)["policyVersion"]
    policy.write_text(CIRCUITS)
    wait_for(lambda: bool(check(server)["policyVersion"] != before))
    assert "policy_loaded" in server.logs
    assert "watchfiles" not in server.logs


def test_a_start_with_another_policy_is_on_record(server: RunningServer, policy: Path) -> None:
    """And one with the same policy is not, again."""

    def versions() -> list[str]:
        told = server.call("cstp.listEvents", {"types": ["policy.loaded"]})["events"]
        return [event["policyVersion"] for event in reversed(told)]

    wait_for(lambda: len(versions()) == 1)
    server.terminate()
    server.start()
    first = check(server)["policyVersion"]
    server.terminate()
    policy.write_text(CIRCUITS)
    server.start()
    wait_for(lambda: len(versions()) == 2)
    assert versions() == [first, check(server)["policyVersion"]]
