"""`cstp trust`: what it sends, prints and exits with, and that a service understands it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.client.scripted_server import Error, Message, Result, ScriptedServer
from tests.conftest import StartServer

AT = "2026-02-11T13:05:00Z"
DAMAGE, SUCCESS, LEVEL, RESET, METRICS = (
    f"cstp.{name}" for name in ("recordDamage", "recordSuccess", "getAutonomyLevel", "resetTrust", "getTrustMetrics")
)
TOLD: Message = {
    "success": True,
    "id": "t-1",
    "userId": "user_123",
    "domain": "code",
    "previousState": "full_autonomy",
    "state": "full_autonomy",
    "damageScore": 1.125,
    "damageThreshold": 3,
    "duplicate": False,
    "recordedAt": AT,
}
REDUCED: Message = {
    "userId": "user_123",
    "domain": "code",
    "state": "reduced_autonomy",
    "canActFreely": False,
    "damageScore": 3.4,
    "damageThreshold": 3,
    "timeInStateHours": 5.5,
    "recoveryProgress": {"status": "recovery_period", "progress": 0.0573, "successes": 0, "required": 5, "timeRemainingHours": 18.5},
    "recentDamageCount": 4,
}
SUPERVISED = REDUCED | {
    "state": "supervised",
    "recoveryProgress": {"status": "supervised_testing", "progress": 0.7, "successes": 3, "required": 5},
}
WHOLE = REDUCED | {
    "state": "full_autonomy",
    "canActFreely": True,
    "damageScore": 0,
    "recoveryProgress": {"status": "full_autonomy", "progress": 1, "successes": 0, "required": 5},
    "recentDamageCount": 0,
}
DONE: Message = {
    "success": True,
    "userId": "user_123",
    "domain": "code",
    "previousState": "reduced_autonomy",
    "state": "full_autonomy",
    "resetBy": "olivia",
    "resetAt": AT,
}
MEASURED: Message = {
    "states": {"full_autonomy": 212, "supervised": 9, "reduced_autonomy": 4},
    "averageDamageScore": 0.41,
    "recoveryRate": 0.875,
    "averageRecoveryHours": 31.5,
}


@pytest.fixture
def trust(scripted: ScriptedServer) -> ScriptedServer:
    """A server that counts everything; its user's trust is reduced."""
    scripted.usual |= {
        DAMAGE: lambda params: TOLD | {"weight": 1.125},
        SUCCESS: lambda params: TOLD,
        LEVEL: lambda params: REDUCED,
        RESET: lambda params: DONE,
        METRICS: lambda params: MEASURED,
    }
    return scripted


def _record(text: str) -> dict[str, str]:
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in text.splitlines())


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (REDUCED, {"damage": "3.4/3", "recovered": "5.73%", "under test in": "18h 30m", "successes": "0/5", "for": "5h 30m"}),
        (SUPERVISED, {"damage": "3.4/3", "recovered": "70%", "successes": "3/5", "for": "5h 30m"}),
        (WHOLE, {"damage": "0/3", "for": "5h 30m"}),
        (WHOLE | {"mode": "shadow"}, {"mode": "shadow", "damage": "0/3", "for": "5h 30m"}),
    ],
)
def test_trust_is_shown(cli: Cli, trust: ScriptedServer, level: Message, shown: dict[str, str]) -> None:
    """The state, the damage, and how far it is from whole, where it is not."""
    trust.script.append(Result(level))
    done = cli("trust", "show", "user_123", "--domain", "code")
    assert (done.exit_code, done.stderr) == (0, "")
    always = {"user": "user_123", "domain": "code", "state": level["state"], "damages": str(level["recentDamageCount"])}
    assert _record(done.stdout) == always | shown
    assert trust.params(LEVEL) == [{"userId": "user_123", "domain": "code"}]


def test_a_damage_sends_what_was_typed(cli: Cli, trust: ScriptedServer) -> None:
    """Types in any case; a change of state is shown as one."""
    options = ["--domain", "code", "--severity", "0.5", "--context", "tabs", "--explicit", "--id", "t-1"]
    done = cli("trust", "damage", "user_123", "IGNORED_PREFERENCE", *options)
    assert (done.exit_code, done.stderr, done.stdout) == (0, "", "user_123/code: full_autonomy, damage 1.12/3\n")
    trust.script.append(Result(TOLD | {"state": "reduced_autonomy", "damageScore": 3.5}))
    assert cli("trust", "damage", "user_123", "wrong_answer").stdout == "user_123/code: full_autonomy -> reduced_autonomy, damage 3.5/3\n"
    first, second = trust.params(DAMAGE)
    assert first == {
        "userId": "user_123",
        "domain": "code",
        "damageType": "ignored_preference",
        "severity": 0.5,
        "context": "tabs",
        "userExplicit": True,
        "id": "t-1",
    }
    assert second.pop("id").startswith("trust_")
    assert second == {"userId": "user_123", "domain": "general", "damageType": "wrong_answer"}


def test_a_success_sends_what_was_typed(cli: Cli, trust: ScriptedServer) -> None:
    """What had been told before is said to be known."""
    trust.script.append(Result(TOLD | {"duplicate": True}))
    done = cli("trust", "success", "user_123", "--context", "fine", "--explicit", "--id", "t-1")
    assert done.stdout == "user_123/code: full_autonomy, damage 1.12/3 (already on record)\n"
    assert trust.params(SUCCESS) == [{"userId": "user_123", "domain": "general", "context": "fine", "userExplicit": True, "id": "t-1"}]


def test_a_reset_and_the_measures(cli: Cli, trust: ScriptedServer) -> None:
    """Where it came from and is now; what has not happened yet is said."""
    done = cli("trust", "reset", "user_123", "--domain", "code", "--reason", "asked for")
    assert (done.exit_code, done.stdout) == (0, "user_123/code: reduced_autonomy -> full_autonomy\n")
    assert trust.params(RESET) == [{"userId": "user_123", "domain": "code", "reason": "asked for"}]
    assert _record(cli("trust", "metrics").stdout) == {
        "full_autonomy": "212",
        "supervised": "9",
        "reduced_autonomy": "4",
        "average damage": "0.41",
        "recovery rate": "87.5%",
        "average recovery": "1d 7h",
    }
    trust.script.append(Result(MEASURED | {"recoveryRate": None, "averageRecoveryHours": None}))
    shown = _record(cli("trust", "metrics").stdout)
    assert (shown["recovery rate"], "average recovery" in shown) == ("none has ended yet", False)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["show", "u"], REDUCED),
        (["damage", "u", "slow_response"], TOLD | {"weight": 1.125}),
        (["success", "u"], TOLD),
        (["reset", "u"], DONE),
        (["metrics"], MEASURED),
    ],
)
def test_every_command_has_json(cli: Cli, trust: ScriptedServer, arguments: list[str], answer: Message) -> None:
    """The answer as it came."""
    done = cli("trust", *arguments, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, answer)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["damage", "u", "boredom"], "wrong_answer"),
        (["damage", "u"], "TYPE"),
        (["damage", "u", "wrong_answer", "--severity", "2"], "--severity"),
        (["show"], "USER"),
    ],
)
def test_what_is_no_damage_is_not_sent(cli: Cli, trust: ScriptedServer, arguments: list[str], named: str) -> None:
    """Exit code 2, naming what was wrong."""
    done = cli("trust", *arguments)
    assert done.exit_code == 2
    assert named in done.stderr
    assert trust.calls == []


def test_what_the_server_refuses_is_said(cli: Cli, trust: ScriptedServer) -> None:
    """Exit code 1, and the server's words."""
    trust.script.append(Error(-32001, "this takes the role `ops`", {"required": ["ops"]}, 403))
    done = cli("trust", "reset", "u")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "this takes the role `ops`" in done.stderr


def test_a_review_says_what_a_failure_did_to_the_user(cli: Cli, scripted: ScriptedServer) -> None:
    """`--damage-type` and `--user-explicit` go with it."""
    assert cli("review", "dec_1", "failure", "--damage-type", "Slow_Response", "--user-explicit").exit_code == 0
    assert scripted.params("cstp.reviewDecision") == [
        {"id": "dec_1", "outcome": "failure", "damageType": "slow_response", "userExplicit": True}
    ]
    assert cli("review", "dec_1", "failure", "--damage-type", "boredom").exit_code == 2


@pytest.mark.parametrize("command", ["show", "damage", "success", "reset", "metrics"])
def test_help_has_an_example(cli: Cli, command: str) -> None:
    """Of that very command."""
    done = cli("trust", command, "--help")
    assert done.exit_code == 0
    assert f"cstp trust {command}" in done.stdout


def test_a_service_understands_the_commands(start_server: StartServer, tmp_path: Path) -> None:
    """From whole to reduced and back, as a user of the command line sees it."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("trust: {domains: {code: {preset: strict}}}\n")
    server = start_server(config=policy)

    def run(*arguments: str, code: int = 0) -> str:
        done = server.cli("--url", server.url, *arguments, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout

    def shown() -> Any:
        return json.loads(run("trust", "show", "u", "--domain", "code", "--json"))

    assert shown()["canActFreely"] is True
    for _ in range(2):
        run("trust", "damage", "u", "wrong_answer", "--domain", "code", "--id", "same")
    assert shown()["damageScore"] == 1
    assert "-> reduced_autonomy" in run("trust", "damage", "u", "wrong_answer", "--domain", "code", "--explicit")
    assert "waits for a confirmation" in run("check", "Write it down", "--user", "u", "--domain", "code", code=3)
    assert "reduced_autonomy  1" in re.sub(" +", "  ", run("trust", "metrics"))
    assert run("trust", "reset", "u", "--domain", "code") == "u/code: reduced_autonomy -> full_autonomy\n"
    run("trust", "success", "u", "--domain", "code")
    run("check", "Write it down", "--user", "u", "--domain", "code")
