"""Budgets: reserved at the check, settled with the actual cost at the review, given back when the action never happened (SPEC 7)."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.decisions import Answer, Status
from cstp_server.domain.refusals import Conflict
from cstp_server.policy.compiled import Policy
from tests.services.conftest import MakeWorld
from tests.services.waiting_policy import APPROVAL_MS, AT_ONCE, CANCEL_MS, waiting_policy, wanting
from tests.services.world import World, checking, policy_of, reviewing

AMOUNT = "action.parameters.amount"
MINUTE = 60_000
BOT = Caller("bot-token", frozenset({Role.AGENT, Role.CI}), agent_id="bot")
CI = Caller("ci", frozenset({Role.CI}))


def budget(name: str = "money", *, max: float = 100, window: str = "total", **rule: Any) -> dict[str, Any]:
    quota = {"sum": AMOUNT, "window": window, "max": max}
    quota.update({key: rule.pop(key) for key in ("settle", "per", "sum") if key in rule})
    return {"name": name, "quota": quota, **rule}


FEW = {"name": "few", "quota": {"count": True, "window": "hour", "max": 100}}


def policy(*rules: dict[str, Any], **sections: Any) -> Policy:
    return waiting_policy(tripwires={"rules": [*(rules or (budget(),)), FEW]}, **sections)


def pay(world: World, amount: float, id: str | None = None, *, kind: str | None = None) -> Answer:
    return world.check(id, parameters={"amount": amount}, context=wanting(kind) if kind is not None else {})


def costing(cost: float | None) -> dict[str, Any]:
    """The details of a review that knows this cost, or none."""
    return {} if cost is None else {"actual_cost": cost}


def spent(world: World) -> float:
    return world.used("money")


@pytest.mark.parametrize("window", ["minute", "hour", "day", "total"])
@pytest.mark.parametrize(
    ("outcome", "cost", "left"),
    [
        ("success", None, 40),
        ("success", 25, 25),
        ("success", 0.1, 0.1),
        ("success", 0, 0),
        ("success", 90.5, 90.5),
        ("failure", None, 40),
        ("failure", 10, 10),
        ("partial", 10, 10),
        ("abandoned", None, 0),
        ("abandoned", 10, 0),
    ],
)
def test_a_review_settles_what_was_reserved(each_world: MakeWorld, window: str, outcome: str, cost: float | None, left: float) -> None:
    """The actual cost takes the place of the amount, be it lower, higher or nothing; unknown, it stays; abandoned, all comes back."""
    world = each_world(policy(budget(window=window)))
    assert pay(world, 40, "one").verdict.allowed
    assert spent(world) == 40
    details = costing(cost)
    world.review("one", outcome, **details)
    assert spent(world) == left
    assert world.review("one", outcome, **details).duplicate
    assert spent(world) == left
    assert world.used("few") == 1
    assert pay(world, 100 - left).verdict.allowed
    assert not pay(world, 0.000000001).verdict.allowed


def test_an_actual_cost_beyond_the_budget_is_counted_and_blocks_the_next(each_world: MakeWorld) -> None:
    """What was spent was spent: the budget is in the red, even an action that costs nothing is refused, and lowering helps nothing."""
    world = each_world(policy())
    pay(world, 40, "one")
    world.review("one", "success", actual_cost=150)
    assert spent(world) == 150
    refused = pay(world, 0)
    assert not refused.verdict.allowed
    assert [remedy.change for remedy in refused.remedies] == ["approval"]
    assert "(150 used)" in refused.verdict.violations[0].message


def test_a_cost_that_is_no_amount_leaves_what_was_reserved(make_world: MakeWorld) -> None:
    """A negative one must not fill the budget up, nor one that is no number."""
    world = make_world(policy())
    for number, cost in enumerate((-1000, float("nan"), float("inf"), float("-inf"))):
        pay(world, 10, f"d{number}")
        world.review(f"d{number}", "success", actual_cost=cost)
    assert spent(world) == 40


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        *((kind, end) for kind in ("cancel_window", "confirmation", "approval") for end in ("deny", "cancel", "abandoned")),
        ("confirmation", "time"),
        ("approval", "time"),
    ],
)
def test_what_never_happened_gives_everything_back(make_world: MakeWorld, kind: str, end: str) -> None:
    """Denied, cancelled, expired, abandoned: the budget and the count are as before, and the next one has them."""
    world = make_world(policy())
    assert pay(world, 60, "one", kind=kind).pending is not None
    assert not pay(world, 41).verdict.allowed
    assert (spent(world), world.used("few")) == (60, 1)
    if end == "abandoned":
        world.review("one", "abandoned")
    elif end == "time":
        world.hand.advance(APPROVAL_MS)
        world.sweep()
    else:
        world.resolve("one", end)
    assert (spent(world), world.used("few")) == (0, 0)
    assert pay(world, 100).verdict.allowed


def test_a_count_does_not_come_back_once_it_was_let_through(make_world: MakeWorld) -> None:
    """An action that was allowed and then abandoned was an action; the money comes back, the place does not."""
    world = make_world(policy())
    pay(world, 40, "allowed")
    pay(world, 40, "approved", kind="approval")
    world.resolve("approved")
    pay(world, 20, "window", kind="cancel_window")
    world.hand.advance(CANCEL_MS)
    world.sweep()
    assert (spent(world), world.used("few")) == (100, 3)
    for id in ("allowed", "approved", "window"):
        world.review(id, "abandoned")
    assert (spent(world), world.used("few")) == (0, 3)


def test_an_approved_action_is_settled_as_any_other(each_world: MakeWorld) -> None:
    """Reserved at the check, claimed anew at the approval, settled at the review: once in all."""
    world = each_world(policy())
    pay(world, 60, "one", kind="approval")
    world.resolve("one")
    assert spent(world) == 60
    world.review("one", "success", actual_cost=45.5)
    assert (spent(world), world.used("few")) == (45.5, 1)


def test_what_is_blocked_and_asks_reserves_nothing_until_it_is_approved(each_world: MakeWorld) -> None:
    """A limit's refusal takes nothing while it waits; approved, it has its share, beyond the limit if need be."""
    world = each_world(policy())
    pay(world, 80)
    refused = pay(world, 30, "one")
    assert refused.pending is not None
    assert spent(world) == 80
    world.resolve("one")
    assert spent(world) == 110
    world.review("one", "abandoned")
    assert spent(world) == 80


def test_a_second_look_that_refuses_gives_back(each_world: MakeWorld) -> None:
    """Approved by a person, refused by what has come up since."""
    world = each_world(policy())
    pay(world, 60, "one", kind="approval")
    world.check(context={"data_exfiltration": True}, parameters={"amount": 1})
    assert world.resolve("one").status is Status.DENIED
    assert (spent(world), world.used("few")) == (0, 0)


# Amending


@pytest.mark.parametrize("window", ["hour", "day", "total"])
def test_an_amended_review_settles_as_if_it_had_been_the_first(each_world: MakeWorld, window: str) -> None:
    """Abandoned and not after all, another cost, and back again: each time what the last word says, and no drift. A known cost stays."""
    world = each_world(policy(budget(window=window)))
    pay(world, 40, "one")
    pay(world, 10, "other")
    for outcome, cost, left in [
        ("success", None, 50),
        ("abandoned", None, 10),
        ("failure", None, 50),
        ("success", 30, 40),
        ("abandoned", None, 10),
        ("success", None, 40),
        ("success", 0, 10),
        ("failure", 70, 80),
        ("abandoned", 70, 10),
        ("success", 0.1, 10.1),
        ("partial", None, 10.1),
    ]:
        details = costing(cost)
        world.review("one", outcome, amend=True, **details)
        assert spent(world) == left
        world.restart()
    assert world.used("few") == 2


def test_only_the_cost_may_be_amended(each_world: MakeWorld) -> None:
    """The same outcome with another cost changes the budget and nothing else; without `amend` it is a duplicate."""
    world = each_world(policy())
    pay(world, 40, "one")
    world.review("one", "success", actual_cost=30)
    assert world.review("one", "success", actual_cost=10).duplicate
    assert spent(world) == 30
    assert isinstance(world.run(reviewing("one", "failure", actual_cost=10)), Conflict)
    assert spent(world) == 30
    assert not world.review("one", "success", actual_cost=10, amend=True).duplicate
    assert spent(world) == 10


def test_a_review_while_it_waits_settles_too_and_can_be_amended(each_world: MakeWorld) -> None:
    """Somebody went on anyway: what it cost counts; abandoned, it never happened, and gives its place back as well."""
    world = each_world(policy())
    pay(world, 40, "one", kind="approval")
    world.review("one", "success", actual_cost=30)
    assert (spent(world), world.used("few")) == (30, 1)
    world.review("one", "abandoned", amend=True)
    assert (spent(world), world.used("few")) == (0, 0)
    world.review("one", "failure", amend=True)
    assert (spent(world), world.used("few")) == (30, 1)


def test_a_review_of_what_was_turned_down_takes_nothing(each_world: MakeWorld) -> None:
    """What it had was given back; a later review, amended too, moves no budget, and none twice."""
    world = each_world(policy())
    pay(world, 40, "one", kind="approval")
    world.resolve("one", "deny")
    world.review("one", "abandoned")
    world.review("one", "success", amend=True, actual_cost=10)
    assert (spent(world), world.used("few")) == (0, 0)


# Reviews by the agent itself


@pytest.mark.parametrize(
    ("counts", "outcome", "cost", "left"),
    [
        ("count", "abandoned", None, 0),
        ("count", "success", 1, 1),
        ("ignore", "abandoned", None, 40),
        ("ignore", "success", 1, 40),
        ("ignore", "success", 90, 40),
        ("failures_only", "abandoned", None, 40),
        ("failures_only", "success", 1, 40),
        ("failures_only", "failure", 90, 90),
    ],
)
def test_an_agent_fills_up_its_own_budget_only_where_its_word_counts(
    each_world: MakeWorld, counts: str, outcome: str, cost: float | None, left: float
) -> None:
    """Otherwise an agent could spend without end by reporting each time that it had not; what others then say stands."""
    world = each_world(policy(reviews={"self_reported": counts}))
    world.run(checking("one", caller=BOT, parameters={"amount": 40}))
    details = costing(cost)
    assert world.review("one", outcome, caller=BOT, **details).self_reported
    assert spent(world) == left
    if counts != "count":
        assert not world.review("one", "success", actual_cost=15, caller=CI).duplicate
        assert spent(world) == 15


# Windows and days


def at(world: World, text: str) -> None:
    world.hand.time = int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)


def test_what_was_reserved_yesterday_counts_on_the_day_that_it_is_let_through(make_world: MakeWorld) -> None:
    """Checked before midnight and approved after it: it is the new day's, and the old day's is over."""
    world = make_world(policy(budget(window="day"), time_zone="Europe/Berlin"))
    at(world, "2024-03-30T23:59:59")
    pay(world, 60, "one", kind="approval")
    assert not pay(world, 41).verdict.allowed
    at(world, "2024-03-31T00:00:00")
    assert world.resolve("one").status is Status.APPROVED
    assert not pay(world, 41).verdict.allowed
    assert pay(world, 40).verdict.allowed
    assert spent(world) == 100


@pytest.mark.parametrize("end", ["deny", "cancel", "expire", "abandoned"])
def test_what_was_reserved_yesterday_gives_nothing_back_to_today(make_world: MakeWorld, end: str) -> None:
    """The reservation was part of a day that is over; today's budget is neither smaller nor greater by it."""
    world = make_world(policy(budget(window="day"), time_zone="Europe/Berlin"))
    at(world, "2024-10-26T23:59:30")
    pay(world, 60, "one", kind="approval")
    at(world, "2024-10-27T00:00:10")
    assert pay(world, 30).verdict.allowed
    if end == "expire":
        world.hand.advance(APPROVAL_MS)
        world.sweep()
    elif end == "abandoned":
        world.review("one", "abandoned")
    else:
        world.resolve("one", end)
    assert spent(world) == 30
    assert not pay(world, 70.1).verdict.allowed
    assert pay(world, 70).verdict.allowed


@pytest.mark.parametrize(("outcome", "cost"), [("success", 5), ("success", 500), ("abandoned", None)])
@pytest.mark.parametrize("window", ["minute", "hour", "day"])
def test_a_review_after_the_window_moves_nothing_of_the_next_one(
    make_world: MakeWorld, window: str, outcome: str, cost: float | None
) -> None:
    """What is settled late belonged to a window that has passed it; amending it then moves nothing either."""
    world = make_world(policy(budget(window=window), time_zone="Europe/Berlin"))
    at(world, "2024-07-01T22:59:00")
    pay(world, 60, "one")
    world.hand.advance({"minute": MINUTE, "hour": 60 * MINUTE, "day": 61 * MINUTE}[window])
    assert pay(world, 30).verdict.allowed
    world.review("one", outcome, **costing(cost))
    assert spent(world) == 30
    world.review("one", "failure", actual_cost=7, amend=True)
    assert spent(world) == 30
    assert pay(world, 70).verdict.allowed
    assert not pay(world, 0.1).verdict.allowed


def test_what_was_settled_leaves_a_rolling_window_with_what_it_cost(make_world: MakeWorld) -> None:
    """Higher, lower, nothing or restored by an amendment: when its minute is over exactly that is free again."""
    world = make_world(policy(budget(window="minute")))
    for number, (amount, cost) in enumerate([(30, 10), (30, 45), (20, 0), (15, None)]):
        pay(world, amount, f"d{number}")
        world.review(f"d{number}", "success", **costing(cost))
        world.hand.advance(1_000)
    assert spent(world) == 70
    world.review("d2", "failure", actual_cost=12, amend=True)
    world.review("d3", "abandoned", amend=True)
    world.review("d3", "success", amend=True)
    assert spent(world) == 82
    world.hand.advance(MINUTE - 4_000)
    for amounts in (72, 27, 15, 0):
        world.restart()
        assert pay(world, 0).verdict.allowed
        assert spent(world) == amounts
        assert not pay(world, 100.1 - amounts).verdict.allowed
        world.hand.advance(1_000)


def test_what_is_approved_later_stays_in_the_window_from_then_on(make_world: MakeWorld) -> None:
    """A reservation of half a minute ago is claimed anew: it leaves the window a minute after the approval, and only once."""
    world = make_world(policy(budget(window="minute")))
    pay(world, 60, "one", kind="approval")
    world.hand.advance(30_000)
    world.resolve("one")
    world.hand.advance(30_000)
    assert not pay(world, 41).verdict.allowed
    world.hand.advance(29_999)
    assert not pay(world, 41).verdict.allowed
    world.hand.advance(1)
    assert pay(world, 100).verdict.allowed
    assert not pay(world, 0.1).verdict.allowed


# What settles


def test_only_what_is_about_the_amount_is_settled_unless_the_policy_says_so(each_world: MakeWorld) -> None:
    """The actual cost is money: it takes the place of no number of records; given back it is all the same."""
    rows = "action.parameters.rows"
    world = each_world(
        policy(
            budget("rows", max=1000, sum=rows),
            budget("cents", max=1000, sum="action.parameters.cents", settle=True),
            budget("fixed", max=1000, settle=False),
        )
    )
    world.check("one", parameters={"rows": 500, "cents": 300, "amount": 3})
    world.review("one", "success", actual_cost=7)
    assert (world.used("rows"), world.used("cents"), world.used("fixed")) == (500, 7, 3)
    world.review("one", "abandoned", amend=True)
    assert (world.used("rows"), world.used("cents"), world.used("fixed")) == (0, 0, 0)


def test_a_budget_that_is_gone_or_changed_by_a_reload_is_settled_all_the_same(each_world: MakeWorld) -> None:
    """What a decision has of a budget is on its own record: another limit, or no budget at all by now, and back again."""
    world = each_world(policy())
    pay(world, 60, "one")
    pay(world, 30, "two", kind="approval")
    world.policy = policy_of()
    world.review("one", "success", actual_cost=10)
    world.resolve("two", "deny")
    assert spent(world) == 10
    world.policy = policy(budget(max=15))
    assert not pay(world, 5.1).verdict.allowed
    assert pay(world, 5).verdict.allowed


def test_a_budget_that_came_into_force_meanwhile_is_charged_at_the_approval(each_world: MakeWorld) -> None:
    """It was not there at the check; the action goes on now, so it has its share now."""
    world = each_world(waiting_policy())
    pay(world, 30, "one", kind="approval")
    pay(world, 80, "two", kind="approval")
    world.policy = policy()
    assert world.resolve("one").status is Status.APPROVED
    assert spent(world) == 30
    assert world.resolve("two").status is Status.DENIED
    assert spent(world) == 30


def test_time_gives_back_what_nobody_answered_on_either_database(each_world: MakeWorld) -> None:
    """By the sweep."""
    world = each_world(policy(waits=AT_ONCE))
    pay(world, 60, "one", kind="approval")
    assert spent(world) == 60
    world.sweep()
    assert (world.status("one"), spent(world)) == ("expired", 0)


def test_a_tally_is_what_the_decisions_have_of_it(each_world: MakeWorld) -> None:
    """After all kinds of ends, the row is the sum of the claims on the decisions' own records."""
    world = each_world(policy())
    for number, end in enumerate(["success", "abandoned", "approve", "deny", "cancel", "none", "blocked"]):
        id = f"d{number}"
        pay(world, 500 if end == "blocked" else 10.1, id, kind="approval" if end in {"approve", "deny", "cancel"} else None)
        if end in {"approve", "deny", "cancel"}:
            world.resolve(id, end)
        elif end in {"success", "abandoned"}:
            world.review(id, end, **costing(3.3 if end == "success" else None))
    decisions = [world.decision(f"d{number}") for number in range(7)]
    claims = [claim for decision in decisions if decision is not None for claim in decision.claims]
    tallies = world.tallies()
    for name in ("money", "few"):
        assert tallies[name].used == sum(claim.amount for claim in claims if claim.meter.startswith(f"{name}|"))
    assert spent(world) == 3.3 + 10.1 + 10.1
