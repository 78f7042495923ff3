"""The commands about decisions that wait, and about tripwires: what they send, print, and exit with."""

import json
import re
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.client.scripted_server import TRIPPED, Error, Message, Result, ScriptedServer, awaited, decision, resolved, waits

UNTIL = "2026-02-11T14:00:00Z"


def _waiting(id: str, until: str = UNTIL, **fields: Any) -> Message:
    pending = {"kind": "approval", "until": until}
    return decision(id, "pending", pending=pending, resolution=None, answer=waits({"decisionId": id}), **fields)


@pytest.fixture
def asked(scripted: ScriptedServer) -> ScriptedServer:
    """A server that asks for an approval of everything, and takes every resolution."""
    scripted.usual |= {
        "cstp.checkGuardrails": waits,
        "cstp.resolveDecision": resolved,
        "cstp.awaitDecision": lambda params: awaited(params["id"], "approved"),
        "cstp.listDecisions": lambda params: {
            "decisions": [_waiting("dec_2", "2026-02-11T15:00:00Z"), _waiting("dec_1")],
            "count": 2,
            "nextCursor": None,
        },
    }
    return scripted


def test_a_check_says_what_it_waits_for_and_what_to_do(cli: Cli, asked: ScriptedServer) -> None:
    """It exits 3 like any check that is not allowed, with the commands that go on from there."""
    done = cli("check", "Refund order 1142", "--decision-id", "dec_1", "--ctq", "0.5")
    assert done.exit_code == 3
    assert done.stdout.splitlines() == [
        "BLOCK  dec_1",
        "  violation max_refund (standard tripwire): Tripwire triggered: amount exceeds max_refund of 500",
        "  waits for an approval until 2026-02-11T14:00:00Z",
        "    cstp approve dec_1; cstp await dec_1",
        "  would pass: have it approved",
    ]
    assert asked.params("cstp.checkGuardrails")[0]["action"]["ctq"] == 0.5


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("confirmation", ["  waits for a confirmation until 2026-02-11T14:00:00Z", "    cstp confirm dec_1; cstp await dec_1"]),
        (
            "cancel_window",
            ["  waits for the end of its cancel window until 2026-02-11T14:00:00Z", "    cstp cancel dec_1; cstp await dec_1"],
        ),
        ("oracle", ["  waits for oracle until 2026-02-11T14:00:00Z"]),
    ],
)
def test_every_kind_of_waiting_is_said(cli: Cli, asked: ScriptedServer, kind: str, lines: list[str]) -> None:
    """One that is newer than this command line is named as it came."""
    asked.usual["cstp.checkGuardrails"] = lambda params: waits(params) | {"pending": {"kind": kind, "until": UNTIL}, "remedies": []}
    assert cli("check", "Refund", "--decision-id", "dec_1").stdout.splitlines()[2:] == lines


def test_what_waits_is_listed_the_most_urgent_first(cli: Cli, asked: ScriptedServer) -> None:
    """With whose it is, what it waits for, until when, and why; as JSON in the same order."""
    done = cli("pending", "--agent", "refund-bot")
    lines = done.stdout.splitlines()
    assert [column.strip() for column in lines[0].split("  ") if column] == ["id", "agent", "waits for", "until", "description", "why"]
    assert [line.split()[0] for line in lines[1:]] == ["dec_1", "dec_2"]
    for said in ("refund-bot", "approval", UNTIL, "Refund order 1142", TRIPPED["message"]):
        assert said in lines[1]
    assert asked.params("cstp.listDecisions") == [{"status": "pending", "agent": "refund-bot", "limit": 500}]
    assert [found["id"] for found in json.loads(cli("pending", "--json").stdout)["decisions"]] == ["dec_1", "dec_2"]


def test_nothing_that_waits_is_said_on_standard_error(cli: Cli, scripted: ScriptedServer) -> None:
    """A pipe gets nothing where there is nothing."""
    scripted.script.append(Result({"decisions": [], "count": 0, "nextCursor": None}))
    done = cli("pending")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no decision waits\n")


@pytest.mark.parametrize(
    ("command", "status"), [("approve", "approved"), ("confirm", "approved"), ("deny", "denied"), ("cancel", "cancelled")]
)
def test_a_decision_is_settled(cli: Cli, asked: ScriptedServer, command: str, status: str) -> None:
    """With its note, and exit 0: that it is denied is what was asked for."""
    done = cli(command, "dec_1", "--note", "so be it")
    assert (done.exit_code, done.stdout) == (0, f"{status}  dec_1\n")
    assert asked.params("cstp.resolveDecision") == [{"id": "dec_1", "resolution": command, "note": "so be it"}]
    assert json.loads(cli(command, "dec_1", "--json").stdout) == resolved({"id": "dec_1", "resolution": command})


@pytest.mark.parametrize("command", ["approve", "confirm"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_approval_that_comes_to_nothing_exits_3(cli: Cli, asked: ScriptedServer, command: str, options: list[str]) -> None:
    """What stands against it is shown."""
    asked.usual["cstp.resolveDecision"] = lambda params: (
        resolved(params) | {"status": "denied", "allowed": False, "violations": [TRIPPED], "reason": "looked at again"}
    )
    done = cli(command, "dec_1", *options)
    assert done.exit_code == 3
    assert "denied" in done.stdout
    assert TRIPPED["message"] in done.stdout


@pytest.mark.parametrize("command", ["approve", "deny", "confirm", "cancel"])
def test_a_decision_that_waits_no_more_exits_1(cli: Cli, asked: ScriptedServer, command: str) -> None:
    """The reason is one line on standard error."""
    asked.script.append(Error(-32011, "decision `dec_1` does not wait: it is `denied`", {"id": "dec_1"}))
    done = cli(command, "dec_1")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "error: decision `dec_1` does not wait: it is `denied`\n")


@pytest.mark.parametrize(
    ("status", "code", "lines"),
    [
        ("approved", 0, ["approved  dec_1"]),
        ("denied", 3, ["denied  dec_1", "  not this week"]),
        ("pending", 3, ["pending  dec_1", "  waits for an approval until 2026-02-11T14:00:00Z", "  not this week"]),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_to_await_exits_0_only_where_it_may_go_on(
    cli: Cli, asked: ScriptedServer, status: str, code: int, lines: list[str], options: list[str]
) -> None:
    """So that `cstp await ID && …` is safe: exit 3 where it was turned down, and where it still waits."""
    answer = awaited("dec_1", status, **({} if code == 0 else {"reason": "not this week"}))
    asked.usual["cstp.awaitDecision"] = lambda params: answer
    done = cli("await", "dec_1", "--timeout", "1s", *options)
    assert done.exit_code == code
    assert json.loads(done.stdout) == answer if options else done.stdout.splitlines() == lines
    assert asked.params("cstp.awaitDecision")[0] == {"id": "dec_1", "timeoutMs": 1000}


@pytest.mark.parametrize(
    "arguments",
    [
        ["await", "dec_1", "--timeout", "soon"],
        ["await", "dec_1", "--timeout", "0s"],
        ["await"],
        ["approve"],
        ["deny"],
        ["confirm"],
        ["cancel"],
        ["pending", "--limit", "0"],
        ["tripwires", "--since", "yesterday"],
        ["check", "x", "--ctq", "2"],
    ],
)
def test_wrong_usage_exits_2_before_anything_is_sent(cli: Cli, scripted: ScriptedServer, arguments: list[str]) -> None:
    """The mistake is told on standard error and the server hears nothing."""
    done = cli(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr
    assert scripted.calls == []


def test_a_settled_decision_is_shown_with_who_and_why(cli: Cli, scripted: ScriptedServer) -> None:
    """And one that waits with what it waits for."""
    resolution = {"status": "denied", "by": "olivia", "at": "2026-02-11T13:05:00Z", "reason": "too much", "note": "ask again"}
    scripted.script.append(Result({"found": True, "decision": decision("dec_1", "denied", resolution=resolution)}))
    shown = [re.split(" {2,}", line) for line in cli("decision", "dec_1").stdout.splitlines()]
    for field in (["settled as", "denied"], ["by", "olivia"], ["because", "too much"], ["note", "ask again"]):
        assert field in shown
    scripted.script.append(Result({"found": True, "decision": _waiting("dec_1")}))
    assert "an approval until 2026-02-11T14:00:00Z" in cli("decision", "dec_1").stdout


def test_tripwires_are_a_table(cli: Cli, scripted: ScriptedServer) -> None:
    """Which, how often, by whom; hits without effect are told apart, and what was asked for reaches the server."""
    wires = [
        {"name": "max_refund", "severity": "standard", "hits": 4, "shadowHits": 0, "lastHit": UNTIL, "agents": {"a": 3, "b": 1}},
        {"name": "no_exports", "severity": "severe", "hits": 0, "shadowHits": 2, "lastHit": UNTIL, "agents": {}},
    ]
    scripted.usual["cstp.getTripwireStats"] = lambda params: {"total": 4, "tripwires": wires}
    done = cli("tripwires", "--since", "2026-02-11", "--agent", "a")
    assert done.stdout.splitlines() == [
        "tripwire    severity  hits           last hit              agents",
        "max_refund  standard  4              2026-02-11T14:00:00Z  a (3), b (1)",
        "no_exports  severe    0 (+2 shadow)  2026-02-11T14:00:00Z  -",
        "4 in all",
    ]
    assert scripted.params("cstp.getTripwireStats") == [{"since": "2026-02-11T00:00:00Z", "agent": "a"}]
    assert json.loads(cli("tripwires", "--json").stdout) == {"total": 4, "tripwires": wires}
    scripted.script.append(Result({"total": 0, "tripwires": []}))
    done = cli("tripwires")
    assert (done.stdout, done.stderr) == ("", "no tripwire was run into\n")


def test_what_waits_does_nothing_to_the_terminal(cli: Cli, asked: ScriptedServer) -> None:
    """What agents write is shown as text, notes and reasons included."""
    evil = "\x1b[2J[red]boo[/red]\r"
    asked.script.append(Result({"decisions": [_waiting("dec_1", description=evil)], "count": 1, "nextCursor": None}))
    asked.script.append(Result(awaited("dec_1", "denied", reason=evil)))
    asked.script.append(Result({"found": True, "decision": decision("dec_1", "denied", resolution={"status": "denied", "note": evil})}))
    for command in (["pending"], ["await", "dec_1"], ["decision", "dec_1"]):
        assert "\\x1b[2J[red]boo[/red]\\r" in cli(*command).stdout
