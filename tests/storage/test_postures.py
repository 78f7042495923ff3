"""Postures in the store: what is written is what is read, and whoever moves an agent keeps everybody else from it until it is durable."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, text

from cstp_server.domain.postures import AgentPosture, Hold, Posture, lowered, moved
from cstp_server.domain.refusals import Conflict
from cstp_server.services.checking import Check
from cstp_server.services.ports import UseCase
from cstp_server.services.posture_moves import BlockAgent
from cstp_server.services.requests import TransitionAnswer
from cstp_server.services.settling import RunOut
from cstp_server.storage import tables
from cstp_server.storage.postures import lock_postures, posture_of, posture_row
from tests.services.governing import attempt, history, posture_move
from tests.services.world import OPS, World, checking, circuits_policy, moving, policy_of, resolving, reviewing
from tests.storage.conftest import MakeWorld

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
POSTURES = st.sampled_from(Posture)
SEVERE = {"name": "severe", "severity": "severe", "when": "action.context.evil == true"}
LOWERING = {"failure_threshold": 2, "on_open": {"downgrade_to": "human_decides"}}


class Row:
    """A row by the names of its columns."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


@settings(max_examples=200)
@given(
    st.builds(
        AgentPosture,
        agent_id=NAMES,
        posture=POSTURES,
        since=st.integers(1, 2**53),
        set_by=NAMES,
        reason=NAMES,
        original=st.none() | POSTURES,
        holds=st.lists(st.builds(Hold, scope=NAMES, to=POSTURES, restores=st.booleans()), max_size=3).map(tuple),
        earned_from=st.lists(POSTURES, max_size=3).map(tuple),
        blocked_at=st.none() | st.integers(1, 2**53),
        moved_at=st.none() | st.integers(1, 2**53),
    )
)
def test_what_is_written_is_what_is_read(posture: AgentPosture) -> None:
    """Whatever names and reasons there are."""
    assert posture_of(Row(posture_row("default", posture))) == posture


def test_each_agent_of_each_tenant_has_a_row_of_its_own(make_world: MakeWorld) -> None:
    """The last one written stands."""
    world = make_world(policy_of())
    world.run(posture_move("bot", "assisted"))
    world.run(posture_move("bot", "full_autonomy", before="assisted"))
    world.run(posture_move("other", "blocked"))
    with world.connected() as connection:
        rows = connection.execute(tables.postures.select().order_by(tables.postures.c.agent_id)).all()
    assert [(row.tenant, row.agent_id, row.posture) for row in rows] == [
        ("default", "bot", "full_autonomy"),
        ("default", "other", "blocked"),
    ]


def test_another_process_sees_a_move_at_once(make_world: MakeWorld) -> None:
    """What a process remembers of an agent is forgotten as soon as another one may have moved it."""
    one, two = make_world(policy_of()), make_world(policy_of())
    for _ in range(3):
        assert (one.check().posture, two.check().posture) == ("supervised", "supervised")
        one.run(posture_move("bot", "assisted"))
        assert (two.check().posture, one.check().posture) == ("assisted", "assisted")
        two.run(posture_move("bot", "supervised", before="assisted"))


@pytest.fixture
def pg_world(ready_postgres_url: str) -> Iterator[Callable[[Any], World]]:
    """Makes worlds on one new PostgreSQL database."""
    with ExitStack() as stack:

        def make(policy: Any) -> World:
            world = World(ready_postgres_url, policy)
            stack.callback(world.close)
            return world

        yield make


def evil(agent: str = "bot") -> Check:
    """A check that halts its agent."""
    return checking(f"evil-{agent}", agent=agent, context={"evil": True})


@contextmanager
def another_writer(world: World, agent: str = "bot") -> Iterator[Connection]:
    """A process that is about to move the agent, and has not committed."""
    with world.connected() as connection:
        lock_postures(connection, [("default", agent)])
        yield connection


def write(connection: Connection, posture: AgentPosture) -> None:
    row = posture_row("default", posture)
    connection.execute(tables.postures.delete().where(tables.postures.c.agent_id == posture.agent_id))
    connection.execute(tables.postures.insert(), [row])


def meanwhile(world: World, use_case: UseCase[Any], connection: Connection, before: Callable[[], None] = lambda: None) -> Any:
    """Have the call wait for the other writer, who then commits, having done that `before`; its answer."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(world.run(use_case)))
    thread.start()
    deadline = time.monotonic() + 20
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    while time.monotonic() < deadline:
        with world.connected() as other:
            if other.execute(waiting).scalar_one():
                break
        time.sleep(0.01)
    else:
        pytest.fail("the call did not wait for who moves the agent")
    before()
    connection.commit()
    thread.join(20)
    return answers[0]


SUPERVISED = AgentPosture("bot", Posture.SUPERVISED)
RAISED = moved(AgentPosture("bot", Posture.BLOCKED, 1), Posture.FULL_AUTONOMY, by="olga", reason="good", at=2)


@pytest.mark.parametrize("before", ["blocked", "supervised"])
@pytest.mark.parametrize("way", ["halt", "quota", "emergency"])
def test_a_halt_waits_for_whoever_raises_the_agent_and_then_blocks_it(pg_world: Callable[[Any], World], before: str, way: str) -> None:
    """Also where it had found the agent blocked when it began; the history says from what it fell."""
    quota = {
        "name": "none",
        "severity": "severe",
        "quota": {"count": True, "window": "hour", "max": 1},
        "applies_to": {"tags": ["counted"]},
    }
    world = pg_world(policy_of(tripwires=[SEVERE, quota], agents={"*": {"posture": before}}))
    if way == "quota" and before == "supervised":
        world.check("first", tags=("counted",))
    ways: dict[str, UseCase[Any]] = {
        "halt": evil(),
        "quota": checking("many", tags=("counted",)),
        "emergency": BlockAgent(OPS, "bot", "incident"),
    }
    with another_writer(world) as connection:
        write(connection, RAISED)
        meanwhile(world, ways[way], connection)
    if way == "quota" and before == "blocked":
        world.check("one more", tags=("counted",))  # the first one was within the quota
    stored = world.posture()
    assert stored is not None
    assert stored.posture is Posture.BLOCKED
    newest = history(world)[0]
    assert (newest.before, newest.after, newest.type) == ("full_autonomy", "blocked", "emergency_downgrade")


def test_what_is_looked_at_under_the_lock_is_what_counts(pg_world: Callable[[Any], World]) -> None:
    """A condition that speaks of the posture makes the check wait, and is about what the agent has become by then."""
    severe = {"name": "severe", "severity": "severe", "when": 'posture == "assisted" && action.context.evil == true'}
    world = pg_world(policy_of(tripwires=[severe]))
    world.run(posture_move("bot", "assisted"))
    with another_writer(world) as connection:
        write(connection, RAISED)
        answer = meanwhile(world, evil(), connection)
    assert (answer.posture, answer.verdict.allowed) == ("full_autonomy", True)
    assert world.posture() == RAISED


@pytest.mark.parametrize("way", ["approval", "window"])
def test_a_decision_waits_for_whoever_blocks_its_agent(pg_world: Callable[[Any], World], way: str) -> None:
    """It is looked at again when that is on record, and not let through."""
    posture = "human_decides" if way == "approval" else "assisted"
    world = pg_world(policy_of(agents={"*": {"posture": posture}}, postures={"assisted_delay_ms": 1}))
    world.check("a")
    settling: UseCase[Any] = resolving("a") if way == "approval" else RunOut("default", "a")
    until = world.time() + 2
    while world.time() < until:
        time.sleep(0.001)
    with another_writer(world) as connection:
        write(connection, AgentPosture("bot", Posture.BLOCKED, 2, "olga", "incident"))
        meanwhile(world, settling, connection)
    assert world.status("a") == "denied"


def test_a_transition_behind_another_writer_is_a_conflict(pg_world: Callable[[Any], World]) -> None:
    """It looked before, and comes after."""
    world = pg_world(policy_of())
    with another_writer(world) as connection:
        write(connection, RAISED)
        answer = meanwhile(world, posture_move("bot", "assisted"), connection)
    assert isinstance(answer, Conflict)
    assert world.posture() == RAISED
    assert history(world)[0].blocked_by == "stale_from_posture"


def test_a_circuit_opens_on_what_the_agent_has_become(pg_world: Callable[[Any], World]) -> None:
    """What it keeps as the original is what somebody gave the agent while the review waited."""
    world = pg_world(circuits_policy({"scope": "agent:*", **LOWERING}))
    world.fail("a")
    world.check("b")
    with another_writer(world) as connection:
        write(connection, RAISED)
        meanwhile(world, reviewing("b", "failure"), connection)
    held = world.posture()
    assert held is not None
    assert (held.posture, held.original) == (Posture.HUMAN_DECIDES, Posture.FULL_AUTONOMY)
    with another_writer(world) as connection:
        write(connection, SUPERVISED)
        meanwhile(world, moving("agent:bot"), connection)
    assert world.posture() == SUPERVISED


def test_a_move_that_waited_is_later_than_what_it_waited_for(pg_world: Callable[[Any], World]) -> None:
    """By its time too, although it began first: the history is in the order in which the moves were made."""
    world, other = pg_world(policy_of()), pg_world(policy_of())
    committed_at: list[int] = []

    def take_time() -> None:
        until = other.time() + 30
        while other.time() < until:
            time.sleep(0.005)
        committed_at.append(other.time())

    with another_writer(world) as connection:
        answer = meanwhile(world, posture_move("bot", "assisted"), connection, take_time)
    assert isinstance(answer, TransitionAnswer)
    assert answer.at >= committed_at[0]


def test_two_processes_that_move_many_agents_crosswise_block_nobody_for_good(make_world: MakeWorld) -> None:
    """Circuits that open and close, halts and moves of the same agents, in every order: all are answered, and the history adds up."""
    circuits = [{"scope": scope, **LOWERING, "cooldown_ms": 60_000} for scope in ("category:one", "category:two", "agent:*")]
    policy = circuits_policy(*circuits, tripwires=[SEVERE])
    worlds = [make_world(policy), make_world(policy)]
    agents = [f"agent{number}" for number in range(4)]
    for index, agent in enumerate(agents * 4):
        worlds[0].check(f"d{index}", agent=agent, category=("one", "two")[index % 2])
    faults: list[Any] = []

    def work(world: World, number: int) -> None:
        calls: list[UseCase[Any]] = [reviewing(f"d{index}", "failure") for index in range(number, 16, 2)]
        calls += [evil(agents[number])]
        calls += [posture_move(agent, "assisted") for agent in agents[::-1]]
        calls += [moving(f"category:{name}") for name in ("two", "one")] + [moving(f"agent:{agent}") for agent in agents]
        calls = calls if number else calls[::-1]
        for start in range(0, len(calls), 5):
            faults.extend(answer for answer in world.batch(*calls[start : start + 5]) if isinstance(answer, Exception))

    threads = [threading.Thread(target=work, args=(world, number)) for number, world in enumerate(worlds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    for agent in agents:
        assert_let_go(worlds[0], agent, ("category:one", "category:two", f"agent:{agent}"))
    assert [getattr(worlds[0].posture(agent), "posture", None) for agent in agents[:2]] == [Posture.BLOCKED] * 2


def assert_let_go(world: World, agent: str, scopes: tuple[str, ...]) -> None:
    """Once its circuits are closed nothing holds the agent, and it is where the moves on record lead."""
    for scope in scopes:
        world.reset(scope)
    stored = world.posture(agent)
    steps = [(entry.before, entry.after) for entry in history(world, agent) if entry.success]
    assert stored is None or (stored.holds, stored.original) == ((), None)
    assert_chained(steps, "supervised", stored.posture.label if stored is not None else "supervised")


def assert_chained(steps: list[tuple[str, str]], first: str, last: str) -> None:
    """The moves lead from the first posture to the last one, in whatever order those of one millisecond are told."""
    change = {name.label: 0 for name in Posture}
    for before, after in steps:
        change[before] -= 1
        change[after] += 1
    change[first] += 1
    change[last] -= 1
    assert set(change.values()) == {0}, steps


def test_a_batch_locks_agents_after_everything_else_whatever_is_in_it(pg_world: Callable[[Any], World]) -> None:
    """One call knows from the first whom it moves, another only once it has read its circuits: neither order makes two batches wait for
    each other.
    """
    world = pg_world(circuits_policy({"scope": "agent:*", **LOWERING}, {"scope": "category:*", **LOWERING}))
    world.fail("a")
    world.check("b")
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        moves: list[UseCase[Any]] = [
            BlockAgent(OPS, "other", "incident"),
            posture_move("third", "assisted"),
            reviewing("b", "failure"),
            moving("agent:other"),
        ]
        blocked, moved_third, reviewed, reset = world.batch(*moves)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [type(answer).__name__ for answer in (blocked, moved_third, reviewed, reset)] == [
        "TransitionAnswer",
        "TransitionAnswer",
        "ReviewAnswer",
        "ScopeAnswer",
    ]
    of_agents = [index for index, statement in enumerate(statements) if "pg_advisory_xact_lock" in statement]
    of_rows = [index for index, statement in enumerate(statements) if "FOR UPDATE" in statement]
    assert of_agents
    assert of_rows
    assert max(of_rows) < min(of_agents)
    assert len(of_agents) == 1
    assert (getattr(world.posture(), "posture", None), getattr(world.posture("other"), "posture", None)) == (
        Posture.HUMAN_DECIDES,
        Posture.BLOCKED,
    )


def test_a_read_that_was_held_is_restored_by_any_process(make_world: MakeWorld) -> None:
    """What one process lowered, another lets go."""
    policy = circuits_policy({"scope": "agent:*", **LOWERING})
    one, two = make_world(policy), make_world(policy)
    one.fail("a", "b")
    held = two.posture()
    assert held is not None
    expected = lowered(SUPERVISED, "agent:bot", Posture.HUMAN_DECIDES, reason="circuit `agent:bot` opened", at=held.since)
    assert held == expected
    two.reset("agent:bot")
    assert one.check().posture == "supervised"
    assert getattr(attempt(one, "bot", "assisted", seen="supervised"), "success", False)
