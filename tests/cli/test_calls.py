"""The commands that call a server: what they send, print, and exit with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.client.scripted_server import Error, Result, ScriptedServer, allowed, blocked, circuit, decision


def test_an_allowed_check_exits_0_and_names_the_decision(cli: Cli, scripted: ScriptedServer) -> None:
    """The verdict and the decision's id are on standard output."""
    done = cli("check", "Deploy build 7", "--decision-id", "dec_mine")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "allow  dec_mine\n", "")


def test_a_blocked_check_exits_3_with_every_reason_and_what_would_help(cli: Cli, scripted: ScriptedServer) -> None:
    """Scripts see the exit code, people the reasons."""
    scripted.usual["cstp.checkGuardrails"] = blocked
    done = cli("check", "Deploy build 7")
    assert done.exit_code == 3
    assert done.stdout.startswith("BLOCK  dec_")
    assert "Circuit breaker OPEN: 5/5 recent tooling decisions failed. Cooldown: 22m remaining." in done.stdout
    assert "would pass: wait until 2026-02-11T13:30:00" in done.stdout


def test_a_check_sends_what_was_typed(cli: Cli, scripted: ScriptedServer) -> None:
    """Parameters and context are JSON where they read as JSON, and text otherwise."""
    options = ["--type", "issue_refund", "--category", "billing", "--stakes", "high", "--confidence", "0.85", "--tag", "a", "--tag", "b"]
    pairs = ["--param", "amount=1000", "--param", "to=bob", "--param", 'code="7"', "--context", "reviewed=true", "--context", "x=a=b"]
    who = ["--agent", "refund-bot", "--user", "user_123", "--domain", "billing", "--decision-id", "dec_1", "--dry-run"]
    assert cli("check", "Refund", *options, *pairs, *who).exit_code == 0
    assert scripted.params("cstp.checkGuardrails") == [
        {
            "action": {
                "description": "Refund",
                "type": "issue_refund",
                "category": "billing",
                "stakes": "high",
                "confidence": 0.85,
                "tags": ["a", "b"],
                "parameters": {"amount": 1000, "to": "bob", "code": "7"},
                "context": {"reviewed": True, "x": "a=b"},
            },
            "agent": {"id": "refund-bot"},
            "user": {"id": "user_123", "domain": "billing"},
            "decisionId": "dec_1",
            "dryRun": True,
        }
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["check", "x", "--stakes", "huge"],
        ["check", "x", "--confidence", "2"],
        ["check", "x", "--param", "amount"],
        ["check", "x", "--param", "=1"],
        ["check", "x", "--param", "a=1", "--param", "a=2"],
        ["check", "x", "--param", "a=NaN"],
        ["review", "dec_1"],
        ["review", "dec_1", "sucess"],
        ["trip", "global"],
        ["decisions", "--since", "yesterday"],
        ["decisions", "--limit", "0"],
        ["nonsense"],
    ],
)
def test_wrong_usage_exits_2_before_anything_is_sent(cli: Cli, scripted: ScriptedServer, arguments: list[str]) -> None:
    """The mistake is told on standard error and the server hears nothing."""
    done = cli(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr
    assert scripted.calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "Deploy"],
        ["review", "dec_1", "failure"],
        ["state", "global"],
        ["history", "global"],
        ["reset", "global"],
        ["trip", "global", "--reason", "incident"],
        ["guardrails"],
        ["reload"],
    ],
)
def test_json_is_the_servers_result_and_nothing_else(cli: Cli, scripted: ScriptedServer, arguments: list[str]) -> None:
    """With `--json` standard output is the result exactly as it came, new fields included."""
    newer = {"new": [1.5, None, "ü"]}
    usual = dict(scripted.usual)
    for method in usual:
        scripted.usual[method] = _with(newer, usual[method])
    done = cli(*arguments, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    (call,) = scripted.calls
    assert json.loads(done.stdout) == usual[call["method"]](call["params"]) | newer


def _with(newer: dict[str, Any], usual: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda params: usual(params) | newer


def test_a_blocked_check_as_json_still_exits_3(cli: Cli, scripted: ScriptedServer) -> None:
    """The format changes nothing about the exit code."""
    scripted.usual["cstp.checkGuardrails"] = blocked
    done = cli("check", "Deploy", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["violations"][0]["scope"] == "category:tooling"


def test_a_review_is_sent_and_its_circuits_are_shown(cli: Cli, scripted: ScriptedServer) -> None:
    """What moved is a table."""
    done = cli("review", "dec_1", "failure", "--severity", "high", "--error-type", "Timeout", "--notes", "slow", "--amend")
    assert done.exit_code == 0
    assert scripted.params("cstp.reviewDecision") == [
        {"id": "dec_1", "outcome": "failure", "severity": "high", "errorType": "Timeout", "notes": "slow", "amend": True}
    ]
    assert done.stdout.splitlines() == [
        "dec_1: failure",
        "circuit           from    to    failures",
        "category:tooling  closed  open  5",
    ]


def test_a_duplicate_review_says_so(cli: Cli, scripted: ScriptedServer) -> None:
    """A second review of the same decision is told from the first."""
    scripted.script.append(Result({"id": "dec_1", "outcome": "success", "duplicate": True}))
    assert cli("review", "dec_1", "success").stdout == "dec_1: success (already on record)\n"


def test_circuits_are_a_table_that_a_pipe_can_take(cli: Cli, scripted: ScriptedServer) -> None:
    """One line a circuit, no colours, nothing cut off however long the scope."""
    long = "agent:" + "x" * 150
    scripted.usual["cstp.listCircuits"] = lambda params: {
        "circuits": [circuit(long, "open", forced=True), circuit("global", "open", mode="shadow", failureRate=0.00934579)],
        "nextCursor": None,
    }
    done = cli("circuits", "--state", "open", "--prefix", "agent:")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].split("  ")[0] == long
    assert "open (forced)" in lines[1]
    assert "2.5/5" in lines[1]
    assert "open (shadow)" in lines[2]
    assert "0.935%" in lines[2]
    assert "\x1b" not in done.stdout
    assert scripted.params("cstp.listCircuits")[0] == {"state": "open", "prefix": "agent:", "limit": 500}


def test_lists_as_json_hold_every_page(cli: Cli, scripted: ScriptedServer) -> None:
    """All pages up to the limit are one object."""
    scripted.usual["cstp.listDecisions"] = lambda params: {
        "decisions": [decision("dec_2" if params.get("cursor") else "dec_1")],
        "nextCursor": None if params.get("cursor") else "more",
    }
    done = cli("decisions", "--json")
    assert [found["id"] for found in json.loads(done.stdout)["decisions"]] == ["dec_1", "dec_2"]
    assert [found["id"] for found in json.loads(cli("decisions", "--json", "--limit", "1").stdout)["decisions"]] == ["dec_1"]
    assert [found["scope"] for found in json.loads(cli("circuits", "--json").stdout)["circuits"]] == ["category:tooling", "global"]


def test_decisions_are_filtered_and_their_ids_are_whole(cli: Cli, scripted: ScriptedServer) -> None:
    """Every filter reaches the server; a date is its start in UTC."""
    filters = ["--status", "blocked", "--agent", "a", "--category", "c", "--outcome", "failure", "--since", "2026-02-11"]
    done = cli("decisions", *filters, "--limit", "9")
    assert "dec_01JZZZZZZZZZZZZZZZZZZZZZZ1" in done.stdout
    assert scripted.params("cstp.listDecisions") == [
        {"status": "blocked", "agent": "a", "category": "c", "outcome": "failure", "since": "2026-02-11T00:00:00Z", "limit": 9}
    ]


def test_one_decision_and_one_circuit_are_shown_field_by_field(cli: Cli) -> None:
    """A record has a line for every field that has a value."""
    assert "status        blocked" in cli("decision", "dec_1").stdout.splitlines()
    state = cli("state", "category:tooling").stdout
    assert "cooldown left  1m 30s" in state
    assert "opened at" not in state


def test_a_blocked_decision_is_shown_with_its_reasons(cli: Cli, scripted: ScriptedServer) -> None:
    """Who looks at what was blocked months later sees which guard objected, and why."""
    finding = {"guardrail": "no-refunds", "type": "guardrail", "message": "refunds are closed", "suggestion": "ask billing"}
    answer = allowed({"decisionId": "dec_1"}) | {"allowed": False, "intervention": "block", "violations": [finding]}
    scripted.usual["cstp.getDecision"] = lambda params: {"found": True, "decision": decision("dec_1", "blocked", answer=answer)}
    shown = cli("decision", "dec_1").stdout
    assert "  violation no-refunds (guardrail): refunds are closed\n    ask billing\n" in shown


def test_history_reset_and_trip_are_sent_and_shown(cli: Cli, scripted: ScriptedServer) -> None:
    """What was typed arrives, and what happened is one line."""
    assert "threshold_reached" in cli("history", "category:tooling", "--limit", "5").stdout
    assert (
        cli("reset", "category:tooling", "--probe-first", "--reason", "fixed").stdout == "category:tooling: open -> half_open\nso it is\n"
    )
    assert cli("trip", "category:tooling", "--reason", "incident").stdout.startswith("category:tooling: open -> open")
    assert [call["params"] for call in scripted.calls] == [
        {"scope": "category:tooling", "limit": 5},
        {"scope": "category:tooling", "probeFirst": True, "reason": "fixed"},
        {"scope": "category:tooling", "reason": "incident"},
    ]


def test_the_policy_in_force_is_listed_and_reloaded(cli: Cli) -> None:
    """Guards are a table; a reload names the version in force."""
    assert "no-prod" in cli("guardrails").stdout
    assert cli("reload").stdout == "policy is now sha256:1\n"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reload_that_is_refused_exits_1_with_the_problems(cli: Cli, scripted: ScriptedServer, options: list[str]) -> None:
    """A bad policy is no success, in either format."""
    bad = {"success": False, "policyVersion": "sha256:0", "changed": False, "problems": ["policy.yaml:3: no"]}
    scripted.script.append(Result(bad))
    done = cli("reload", *options)
    assert done.exit_code == 1
    assert "policy.yaml:3: no" in done.stderr


def test_an_error_of_the_server_exits_1_and_says_what_to_do(cli: Cli, scripted: ScriptedServer) -> None:
    """The reason is one line on standard error, without a traceback."""
    scripted.script.append(Error(-32001, "this takes the role `ops`", {"required": ["ops"]}, 403))
    done = cli("reset", "global")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: this takes the role `ops`\n"


def test_a_server_that_is_not_there_exits_4(cli: Cli) -> None:
    """The url is named, because it is what is wrong most often."""
    cli.url = "http://127.0.0.1:9"
    done = cli("circuits")
    assert (done.exit_code, done.stdout) == (4, "")
    assert "http://127.0.0.1:9" in done.stderr


def test_what_agents_write_does_nothing_to_the_terminal(cli: Cli, scripted: ScriptedServer) -> None:
    """Control characters and markup in a description are shown as text."""
    scripted.usual["cstp.listDecisions"] = lambda params: {"decisions": [decision("dec_1", description="\x1b[2J[red]boo[/red]\r")]}
    assert "\\x1b[2J[red]boo[/red]\\r" in cli("decisions").stdout


def test_an_empty_list_is_said_on_standard_error(cli: Cli, scripted: ScriptedServer) -> None:
    """A pipe gets nothing where there is nothing."""
    scripted.script.append(Result({"circuits": [], "nextCursor": None}))
    done = cli("circuits")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no circuit matches\n")


def test_the_token_comes_from_the_option_the_file_or_the_variable(cli: Cli, scripted: ScriptedServer, tmp_path: Path) -> None:
    """What is said on the command line goes before what is set."""
    file = tmp_path / "token"
    file.write_text("cstp_file\n")
    variable = {"CSTP_TOKEN": "cstp_variable"}
    cli("check", "x")
    cli("check", "x", env=variable)
    cli("--token", "cstp_option", "check", "x", env=variable)
    cli("--token-file", str(file), "check", "x", env=variable)
    sent = [headers.get("authorization") for headers in scripted.headers]
    assert sent == [None, "Bearer cstp_variable", "Bearer cstp_option", "Bearer cstp_file"]


def test_two_tokens_or_a_bad_one_are_wrong_usage(cli: Cli, scripted: ScriptedServer, tmp_path: Path) -> None:
    """An option and a file contradict each other, and an empty file holds no token."""
    file = tmp_path / "token"
    file.write_text("\n")
    assert cli("--token", "a", "--token-file", str(file), "check", "x").exit_code == 2
    assert cli("--token-file", str(file), "check", "x").exit_code == 2
    assert cli("--token-file", str(tmp_path / "none"), "check", "x").exit_code == 2
    assert cli("--url", "nonsense", "check", "x").exit_code == 2
    assert scripted.calls == []


def test_a_warning_is_shown_and_allows(cli: Cli, scripted: ScriptedServer) -> None:
    """A warned check exits 0 and says what was remarked."""
    warning = {
        "guardrail": "g",
        "type": "guardrail",
        "message": "careful",
        "action": "warn",
        "severity": "warn",
        "suggestion": "look twice",
    }
    scripted.usual["cstp.checkGuardrails"] = lambda params: allowed(params) | {"intervention": "warn", "warnings": [warning]}
    done = cli("check", "x")
    assert done.exit_code == 0
    assert "warning g (guardrail): careful\n    look twice\n" in done.stdout


def test_events_are_a_table(cli: Cli, scripted: ScriptedServer) -> None:
    """When, what, to what, through whom; what was asked for reaches the server."""
    event = {
        "id": "evt_1",
        "at": "2026-02-11T13:08:00Z",
        "type": "circuit.opened",
        "subject": "category:tooling",
        "actor": "ci",
        "data": {"reason": "f\u00fcnf"},
    }
    scripted.usual["cstp.listEvents"] = lambda params: {"events": [event], "count": 1, "nextCursor": None}
    done = cli(
        "events", "--type", "circuit.*", "--type", "tripwire.hit", "--subject", "category:tooling", "--since", "2026-02-11", "--limit", "5"
    )
    assert done.stdout.splitlines() == [
        "at                    type            subject           actor  data",
        '2026-02-11T13:08:00Z  circuit.opened  category:tooling  ci     {"reason": "f\u00fcnf"}',
    ]
    asked = {"types": ["circuit.*", "tripwire.hit"], "subject": "category:tooling", "since": "2026-02-11T00:00:00Z", "limit": 5}
    assert scripted.params("cstp.listEvents") == [asked]
    assert json.loads(cli("events", "--json").stdout) == {"events": [event]}
    scripted.usual["cstp.listEvents"] = lambda params: {"events": [], "count": 0, "nextCursor": None}
    assert cli("events").stderr == "no event matches\n"
