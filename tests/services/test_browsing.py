"""Lists of circuits and of users' trust for people: what is wrong first, page by page, each of them once."""

from collections.abc import Sequence

import pytest

from cstp_server.domain.circuit_state import State
from cstp_server.services import browsing
from cstp_server.services.browsing import CircuitLine, Place, TrustLine
from tests.services.conftest import MakeWorld
from tests.services.world import World, circuits_policy, policy_of

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
def world(make_world: MakeWorld) -> World:
    """Six agents' circuits, two of them open and one half-open, and two circuits that the policy names, of which one was never used."""
    policy = circuits_policy(
        {"scope": "agent:*", "failure_threshold": 2},
        {"scope": "category:tooling", "failure_threshold": 100},
        {"scope": "category:unused"},
        {"scope": "user:*", "failure_threshold": 1},
    )
    world = make_world(policy)
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


def test_users_are_listed_by_how_little_they_trust(make_world: MakeWorld) -> None:
    """Reduced first; a user's id may hold a slash, a domain does not."""
    world = make_world(policy_of(trust={"domains": {"*": {"damage_threshold": 2}}}))
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
