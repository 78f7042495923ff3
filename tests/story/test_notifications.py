"""People hear of what happens, from real processes, whatever becomes of these (SPEC 11)."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.notifiers.receiver import Receiver, status, wait_for
from tests.server import RunningServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TAKEOVER_SECONDS = 30


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes what it gets."""
    with Receiver() as opened:
        yield opened


@pytest.fixture
def policy(tmp_path: Path, receiver: Receiver) -> Path:
    """Three ways to the receiver: a webhook, Apprise, and a webhook for the gravest."""
    folder = tmp_path / "policy"
    folder.mkdir()
    path = folder / "policy.yaml"
    path.write_text(policy_text(receiver))
    return path


def policy_text(receiver: Receiver, more: str = "") -> str:
    webhook = f"type: webhook, url: '{receiver.url}', secret_env: HOOK_SECRET, allow_private: true"
    return f"""
notifications:
  channels:
    - {{name: ops, {webhook}, min_severity: warning}}
    - {{name: chat, type: apprise, url_env: CHAT_URL, allow_private: true, events: [policy.rejected]}}
circuit_breakers:
  - {{scope: "category:*", failure_threshold: 1}}
{more}"""


def environment(receiver: Receiver) -> dict[str, str]:
    return {"HOOK_SECRET": SECRET, "CHAT_URL": f"json://127.0.0.1:{receiver.port}/chat", "CSTP_PUBLIC_URL": "https://cstp.example.org"}


@pytest.fixture
def server(start_server: StartServer, server_url: str, policy: Path, receiver: Receiver) -> RunningServer:
    """The service with that policy, on each kind of database in turn."""
    return start_server(database_url=server_url, config=policy, env=environment(receiver))


def trip(server: RunningServer, category: str) -> None:
    server.call("cstp.tripCircuit", {"scope": f"category:{category}", "reason": "incident"})


def subjects(receiver: Receiver) -> list[str]:
    return [received.json["data"]["subject"] for received in list(receiver.received) if "data" in received.json]


def listed(server: RunningServer, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(server.cli("notifications", "list", "--json", *options).stdout)
    return found


def test_a_circuit_that_opens_is_told_within_a_second_or_two(server: RunningServer, receiver: Receiver) -> None:
    """From the review to the receiver, with the link to the dashboard; the outbox is empty then, and metrics count it."""
    server.call("cstp.checkGuardrails", {"action": {"description": "an action", "category": "tooling"}, "decisionId": "one"})
    server.call("cstp.reviewDecision", {"id": "one", "outcome": "failure"})
    (got,) = receiver.wait(1)
    assert (got.type, got.json["data"]["subject"], got.json["data"]["link"]) == (
        "circuit.opened",
        "category:tooling",
        "https://cstp.example.org",
    )
    wait_for(lambda: listed(server) == [], "the outbox to be empty")
    metrics = server.http.get("/metrics").text
    assert 'cstp_notifications_total{channel="ops",result="sent"} 1.0' in metrics
    assert "cstp_notification_lag_seconds_count 1.0" in metrics


def test_a_policy_that_is_refused_is_told_on_both_ways(server: RunningServer, policy: Path, receiver: Receiver) -> None:
    """As the policy in force says; where in the file the mistake is, and not where the file is."""
    policy.write_text("circut_breakers: []\n")
    wait_for(lambda: len(receiver.received) == 2, "both messages")
    by_path = {received.target: received for received in receiver.received}
    assert "policy.yaml:1" in by_path["/hook"].json["data"]["why"]
    assert "A new policy was refused" in by_path["/chat"].json["title"]
    assert str(policy.parent) not in by_path["/hook"].body.decode() + by_path["/chat"].body.decode()


def test_what_was_given_up_is_listed_and_sent_again(server: RunningServer, receiver: Receiver) -> None:
    """The list says why; `retry` has the running service send it."""
    receiver.answer = status(410)
    trip(server, "one")
    wait_for(lambda: bool(listed(server, "--dead")), "it to be given up")
    (dead,) = listed(server, "--dead")
    assert (dead["status"], dead["channel"], dead["type"], dead["subject"]) == ("dead", "ops", "circuit.forced", "category:one")
    assert dead["error"] == "the receiver answered 410: it is gone for good"
    assert "given up" in server.cli("notifications", "list").stdout
    receiver.answer = status(204)
    assert server.cli("notifications", "retry", "evt_unknown", check=False).returncode == 1
    assert "1 is sent again" in server.cli("notifications", "retry", dead["id"]).stderr
    wait_for(lambda: listed(server) == [], "the outbox to be empty")
    assert len(receiver.received) == 2
    assert "0 are sent again" in server.cli("notifications", "retry", "--all").stderr
    assert server.cli("notifications", "retry", check=False).returncode == 2


def test_a_channel_can_be_tried(server: RunningServer, receiver: Receiver) -> None:
    """Directly, without the outbox; a channel that does not work says why, and one that is not there names those that are."""
    assert "channel `ops` took the message" in server.cli("notifications", "test", "ops", "--config", str(server.config)).stderr
    assert server.cli("notifications", "test", "chat", env=config_of(server)).returncode == 0
    assert receiver.received[0].type == "notification.test"
    assert receiver.received[1].json["title"] == "[test] Channel `chat` works"
    receiver.answer = status(500)
    refused = server.cli("notifications", "test", "ops", check=False, env=config_of(server))
    assert (refused.returncode, refused.stderr) == (1, "error: channel `ops`: the receiver answered 500\n")
    unset = server.cli("notifications", "test", "ops", check=False, env=config_of(server) | {"HOOK_SECRET": ""})
    assert unset.stderr == "error: channel `ops`: the variable `HOOK_SECRET` is not set\n"
    unknown = server.cli("notifications", "test", "opps", check=False, env=config_of(server))
    assert unknown.stderr == "error: channel `opps`: the policy has no channel of this name, did you mean `ops`?\n"


def config_of(server: RunningServer) -> dict[str, str]:
    return {"CSTP_CONFIG": str(server.config)}


def test_a_service_without_its_secrets_does_not_start(start_server: StartServer, tmp_path: Path, policy: Path, receiver: Receiver) -> None:
    """It names the variable and the channel; a secret that is none is refused without being quoted."""
    server = RunningServer(tmp_path / "other", config=policy, env={"HOOK_SECRET": "hunter2", "CSTP_HOOK": "x"})
    assert server.spawn_and_wait() == 1
    assert "channel `ops`: the variable `HOOK_SECRET` must hold a secret that begins with `whsec_`" in server.logs
    assert "channel `chat`: the variable `CHAT_URL` is not set" in server.logs
    assert "hunter2" not in server.logs


def test_secrets_are_in_no_log_and_no_record(server: RunningServer, receiver: Receiver) -> None:
    """Neither of what was sent, nor of what failed, nor of the policy."""
    receiver.answer = status(500)
    trip(server, "one")
    wait_for(lambda: any(letter["attempts"] for letter in listed(server)), "an attempt")
    shown = server.logs + server.cli("notifications", "list", "--json").stdout + server.http.get("/metrics").text
    assert SECRET not in shown
    assert "/chat" not in shown
    assert "/hook" not in shown


def test_another_process_takes_over_from_one_that_was_killed(
    start_server: StartServer, server_url: str, policy: Path, receiver: Receiver
) -> None:
    """Two processes on one database, of which one sends. Killed while a message hangs, it has the other one send within half a minute:
    what was on its way, what came since, and each of them at least once."""
    servers = [start_server(name, database_url=server_url, config=policy, env=environment(receiver)) for name in ("one", "two")]
    wait_for(lambda: any(sends(server) for server in servers), "one of them to send")
    assert [sends(server) for server in servers].count(True) == 1
    sender, other = sorted(servers, key=sends, reverse=True)
    trip(other, "before")
    receiver.wait(1)
    receiver.answer = receiver.hang
    trip(sender, "hanging")
    receiver.wait(2)
    sender.kill()
    killed = time.monotonic()
    receiver.answer = status(204)
    trip(other, "after")
    wait_for(lambda: {"category:hanging", "category:after"} <= set(subjects(receiver)[2:]), "the other process", TAKEOVER_SECONDS)
    assert time.monotonic() - killed < TAKEOVER_SECONDS
    assert sends(other)
    wait_for(lambda: listed(other) == [], "the outbox to be empty")
    assert subjects(receiver).count("category:before") == 1
    ids = [received.headers["webhook-id"] for received in receiver.received if received.json["data"]["subject"] == "category:hanging"]
    assert len(set(ids)) == 1


def sends(server: RunningServer) -> bool:
    return "notifications_taken_over" in server.logs


def test_one_that_ends_in_order_hands_over_at_once(start_server: StartServer, server_url: str, policy: Path, receiver: Receiver) -> None:
    """The other one need not wait for the lease to run out."""
    servers = [start_server(name, database_url=server_url, config=policy, env=environment(receiver)) for name in ("one", "two")]
    wait_for(lambda: any(sends(server) for server in servers), "one of them to send")
    sender, other = sorted(servers, key=sends, reverse=True)
    sender.terminate()
    trip(other, "after")
    wait_for(lambda: subjects(receiver) == ["category:after"], "the other process", 8)
