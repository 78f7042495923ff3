"""What people see of quotas and budgets: whom they are counted for, and who has used the most of them (SPEC 7)."""

from collections.abc import Sequence
from typing import Any

import pytest

from cstp_server.services import quotas
from cstp_server.services.ports import DecisionQuery
from cstp_server.services.quotas import QuotaLine, QuotaUse, agent_quotas, quota_lines
from tests.services.conftest import MakeWorld
from tests.services.world import World, policy_of

TENANT = "default"
AMOUNT = "action.parameters.amount"


def quota(name: str, per: str, most: float, **measured: Any) -> dict[str, Any]:
    return {"name": name, "quota": {**(measured or {"count": True}), "per": per, "window": "total", "max": most}}


@pytest.fixture
def world(each_world: MakeWorld) -> World:
    """One quota of each kind, and an agent with a lower limit of its own."""
    rules = [
        quota("own-actions", "agent", 10),
        quota("all-money", "global", 1_000, sum=AMOUNT),
        {**quota("of-category", "category", 20), "applies_to": {"categories": ["billing"]}},
        quota("of-user", "user", 5),
        {**quota("of-others", "agent", 5), "applies_to": {"agents": ["somebody-else"]}},
    ]
    return each_world(
        policy_of(
            tripwires={"rules": rules, "limits": {"daily_action_limit": 100}},
            agents={"new": {"tripwires": {"limits": {"daily_action_limit": 50}}}},
        )
    )


def used_by(world: World, agent: str) -> dict[str, tuple[str, float, float]]:
    """Whom each quota of an agent is counted for, what is used of it, and how much it may be."""
    latest = world.do(world.store.reader.decisions(TENANT, DecisionQuery(agent=agent, limit=10)))
    found = world.do(agent_quotas(world.store.catalogue, world.policy, TENANT, agent, latest, world.time()))
    return {f"{use.name} {use.whom}".strip(): (use.per.value, use.used, use.most) for use in found}


def lines(world: World, *likely: str, limit: int = 50) -> dict[str, QuotaLine]:
    """The quotas of the policy, by name and by the agent that they are for."""
    found, _ = world.do(quota_lines(world.store.catalogue, world.policy, TENANT, likely, limit, world.time()))
    return {f"{line.name} {line.agent or ''}".strip(): line for line in found}


def told(uses: Sequence[QuotaUse]) -> list[tuple[str, float]]:
    return [(use.whom, use.used) for use in uses]


def test_an_agent_draws_on_its_own_quotas_and_on_those_that_others_draw_on_too(world: World) -> None:
    """Its own, those of all, those of the categories and users of its latest decisions; with what all have used of them."""
    world.check(agent="a", category="billing", user_id="anna", parameters={"amount": 30})
    world.check(agent="b", category="billing", user_id="anna", parameters={"amount": 12})
    world.check(agent="b", category="writing", parameters={"amount": 0})
    assert used_by(world, "a") == {
        "own-actions a": ("agent", 1, 10),
        "daily_action_limit a": ("agent", 1, 100),
        "all-money": ("global", 42, 1_000),
        "of-category billing": ("category", 2, 20),
        "of-user anna": ("user", 2, 5),
    }
    assert used_by(world, "new") == {
        "own-actions new": ("agent", 0, 10),
        "daily_action_limit new": ("agent", 0, 50),
        "all-money": ("global", 42, 1_000),
    }


def test_every_quota_is_listed_with_who_has_used_the_most(world: World) -> None:
    """The fullest first, no more than three; those of all even before anybody has; an agent with a lower limit on a line of its own."""
    assert told(lines(world)["all-money"].fullest) == [("", 0)]
    assert lines(world)["own-actions"].fullest == []
    for agent, times in (("a", 1), ("b", 4), ("c", 2), ("d", 3), ("new", 2)):
        for _ in range(times):
            world.check(agent=agent, category="billing", user_id=f"user-of-{agent}", parameters={"amount": 10})
    found = lines(world)
    assert told(found["own-actions"].fullest) == [("b", 4), ("d", 3), ("c", 2)]
    assert told(found["all-money"].fullest) == [("", 120)]
    assert told(found["of-category"].fullest) == [("billing", 12)]
    assert told(found["of-user"].fullest) == [("user-of-b", 4), ("user-of-d", 3), ("user-of-c", 2)]
    assert "new" not in dict(told(found["daily_action_limit"].fullest))
    assert (found["daily_action_limit new"].most, told(found["daily_action_limit new"].fullest)) == (50, [("new", 2)])


def test_likely_ones_are_looked_at_where_there_are_too_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first by their names are, and it says so; whoever came close to it is looked at all the same."""
    for agent, times in (("a", 1), ("b", 1), ("z", 3)):
        for _ in range(times):
            world.check(agent=agent, category="billing", parameters={"amount": 1})
    monkeypatch.setattr(quotas, "LOOKED_AT", 2)
    cut = lines(world)["own-actions"]
    assert (told(cut.fullest), cut.is_cut) == ([("a", 1), ("b", 1)], True)
    assert told(lines(world, "agent:z", "user:nobody")["own-actions"].fullest) == [("z", 3), ("a", 1), ("b", 1)]
    assert lines(world)["all-money"].is_cut is False


def test_no_more_lines_are_made_than_are_shown(world: World) -> None:
    """And how many there are is told."""
    found, number = world.do(quota_lines(world.store.catalogue, world.policy, TENANT, (), 2, world.time()))
    assert (len(found), number) == (2, 7)
