"""Events are found newest first, by type, subject and time, a page at a time, by their own tenant only (SPEC 11)."""

from dataclasses import replace

import pytest

from cstp_server.domain.callers import Caller
from cstp_server.domain.refusals import Refusal
from cstp_server.services.events import UnknownType, list_events
from cstp_server.services.ports import EventEntry, EventQuery
from tests.services.world import OPS, World, checking, circuits_policy
from tests.storage.conftest import MakeWorld

ELSEWHERE = replace(OPS, tenant="elsewhere")


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """Two tenants; a circuit that opened, was reset, and opened again."""
    world = make_world(circuits_policy({"scope": "agent:*", "failure_threshold": 2}))
    world.fail("a", "b")
    world.reset("agent:bot")
    world.fail("c", "d")
    world.run(checking("a", caller=ELSEWHERE))
    return world


def listed(world: World, *types: str, caller: Caller = OPS, **query: object) -> list[EventEntry]:
    found = world.do(list_events(world.store.reader, caller, EventQuery(types=types, **query)))  # type: ignore[arg-type]
    assert not isinstance(found, Refusal)
    return list(found)


def test_events_come_newest_first(world: World) -> None:
    """All of the tenant's, in the opposite of the order in which they were written."""
    written = [(event.type.value, event.subject) for event in world.events() if event.tenant == "default"]
    assert [(entry.type, entry.subject) for entry in listed(world, limit=500)] == written[::-1]


def test_events_are_chosen_by_type_and_by_kind(world: World) -> None:
    """`circuit.*` is every type of that kind; several add up, and none counts twice."""
    assert [entry.type for entry in listed(world, "circuit.opened")] == ["circuit.opened"] * 2
    assert {entry.type.partition(".")[0] for entry in listed(world, "circuit.*")} == {"circuit"}
    both = listed(world, "circuit.*", "circuit.opened", "decision.reviewed")
    assert len(both) == len({entry.id for entry in both}) == len(listed(world, "circuit.*")) + 4


def test_a_type_that_does_not_exist_is_named(world: World) -> None:
    """With the nearest one that does."""
    for pattern, hint in (("circuit.open", "circuit.opened"), ("circuits.*", "circuit.*"), ("*", "there are")):
        with pytest.raises(UnknownType, match=hint.replace("*", r"\*")):
            listed(world, pattern)


def test_events_are_chosen_by_subject(world: World) -> None:
    """With or without types."""
    assert {entry.subject for entry in listed(world, subject="agent:bot")} == {"agent:bot"}
    assert [entry.type for entry in listed(world, "decision.reviewed", subject="b")] == ["decision.reviewed"]
    assert listed(world, subject="nothing") == []


def test_pages_follow_one_another(world: World) -> None:
    """Whatever their size, with nothing twice and nothing left out."""
    whole = [entry.id for entry in listed(world, limit=500)]
    for types, subject in (((), None), (("circuit.*", "decision.*"), None), ((), "agent:bot")):
        expected = [entry.id for entry in listed(world, *types, subject=subject, limit=500)]
        paged, place = list[str](), None
        while page := listed(world, *types, subject=subject, limit=3, before=place):
            paged += [entry.id for entry in page]
            place = (page[-1].at, page[-1].id)
        assert paged == expected
        assert set(paged) <= set(whole)


def test_events_are_chosen_by_time(world: World) -> None:
    """From that time on, the moment itself included."""
    world.hand.advance(10)
    since = world.time() + 1
    while world.time() < since:
        world.hand.advance(1)
    world.check("late")
    assert [entry.subject for entry in listed(world, since=since)] == ["late"]
    (late,) = listed(world, subject="late")
    assert [entry.id for entry in listed(world, since=late.at)] == [late.id]
    assert listed(world, since=late.at + 60_000) == []
    assert len(listed(world, since=0, limit=500)) == len(listed(world, limit=500))


def test_no_tenant_sees_anothers_events(world: World) -> None:
    """Nor by subject, nor by type."""
    assert [entry.type for entry in listed(world, caller=ELSEWHERE, limit=500)] == [
        event.type.value for event in world.events() if event.tenant == "elsewhere"
    ][::-1]
    assert listed(world, "circuit.*", caller=ELSEWHERE) == []
    assert listed(world, caller=replace(OPS, tenant="nobody")) == []
    assert len(listed(world, caller=ELSEWHERE, subject="a")) == 1


def test_an_entry_has_its_proof(world: World) -> None:
    """The same chain, position and hash that an export has."""
    entries = listed(world, limit=500)
    assert sorted(entry.position or 0 for entry in entries) == [n for n in range(1, len(entries) + 2) if n in {e.position for e in entries}]
    assert all(entry.chain is not None and entry.hash is not None and len(entry.hash) == 32 for entry in entries)
