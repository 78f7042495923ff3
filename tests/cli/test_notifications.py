"""`cstp notifications`: what waits, what was given up, and whether a channel works."""

import json

import pytest

from cstp_server.services.notifying import Letter
from tests.cli.conftest import Cli, MemoryBackend

AT = 1_770_000_000_000
WAITING = Letter("default", "ops", "evt_1.0000", "circuit.opened", "category:tooling", AT, 2, None, "the receiver answered 500")
DEAD = Letter("default", "chat", "evt_2.0000", "policy.rejected", "policy", AT, 30, AT + 86_400_000, "no answer within 10 s")


@pytest.fixture(autouse=True)
def letters(backend: MemoryBackend) -> None:
    """One alert that waits, and one that was given up."""
    backend.letters = [WAITING, DEAD]


def test_what_is_in_the_outbox_is_listed_with_the_reason(cli: Cli) -> None:
    """A line for each; `--dead` only what was given up."""
    lines = cli("notifications", "list").stdout.splitlines()
    assert lines[0].split() == ["id", "status", "channel", "event", "subject", "since", "attempts", "error"]
    assert lines[1].split()[:7] == ["evt_1.0000", "waiting", "ops", "circuit.opened", "category:tooling", "2026-02-02T02:40:00Z", "2"]
    assert "given up" in lines[2]
    assert len(cli("notifications", "list", "--dead").stdout.splitlines()) == 2
    assert len(cli("notifications", "list", "--limit", "1").stdout.splitlines()) == 2


def test_the_list_is_there_for_programs_too(cli: Cli) -> None:
    """The same as JSON."""
    (dead,) = json.loads(cli("notifications", "list", "--dead", "--json").stdout)
    assert dead == {
        "id": "evt_2.0000",
        "status": "dead",
        "tenant": "default",
        "channel": "chat",
        "type": "policy.rejected",
        "subject": "policy",
        "at": "2026-02-02T02:40:00Z",
        "attempts": 30,
        "deadAt": "2026-02-03T02:40:00Z",
        "error": "no answer within 10 s",
    }


def test_an_empty_outbox_says_so(cli: Cli, backend: MemoryBackend) -> None:
    """On standard error, and nothing on standard output."""
    backend.letters = []
    assert (cli("notifications", "list").stdout, cli("notifications", "list").stderr) == ("", "nothing waits, and nothing was given up\n")
    assert cli("notifications", "list", "--dead").stderr == "nothing was given up\n"


def test_one_or_all_are_sent_again(cli: Cli) -> None:
    """By its id, or all that were given up; one that is not there is an error, and so is neither or both."""
    assert cli("notifications", "retry", "evt_1.0000").stderr == "1 is sent again\n"
    assert cli("notifications", "retry", "--all").stderr == "1 is sent again\n"
    unknown = cli("notifications", "retry", "evt_3")
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        "error: there is no alert `evt_3` in the outbox: `cstp notifications list` shows what is\n",
    )
    assert cli("notifications", "retry").exit_code == 2
    assert cli("notifications", "retry", "evt_1.0000", "--all").exit_code == 2


def test_a_channel_is_tried(cli: Cli) -> None:
    """Whether it took the message, or why not."""
    assert cli("notifications", "test", "ops").stderr == "channel `ops` took the message\n"
    failed = cli("notifications", "test", "chat")
    assert (failed.exit_code, failed.stderr) == (1, "error: channel `chat`: the receiver answered 500\n")
