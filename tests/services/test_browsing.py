"""Lists of circuits and of users' trust for people: what is wrong first, page by page, each of them once."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy.event import listen

from cstp_server.domain.circuit_state import State
from cstp_server.services import browsing
from cstp_server.services.browsing import CircuitLine, Place, TrustLine
from cstp_server.services.catalogue import CircuitSearch
from cstp_server.storage.browsing import circuits as stored_circuits
from tests.services.conftest import MakeWorld
from tests.services.world import World, checking, circuits_policy, policy_of, reviewing

TENANT = "default"


def circuits(world: World, *, state: State | None = None, text: str | None = None, limit: int = 100) -> list[CircuitLine]:
    """All circuits, a page at a time."""
    found: list[CircuitLine] = []
    place: Place | None = None
    while True:
        page = world.do(browsing.circuits(world.store.catalogue, world.policy, TENANT, state=state, text=text, place=place, limit=limit))
        assert len(page.lines) == limit or page.next is None
        found.extend(page.lines)
        if page.next is None:
            return found
        place = page.next


def scopes(lines: Sequence[CircuitLine]) -> list[str]:
    """Which circuits these are."""
    return [line.view.scope for line in lines]


@pytest.fixture
def world(each_world: MakeWorld) -> World:
    """Six agents' circuits, two of them open and one half-open, and two circuits that the policy names, of which one was never used."""
    policy = circuits_policy(
        {"scope": "agent:*", "failure_threshold": 2},
        {"scope": "category:tooling", "failure_threshold": 100},
        {"scope": "category:unused"},
        {"scope": "user:*", "failure_threshold": 1},
    )
    world = each_world(policy)
    for number in range(6):
        world.check(f"d{number}", agent=f"a{number}", user_id=f"u{number}")
        world.review(f"d{number}", "success")
    world.fail("x1", "x2", agent="a4")
    world.trip("agent:a1")
    world.trip("agent:a5")
    world.reset("agent:a5", probe_first=True)
    return world


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_of_any_size_list_every_circuit_once_and_open_ones_first(world: World, limit: int) -> None:
    """Open, half-open, closed, each by scope; users' trust is not among them, a named circuit is before its first use."""
    expected = ["agent:a1", "agent:a4", "agent:a5", "agent:a0", "agent:a2", "agent:a3", "category:tooling", "category:unused"]
    assert scopes(circuits(world, limit=limit)) == expected


def test_a_list_may_be_of_one_state_or_of_a_part_of_the_scope(world: World) -> None:
    """Whatever its case."""
    assert scopes(circuits(world, state=State.OPEN)) == ["agent:a1", "agent:a4"]
    assert scopes(circuits(world, state=State.HALF_OPEN)) == ["agent:a5"]
    assert scopes(circuits(world, text="TOOL")) == ["category:tooling"]
    assert scopes(circuits(world, text="unused", limit=1)) == ["category:unused"]
    assert scopes(circuits(world, text="a%")) == []


def test_a_circuit_comes_with_its_latest_outcomes(world: World) -> None:
    """Oldest first, as they were counted."""
    lines = {line.view.scope: line for line in circuits(world)}
    assert [entry.failed for entry in lines["agent:a4"].outcomes] == [False, True, True]
    assert list(lines["category:unused"].outcomes) == []


def test_counting_agrees_with_the_list(world: World) -> None:
    """By state, without users' trust, with the circuits that nothing has happened to."""
    counts = world.do(browsing.counts(world.store.catalogue, world.policy, TENANT))
    assert counts == {State.OPEN: 2, State.HALF_OPEN: 1, State.CLOSED: 5}


def test_another_tenants_circuits_are_not_listed(world: World) -> None:
    """Only what the policy names, as unused."""
    page = world.do(browsing.circuits(world.store.catalogue, world.policy, "other", state=None, text=None, place=None, limit=10))
    assert scopes(page.lines) == ["category:tooling", "category:unused"]
    assert [line.view.reviewed_count for line in page.lines] == [0, 0]


def test_users_are_listed_by_how_little_they_trust(each_world: MakeWorld) -> None:
    """Reduced first; a user's id may hold a slash, a domain does not."""
    world = each_world(policy_of(trust={"domains": {"*": {"damage_threshold": 2}}}))
    for user, domain, times in (("anna", "chat", 1), ("bert/jr", "code", 2), ("carl", "chat", 3)):
        for _ in range(times):
            world.damage(user, domain)
    found: list[TrustLine] = []
    place: Place | None = None
    while True:
        page = world.do(browsing.trust(world.store.catalogue, world.policy, TENANT, state=None, text=None, place=place, limit=1))
        found.extend(page.lines)
        place = page.next
        if place is None:
            break
    assert [(line.user_id, line.domain, line.autonomy.state.value) for line in found] == [
        ("bert/jr", "code", "reduced_autonomy"),
        ("carl", "chat", "reduced_autonomy"),
        ("anna", "chat", "full_autonomy"),
    ]


def test_circuits_that_no_policy_covers_any_more_are_neither_listed_nor_counted(world: World) -> None:
    """Though they are still stored; and however many they are, they are not read."""
    world.policy = circuits_policy({"scope": "category:*"}, {"scope": "agent:a3"}, {"scope": "agent:a1"})
    assert scopes(circuits(world)) == ["agent:a1", "agent:a3", "category:tooling"]
    assert scopes(circuits(world, limit=1, text="A3")) == ["agent:a3"]
    counts = world.do(browsing.counts(world.store.catalogue, world.policy, TENANT))
    assert counts == {State.OPEN: 1, State.HALF_OPEN: 0, State.CLOSED: 2}
    world.policy = circuits_policy()
    assert circuits(world) == []
    assert sum(world.do(browsing.counts(world.store.catalogue, world.policy, TENANT)).values()) == 0


def test_a_circuit_whose_cooldown_is_over_is_counted_and_listed_as_half_open(each_world: MakeWorld) -> None:
    """Before anybody has asked, and before a sweep came by; one that is forced open stays open."""
    world = each_world(circuits_policy({"scope": "agent:*", "failure_threshold": 1, "cooldown_ms": 1}))
    world.fail("d1", agent="cooled")
    world.fail("d2", agent="cooled too")
    world.trip("agent:forced")
    world.hand.advance(1_000)
    world.do(asyncio.sleep(0.01))
    counts = world.do(browsing.counts(world.store.catalogue, world.policy, TENANT))
    assert counts == {State.OPEN: 1, State.HALF_OPEN: 2, State.CLOSED: 0}
    assert scopes(circuits(world, state=State.OPEN, limit=1)) == ["agent:forced"]
    assert scopes(circuits(world, state=State.HALF_OPEN, limit=1)) == ["agent:cooled", "agent:cooled too"]
    assert scopes(circuits(world, state=State.HALF_OPEN, text="TOO")) == ["agent:cooled too"]
    assert scopes(circuits(world, limit=1)) == ["agent:forced", "agent:cooled", "agent:cooled too"]


@pytest.mark.parametrize("lines", [1, 63, 64, 65, 130])
def test_a_list_has_let_the_same_time_pass_as_a_single_look(make_world: MakeWorld, lines: int) -> None:
    """However much has left a window since; and all windows together are read at once."""
    world = make_world(circuits_policy({"scope": "agent:*", "window_ms": 60_000, "failure_threshold": 1_000}))
    world.batch(*(checking(f"d{number}", agent=f"a{number % 2}") for number in range(2 * lines)))
    world.batch(*(reviewing(f"d{number}", "failure" if number % 3 else "success", "medium") for number in range(2 * lines)))
    world.hand.advance(40_000)
    for agent in ("a0", "a1", "a2"):
        world.check(f"late-{agent}", agent=agent)
        world.review(f"late-{agent}", "failure")
    world.hand.advance(30_000)
    listed = {line.view.scope: (line.view.reviewed_count, line.view.failure_count) for line in circuits(world)}
    assert listed == {f"agent:{agent}": (1, 1) for agent in ("a0", "a1", "a2")}


def test_a_page_takes_as_many_statements_as_a_row(make_world: MakeWorld) -> None:
    """The windows of fifty circuits are looked at with one."""
    world = make_world(circuits_policy({"scope": "agent:*", "window_ms": 60_000}))
    for number in range(50):
        world.fail(f"d{number:02}", agent=f"a{number:02}")
    world.hand.advance(60_001)
    statements: list[str] = []
    with world.connected() as connection:
        listen(connection, "before_cursor_execute", lambda *told: statements.append(told[2]))
        for limit in (1, 50):
            statements.clear()
            rows = stored_circuits(connection, TENANT, world.policy, CircuitSearch(State.CLOSED, limit=limit), world.clock)
            assert [row.circuit.window.reviewed for row in rows] == [0] * limit
            assert sum(said.startswith("SELECT") for said in statements) == 2
