"""How events are told on the pages: every type has its own sign and words, whatever its data."""

import re

import pytest

from cstp_server.domain.events import Event, EventType
from cstp_server.services.feeds import EVERYTHING, Topic, topics_of
from cstp_server.web.happenings import KINDS, Happening, happening_of, has_words
from cstp_server.web.icons import icon
from tests.web.fleet import Fleet
from tests.web.plain import Plain

_COLOURS = {"good", "warn", "bad", "info", "muted"}


def told(event_type: EventType, subject: str = "it", /, **data: object) -> Happening:
    """An event as it is shown."""
    return happening_of(Event(event_type, "default", subject, "somebody", 0, "sha256:1", data))


def line(happening: Happening) -> str:
    """What is said of it beside its title."""
    return " · ".join(part.text for part in happening.details)


@pytest.mark.parametrize("event_type", list(EventType), ids=lambda event_type: event_type.value)
def test_every_type_of_event_has_a_sign_words_a_kind_and_a_topic(event_type: EventType) -> None:
    """A type that is added is told in words of its own, listed under its kind, and told to those who watch, even if it has no data."""
    assert has_words(event_type.value)
    assert event_type.value.partition(".")[0] in KINDS
    assert topics_of(event_type, "it") <= EVERYTHING
    assert topics_of(event_type, "it")
    happening = told(event_type)
    assert happening.tone.colour in _COLOURS
    assert icon(happening.tone.icon)
    assert happening.title[0].isupper()
    assert "_" not in happening.title
    assert "None" not in line(happening)


def test_what_an_event_says_is_said_in_words() -> None:
    """Percentages of budgets, errors of alerts, causes of circuits, moves of postures."""
    budget = {"percent": 100, "used": 5000, "max": 5000, "of": "agent:bot", "agent": "bot", "decision_id": "dec_1"}
    assert line(told(EventType.BUDGET_REACHED, "daily_budget", **budget)) == "100 % · 5,000 of 5,000 used · agent:bot · decision"
    assert told(EventType.BUDGET_REACHED, **budget).tone.colour == "bad"
    assert told(EventType.BUDGET_REACHED, percent=80).tone.colour == "warn"
    alert = {"type": "circuit.forced", "about": "agent:bot", "count": 3, "error": "the receiver answered 410"}
    assert line(told(EventType.NOTIFICATION_GIVEN_UP, "pager", **alert)) == (
        "circuit forced open · agent:bot · with 2 more events · the receiver answered 410"
    )
    opened = {"cause": "threshold_reached", "failed": 5, "reviewed": 9, "window_ms": 3_600_000}
    assert line(told(EventType.CIRCUIT_OPENED, "global", **opened)) == "the threshold was reached · 5 of 9 failed in 1h"
    assert told(EventType.CIRCUIT_OPENED, "user:u/chat", trust=True).title == "Trust reduced"
    assert line(told(EventType.DECISION_DENIED, reason="not today", note="not today")) == "not today"
    moved = {"from_posture": "blocked", "to_posture": "blocked", "reason": "again"}
    assert line(told(EventType.POSTURE_DOWNGRADED, **moved)) == "stays blocked · again"
    assert line(told(EventType.POSTURE_UPGRADED, from_posture="human_decides", to_posture="assisted")) == "human decides → assisted"


def test_what_an_event_names_is_a_way_there() -> None:
    """A decision by what it was about, an agent as it is written, be it with a space at its end."""
    pending = told(EventType.DECISION_PENDING, "dec_1", description="Refund an order", agent="bot ", kind="approval")
    assert (pending.subject.text, pending.subject.href) == ("Refund an order", "/decision?id=dec_1")
    assert pending.details[-1].href == "/agent?id=bot+"
    assert pending.details[-1].text == "bot "
    assert told(EventType.DECISION_EXPIRED, "dec_1").subject.text == "dec_1"
    expired = Event(EventType.DECISION_EXPIRED, "default", "dec_1", "system", 0, "sha256:1")
    assert happening_of(expired, "Refund an order").subject.text == "Refund an order"
    assert told(EventType.POSTURE_REFUSED, "a&b").subject.href == "/agent?id=a%26b"


def test_what_an_alert_or_a_budget_is_about_keeps_its_name() -> None:
    """A blank at its end is a part of it: the way leads to that agent and no other, and it is shown as a name."""
    for event_type in (EventType.NOTIFICATION_SENT, EventType.NOTIFICATION_GIVEN_UP):
        about = told(event_type, "pager", type="posture.downgraded", about="bot ").details[1]
        assert about == ("bot ", "/agent?id=bot+", True)
    of = told(EventType.BUDGET_REACHED, "daily_budget", percent=80, of="agent:bot ", agent="bot ").details
    assert [(part.text, part.is_id) for part in of] == [("80 %", False), ("agent:bot ", True)]


def test_alerts_that_were_sent_wake_only_those_who_look_at_alerts() -> None:
    """One that was given up is news for everybody who watches what happens."""
    assert topics_of(EventType.NOTIFICATION_SENT, "ops") == {Topic.ALERTS}
    assert topics_of(EventType.NOTIFICATION_GIVEN_UP, "ops") == {Topic.ALERTS, Topic.EVENTS}
    assert topics_of(EventType.BUDGET_REACHED, "daily_budget") == {Topic.AGENTS, Topic.EVENTS}


def test_events_on_the_pages_say_what_the_decision_was_about(shared_fleet: Fleet) -> None:
    """Also those that are told of it later: who reads the list need not open every one."""
    asked = shared_fleet.check("named-bot", "Refund order N-1 in full", type="issue_refund", parameters={"amount": 900})
    resolution = {"id": asked["decisionId"], "resolution": "deny", "note": "not today"}
    shared_fleet.server.call("cstp.resolveDecision", resolution, token=shared_fleet.ops)
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        for path in ("/", "/events?kind=decision"):
            assert re.search(r"<strong>Decision denied</strong> <a href=[^>]*>Refund order N-1 in full</a>", visitor.get(path).text), path
