"""A day at the approval queue, with the command line and a running service."""

import json
from pathlib import Path

from tests.conftest import StartServer
from tests.server import RunningServer

POLICY = """
circuit_breakers:
  - {scope: "agent:*", failure_threshold: 3}
tripwires: {max_refund: 500}
"""
REASON = "Tripwire triggered: amount exceeds max_refund of 500"
REFUND = ("check", "Refund order 1142", "--type", "issue_refund", "--param", "amount=1000")


def _started(start_server: StartServer, tmp_path: Path) -> tuple[RunningServer, dict[str, str], dict[str, str]]:
    """The service, and the environments of an agent and of an operator."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    server = start_server(config=policy)
    bot, olivia = server.token("bot", "agent", agent="refund-bot"), server.token("olivia", "ops")
    return server, {"CSTP_URL": server.url, "CSTP_TOKEN": bot}, {"CSTP_URL": server.url, "CSTP_TOKEN": olivia}


def test_a_refund_is_asked_for_approved_and_awaited(start_server: StartServer, tmp_path: Path) -> None:
    """What the agent is told, what the operator sees, and how each command ends."""
    server, bot, olivia = _started(start_server, tmp_path)
    asked = server.cli(*REFUND, "--decision-id", "dec_1", check=False, env=bot)
    assert asked.returncode == 3
    assert f"violation max_refund (standard tripwire): {REASON}" in asked.stdout
    assert "would pass: lower `action.parameters.amount` to 500\n  would pass: have it approved" in asked.stdout
    (_, row) = server.cli("pending", env=olivia).stdout.splitlines()
    for said in ("dec_1", "refund-bot", "approval", "Refund order 1142", REASON):
        assert said in row
    still = server.cli("await", "dec_1", "--timeout", "1s", check=False, env=bot)
    assert (still.returncode, still.stdout.splitlines()[0]) == (3, "pending  dec_1")
    himself = server.cli("approve", "dec_1", check=False, env=bot)
    assert (himself.returncode, himself.stdout, himself.stderr) == (1, "", "error: `approve` takes the role `ops`\n")
    assert server.cli("approve", "dec_1", "--note", "promised", env=olivia).stdout == "approved  dec_1\n"
    assert server.cli("await", "dec_1", env=bot).stdout == "approved  dec_1\n"
    assert server.cli("pending", env=olivia).stderr == "no decision waits\n"
    late = server.cli("deny", "dec_1", check=False, env=olivia)
    assert (late.returncode, late.stderr) == (1, "error: decision `dec_1` does not wait: it is `approved`\n")
    shown = server.cli("decision", "dec_1", env=olivia).stdout
    assert "olivia" in shown
    assert "promised" in shown
    (_, wire, total) = server.cli("tripwires", "--since", "1h", env=olivia).stdout.splitlines()
    assert wire.split()[:3] == ["max_refund", "standard", "1"]
    assert wire.endswith("refund-bot (1)")
    assert total == "1 in all"


def test_an_approval_that_comes_too_late_exits_3(start_server: StartServer, tmp_path: Path) -> None:
    """The agent was stopped meanwhile: the decision is denied, and the command says why."""
    server, bot, olivia = _started(start_server, tmp_path)
    server.cli(*REFUND, "--decision-id", "dec_1", check=False, env=bot)
    server.cli("trip", "agent:refund-bot", "--reason", "it repeats itself", env=olivia)
    done = server.cli("approve", "dec_1", check=False, env=olivia)
    assert done.returncode == 3
    assert done.stdout.splitlines()[0] == "denied  dec_1"
    assert "it repeats itself" in done.stdout
    assert server.cli("await", "dec_1", check=False, env=bot).returncode == 3
    answer = server.cli("await", "dec_1", "--json", check=False, env=bot)
    assert (answer.returncode, json.loads(answer.stdout)["status"]) == (3, "denied")
