"""`cstp posture`: what it sends, prints and exits with, and that a service understands it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.client.scripted_server import Error, Message, Result, ScriptedServer
from tests.conftest import StartServer

POLICY = """
postures:
  guards:
    - {name: security_team_approval, when: "request.to_level <= 3 || metadata.security_approved == true", reason: ask the security team}
"""
AT = "2026-02-11T13:05:00Z"
MOVED: Message = {
    "success": True,
    "agentId": "bot",
    "fromPosture": "supervised",
    "toPosture": "assisted",
    "transitionType": "upgrade",
    "reason": "reliable",
    "timestamp": AT,
}
REFUSED = MOVED | {"success": False, "blockedBy": "security_team_approval", "reason": "ask the security team"}
BLOCKED = MOVED | {"fromPosture": "assisted", "toPosture": "blocked", "transitionType": "emergency_downgrade"}
KNOWN: Message = {
    "agentId": "bot",
    "posture": "human_decides",
    "level": 2,
    "since": AT,
    "setBy": "agent:bot",
    "reason": "circuit `agent:bot` opened",
    "originalPosture": "assisted",
    "trustScore": 0.4902,
    "reviewCoverage": 0.75,
    "reviewed": 10,
    "earned": {"toPosture": "supervised", "successesNeeded": 40},
}


@pytest.fixture
def postures(scripted: ScriptedServer) -> ScriptedServer:
    """A server that takes every move."""
    entries = [
        {"timestamp": AT, "actor": "olivia", **{name: MOVED[name] for name in MOVED if name not in ("agentId", "timestamp")}},
        {"timestamp": AT, "actor": "ladder", **{name: REFUSED[name] for name in REFUSED if name not in ("agentId", "timestamp")}}
        | {"reason": "it asks too often", "refusal": "ask the security team"},
    ]
    scripted.usual |= {
        "cstp.getPosture": lambda params: KNOWN,
        "cstp.transitionPosture": lambda params: MOVED,
        "cstp.emergencyDowngrade": lambda params: BLOCKED,
        "cstp.getPostureHistory": lambda params: {"agentId": params["agentId"], "transitions": entries},
    }
    return scripted


def _shown(text: str) -> dict[str, str]:
    return dict(re.split(" {2,}", line, maxsplit=1) for line in text.splitlines())


def test_a_posture_is_shown_with_who_gave_it_and_the_record(cli: Cli, postures: ScriptedServer) -> None:
    """One line for each thing that is known, and what the agent would get back or can earn."""
    done = cli("posture", "show", "bot")
    assert (done.exit_code, done.stderr) == (0, "")
    assert _shown(done.stdout) == {
        "agent": "bot",
        "posture": "human_decides",
        "level": "2 of 5",
        "since": AT,
        "by": "agent:bot",
        "because": "circuit `agent:bot` opened",
        "restored to": "assisted",
        "trust score": "0.4902",
        "reviewed": "10",
        "review coverage": "75%",
        "can earn": "supervised, with 40 more reviewed successes",
    }
    assert postures.params("cstp.getPosture") == [{"agentId": "bot"}]
    assert json.loads(cli("posture", "show", "bot", "--json").stdout) == KNOWN


@pytest.mark.parametrize(
    ("earned", "said"),
    [
        ({"toPosture": "assisted", "successesNeeded": 1}, "assisted, with 1 more reviewed success"),
        ({"toPosture": "assisted", "successesNeeded": None}, "assisted, and no number of successes is enough by itself"),
    ],
)
def test_what_can_be_earned_is_said_in_words(cli: Cli, postures: ScriptedServer, earned: Message, said: str) -> None:
    """Also that no number of successes is enough."""
    postures.script.append(Result(KNOWN | {"earned": earned}))
    assert _shown(cli("posture", "show", "bot").stdout)["can earn"] == said


def test_an_agent_that_was_never_moved_is_shown_without_what_there_is_not(cli: Cli, postures: ScriptedServer) -> None:
    """No time, no reason, nothing to be restored or earned."""
    never = {"since": None, "reason": None, "setBy": "policy", "posture": "supervised", "level": 3}
    postures.script.append(Result({name: value for name, value in (KNOWN | never).items() if name not in ("earned", "originalPosture")}))
    assert set(_shown(cli("posture", "show", "bot").stdout)) == {
        "agent",
        "posture",
        "level",
        "by",
        "trust score",
        "reviewed",
        "review coverage",
    }


def test_an_agent_is_moved(cli: Cli, postures: ScriptedServer) -> None:
    """With all that was typed: values of the metadata are JSON where they read as JSON."""
    pairs = ["--meta", "security_approved=true", "--meta", "ticket=42", "--meta", "by=bob"]
    done = cli("posture", "set", "bot", "assisted", "--reason", "reliable", "--from", "supervised", *pairs)
    assert (done.exit_code, done.stdout) == (0, "bot: supervised -> assisted (upgrade)\n")
    cli("posture", "set", "bot", "assisted", "--reason", "reliable")
    plain = {"agentId": "bot", "toPosture": "assisted", "reason": "reliable"}
    metadata = {"security_approved": True, "ticket": 42, "by": "bob"}
    assert postures.params("cstp.transitionPosture") == [plain | {"fromPosture": "supervised", "metadata": metadata}, plain]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_move_that_a_guard_refuses_exits_3(cli: Cli, postures: ScriptedServer, options: list[str]) -> None:
    """The guard and its reason are shown, in either format."""
    postures.script.append(Result(REFUSED))
    done = cli("posture", "set", "bot", "assisted", "--reason", "reliable", *options)
    assert (done.exit_code, done.stderr) == (3, "")
    if options:
        assert json.loads(done.stdout) == REFUSED
    else:
        assert done.stdout == "REFUSED  bot: supervised -> assisted (upgrade)\n  security_team_approval: ask the security team\n"


def test_a_move_of_somebody_who_was_moved_meanwhile_exits_1(cli: Cli, postures: ScriptedServer) -> None:
    """It is an error, and not a guard's refusal."""
    postures.script.append(Error(-32011, "agent `bot` is `blocked`, not `supervised`"))
    done = cli("posture", "set", "bot", "assisted", "--reason", "r", "--from", "supervised")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "error: agent `bot` is `blocked`, not `supervised`\n")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_agent_is_blocked_at_once(cli: Cli, postures: ScriptedServer, options: list[str]) -> None:
    """One command, one line."""
    done = cli("posture", "block", "bot", "--reason", "odd", *options)
    assert done.exit_code == 0
    assert json.loads(done.stdout) == BLOCKED if options else done.stdout == "bot: assisted -> blocked (emergency_downgrade)\n"
    assert postures.params("cstp.emergencyDowngrade") == [{"agentId": "bot", "reason": "odd"}]


def test_a_history_is_a_table(cli: Cli, postures: ScriptedServer) -> None:
    """When, from where to where, by whom, why, and what refused it."""
    done = cli("posture", "history", "bot", "--limit", "5")
    assert [re.split(" {2,}", line) for line in done.stdout.splitlines()] == [
        ["at", "from", "to", "type", "by", "reason", "refused by"],
        [AT, "supervised", "assisted", "upgrade", "olivia", "reliable", "-"],
        [AT, "supervised", "assisted", "upgrade", "ladder", "it asks too often", "security_team_approval: ask the security team"],
    ]
    assert postures.params("cstp.getPostureHistory") == [{"agentId": "bot", "limit": 5}]
    assert len(json.loads(cli("posture", "history", "bot", "--json").stdout)["transitions"]) == 2
    postures.script.append(Result({"agentId": "bot", "transitions": []}))
    nothing = cli("posture", "history", "bot")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (0, "", "nobody has tried to move `bot`\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "bot", "free", "--reason", "r"], "`free` is not one of `full_autonomy`, `assisted`, `supervised`, `human_decides`"),
        (["set", "bot", "assisted", "--reason", "r", "--from", "5"], "`5` is not one of"),
        (["set", "bot", "assisted"], "--reason"),
        (["set", "bot", "assisted", "--reason", "r", "--meta", "x"], "`x` should be `key=value`"),
        (["block", "bot"], "--reason"),
        (["history", "bot", "--limit", "0"], "must be at least 1, not `0`"),
        (["history", "bot", "--limit", "501"], "must be at most 500, not `501`"),
        (["show"], "AGENT"),
    ],
)
def test_wrong_usage_exits_2_before_anything_is_sent(cli: Cli, postures: ScriptedServer, arguments: list[str], said: str) -> None:
    """The mistake is told on standard error and the server hears nothing."""
    done = cli("posture", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in _unboxed(done.stderr)
    assert postures.calls == []


def _unboxed(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "x", "--stakes", "mega"], "`mega` is not one of `low`, `medium`, `high`, `critical`"),
        (["check", "x", "--confidence", "2"], "must be at most 1"),
        (["check", "x", "--confidence", "much"], "must be a number, not `much`"),
        (["circuits", "--limit", "0"], "must be at least 1, not `0`"),
        (["circuits", "--limit", "few"], "must be a whole number, not `few`"),
        (["serve", "--workers", "257"], "must be at most 256, not `257`"),
        (["tokens", "create", "x", "--role", "mega"], "`mega` is not one of `agent`, `ci`, `viewer`, `ops`, `admin`"),
    ],
)
def test_what_may_not_be_typed_is_told_in_our_own_words(cli: Cli, scripted: ScriptedServer, arguments: list[str], said: str) -> None:
    """Nobody sees the words of the validation behind it."""
    done = cli(*arguments)
    assert done.exit_code == 2
    told = _unboxed(done.stderr)
    assert said in told
    assert "Input should" not in told
    assert "Value error" not in told


def test_the_life_of_a_posture_on_the_command_line(start_server: StartServer, tmp_path: Path) -> None:
    """With a service: refused, granted, stale, blocked, and all of it on record."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    server = start_server(config=policy)
    olivia = {"CSTP_URL": server.url, "CSTP_TOKEN": server.token("olivia", "ops")}

    def cstp(*arguments: str) -> Any:
        return server.cli(*arguments, check=False, env=olivia)

    refused = cstp("posture", "set", "bot", "assisted", "--reason", "reliable")
    assert (refused.returncode, refused.stdout) == (
        3,
        "REFUSED  bot: supervised -> assisted (upgrade)\n  security_team_approval: ask the security team\n",
    )
    granted = cstp("posture", "set", "bot", "assisted", "--from", "supervised", "--meta", "security_approved=true", "--reason", "reliable")
    assert (granted.returncode, granted.stdout) == (0, "bot: supervised -> assisted (upgrade)\n")
    assert cstp("posture", "set", "bot", "supervised", "--from", "blocked", "--reason", "r").returncode == 1
    assert cstp("posture", "block", "bot", "--reason", "odd").stdout == "bot: assisted -> blocked (emergency_downgrade)\n"
    assert cstp("check", "Look around", "--agent", "bot").returncode == 3
    shown = _shown(cstp("posture", "show", "bot").stdout)
    assert (shown["posture"], shown["by"], shown["because"]) == ("blocked", "olivia", "odd")
    (_, *rows) = cstp("posture", "history", "bot").stdout.splitlines()
    assert [re.split(" {2,}", row)[3] for row in rows] == ["emergency_downgrade", "downgrade", "upgrade", "upgrade"]
    assert "stale_from_posture" in rows[1]
