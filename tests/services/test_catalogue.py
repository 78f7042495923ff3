"""Lists, counts and searches for people, on each kind of database, and what they cost."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event, text

from cstp_server.domain.decisions import Outcome, Status
from cstp_server.domain.events import EventType
from cstp_server.domain.postures import Posture
from cstp_server.services.catalogue import ROUTINE, DecisionPage, DecisionSearch, EventSearch, Told
from cstp_server.storage import tables
from cstp_server.storage.engine import is_sqlite
from tests.services.conftest import MakeWorld
from tests.services.world import World, checking, policy_of

TENANT = "default"


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A store with a circuit that opens at once, and a limit of refunds."""
    return make_world(
        policy_of(
            circuit_breakers=[{"scope": "category:tooling", "failure_threshold": 1}],
            tripwires={"limits": {"max_refund": 500}},
            agents={"careful": {"posture": "human_decides"}},
        )
    )


def search(world: World, **wanted: object) -> DecisionPage:
    """Decisions that match."""
    page: DecisionPage = world.do(world.store.catalogue.search(TENANT, DecisionSearch(**wanted)))  # type: ignore[arg-type]
    return page


def found(world: World, **wanted: object) -> list[str]:
    """The ids of the decisions that match."""
    return [decision.id for decision in search(world, **wanted).decisions]


def events(world: World, **wanted: object) -> list[Told]:
    """Events that match."""
    return list(world.do(world.store.catalogue.events(TENANT, EventSearch(**wanted))))  # type: ignore[arg-type]


def test_decisions_are_found_by_what_was_said_and_by_what_became_of_them(world: World) -> None:
    """Each filter alone and together, newest first; signs that mean something to a database mean nothing here."""
    world.check("d1", agent="a", category="billing", description='Refund 100% of "A_1"')
    world.hand.advance(1)
    world.check("d2", agent="b", category="tooling", description="Refactor the refunds")
    world.review("d2", "failure")
    world.hand.advance(1)
    world.check("d3", agent="a", category="tooling", description="Refactor once more")
    assert found(world) == ["d3", "d2", "d1"]
    assert found(world, agent="a") == ["d3", "d1"]
    assert found(world, category="tooling") == ["d3", "d2"]
    assert found(world, status=Status.BLOCKED) == ["d3"]
    assert found(world, outcome=Outcome.FAILURE) == ["d2"]
    assert found(world, intervention="block", agent="a") == ["d3"]
    assert found(world, text="REFUND") == ["d2", "d1"]
    assert found(world, text='of "a_1"') == ["d1"]
    assert found(world, text="100%") == ["d1"]
    assert found(world, text="%") == ["d1"]
    assert found(world, text="d2") == ["d2"]
    assert found(world, text="nothing of the kind") == []


def test_a_search_goes_on_where_it_stopped(world: World) -> None:
    """By full pages, and by stretches that were looked through in vain."""
    for number in range(12):
        world.check(f"d{number:02}", agent="rare" if number == 1 else "common")
    first = search(world, limit=5)
    assert (len(first.decisions), first.is_full) == (5, True)
    second = search(world, limit=5, before=first.next)
    third = search(world, limit=5, before=second.next)
    assert [decision.id for page in (first, second, third) for decision in page.decisions] == [
        f"d{number:02}" for number in reversed(range(12))
    ]
    assert third.next is None
    vain = search(world, text="rare", scans=6)
    assert (vain.decisions, vain.is_full) == ([], False)
    assert vain.next is not None
    later = search(world, text="rare", scans=6, before=vain.next)
    assert [decision.id for decision in later.decisions] == ["d01"]


def test_events_leave_out_the_daily_business(world: World) -> None:
    """Unless somebody asks for everything that happened to one thing."""
    world.check("d1")
    world.review("d1", "failure")
    world.check("d2")
    assert {told.event.type for told in events(world)} == {EventType.CIRCUIT_OPENED}
    assert [told.event.type for told in events(world, subject="d1")] == [EventType.DECISION_REVIEWED, EventType.DECISION_CHECKED]
    assert not {told.event.type for told in events(world)} & ROUTINE


def test_events_come_by_kind_type_and_time_page_by_page(world: World) -> None:
    """Newest first, none twice."""
    for scope in ("category:tooling",) * 4:
        world.trip(scope)
        world.hand.advance(1_000)
    world.check("d1", agent="careful", category="writing")
    every = events(world)
    pages = [events(world, limit=2)]
    while pages[-1]:
        pages.append(events(world, limit=2, before=pages[-1][-1].id))
    assert [told.id for page in pages for told in page] == [told.id for told in every]
    assert {told.event.type for told in events(world, kind="decision")} == {EventType.DECISION_PENDING}
    assert len(events(world, types=frozenset({EventType.CIRCUIT_FORCED}))) == len(
        [t for t in every if t.event.type is EventType.CIRCUIT_FORCED]
    )
    assert events(world, since=every[0].event.at + 1) == []
    assert world.do(world.store.catalogue.events("other", EventSearch())) == []


def test_agents_are_those_who_asked_and_those_who_were_moved(world: World) -> None:
    """By id, with the time of their last decision, by a part of the id, and by the posture that they were moved to."""
    catalogue = world.store.catalogue
    world.check("d1", agent="Bot-1")
    world.hand.advance(5)
    at = world.clock.now()
    world.check("d2", agent="bot-2")
    world.check("d3", agent="careful")
    world.run(checking("d4", agent="rogue", type="issue_refund", parameters={"amount": 900}, context={"collusion_detected": True}))
    listed = world.do(catalogue.agents(TENANT, text=None, posture=None, after=None, limit=10))
    assert list(listed) == ["Bot-1", "bot-2", "careful", "rogue"]
    assert listed["bot-2"] is not None
    assert listed["bot-2"] >= at - 5
    assert list(world.do(catalogue.agents(TENANT, text="BOT", posture=None, after=None, limit=10))) == ["Bot-1", "bot-2"]
    assert list(world.do(catalogue.agents(TENANT, text=None, posture=None, after="bot-2", limit=1))) == ["careful"]
    assert list(world.do(catalogue.agents(TENANT, text=None, posture=Posture.BLOCKED, after=None, limit=10))) == ["rogue"]
    assert world.do(catalogue.posture_counts(TENANT)) == {"blocked": 1}
    assert world.do(catalogue.agents("other", text=None, posture=None, after=None, limit=10)) == {}


def test_what_waits_is_counted_by_what_it_waits_for(world: World) -> None:
    """And no more once it is settled."""
    world.check("d1", agent="careful")
    world.check("d2", agent="careful")
    assert world.do(world.store.catalogue.waiting(TENANT)) == {"approval": 2}
    world.resolve("d1", "deny")
    assert world.do(world.store.catalogue.waiting(TENANT)) == {"approval": 1}
    assert world.do(world.store.catalogue.waiting("other")) == {}


def test_a_glance_says_whether_it_has_seen_all(world: World) -> None:
    """The newest come first; what is older than asked for is left out."""
    world.check("old")
    world.hand.advance(10_000)
    since = world.time()
    world.check("d1", agent="a")
    world.check("d2", agent="b")
    glance = world.do(world.store.catalogue.glance(TENANT, since, 10))
    assert ([seen.agent_id for seen in glance.seen], glance.is_all) == (["b", "a"], True)
    assert world.do(world.store.catalogue.glance(TENANT, since, 1)).is_all is False


def test_lists_use_their_indexes(world: World) -> None:
    """Events that are told, and circuits by state, are found without looking at the others."""
    statements = {
        "ix_events_told": f"id FROM events WHERE tenant = 'default' AND {tables.TOLD} ORDER BY id DESC LIMIT 50",
        "ix_circuits_state": "scope FROM circuits WHERE tenant = 'default' AND archived_at IS NULL AND state = 'open' ORDER BY scope",
        "ix_decisions_newest": "* FROM decisions WHERE tenant = 'default' ORDER BY at DESC, id DESC LIMIT 50",
    }
    with world.connected() as connection:
        if not is_sqlite(connection):
            return  # PostgreSQL plans by how many rows there are, and there are none
        for index, statement in statements.items():
            plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN SELECT {statement}")))
            assert index in plan
            assert "TEMP B-TREE" not in plan


def test_searches_take_no_connection_of_what_calls_read(world: World) -> None:
    """Two at once, on their own: what is found by an index does not wait for them, and neither do calls."""
    store, entered, opened = world.store, threading.Semaphore(0), threading.Event()
    world.check("d1", agent="a", category="billing", description="Refund an order")

    def hold(_statement: object) -> None:
        entered.release()
        opened.wait(20)

    async def work() -> None:
        with held_searches(hold):
            held = [asyncio.create_task(store.catalogue.search(TENANT, DecisionSearch(text=f"refund {n}"))) for n in range(6)]
            for _ in range(2):
                assert await asyncio.to_thread(entered.acquire, timeout=20)
            assert len((await store.catalogue.search(TENANT, DecisionSearch(agent="a"))).decisions) == 1
            assert await store.reader.decision(TENANT, "d1") is not None
            assert not entered.acquire(blocking=False)
            opened.set()
            await asyncio.gather(*held)

    world.do(work())


@contextmanager
def held_searches(hold: Callable[[object], None]) -> Iterator[None]:
    """Every search for a text stops where it begins."""

    def before(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "facts" in statement and "LIKE" in statement:
            hold(statement)

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)
