"""Constraints on demand: evaluated, watched where an agent is named, and compared (SPEC 9)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cstp_server.domain.callers import LOOPBACK, Caller, Role, effective_roles
from cstp_server.domain.refusals import Forbidden
from cstp_server.policy.compiled import Policy
from tests.services.conftest import MakeWorld
from tests.services.dimensional import Tokens, bounded, evaluated, evaluation, installed, say, tightened
from tests.services.world import World

ELSEWHERE = replace(LOOPBACK, tenant="elsewhere")
MINUTE, HOUR = 60_000, 3_600_000


def caller(*roles: Role, agent: str | None = None) -> Caller:
    return Caller("somebody", effective_roles(frozenset(roles)), agent_id=agent)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(Policy("sha256:none"))


def test_an_evaluation_says_how_far_each_dimension_is(world: World) -> None:
    """Whether all of them are within their bounds, and by how much; without an agent it leaves nothing behind."""
    answer = evaluated(world, {"cost_limit": 100, "rate_limit": 10}, {"cost_used": 200, "requests_in_period": 5})
    assert not answer.evaluation.satisfied
    assert answer.evaluation.failed == ("cost_limit",)
    cost, rate = (answer.evaluation.results[name] for name in ("cost_limit", "rate_limit"))
    assert (cost.satisfied, cost.used, cost.limit, cost.remaining) == (False, 200, 100, 0)
    assert (rate.satisfied, rate.used, rate.limit, rate.remaining) == (True, 5, 10, 5)
    assert answer.flags == ()
    assert world.habits() == {}
    assert world.events() == []


@pytest.mark.parametrize(
    ("mode", "satisfied"), [("conjunctive", False), ("disjunctive", True), ("independent", True), ("hierarchical", False)]
)
def test_the_mode_makes_one_answer_of_all(world: World, mode: str, satisfied: bool) -> None:
    """Of three dimensions, the first of which failed."""
    constraints = {"cost_limit": 100, "rate_limit": 10, "data_access": "no_pii"}
    answer = evaluated(world, constraints, {"costUsed": 200, "requestsInPeriod": 5, "containsPii": False}, mode=mode)
    assert answer.evaluation.satisfied is satisfied
    assert answer.evaluation.failed == ("cost_limit",)


@pytest.mark.parametrize(
    ("constraints", "reason"),
    [
        ({"cost_limits": 5}, "unknown dimension `cost_limits`, did you mean `cost_limit`?"),
        ({"cost_limit": "many"}, "must be a number of cents, 0 or more, such as `1000`"),
        ({"token_limit": 5}, "dimension `token_limit` is not approved in version `1.0.0`"),
    ],
)
def test_what_cannot_be_used_has_failed(world: World, constraints: Mapping[str, Any], reason: str) -> None:
    """The reason says what would be right; the others are looked at all the same."""
    answer = evaluated(world, {**constraints, "data_access": "no_pii"}, {"contains_pii": False, "cost_used": 1}, known=installed(Tokens()))
    (name,) = constraints
    assert answer.evaluation.failed == (name,)
    assert answer.evaluation.results[name].reason == reason
    assert answer.evaluation.results["data_access"].satisfied


def test_nothing_of_a_dimension_runs_before_it_is_approved(world: World) -> None:
    """Not even the reading of a constraint; once it is approved, or where the process allows it, it is used."""
    ran = []

    class Noting(Tokens):
        def parse(self, value: Any) -> int:
            ran.append(value)
            return super().parse(value)

    known = installed(Noting())
    for _ in range(2):
        assert evaluated(world, {"token_limit": 10}, {"tokens_used": 5}, known=known).evaluation.failed == ("token_limit",)
        assert tightened(world, {"token_limit": 10}, {"token_limit": 5}, known) != ()
    assert ran == []
    assert evaluated(world, {"token_limit": 10}, {"tokens_used": 5}, known=replace(known, allow_unreviewed=True)).evaluation.satisfied
    say(world, known)
    assert evaluated(world, {"token_limit": 10}, {"tokensUsed": 5}, known=known).evaluation.satisfied
    assert evaluated(world, {"token_limit": 10}, {"tokens_used": 5}, known=known, caller=ELSEWHERE).evaluation.failed == ("token_limit",)


def test_the_time_is_the_services_own_where_none_is_given(make_world: MakeWorld) -> None:
    """In the policy's time zone."""
    world = make_world(bounded(sections={"time_zone": "Europe/Berlin"}))
    world.hand.time = int(datetime(2025, 1, 15, 8, 30, tzinfo=UTC).timestamp() * 1000)
    assert evaluated(world, {"time_window": "09:00-10:00"}).evaluation.satisfied
    assert not evaluated(world, {"time_window": "08:00-09:00"}).evaluation.satisfied
    assert evaluated(world, {"time_window": "08:00-09:00"}, {"current_time": "08:15"}).evaluation.satisfied


def test_ones_own_domains_are_the_policys(make_world: MakeWorld) -> None:
    """`internal_only` knows them on demand as it does at a check."""
    context = {"communication_target": "api.corp.example"}
    assert not evaluated(make_world(bounded()), {"communication": "internal_only"}, context).evaluation.satisfied
    world = make_world(bounded(internal_domains=["corp.example"]))
    assert evaluated(world, {"communication": "internal_only"}, context).evaluation.satisfied


def test_what_is_missing_fails_as_the_policy_has_it(make_world: MakeWorld) -> None:
    """It passes where the policy lets it."""
    assert not evaluated(make_world(bounded()), {"cost_limit": 5}).evaluation.satisfied
    assert evaluated(make_world(bounded(missing_context="pass")), {"cost_limit": 5}).evaluation.satisfied


def test_an_agents_requests_are_counted_by_the_service(each_world: MakeWorld) -> None:
    """What was let through in such a period, whatever the policy bounds; asking takes nothing, and without an agent nobody knows."""
    world = each_world(Policy("sha256:none"))
    for _ in range(4):
        world.check()
    world.check(agent="other")
    for _ in range(3):
        result = evaluated(world, {"rate_limit": "5/hour"}, agent="bot").evaluation.results["rate_limit"]
        assert (result.satisfied, result.used, result.limit, result.remaining) == (True, 4, 5, 1)
    assert not evaluated(world, {"rate_limit": "3/day"}, agent="bot").evaluation.satisfied
    assert evaluated(world, {"rate_limit": "3/day"}, {"requests_in_period": 1}, agent="bot").evaluation.satisfied
    result = evaluated(world, {"rate_limit": "5/hour"}).evaluation.results["rate_limit"]
    assert (result.satisfied, result.missing) == (False, "requests_in_period")
    assert evaluated(world, {"rate_limit": "1/hour"}, agent="bot", caller=ELSEWHERE).evaluation.results["rate_limit"].used == 0


def test_only_what_was_let_through_counts(make_world: MakeWorld) -> None:
    """What was refused, or still waits, does not; what was approved does; each leaves its window in time."""
    world = make_world(
        bounded(
            everybody={"cost_limit": 10},
            missing_context="pass",
            sections={"guardrails": [{"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask"}]},
        )
    )
    rate = {"rate_limit": "9/minute"}
    world.check()
    world.check(context={"cost_used": 11})
    world.check("waits", context={"ask": True})
    world.check(dry_run=True)
    assert evaluated(world, rate, agent="bot").evaluation.results["rate_limit"].used == 1
    world.resolve("waits")
    assert evaluated(world, rate, agent="bot").evaluation.results["rate_limit"].used == 2
    world.review("waits", "success")
    assert evaluated(world, rate, agent="bot").evaluation.results["rate_limit"].used == 2
    world.hand.advance(MINUTE)
    assert evaluated(world, rate, agent="bot").evaluation.results["rate_limit"].used == 0


def test_an_agents_evaluations_are_watched(each_world: MakeWorld) -> None:
    """Over restarts."""
    world = each_world(bounded(everybody={"cost_limit": 1000}))
    answer = evaluated(world, {"cost_limit": 1000}, {"cost_used": 960}, agent="bot")
    assert answer.evaluation.satisfied
    assert answer.flags == ("boundary_pushing:cost_limit (usage_ratio=0.96)",)
    for _ in range(4):
        assert evaluated(world, {"cost_limit": 100}, {"cost_used": 5}, agent="bot").flags == ()
    world.restart()
    for _ in range(3):
        assert evaluated(world, {"cost_limit": 100}, {"cost_used": 5}, agent="bot").flags == ()
    assert evaluated(world, {"cost_limit": 100}, {"cost_used": 5}, agent="bot").flags == ("constraint_splitting:cost_limit",)
    assert evaluated(world, {"cost_limit": 100}, {"cost_used": 5}, agent="other").flags == ()
    assert evaluated(world, {"cost_limit": 100}, {"cost_used": 5}).flags == ()


def test_no_agent_asks_its_way_out_of_its_habits(make_world: MakeWorld) -> None:
    """What it has evaluated against bounds of its own choice neither hides what its checks show, nor counts against them."""
    world = make_world(bounded(everybody={"cost_limit": 1000}, anti_gaming="block"))
    for _ in range(10):
        evaluated(world, {"cost_limit": 100}, {"cost_used": 5}, agent="bot")
    for _ in range(7):
        assert world.check(context={"cost_used": 5}).verdict.allowed
    for _ in range(10):
        evaluated(world, {"cost_limit": 100}, {"cost_used": 50}, agent="bot")
    assert not world.check(context={"cost_used": 5}).verdict.allowed


def test_an_agents_token_speaks_for_that_agent_alone(world: World) -> None:
    """Named or not, it is the one that is watched; another one is refused."""
    own = caller(Role.AGENT, agent="bot")
    answer = evaluation(world, {"cost_limit": 100}, {"cost_used": 99}, agent="other", caller=own)
    assert isinstance(answer, Forbidden)
    for named in (None, "bot"):
        assert evaluated(world, {"cost_limit": 100}, {"cost_used": 99}, agent=named, caller=own).flags != ()
    assert list(world.habits()) == ["bot"]
    assert world.habits()["bot"].habits.small == {"on_demand:cost_limit": (False, False)}


def test_who_may_only_read_leaves_nothing_behind(world: World) -> None:
    """It is told what the habits show with this evaluation among them."""
    for _ in range(7):
        evaluated(world, {"cost_limit": 100}, {"cost_used": 5}, agent="bot", caller=caller(Role.OPS))
    before = world.habits()
    for _ in range(3):
        answer = evaluated(world, {"cost_limit": 100}, {"cost_used": 5}, agent="bot", caller=caller(Role.VIEWER))
        assert answer.flags == ("constraint_splitting:cost_limit",)
    assert world.habits() == before


def test_a_child_may_only_tighten(world: World) -> None:
    """What is looser, or cannot be told, is said in the order of the child; what it leaves out is inherited, what it adds tightens."""
    parent = {"cost_limit": 100, "time_window": "09:00-17:00"}
    assert tightened(world, parent, {"cost_limit": 50, "data_access": "no_pii"}) == ()
    assert tightened(world, parent, {}) == ()
    assert tightened(world, parent, {"time_window": "08:00-12:00", "cost_limit": 200}) == (
        "Dimension 'time_window': child constraint (08:00-12:00) is looser than parent (09:00-17:00)",
        "Dimension 'cost_limit': child constraint (200) is looser than parent (100)",
    )
    assert len(tightened(world, {"cost_limitt": 1}, {"token_limit": 1}, installed(Tokens()))) == 2


def test_a_dimension_that_was_approved_tightens_too(world: World) -> None:
    """As it says itself."""
    known = installed(Tokens())
    say(world, known)
    assert tightened(world, {"token_limit": 10}, {"token_limit": 5}, known) == ()
    assert tightened(world, {"token_limit": 10}, {"token_limit": 15}, known) == (
        "Dimension 'token_limit': child constraint (15) is looser than parent (10)",
    )
