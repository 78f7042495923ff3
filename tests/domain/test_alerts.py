"""Which events people are told of, and how urgent each is (SPEC 11)."""

from typing import Any

import pytest

from cstp_server.domain.alerts import ALERTING, AlertChannel, AlertPolicy, ChannelType, Level, alert_of, types_like
from cstp_server.domain.events import Event, EventType

INFO, WARNING, CRITICAL = Level.INFO, Level.WARNING, Level.CRITICAL


def event(type: str, /, subject: str = "category:tooling", tenant: str = "default", **data: Any) -> Event:
    return Event(EventType(type), tenant, subject, "somebody", 1, "sha256:1", data)


def level(type: str, /, **data: Any) -> Level | None:
    alert = alert_of(event(type, **data))
    return alert.level if alert is not None else None


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("circuit.opened", {"notify": True, "mode": "enforce"}, WARNING),
        ("circuit.opened", {"notify": False, "mode": "enforce"}, None),
        ("circuit.opened", {"notify": True, "mode": "shadow"}, INFO),
        ("circuit.forced", {"notify": True}, CRITICAL),
        ("circuit.forced", {"notify": False}, None),
        ("circuit.half_opened", {"notify": True}, INFO),
        ("circuit.closed", {"notify": True}, INFO),
        ("circuit.amended", {"notify": True, "state": "open"}, WARNING),
        ("circuit.amended", {"notify": True, "state": "closed"}, INFO),
        ("circuit.probe_claimed", {}, None),
        ("circuit.cleared", {"notify": True}, None),
        ("tripwire.hit", {"notify": True, "severity": "severe"}, CRITICAL),
        ("tripwire.hit", {"notify": True, "severity": "critical"}, CRITICAL),
        ("tripwire.hit", {"notify": True, "severity": "standard"}, WARNING),
        ("tripwire.hit", {"notify": True, "severity": "severe", "mode": "shadow"}, INFO),
        ("tripwire.hit", {"notify": False, "severity": "severe"}, None),
        ("decision.pending", {"kind": "approval"}, WARNING),
        ("decision.pending", {"kind": "confirmation"}, WARNING),
        ("decision.pending", {"kind": "cancel_window"}, INFO),
        ("decision.checked", {"intervention": "block"}, None),
        ("posture.downgraded", {"transition_type": "downgrade"}, WARNING),
        ("posture.downgraded", {"transition_type": "emergency_downgrade"}, CRITICAL),
        ("posture.upgraded", {"transition_type": "upgrade"}, None),
        ("enforcement.bypassed", {}, CRITICAL),
        ("policy.rejected", {}, WARNING),
        ("policy.loaded", {}, None),
        ("budget.reached", {"percent": 80}, INFO),
        ("budget.reached", {"percent": 95}, WARNING),
        ("budget.reached", {"percent": 100}, CRITICAL),
        ("budget.reached", {"percent": 100, "mode": "shadow"}, INFO),
        ("notification.given_up", {}, None),
        ("token.created", {}, None),
    ],
)
def test_an_event_is_as_urgent_as_the_table_says(kind: str, data: dict[str, Any], expected: Level | None) -> None:
    """By its type, its severity, and what the policy says of notifying; nothing else is told at all."""
    assert level(kind, **data) is expected


def test_alerts_are_gathered_by_what_they_are_about() -> None:
    """A circuit of an agent and the agent's posture are two things; the decisions of one agent are one."""
    subjects = [
        alert_of(each)
        for each in (
            event("circuit.opened", "agent:bot"),
            event("circuit.closed", "agent:bot"),
            event("posture.downgraded", "bot"),
            event("decision.pending", "dec_1", agent="bot"),
            event("decision.pending", "dec_2", agent="bot"),
            event("budget.reached", "money", of="agent:bot"),
            event("budget.reached", "money", of="agent:other"),
        )
    ]
    assert [alert.subject for alert in subjects if alert is not None] == [
        "circuit/agent:bot",
        "circuit/agent:bot",
        "posture/bot",
        "decision/bot",
        "decision/bot",
        "budget/money/agent:bot",
        "budget/money/agent:other",
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", {kind.value for kind in ALERTING}),
        ("circuit.*", {"circuit.opened", "circuit.forced", "circuit.half_opened", "circuit.closed", "circuit.amended"}),
        ("tripwire.hit", {"tripwire.hit"}),
        ("circuit.cleared", set()),
        ("circuit", set()),
        ("circ*", set()),
        (".*", set()),
        ("", set()),
        ("**", set()),
    ],
)
def test_a_filter_names_types_or_families(pattern: str, expected: set[str]) -> None:
    """And nothing in between; a type of which nobody is ever told is none."""
    assert {kind.value for kind in types_like(pattern)} == expected


def channel(name: str, *patterns: str, least: Level = INFO, tenants: frozenset[str] = frozenset()) -> AlertChannel:
    types = frozenset[EventType]().union(*map(types_like, patterns))
    return AlertChannel(name, ChannelType.WEBHOOK, types, least, tenants=tenants)


def test_a_channel_hears_its_types_from_its_urgency_on_of_its_tenants() -> None:
    """All three must match."""
    alerts = AlertPolicy(
        (
            channel("all", "*"),
            channel("circuits", "circuit.*", least=WARNING),
            channel("north", "*", tenants=frozenset({"north"})),
        )
    )

    def heard(each: Event) -> list[str]:
        told = alerts.recipients(each)
        return list(told[1]) if told is not None else []

    assert heard(event("circuit.opened", notify=True)) == ["all", "circuits"]
    assert heard(event("circuit.closed", notify=True)) == ["all"]
    assert heard(event("circuit.opened", notify=True, tenant="north")) == ["all", "circuits", "north"]
    assert heard(event("policy.rejected")) == ["all"]
    assert heard(event("circuit.opened", notify=False)) == []
    assert alerts.types == frozenset(ALERTING)
    assert AlertPolicy().types == frozenset()
