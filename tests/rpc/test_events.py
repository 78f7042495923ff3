"""`cstp.listEvents`: what happened, newest first (SPEC 11)."""

import re

import pytest

from tests.rpc.edge import Edge, check_params
from tests.rpc.memory import START

LIST = "cstp.listEvents"


@pytest.fixture
def edge_with_events(edge: Edge) -> Edge:
    """Three checks, and a circuit that was tripped and reset, a second after each other."""
    for number in range(3):
        edge.clock.at = START + 1000 * number
        edge.call("cstp.checkGuardrails", {**check_params(category="a"), "decisionId": f"dec_{number}"})
    edge.clock.at = START + 3000
    edge.call("cstp.tripCircuit", {"scope": "category:tooling", "reason": "incident"})
    edge.clock.at = START + 4000
    edge.call("cstp.resetCircuit", {"scope": "category:tooling"})
    return edge


def test_events_are_listed_a_page_at_a_time(edge_with_events: Edge) -> None:
    """Following the cursors gives every event once, and then there is none."""
    whole = edge_with_events.call(LIST)["events"]
    assert [event["at"] for event in whole] == sorted((event["at"] for event in whole), reverse=True)
    seen, cursor = [], None
    while True:
        page = edge_with_events.call(LIST, {"limit": 2, "cursor": cursor})
        assert page["count"] == len(page["events"]) <= 2
        seen += page["events"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == whole


def test_an_event_says_what_happened_and_where_its_proof_is(edge_with_events: Edge) -> None:
    """Its data is as it was written."""
    (forced,) = edge_with_events.call(LIST, {"types": ["circuit.forced"]})["events"]
    assert (forced["type"], forced["subject"], forced["at"]) == ("circuit.forced", "category:tooling", "2026-02-11T13:08:03.125Z")
    assert forced["data"]["reason"] == "incident"
    assert set(forced) == {"id", "at", "type", "subject", "actor", "policyVersion", "data", "chain", "position", "hash"}
    assert re.fullmatch("[0-9a-f]{64}", forced["hash"])


def test_events_are_chosen(edge_with_events: Edge) -> None:
    """By types and kinds of them, by subject, by time."""
    call = edge_with_events.call
    assert {event["type"] for event in call(LIST, {"types": ["circuit.*"]})["events"]} == {"circuit.forced", "circuit.closed"}
    assert call(LIST, {"types": ["circuit.*", "decision.checked"], "subject": "dec_1"})["count"] == 1
    assert {event["subject"] for event in call(LIST, {"since": "2026-02-11T13:08:03Z"})["events"]} == {"category:tooling"}
    assert call(LIST, {"types": []})["count"] == call(LIST)["count"]


@pytest.mark.parametrize(
    ("params", "field", "words"),
    [
        ({"types": ["circuit.*", "circuit.open"]}, "types[1]", "did you mean `circuit.opened`?"),
        ({"types": ["*"]}, "types[0]", "there are `decision.*`"),
        ({"types": "circuit.*"}, "types", "must be a list"),
        ({"types": ["circuit.*"] * 101}, "types", "at most 100"),
        ({"subject": " "}, "subject", "must not be blank"),
        ({"since": "yesterday"}, "since", "must be a time"),
        ({"limit": 0}, "limit", "must be at least 1"),
        ({"type": "circuit.*"}, "type", "did you mean `types`?"),
    ],
)
def test_a_wrong_choice_names_its_field(edge: Edge, params: dict[str, object], field: str, words: str) -> None:
    """With what would be right."""
    error = edge.error(LIST, params)
    assert (error["code"], error["data"]["field"]) == (-32602, field)
    assert words in str(error)
