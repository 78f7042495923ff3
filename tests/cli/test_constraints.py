"""`cstp constraints`: what it sends, prints and exits with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.client.scripted_server import Error, Message, Result, ScriptedServer
from tests.conftest import StartServer

SATISFIED: Message = {
    "satisfied": True,
    "failedDimensions": [],
    "results": {
        "cost_limit": {"satisfied": True, "reason": "within budget", "remaining": 40, "used": 960, "limit": 1000},
        "communication": {"satisfied": True, "reason": "allowed", "remaining": None, "used": None, "limit": None},
    },
    "antiGamingFlags": ["boundary_pushing:cost_limit (usage_ratio=0.96)"],
    "mode": "conjunctive",
    "durationMs": 0.02,
}
FAILED: Message = {
    "satisfied": False,
    "failedDimensions": ["cost_limit"],
    "results": {"cost_limit": {"satisfied": False, "reason": "exceeded by 100", "remaining": 0, "used": 1100, "limit": 1000}},
    "antiGamingFlags": [],
    "mode": "conjunctive",
    "durationMs": 0.02,
}
LOOSER = "Dimension 'cost_limit': child constraint (200) is looser than parent (100)"
TOKEN_LIMIT: Message = {"name": "token_limit", "version": "1.0.0", "description": "Maximum tokens per request", "status": "pending"}
REVIEWED = TOKEN_LIMIT | {"status": "approved", "reviewedBy": "olivia", "reviewedAt": "2026-02-11T13:25:00Z", "note": "seen"}
EVALUATE, TIGHTEN = "cstp.evaluateConstraints", "cstp.validateTightening"


@pytest.fixture
def constraints(scripted: ScriptedServer) -> ScriptedServer:
    """A server that finds everything satisfied, valid and approved."""
    built_in = {"name": "cost_limit", "version": "1.0.0", "description": "Maximum cost", "status": "built_in"}
    scripted.usual |= {
        EVALUATE: lambda params: SATISFIED,
        TIGHTEN: lambda params: {"valid": True, "violations": []},
        "cstp.listDimensions": lambda params: {"dimensions": [built_in, TOKEN_LIMIT], "count": 2},
        "cstp.approveDimension": lambda params: REVIEWED,
        "cstp.rejectDimension": lambda params: REVIEWED | {"status": "rejected"},
    }
    return scripted


def test_an_evaluation_sends_what_was_typed(cli: Cli, constraints: ScriptedServer) -> None:
    """Values are JSON where they read as JSON, and text otherwise; keys stay as they are."""
    bounds = ["--constraint", "cost_limit=1000", "--constraint", "rate_limit=100/minute", "--constraint", 'resources=["data/**"]']
    known = ["--context", "costUsed=960", "--context", "resource_requested=null", "--context", "contains_pii=false"]
    done = cli("constraints", "eval", *bounds, *known, "--mode", "disjunctive", "--agent", "bot")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "satisfied",
        "  pass  cost_limit: within budget (960 of 1000)",
        "  pass  communication: allowed",
        "  flag  boundary_pushing:cost_limit (usage_ratio=0.96)",
    ]
    assert constraints.params(EVALUATE) == [
        {
            "constraints": {"cost_limit": 1000, "rate_limit": "100/minute", "resources": ["data/**"]},
            "context": {"costUsed": 960, "resource_requested": None, "contains_pii": False},
            "mode": "disjunctive",
            "agentId": "bot",
        }
    ]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_constraints_that_are_not_satisfied_exit_3(cli: Cli, constraints: ScriptedServer, options: list[str]) -> None:
    """The failed dimension and its reason are shown, in either format."""
    constraints.script.append(Result(FAILED))
    done = cli("constraints", "eval", "--constraint", "cost_limit=1000", "--context", "cost_used=1100", *options)
    assert (done.exit_code, done.stderr) == (3, "")
    if options:
        assert json.loads(done.stdout) == FAILED
    else:
        assert done.stdout == "NOT SATISFIED\n  FAIL  cost_limit: exceeded by 100 (1100 of 1000)\n"


@pytest.mark.parametrize("from_stdin", [True, False])
def test_an_evaluation_is_read_from_a_file_and_options_go_before_it(
    cli: Cli, constraints: ScriptedServer, tmp_path: Path, *, from_stdin: bool
) -> None:
    """From a path or from standard input; a part may be left out."""
    text = json.dumps({"constraints": {"cost_limit": 10, "data_access": {"mode": "no_pii"}}, "context": {"contains_pii": False}})
    path = tmp_path / "evaluation.json"
    path.write_text(text)
    file, stdin = ("-", text) if from_stdin else (str(path), None)
    done = cli("constraints", "eval", "--file", file, "--constraint", "cost_limit=20", "--context", "cost_used=7", stdin=stdin)
    assert done.exit_code == 0
    path.write_text('{"constraints": {"cost_limit": 5}}')
    assert cli("constraints", "eval", "--file", str(path), "--json").exit_code == 0
    assert constraints.params(EVALUATE) == [
        {"constraints": {"cost_limit": 20, "data_access": {"mode": "no_pii"}}, "context": {"contains_pii": False, "cost_used": 7}},
        {"constraints": {"cost_limit": 5}, "context": {}},
    ]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_constraints_are_compared(cli: Cli, constraints: ScriptedServer, options: list[str]) -> None:
    """Tighter exits 0, looser 3 with what is looser."""
    done = cli("constraints", "tighten", "--parent", "cost_limit=100", "--child", "cost_limit=50", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"valid": True, "violations": []} if options else done.stdout == "valid\n"
    constraints.script.append(Result({"valid": False, "violations": [LOOSER]}))
    done = cli("constraints", "tighten", "--file", "-", *options, stdin='{"parent": {"cost_limit": 100}, "child": {"cost_limit": 200}}')
    assert (done.exit_code, done.stderr) == (3, "")
    assert json.loads(done.stdout)["violations"] == [LOOSER] if options else done.stdout == f"LOOSER\n  {LOOSER}\n"
    assert [call["child"]["cost_limit"] for call in constraints.params(TIGHTEN)] == [50, 200]


def test_dimensions_are_listed(cli: Cli, constraints: ScriptedServer) -> None:
    """One line each, with who has reviewed it."""
    done = cli("constraints", "dimensions")
    assert [re.split(" {2,}", line) for line in done.stdout.splitlines()] == [
        ["name", "version", "status", "reviewed by", "description"],
        ["cost_limit", "1.0.0", "built_in", "-", "Maximum cost"],
        ["token_limit", "1.0.0", "pending", "-", "Maximum tokens per request"],
    ]
    assert json.loads(cli("constraints", "dimensions", "--json").stdout)["count"] == 2


def test_a_dimension_is_approved_and_rejected(cli: Cli, constraints: ScriptedServer) -> None:
    """With the version that was looked at and a note, or without."""
    done = cli("constraints", "approve", "token_limit", "--version", "1.0.0", "--note", "seen")
    assert dict(re.split(" {2,}", line, maxsplit=1) for line in done.stdout.splitlines()) == {
        "name": "token_limit",
        "version": "1.0.0",
        "description": "Maximum tokens per request",
        "status": "approved",
        "reviewed by": "olivia",
        "reviewed at": "2026-02-11T13:25:00Z",
        "note": "seen",
    }
    rejected = cli("constraints", "reject", "token_limit", "--json")
    assert (rejected.exit_code, json.loads(rejected.stdout)["status"]) == (0, "rejected")
    assert constraints.params("cstp.approveDimension") == [{"name": "token_limit", "version": "1.0.0", "note": "seen"}]
    assert constraints.params("cstp.rejectDimension") == [{"name": "token_limit"}]
    constraints.script.append(Error(-32001, "this takes the role `admin`", {"required": ["admin"]}, 403))
    refused = cli("constraints", "approve", "token_limit")
    assert (refused.exit_code, refused.stdout, refused.stderr) == (1, "", "error: this takes the role `admin`\n")


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["eval"], None, "give at least one, such as `--constraint cost_limit=1000`"),
        (["eval", "--context", "cost_used=5"], None, "give at least one"),
        (["eval", "--constraint", "cost_limit"], None, "`cost_limit` should be `key=value`"),
        (["eval", "--constraint", "cost_limit=1", "--constraint", "cost_limit=2"], None, "`cost_limit` is given twice"),
        (["eval", "--constraint", "cost_limit=NaN"], None, "no number in JSON"),
        (["eval", "--constraint", "cost_limit=1", "--mode", "most"], None, "`most` is not one of `conjunctive`, `disjunctive`"),
        (["eval", "--file", "nowhere.json"], None, "`nowhere.json` cannot be read: no such file or directory"),
        (["eval", "--file", "."], None, "`.` cannot be read: is a directory"),
        (["eval", "--file", "-"], "", "is no JSON (line 1, column 1)"),
        (["eval", "--file", "-"], '{"constraints": {"cost_limit": NaN}}', "has `NaN`, which is no number in JSON"),
        (["eval", "--file", "-"], b"\xff", "is no text in UTF-8"),
        (["eval", "--file", "-"], "[" * 100_000, "is no JSON"),
        (["eval", "--file", "-"], "[1]", 'should hold one object, such as `{"constraints":'),
        (["eval", "--file", "-"], '{"constraint": {}}', "has `constraint`, and should have `constraints` and `context` alone"),
        (["eval", "--file", "-"], '{"constraints": [1]}', "has a `constraints` that is no object"),
        (["eval", "--file", "-"], '{"context": {}}', "give at least one"),
        (["tighten"], None, "give at least one, such as `--parent cost_limit=100`"),
        (["tighten", "--parent", "cost_limit"], None, "should be `key=value`"),
        (["tighten", "--file", "-"], '{"constraints": {}}', "should have `parent` and `child` alone"),
        (["approve"], None, "NAME"),
        (["reject"], None, "NAME"),
    ],
)
def test_wrong_usage_exits_2_before_anything_is_sent(
    cli: Cli, constraints: ScriptedServer, arguments: list[str], stdin: bytes | str | None, said: str
) -> None:
    """The mistake is told on standard error and the server hears nothing."""
    done = cli("constraints", *arguments, stdin=stdin)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert constraints.calls == []


def test_constraints_on_the_command_line(start_server: StartServer, tmp_path: Path) -> None:
    """With a service: satisfied and not, from options and a file, tighter and looser, listed, and nothing to approve."""
    server = start_server()
    ada = {"CSTP_URL": server.url, "CSTP_TOKEN": server.token("ada", "admin")}

    def cstp(*arguments: str) -> Any:
        return server.cli("constraints", *arguments, check=False, env=ada)

    bounds = ["--constraint", "cost_limit=1000", "--constraint", "rate_limit=100/minute"]
    done = cstp("eval", *bounds, "--context", "cost_used=500", "--context", "requestsInPeriod=50", "--agent", "bot")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "satisfied")
    done = cstp("eval", *bounds, "--context", "cost_used=1500", "--json")
    assert (done.returncode, json.loads(done.stdout)["failedDimensions"][0]) == (3, "cost_limit")
    assert (
        cstp("eval", *bounds, "--context", "cost_used=1500", "--context", "requests_in_period=1", "--mode", "disjunctive").returncode == 0
    )
    file = tmp_path / "tightening.json"
    file.write_text('{"parent": {"resources": ["data/**"]}, "child": {"resources": ["data/public/*.json"]}}')
    assert cstp("tighten", "--file", str(file)).stdout == "valid\n"
    done = cstp("tighten", "--parent", "cost_limit=100", "--child", "cost_limit=200")
    assert (done.returncode, done.stdout) == (3, f"LOOSER\n  {LOOSER}\n")
    (_, *rows) = cstp("dimensions").stdout.splitlines()
    assert {re.split(" {2,}", row)[2] for row in rows} == {"built_in"}
    done = cstp("approve", "token_limit")
    assert (done.returncode, done.stdout) == (1, "")
    assert "`token_limit`" in done.stderr
