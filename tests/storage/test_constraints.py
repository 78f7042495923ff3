"""What constraints keep in the store: habits of agents, reviews of dimensions, and counts that two processes make together."""

import threading
import time
from types import NoneType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text, update

from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.callers import LOOPBACK
from cstp_server.domain.decisions import Answer, ReviewAnswer
from cstp_server.domain.dimension_reviews import DimensionReview, DimensionStatus
from cstp_server.domain.gaming import Habits
from cstp_server.policy.compiled import Policy
from cstp_server.services.dimensions import ReviewDimension
from cstp_server.storage import tables
from cstp_server.storage.dimensions import dimension_row, review_of_row
from cstp_server.storage.habits import habits_of, habits_row
from tests.services.dimensional import Tokens, bounded, evaluated, installed, listed, say
from tests.services.world import Gate, World, checking, reviewing
from tests.storage.conftest import MakeWorld
from tests.storage.test_postures import NAMES, Row

MARKS = st.lists(st.booleans(), max_size=10).map(tuple)
COST = {"cost_limit": 1000}
NOTHING = Policy("sha256:none")


@settings(max_examples=100)
@given(NAMES, st.dictionaries(NAMES, MARKS, max_size=4), st.integers(0, 2**53))
def test_the_habits_that_are_read_are_those_that_were_written(agent_id: str, small: dict[str, tuple[bool, ...]], at: int) -> None:
    """Of every dimension, in their order."""
    known = AgentHabits(agent_id, Habits(small), at)
    assert habits_of(Row(habits_row("default", known))) == known


@settings(max_examples=100)
@given(
    st.builds(
        DimensionReview,
        name=NAMES,
        version=NAMES,
        status=st.sampled_from(DimensionStatus),
        by=NAMES,
        at=st.integers(0, 2**53),
        note=st.none() | NAMES,
    )
)
def test_the_review_that_is_read_is_the_one_that_was_written(review: DimensionReview) -> None:
    """With whatever was said to it."""
    assert review_of_row(Row(dimension_row("default", review))) == review


def test_what_cannot_be_read_is_no_approval(make_world: MakeWorld) -> None:
    """A status that this version does not know."""
    world = make_world(NOTHING)
    say(world, installed(Tokens()))
    with world.connected() as connection, connection.begin():
        connection.execute(update(tables.dimensions).values(status="approved_twice"))
    assert listed(world, installed(Tokens()))["token_limit"].status == "rejected"


def test_each_agent_of_each_tenant_has_habits_of_its_own(make_world: MakeWorld) -> None:
    """One row each, whatever one transaction does to them."""
    world = make_world(bounded(everybody=COST))
    world.batch(*[checking(None, agent=agent, context={"cost_used": cost}) for agent in ("a", "b") for cost in (5, 500)])
    with world.connected() as connection:
        rows = connection.execute(tables.habits.select().order_by(tables.habits.c.agent_id)).all()
    assert [(row.tenant, row.agent_id, row.data) for row in rows] == [
        ("default", "a", '{"cost_limit":"10"}'),
        ("default", "b", '{"cost_limit":"10"}'),
    ]


def test_two_processes_watch_one_agent_together(make_world: MakeWorld) -> None:
    """Each sees what the other saw, whatever it remembers; none of ten evaluations is lost."""
    one, two = make_world(NOTHING), make_world(NOTHING)
    for number in range(10):
        world = (one, two)[number % 2]
        flags = evaluated(world, COST, {"cost_used": 5}, agent="bot").flags
        assert bool(flags) is (number >= 7)


def test_two_processes_at_once_lose_no_habit(make_world: MakeWorld) -> None:
    """Whoever looks at an agent keeps the other one waiting until it is on record."""
    worlds = [make_world(bounded(everybody=COST)) for _ in range(2)]

    def work(world: World, name: str) -> None:
        for number in range(5):
            world.check(f"{name}-{number}", context={"cost_used": 5})

    threads = [threading.Thread(target=work, args=(world, str(number))) for number, world in enumerate(worlds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert worlds[0].habits()["bot"].habits.small == {"cost_limit": (True,) * 10}


def test_reviews_of_dimensions_reach_what_others_remember(make_world: MakeWorld) -> None:
    """The last one stands for each version; those of other tenants stand beside it."""
    one, two = make_world(NOTHING), make_world(NOTHING)
    known = installed(Tokens())
    for status in (DimensionStatus.APPROVED, DimensionStatus.REJECTED):
        one.run(ReviewDimension(LOOPBACK, Tokens(), status))
        assert listed(two, known)["token_limit"].status == status.value
        again = two.run(ReviewDimension(LOOPBACK, Tokens(), status))
        assert again.status == status.value
    assert len(one.events("dimension.")) == 2


def test_a_review_waits_for_who_has_the_circuit_although_its_name_is_locked_already(ready_postgres_url: str) -> None:
    """A circuit and an agent's counts are two things, even where both are called `agent:bot`: no failure is lost."""
    policy = bounded(
        categories={"rated": {"rate_limit": "100/hour"}},
        sections={"circuit_breakers": [{"scope": "agent:*", "failure_threshold": 100, "on_success": "none"}]},
    )
    world = World(ready_postgres_url, policy)
    gate = Gate()
    try:
        for id in ("first", "second"):
            world.check(id)
        calls, answers = (checking("now", category="rated"), gate, reviewing("first", "failure")), list[Any]()
        batch = threading.Thread(target=lambda: answers.extend(world.batch(*calls)))
        batch.start()
        assert gate.entered.wait(20)
        beside = World(ready_postgres_url, policy)
        done = threading.Event()

        def review() -> None:
            beside.review("second", "failure")
            done.set()

        reviewing_too = threading.Thread(target=review)
        reviewing_too.start()
        _until_it_waits(world, done)
        gate.opened.set()
        batch.join(30)
        reviewing_too.join(30)
        beside.close()
        assert [type(answer) for answer in answers] == [Answer, NoneType, ReviewAnswer]
        assert world.stored("agent:bot").window.failures == 2
    finally:
        gate.opened.set()
        world.close()


def _until_it_waits(world: World, done: threading.Event) -> None:
    """Until somebody waits for somebody else's transaction, or need not."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 20
    while not done.is_set() and time.monotonic() < deadline:
        with world.connected() as connection:
            if connection.execute(waiting).scalar_one():
                return
        time.sleep(0.01)


@pytest.mark.parametrize(("status", "source", "counts"), [("allowed", "checked", 1), ("allowed", "recorded", 0), ("blocked", "checked", 0)])
def test_only_checks_that_were_let_through_are_counted(make_world: MakeWorld, status: str, source: str, counts: int) -> None:
    """As their rows have it, in the window and not at its edge."""
    world = make_world(NOTHING)
    now = world.time()
    for id, age in (("inside", 30_000), ("edge", 3_600_001)):
        _store(world, id, now - age, status, source)
    assert world.do(world.store.reader.let_through("default", "bot", {"hour": 5, "second": 5})) == {"hour": counts, "second": 0}


def _store(world: World, id: str, at: int, status: str, source: str) -> None:
    row: dict[str, Any] = {
        "tenant": "default",
        "id": id,
        "at": at,
        "status": status,
        "source": source,
        "intervention": "allow" if status == "allowed" else "block",
        "agent_id": "bot",
        "principal": "bot",
        "policy_version": "sha256:none",
        "facts": "{}",
    }
    with world.connected() as connection, connection.begin():
        connection.execute(insert(tables.decisions), [row])
