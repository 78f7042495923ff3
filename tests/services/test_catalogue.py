"""Lists, counts and searches for people, on each kind of database, and what they cost."""

import asyncio
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert, select, text
from sqlalchemy.event import listen, remove

from cstp_server.domain.decisions import Outcome, Status
from cstp_server.domain.events import EventType
from cstp_server.domain.facts import Stakes
from cstp_server.domain.findings import Lift
from cstp_server.domain.postures import Posture
from cstp_server.services.catalogue import GLANCED, ROUTINE, DecisionPage, DecisionSearch, EventSearch, Told, WaitingSearch
from cstp_server.services.ports import DecisionQuery
from cstp_server.storage import tables
from cstp_server.storage.catalogue import listed_agents
from cstp_server.storage.engine import is_sqlite
from cstp_server.storage.hits import hit_counts, latest_hits, recent_hits
from cstp_server.storage.outbox import given_up
from cstp_server.storage.reader import listed_decisions
from cstp_server.storage.telling import told_events
from cstp_server.storage.waiting import waiting_counts, waiting_decisions
from tests.services.conftest import MakeWorld
from tests.services.waiting_policy import waiting_policy, wanting
from tests.services.world import World, checking, policy_of

TENANT = "default"
REFUND = {"type": "issue_refund", "type_words": ("issue", "refund"), "parameters": {"amount": 900}}


@pytest.fixture
def world(each_world: MakeWorld) -> World:
    """A store with a circuit that opens at once, and a limit of refunds."""
    return each_world(
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


def test_decisions_are_found_by_when_they_were_asked_for_and_by_what_was_declared(world: World) -> None:
    """From a time on, before another, by type and by stakes; what stands in a parameter of the same name does not count."""
    world.check("d1", type="deploy", stakes=Stakes.HIGH)
    first = search(world).decisions[0].at
    world.hand.advance(60_000)
    world.check("d2", type="issue_refund", parameters={"stakes": "high", "type": "deploy"})
    world.hand.advance(60_000)
    world.check("d3", type="deploy", stakes=Stakes.CRITICAL, description="it says: \\u0000 and {")
    times = {decision.id: decision.at for decision in search(world).decisions}
    assert found(world, since=times["d2"]) == ["d3", "d2"]
    assert found(world, until=times["d3"]) == ["d2", "d1"]
    assert found(world, since=first, until=times["d2"]) == ["d1"]
    assert found(world, type="deploy") == ["d3", "d1"]
    assert found(world, stakes=Stakes.HIGH) == ["d1"]
    assert found(world, stakes=Stakes.CRITICAL, type="deploy") == ["d3"]
    assert found(world, type="nothing of the kind") == []


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
        pages.append(events(world, limit=2, before=pages[-1][-1].place))
    assert [told.id for page in pages for told in page] == [told.id for told in every]
    assert {told.event.type for told in events(world, kind="decision")} == {EventType.DECISION_PENDING}
    assert len(events(world, types=frozenset({EventType.CIRCUIT_FORCED}))) == len(
        [t for t in every if t.event.type is EventType.CIRCUIT_FORCED]
    )
    assert {told.event.type for told in events(world, without=frozenset({EventType.CIRCUIT_FORCED}))} == {EventType.DECISION_PENDING}
    assert events(world, since=every[0].event.at + 1) == []
    assert world.do(world.store.catalogue.events("other", EventSearch())) == []


def test_a_kind_of_events_is_found_among_all_and_of_one_subject(world: World) -> None:
    """Routine ones only of a subject; a kind that there is none of has none, and not all of them."""
    world.check("d1")
    world.review("d1", "failure")
    world.trip("category:tooling")
    assert {told.event.type for told in events(world, kind="circuit")} == {EventType.CIRCUIT_OPENED, EventType.CIRCUIT_FORCED}
    assert [told.event.type for told in events(world, kind="circuit", subject="category:tooling", limit=1)] == [EventType.CIRCUIT_FORCED]
    assert [told.event.type for told in events(world, kind="decision", subject="d1")] == [
        EventType.DECISION_REVIEWED,
        EventType.DECISION_CHECKED,
    ]
    assert events(world, kind="decision") == []
    assert events(world, kind="unheard-of") == []
    assert events(world, kind="circuit", subject="d1") == []


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


def test_the_soonest_to_run_out_come_first_page_by_page(each_world: MakeWorld) -> None:
    """However they were answered, and only those that wait for what is asked for."""
    world = each_world(waiting_policy(tripwires={"limits": {"max_refund": 500}}))
    world.check("approval", context=wanting("approval"))
    world.hand.advance(1_000)
    world.check("refund", **REFUND)
    world.hand.advance(1_000)
    world.check("confirmation", context=wanting("confirmation"))
    world.check("cancel", context=wanting("cancel_window"))
    world.check("settled", context=wanting("approval"))
    world.resolve("settled", "deny")

    def waiting(*lifts: Lift, **wanted: object) -> list[str]:
        asked = WaitingSearch(frozenset(lifts or Lift), **wanted)  # type: ignore[arg-type]
        return [decision.id for decision in world.do(world.store.catalogue.waiting_decisions(TENANT, asked))]

    assert waiting() == ["cancel", "approval", "refund", "confirmation"]
    assert waiting(Lift.APPROVAL) == ["approval", "refund"]
    assert waiting(Lift.CONFIRMATION, Lift.CANCEL_WINDOW) == ["cancel", "confirmation"]
    assert waiting(limit=2) == ["cancel", "approval"]
    pending = world.decision("approval")
    assert pending is not None
    assert pending.waits_for is not None
    assert waiting(after=(pending.waits_for.until, "approval")) == ["refund", "confirmation"]
    assert world.do(world.store.catalogue.waiting(TENANT)) == {"approval": 2, "confirmation": 1, "cancel_window": 1}
    assert world.do(world.store.catalogue.waiting_decisions("other", WaitingSearch())) == []


def test_counting_what_waits_stops_somewhere(world: World) -> None:
    """As many as there are, up to a number that stands for all larger ones."""
    for number in range(3):
        world.check(f"d{number}", agent="careful")
    assert world.do(world.store.catalogue.waiting(TENANT)) == {"approval": 3}
    with world.connected() as connection:
        assert waiting_counts(connection, TENANT, most=2) == {"approval": 2}


def test_the_hits_of_one_agent_are_found(world: World) -> None:
    """Newest first, since a time."""
    for number, agent in enumerate(("a", "b", "a")):
        world.check(f"d{number}", agent=agent, **REFUND)
        world.hand.advance(1_000)
    hits = world.do(world.store.catalogue.hits_of(TENANT, "a", 0, 10))
    assert [(hit.decision_id, hit.tripwire) for hit in hits] == [("d2", "max_refund"), ("d0", "max_refund")]
    assert [hit.decision_id for hit in world.do(world.store.catalogue.hits_of(TENANT, "a", hits[0].at, 10))] == ["d2"]
    assert world.do(world.store.catalogue.hits_of("other", "a", 0, 10)) == []


def test_hits_are_counted_up_to_a_number_of_the_latest(world: World) -> None:
    """Of each tripwire, or of the agent that is asked for; whether there may be more is told, and what is older does not count."""
    for number, agent in enumerate(("a", "b", "a")):
        world.check(f"d{number}", agent=agent, **REFUND)
        world.hand.advance(1_000)
    every = {("max_refund", "a"): 2, ("max_refund", "b"): 1}
    for limit in (GLANCED, GLANCED + 1):
        assert hits(world, 0, None, limit) == (every, True)
    assert hits(world, 0, "a", GLANCED) == ({("max_refund", "a"): 2}, True)
    assert hits(world, 0, "a", 1) == ({("max_refund", "a"): 1}, False)
    counted, is_all = hits(world, 0, None, 2)
    assert (sum(counted.values()), is_all) == (2, False)
    last = world.do(world.store.catalogue.hits_of(TENANT, "a", 0, 1))[0].at
    assert hits(world, last + 1, None, GLANCED) == ({}, True)
    assert world.do(world.store.catalogue.hits("other", since=0, agent=None, limit=9)).counts == []


def hits(world: World, since: int, agent: str | None, limit: int) -> tuple[dict[tuple[str, str], int], bool]:
    """Hits by tripwire and agent, and whether those are all."""
    found = world.do(world.store.catalogue.hits(TENANT, since=since, agent=agent, limit=limit))
    return {(count.tripwire, count.agent_id): count.hits for count in found.counts}, found.is_all


def test_agents_are_listed_without_a_look_at_those_behind_them(world: World) -> None:
    """However many there are, the first few cost the same."""
    for number in range(40):
        world.check(f"d{number}", agent=f"bot-{number:02}")
    with world.connected() as connection:
        if not is_sqlite(connection):
            return  # what PostgreSQL does for a statement cannot be counted step by step
        few, all_of_them = (_steps(connection, limit) for limit in (2, 40))
        assert few * 5 < all_of_them
        assert _steps(connection, 2, after="bot-05") * 5 < all_of_them


def _steps(connection: Connection, limit: int, after: str | None = None) -> int:
    """How many steps SQLite takes to find agents, beside looking for their last decisions."""
    steps = itertools.count()
    statement, values = said_by(lambda connection: listed_agents(connection, TENANT, None, None, after, limit), connection)[0]
    connection.connection.dbapi_connection.set_progress_handler(lambda: next(steps) and None, 1)  # type: ignore[union-attr]
    connection.exec_driver_sql(statement, values).all()
    connection.connection.dbapi_connection.set_progress_handler(None, 0)  # type: ignore[union-attr]
    return next(steps)


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


def said_by(look: Callable[[Connection], object], connection: Connection) -> list[tuple[str, Any]]:
    """The selects that a look takes, with their values."""
    statements: list[tuple[str, Any]] = []

    def note(*said: Any) -> None:
        if not said[2].startswith("BEGIN"):
            statements.append((said[2], said[3]))

    listen(connection, "before_cursor_execute", note)
    look(connection)
    remove(connection, "before_cursor_execute", note)
    return statements


def plans(world: World, *looks: Callable[[Connection], object]) -> list[str]:
    """How SQLite finds what each of these looks for, all its statements together."""
    found: list[str] = []
    with world.connected() as connection:
        if not is_sqlite(connection):
            return []  # PostgreSQL plans by how many rows there are, and there are none
        for look in looks:
            said = [(f"EXPLAIN QUERY PLAN {statement}", values) for statement, values in said_by(look, connection)]
            rows = [row for statement, values in said for row in connection.exec_driver_sql(statement, values)]
            found.append("\n".join(str(row[3]) for row in rows))
    return found


def test_events_and_what_waits_are_found_by_index(world: World) -> None:
    """Each look begins where what it wants begins, and no table is gone through."""
    told = [
        ({}, "ix_events_told_at (tenant=?)"),
        ({"since": 1}, "ix_events_told_at (tenant=? AND at>?)"),
        ({"before": (1, "evt_1")}, "ix_events_told_at (tenant=? AND (at,id)<(?,?))"),
        ({"kind": "policy"}, "ix_events_type (tenant=? AND type=?)"),
        ({"types": frozenset({EventType.TRIPWIRE_HIT}), "since": 1}, "ix_events_type (tenant=? AND type=? AND at>?)"),
        ({"subject": "d1"}, "ix_events_subject (tenant=? AND subject=?)"),
        ({"subject": "d1", "kind": "circuit"}, "ix_events_subject (tenant=? AND subject=?)"),
    ]
    looks = [lambda connection, wanted=wanted: told_events(connection, TENANT, EventSearch(**wanted)) for wanted, _ in told]
    waits = "ix_decisions_waiting (tenant=? AND intervention=?"
    others: list[tuple[Callable[[Connection], object], str]] = [
        (lambda connection: waiting_counts(connection, TENANT), waits),
        (lambda connection: waiting_decisions(connection, TENANT, WaitingSearch()), waits),
        (lambda connection: waiting_decisions(connection, TENANT, WaitingSearch(after=(1, "d1"))), waits),
        (lambda connection: listed_decisions(connection, TENANT, DecisionQuery(status=Status.PENDING)), "ix_decisions_waiting (tenant=?)"),
        (lambda connection: latest_hits(connection, TENANT, "a", 0, 9), "ix_tripwire_hits_by_agent (tenant=? AND agent_id=? AND at>?)"),
        (lambda connection: hit_counts(connection, TENANT, 1, None), "PRIMARY KEY (tenant=? AND tripwire=? AND at>?)"),
        (lambda connection: recent_hits(connection, TENANT, 1, None, 9), "PRIMARY KEY (tenant=? AND tripwire=? AND at>?)"),
        (lambda connection: recent_hits(connection, TENANT, 1, "a", 9), "ix_tripwire_hits_by_agent (tenant=? AND agent_id=? AND at>?)"),
        (lambda connection: given_up(connection, TENANT, ["ops"]), "ix_outbox_given_up (tenant=? AND channel=? AND dead_at>?)"),
    ]
    world.check("d1", **REFUND)
    indexes = [*(index for _, index in told), *(index for _, index in others)]
    for index, plan in zip(indexes, plans(world, *looks, *(look for look, _ in others)), strict=False):
        assert index in plan
        assert not re.search(r"SCAN (events|decisions|tripwire_hits|outbox)", plan), plan


def test_events_of_a_newer_version_are_passed_over(world: World) -> None:
    """Processes of two versions may share a store: those of the older one show and tell of all that they know, and a page is full of it."""
    world.check("d1", agent="a", category="tooling")
    world.review("d1", "failure")
    world.hand.advance(1)
    with world.connected() as connection, connection.begin():
        last = connection.execute(select(tables.events).order_by(tables.events.c.id.desc()).limit(1)).mappings().one()
        for number, subject in enumerate(("d1", "category:tooling")):
            newer = {"id": f"{last['id']}.{number}", "type": "agent.renamed", "subject": subject, "chain": None, "position": None}
            connection.execute(insert(tables.events).values({**last, **newer}))
    assert [told.event.type for told in events(world, limit=1)] == [EventType.CIRCUIT_OPENED]
    assert [told.event.type for told in events(world, limit=1, without=frozenset({EventType.TOKEN_CREATED}))] == [EventType.CIRCUIT_OPENED]
    assert [told.event.type for told in events(world, limit=1, subject="d1")] == [EventType.DECISION_REVIEWED]
    assert [happened.type for happened in world.do(world.store.latest_events(1))] == [EventType.CIRCUIT_OPENED]


def test_lists_use_their_indexes(world: World) -> None:
    """Events that are told, and circuits by state, are found without looking at the others."""
    statements = {
        "ix_events_told_at": f"id FROM events WHERE tenant = 'default' AND {tables.TOLD} ORDER BY at DESC, id DESC LIMIT 50",
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
