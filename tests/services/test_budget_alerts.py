"""People are told when 80, 95 and 100 per cent of a budget are used: once each time that a threshold is reached (SPEC 11)."""

from typing import Any

import pytest

from cstp_server.domain.events import Event
from tests.services.conftest import MakeWorld
from tests.services.test_budgets import budget, pay, policy
from tests.services.world import World, policy_of, reviewing


def reached(world: World) -> list[int]:
    """The thresholds, in their order."""
    return [event.data["percent"] for event in told(world)]


def told(world: World) -> list[Event]:
    return world.events("budget.reached")


def test_each_threshold_is_told_once(make_world: MakeWorld) -> None:
    """On the way up; more of the same says nothing new, and what is refused reaches nothing."""
    world = make_world(policy())
    for amount in (79, 0.5, 0.5, 5, 10, 4, 1, 1):
        pay(world, amount)
    assert reached(world) == [80, 95, 100]
    assert world.used("money") == 100


def test_a_leap_is_told_as_the_last_threshold_that_it_reached(make_world: MakeWorld) -> None:
    """From nothing to all of it is one alert."""
    world = make_world(policy())
    pay(world, 100)
    assert reached(world) == [100]


def test_the_event_says_whose_budget_how_much_and_why(make_world: MakeWorld) -> None:
    """Its subject is the tripwire; the decision and the agent are named."""
    world = make_world(policy(budget(window="day")))
    answer = pay(world, 96.5)
    (event,) = told(world)
    assert event.subject == "money"
    assert {**event.data, "ends_at": 0} == {
        "percent": 95,
        "of": "agent:bot",
        "used": 96.5,
        "max": 100,
        "window": "day",
        "ends_at": 0,
        "agent": "bot",
        "decision_id": answer.decision_id,
        "mode": "enforce",
    }
    assert event.data["ends_at"] > event.at


def test_what_was_given_back_is_reached_anew(make_world: MakeWorld) -> None:
    """An abandoned action frees its part; the next one that passes the threshold is told again."""
    world = make_world(policy())
    answer = pay(world, 80)
    world.run(reviewing(answer.decision_id, "abandoned"))
    pay(world, 80)
    assert reached(world) == [80, 80]


def test_an_actual_cost_reaches_it_too(make_world: MakeWorld) -> None:
    """What an action turned out to cost may be more than anybody had asked for; a cost amended later as well."""
    world = make_world(policy())
    answer = pay(world, 10)
    world.run(reviewing(answer.decision_id, "success", actual_cost=96))
    assert reached(world) == [95]
    world.run(reviewing(answer.decision_id, "success", actual_cost=120, amend=True))
    assert reached(world) == [95, 100]
    world.run(reviewing(answer.decision_id, "success", actual_cost=20, amend=True))
    assert reached(world) == [95, 100]


def test_a_decision_that_is_let_through_reaches_nothing_anew(make_world: MakeWorld) -> None:
    """What it had reserved while it waited was told then."""
    world = make_world(policy())
    answer = pay(world, 85, kind="approval")
    assert reached(world) == [80]
    world.resolve(answer.decision_id)
    assert world.status(answer.decision_id) == "approved"
    assert reached(world) == [80]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"notify": False}, []),
        ({"notify": True}, [95]),
        ({"mode": "shadow"}, [95]),
        ({"mode": "off"}, []),
        ({"per": "global"}, [95]),
        ({"sum": "action.context.tokens"}, []),
        ({"max": 0}, []),
    ],
)
def test_the_policy_says_of_which_budgets_people_are_told(make_world: MakeWorld, rule: dict[str, Any], expected: list[int]) -> None:
    """`notify: false` tells nobody; by default somebody is told."""
    world = make_world(policy(budget(**rule)))
    pay(world, 96)
    assert reached(world) == expected


def test_an_agents_own_budget_is_the_one_that_counts(make_world: MakeWorld) -> None:
    """A tighter limit is reached sooner."""
    world = make_world(policy_of(tripwires={"budget_limit": 100}, agents={"bot": {"tripwires": {"budget_limit": 50}}}))
    pay(world, 40)
    assert [(event.data["percent"], event.data["max"]) for event in told(world)] == [(80, 50)]


def test_a_count_is_no_budget(make_world: MakeWorld) -> None:
    """Quotas of how many tell nobody."""
    few = {"name": "two", "quota": {"count": True, "window": "hour", "max": 2}}
    world = make_world(policy(few))
    pay(world, 1)
    pay(world, 1)
    assert told(world) == []


def test_a_dry_run_reaches_nothing(make_world: MakeWorld) -> None:
    """It stores nothing."""
    world = make_world(policy())
    world.check(None, parameters={"amount": 100}, dry_run=True)
    assert told(world) == []


def test_a_new_day_is_reached_anew(make_world: MakeWorld) -> None:
    """Yesterday's use is none of today's."""
    world = make_world(policy(budget(window="day")))
    pay(world, 85)
    world.hand.advance(86_400_000)
    pay(world, 81)
    assert reached(world) == [80, 80]


def test_what_leaves_a_rolling_window_can_be_reached_again(make_world: MakeWorld) -> None:
    """Once it has fallen below a threshold."""
    world = make_world(policy(budget(window="hour")))
    pay(world, 85)
    world.hand.advance(1_800_000)
    pay(world, 1)
    world.hand.advance(1_800_001)
    pay(world, 94)
    assert reached(world) == [80, 95]
