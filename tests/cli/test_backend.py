"""The commands that run on the server's machine: serve, db, tokens, policy."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, MemoryBackend


def test_a_new_token_is_alone_on_standard_output(cli: Cli, backend: MemoryBackend) -> None:
    """`TOKEN=$(cstp tokens create …)` works; what it may do is told on standard error."""
    done = cli("tokens", "create", "bot", "--role", "agent", "--role", "ci", "--agent", "bot-1", "--tenant", "acme", "--expires", "30d")
    assert done.exit_code == 0
    assert done.stdout.startswith("cstp_")
    assert len(done.stdout.split()) == 1
    assert "agent, ci" in done.stderr
    assert done.stdout.strip() not in done.stderr
    token = backend.tokens["bot"]
    assert ([*token.roles], token.tenant, token.agent_id) == (["agent", "ci"], "acme", "bot-1")
    assert token.expires_at == 4_000_000_000_000 + 30 * 86_400_000


def test_a_token_that_cannot_be_made_exits_1(cli: Cli) -> None:
    """The backend's reason is told, and standard output stays empty."""
    cli("tokens", "create", "bot", "--role", "agent")
    done = cli("tokens", "create", "bot", "--role", "agent")
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "error: there is a token `bot` already\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["tokens", "create", "bot"],
        ["tokens", "create", "bot", "--role", "king"],
        ["tokens", "create", "bot", "--role", "ci", "--expires", "soon"],
        ["tokens", "create", "bot", "--role", "ci", "--expires", "0d"],
        ["tokens", "create", " ", "--role", "ci"],
        ["tokens", "create", "bot\nroot", "--role", "ci"],
        ["tokens", "create", "bot", "--role", "agent", "--agent", "bot\x1b[2J"],
        ["tokens", "create", "bot", "--role", "ci", "--tenant", ""],
        ["serve", "--port", "70000"],
        ["serve", "--workers", "0"],
    ],
)
def test_wrong_usage_exits_2_and_does_nothing(cli: Cli, backend: MemoryBackend, arguments: list[str]) -> None:
    """A mistake makes no token and starts no server."""
    done = cli(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert backend.tokens == {}
    assert backend.started == []


def test_tokens_are_listed_and_revoked(cli: Cli) -> None:
    """A revoked token is listed as such; revoking what is not in force exits 1."""
    cli("tokens", "create", "bot", "--role", "agent", "--agent", "bot-1")
    cli("tokens", "create", "pipeline", "--role", "ci", "--expires", "1h")
    assert cli("tokens", "revoke", "bot").exit_code == 0
    assert cli("tokens", "revoke", "bot").exit_code == 1
    listed = json.loads(cli("tokens", "list", "--json").stdout)
    assert [(token["name"], token["status"], token["roles"]) for token in listed] == [
        ("bot", "revoked", ["agent"]),
        ("pipeline", "active", ["ci"]),
    ]
    assert cli("tokens", "list").stdout.splitlines()[1].split()[:2] == ["bot", "revoked"]


def test_serve_passes_on_what_was_said_and_leaves_the_rest_to_the_settings(cli: Cli, backend: MemoryBackend) -> None:
    """What was not said is none."""
    cli("serve")
    cli("serve", "--config", "policies", "--host", "0.0.0.0", "--port", "0", "--workers", "4")  # noqa: S104 - only remembered
    assert backend.started == [(None, None, None, None), (Path("policies"), "0.0.0.0", 0, 4)]  # noqa: S104 - only remembered


def test_the_database_is_shown_and_upgraded(cli: Cli) -> None:
    """`current` exits 1 until the schema is at head."""
    before = cli("db", "current")
    assert (before.exit_code, before.stdout) == (1, "none\n")
    assert "cstp db upgrade" in before.stderr
    assert cli("db", "upgrade").stdout == "0002\n"
    after = cli("db", "current", "--json")
    assert (after.exit_code, json.loads(after.stdout)) == (0, {"current": "0002", "head": "0002"})


def test_a_good_policy_passes(cli: Cli, tmp_path: Path) -> None:
    """Nothing on standard output, the version on standard error."""
    file = tmp_path / "policy.yaml"
    file.write_text('circuit_breakers:\n  - scope: "category:tooling"\n    failure_threshold: 5\n')
    done = cli("policy", "check", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    assert "sha256:" in done.stderr


def test_a_bad_policy_exits_1_with_a_line_for_each_problem(cli: Cli, tmp_path: Path) -> None:
    """Each line begins with file and line, as editors read it."""
    file = tmp_path / "policy.yaml"
    file.write_text('circuit_breakers:\n  - scope: "category:tooling"\n    failure_treshold: 5\n  - scope: "nonsense"\n')
    done = cli("policy", "check", str(file))
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert [line.split(":")[1] for line in lines] == ["3", "4"]
    assert all("policy.yaml:" in line for line in lines)


def test_the_schema_of_a_policy_is_json(cli: Cli) -> None:
    """It can be redirected into a file as it is."""
    done = cli("policy", "schema")
    assert done.exit_code == 0
    assert "circuit_breakers" in json.loads(done.stdout)["properties"]
