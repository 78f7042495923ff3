"""What the dashboard takes for a name is what calls take for one."""

import pytest
from pydantic import TypeAdapter, ValidationError

from cstp_server.rpc.wire import LONGEST_NAME, Name
from cstp_server.web.names import agent_named
from tests.web.fleet import Fleet
from tests.web.plain import Plain

NAMES = (
    "",
    " ",
    "\t",
    "*",
    " * ",
    "**",
    "*a*",
    "a",
    "bot ",
    "a*",
    "\x1c",
    "x" * LONGEST_NAME,
    "x" * (LONGEST_NAME + 1),
    "ä" * LONGEST_NAME,
)


@pytest.mark.parametrize("name", NAMES)
def test_agents_have_the_names_that_calls_give_them(name: str) -> None:
    """The same are taken, and the same refused."""
    try:
        TypeAdapter(Name).validate_python(name)
        is_taken = True
    except ValidationError:
        is_taken = False
    assert (agent_named(name) == name) == is_taken


@pytest.mark.parametrize("agent", ["", " ", "*", "x" * 257])
def test_no_form_moves_an_agent_that_none_can_be(shared_fleet: Fleet, agent: str) -> None:
    """422, and nothing is on record of it."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        for path, fields in {"/agent/block": {}, "/agent/move": {"to": "blocked"}}.items():
            answer = visitor.act(path, id=agent, reason="because", **fields)
            assert answer.status_code == 422, path
            assert "<code>id</code>" in answer.text
        assert visitor.client.get("/agent/block", params={"id": agent}).status_code == 422
        assert visitor.client.get("/agent", params={"id": agent}).status_code == 422
    told = shared_fleet.server.call("cstp.listEvents", {"subject": agent} if agent.strip() else {}, token=shared_fleet.ops)["events"]
    assert [event for event in told if event["subject"] == agent] == []


@pytest.mark.parametrize(
    ("path", "fields", "wrong"),
    [
        ("/trust/reset", {"user": " ", "domain": "chat"}, "user"),
        ("/trust/reset", {"user": "u" * 257, "domain": "chat"}, "user"),
        ("/trust/reset", {"user": "u", "domain": "a/b"}, "domain"),
        ("/trust/reset", {"user": "u", "domain": "d" * 257}, "domain"),
        ("/circuit/reset", {"scope": " "}, "scope"),
        ("/circuit/trip", {"scope": "agent:" + "x" * 800, "reason": "because"}, "scope"),
    ],
)
def test_other_names_are_checked_as_well(shared_fleet: Fleet, path: str, fields: dict[str, str], wrong: str) -> None:
    """The answer names the field."""
    with Plain(shared_fleet.server.url) as visitor:
        visitor.sign_in(shared_fleet.ops)
        answer = visitor.act(path, **fields)
        assert answer.status_code == 422
        assert f"<code>{wrong}</code> must" in answer.text
