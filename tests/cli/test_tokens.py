"""Tokens on the command line: which names they may have, and what is said to whom the server does not know."""

import pytest

from tests.cli.conftest import Cli, MemoryBackend
from tests.client.scripted_server import Error, Result, ScriptedServer, decision
from tests.conftest import StartServer


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["*"], "`*`"),
        (["n" * 257], "at most 256 characters"),
        (["a\tb"], "cannot be seen"),
        (["a\u200bb"], "cannot be seen"),
        ([" "], "blank"),
        (["bot", "--agent", "*"], "`*`"),
        (["bot", "--agent", " * "], "`*`"),
        (["bot", "--agent", "a" * 257], "at most 256 characters"),
        (["bot", "--agent", "a\nb"], "cannot be seen"),
        (["bot", "--agent", ""], "blank"),
        (["bot", "--tenant", "t" * 257], "at most 256 characters"),
    ],
)
def test_a_name_that_the_wire_would_refuse_makes_no_token(cli: Cli, backend: MemoryBackend, arguments: list[str], said: str) -> None:
    """Exit 2, and nothing is stored."""
    done = cli("tokens", "create", *arguments, "--role", "agent")
    assert (done.exit_code, done.stdout, backend.tokens) == (2, "", {})
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_the_longest_name_and_one_of_several_words_make_one(cli: Cli, backend: MemoryBackend) -> None:
    """What the wire takes is taken here."""
    assert cli("tokens", "create", "n" * 256, "--role", "agent", "--agent", "the *best* bot").exit_code == 0
    assert backend.tokens["n" * 256].agent_id == "the *best* bot"


UNKNOWN = Error(-32001, "the token is unknown, revoked or expired", None, 401)
WANTED = Error(-32001, "this takes a token: send `Authorization: Bearer <token>`", None, 401)
FORBIDDEN = Error(-32001, "this takes the role `ops`", {"required": ["ops"]}, 403)


def test_whoever_the_server_does_not_know_is_told_how_to_be_known(cli: Cli, scripted: ScriptedServer) -> None:
    """Exit 5: without a token with the line that sets one, and with a bad one with what is wrong with it. A role too low is 1."""
    scripted.script.append(WANTED)
    without = cli("decisions")
    assert (without.exit_code, without.stdout) == (5, "")
    assert "`export CSTP_TOKEN=…`" in without.stderr
    assert len(without.stderr.splitlines()) == 1
    scripted.script.append(UNKNOWN)
    bad = cli("--token", "cstp_old", "decisions")
    assert (bad.exit_code, bad.stdout) == (5, "")
    assert bad.stderr.startswith("error: the token is unknown, revoked or expired")
    scripted.script.append(FORBIDDEN)
    assert cli("--token", "cstp_good", "reset", "global").exit_code == 1


def test_a_revoked_token_exits_5(start_server: StartServer) -> None:
    """With a service: good until it is revoked, and then told from every other error."""
    server = start_server()
    environment = {"CSTP_URL": server.url, "CSTP_TOKEN": server.token("olivia", "ops")}
    assert server.cli("circuits", env=environment).returncode == 0
    server.cli("tokens", "revoke", "olivia")
    done = server.cli("circuits", check=False, env=environment)
    assert (done.returncode, done.stdout) == (5, "")
    assert "revoked" in done.stderr
    anonymous = server.cli("circuits", check=False, env={"CSTP_URL": server.url})
    assert (anonymous.returncode, "export CSTP_TOKEN" in anonymous.stderr) == (5, True)


def test_a_reviewed_decision_is_shown_with_who_reviewed_it(cli: Cli, scripted: ScriptedServer) -> None:
    """And with what they said; that the agent reviewed itself is told."""
    review = {
        "outcome": "failure",
        "severity": "high",
        "reviewedAt": "2026-02-11T13:20:00Z",
        "reviewedBy": "nightly-ci",
        "selfReported": False,
        "errorType": "timeout",
        "notes": "too slow",
    }
    scripted.script.append(Result({"found": True, "decision": decision("dec_1", "reviewed", outcome="failure", review=review)}))
    lines = cli("decision", "dec_1").stdout.splitlines()
    for line in (
        "severity      high",
        "error type    timeout",
        "notes         too slow",
        "reviewed by   nightly-ci",
        "reviewed at   2026-02-11T13:20:00Z",
    ):
        assert line in lines
    own = review | {"outcome": "success", "selfReported": True}
    scripted.script.append(Result({"found": True, "decision": decision("dec_1", "reviewed", outcome="success", review=own)}))
    shown = cli("decision", "dec_1").stdout
    assert "nightly-ci (the agent itself)" in shown
    assert "severity" not in shown
