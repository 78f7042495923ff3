"""Quotas: exact in every window, all or nothing, and never lost (SPEC 3 and 7)."""

from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.decisions import Answer
from cstp_server.domain.findings import Intervention, Remedy
from cstp_server.policy.compiled import Policy
from cstp_server.storage import tables
from tests.services.conftest import MakeWorld
from tests.services.world import START, World, checking, policy_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WINDOWS = {"minute": MINUTE, "hour": HOUR}
ADA = Caller("ada", frozenset(Role), "north")
BOB = Caller("bob", frozenset(Role), "south")
AMOUNT = "action.parameters.amount"


def quota(name: str = "few", *, max: float = 3, window: str = "hour", sums: str | None = None, **rule: Any) -> dict[str, Any]:
    """A rule with a quota; `per` belongs to the quota, everything else to the rule."""
    measured: dict[str, Any] = {"count": True} if sums is None else {"sum": sums}
    per = {"per": rule.pop("per")} if "per" in rule else {}
    return {"name": name, "quota": {**measured, **per, "window": window, "max": max}, **rule}


def budget(name: str = "money", *, max: float = 100, window: str = "total", **rule: Any) -> dict[str, Any]:
    return quota(name, max=max, window=window, sums=AMOUNT, **rule)


def rules(*tripwires: dict[str, Any], **sections: Any) -> Policy:
    return policy_of(tripwires={"rules": list(tripwires)}, **sections)


def pay(world: World, amount: Any, **details: Any) -> Answer:
    return world.check(parameters={"amount": amount}, **details)


def allowed(world: World, **details: Any) -> bool:
    return world.check(**details).verdict.allowed


def waits(answer: Answer) -> list[int | None]:
    """Until when the answer's remedies say to wait."""
    return [remedy.until for remedy in answer.remedies if remedy.change == "wait"]


def lowers(answer: Answer) -> list[Remedy]:
    return [remedy for remedy in answer.remedies if remedy.change == "lower"]


def at(world: World, text: str, zone: str = "Europe/Berlin") -> None:
    """Set the world's clock to a time, local in that zone where it gives no offset."""
    time = datetime.fromisoformat(text)
    world.hand.time = int((time if time.tzinfo is not None else time.replace(tzinfo=ZoneInfo(zone))).timestamp() * 1000)


def everything(world: World) -> dict[str, list[Any]]:
    """All that quotas have in the store."""
    with world.connected() as connection:
        found = {table.name: list(connection.execute(select(table))) for table in (tables.usage, tables.claims)}
    return {"usage": [row for row in found["usage"] if row.data != "{}"], "claims": found["claims"]}


@pytest.mark.parametrize("window", WINDOWS)
def test_a_rolling_window_lets_go_of_a_claim_to_the_millisecond(make_world: MakeWorld, window: str) -> None:
    """Each claim counts for exactly the window's length, no more and no less, and the next one frees its own place later."""
    length = WINDOWS[window]
    world = make_world(rules(quota(max=2, window=window)))
    assert allowed(world)
    world.hand.advance(10)
    assert allowed(world)
    world.hand.advance(10)
    refused = world.check()
    assert refused.verdict.intervention is Intervention.BLOCK
    assert waits(refused) == [START + length]
    world.hand.time = START + length - 1
    assert not allowed(world)
    world.hand.time = START + length
    assert allowed(world)
    assert waits(world.check()) == [START + length + 10]
    world.hand.time = START + length + 9
    assert not allowed(world)
    world.hand.time = START + length + 10
    assert allowed(world)
    assert not allowed(world)


def test_a_sum_lets_go_of_each_amount_as_it_leaves_the_window(make_world: MakeWorld) -> None:
    """What was spent a window ago is free again, what was spent later is not yet."""
    world = make_world(rules(budget(window="minute")))
    assert pay(world, 60).verdict.allowed
    world.hand.advance(1_000)
    assert pay(world, 30).verdict.allowed
    assert not pay(world, 50).verdict.allowed
    world.hand.time = START + MINUTE - 1
    assert not pay(world, 50).verdict.allowed
    world.hand.time = START + MINUTE
    assert pay(world, 50).verdict.allowed
    assert world.used("money") == 80
    assert not pay(world, 21).verdict.allowed
    assert pay(world, 20).verdict.allowed


@pytest.mark.parametrize("sums", [False, True])
def test_no_window_anywhere_holds_more_than_the_limit_and_no_refusal_is_too_early(make_world: MakeWorld, sums: bool) -> None:
    """At random times, each refusal and each permission is what counting the claims of the window by hand gives."""
    random, limit = Random(7), 7
    world = make_world(rules(budget(max=limit, window="minute") if sums else quota(max=limit, window="minute")))
    claims: list[tuple[int, int]] = []
    for _ in range(400):
        world.hand.advance(random.choice([0, 0, 1, 500, 3_000, 9_000, 20_000, MINUTE]))
        now, amount = world.hand.now(), random.randint(1, 4) if sums else 1
        used = sum(taken for time, taken in claims if time > now - MINUTE)
        said = pay(world, amount).verdict.allowed
        assert said is (used + amount <= limit)
        if said:
            claims.append((now, amount))


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        ("2024-07-01T00:00:00", "2024-07-01T23:59:59.999", 24),
        ("2024-03-31T00:00:00", "2024-03-31T23:59:59.999", 23),
        ("2024-10-27T00:00:00", "2024-10-27T23:59:59.999", 25),
    ],
)
def test_a_day_is_a_calendar_day_whatever_its_length(make_world: MakeWorld, first: str, last: str, hours: int) -> None:
    """In Berlin a day has 24 hours, 23 in spring's change of clocks and 25 in autumn's; the wait is until midnight."""
    world = make_world(policy_of(tripwires={"daily_action_limit": 2}, time_zone="Europe/Berlin"))
    at(world, first)
    begin = world.hand.now()
    world.hand.advance(-1)
    assert (allowed(world), allowed(world), allowed(world)) == (True, True, False)
    world.hand.advance(1)
    assert allowed(world)
    at(world, last)
    assert world.hand.now() == begin + hours * HOUR - 1
    assert allowed(world)
    refused = world.check()
    assert waits(refused) == [begin + hours * HOUR]
    world.hand.advance(1)
    assert allowed(world)


def test_a_day_without_a_midnight_begins_when_its_clocks_do(make_world: MakeWorld) -> None:
    """In Santiago the clocks go from 23:59:59 to 01:00:00 on the eighth of September 2024."""
    world = make_world(policy_of(tripwires={"daily_action_limit": 1}, time_zone="America/Santiago"))
    at(world, "2024-09-07T23:59:59.999", "America/Santiago")
    assert (allowed(world), allowed(world)) == (True, False)
    world.hand.advance(1)
    assert (allowed(world), allowed(world)) == (True, False)
    at(world, "2024-09-08T23:59:59.999", "America/Santiago")
    assert not allowed(world)
    world.hand.advance(1)
    assert allowed(world)


@pytest.mark.parametrize("looks_in_between", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "spent_at", "reloaded_at", "asked_at"),
    [
        ("Europe/Berlin", "UTC", "2024-07-01T12:00:00+00:00", "2024-07-01T21:00:00+00:00", "2024-07-01T22:30:00+00:00"),
        ("UTC", "America/New_York", "2024-07-01T12:00:00+00:00", "2024-07-01T21:00:00+00:00", "2024-07-02T03:59:59+00:00"),
        ("UTC", "Europe/Berlin", "2024-07-01T12:00:00+00:00", "2024-07-01T21:00:00+00:00", "2024-07-01T21:59:59+00:00"),
    ],
)
def test_a_change_of_time_zone_gives_nothing_of_today_back(
    make_world: MakeWorld, before: str, after: str, spent_at: str, reloaded_at: str, asked_at: str, looks_in_between: bool
) -> None:
    """What was used on the calendar day of the zone now in force stays used, though the old zone's day is over."""
    world = make_world(policy_of(tripwires={"daily_action_limit": 2}, time_zone=before))
    at(world, spent_at)
    assert (allowed(world), allowed(world), allowed(world)) == (True, True, False)
    at(world, reloaded_at)
    world.policy = policy_of(tripwires={"daily_action_limit": 2}, time_zone=after)
    if looks_in_between:
        assert not allowed(world)
    at(world, asked_at)
    assert not allowed(world)


def test_a_change_of_time_zone_takes_nothing_of_yesterday_along(make_world: MakeWorld) -> None:
    """Once the day of the zone now in force has begun, nothing counts that was used before it."""
    world = make_world(policy_of(tripwires={"daily_action_limit": 2}, time_zone="UTC"))
    at(world, "2024-07-01T12:00:00+00:00")
    assert (allowed(world), allowed(world), allowed(world)) == (True, True, False)
    world.policy = policy_of(tripwires={"daily_action_limit": 2}, time_zone="Europe/Berlin")
    at(world, "2024-07-02T00:00:00")
    assert (allowed(world), allowed(world), allowed(world)) == (True, True, False)
    at(world, "2024-07-02T23:59:59.999")
    assert not allowed(world)
    world.hand.advance(1)
    assert allowed(world)


def test_what_is_counted_for_ever_never_comes_back(make_world: MakeWorld) -> None:
    """A hundred years later the budget is as empty as before, and no waiting is advised."""
    world = make_world(rules(budget()))
    assert pay(world, 100).verdict.allowed
    refused = pay(world, 1)
    assert waits(refused) == []
    world.hand.advance(100 * 365 * DAY)
    assert not pay(world, 1).verdict.allowed


@pytest.mark.parametrize(
    ("per", "same", "other"),
    [
        ("agent", {"agent": "bot"}, {"agent": "other"}),
        ("user", {"user_id": "u1"}, {"user_id": "u2"}),
        ("category", {"category": "billing"}, {"category": "shipping"}),
    ],
)
def test_each_subject_has_a_quota_of_its_own(each_world: MakeWorld, per: str, same: dict[str, str], other: dict[str, str]) -> None:
    """One has used it up, the other has not; and what is left out is a subject like any other."""
    world = each_world(rules(quota(max=2, per=per)))
    assert [allowed(world, **same) for _ in range(3)] == [True, True, False]
    assert [allowed(world, **other) for _ in range(3)] == [True, True, False]
    if per != "agent":
        nobody = dict.fromkeys(same)
        assert [allowed(world, **nobody) for _ in range(3)] == [True, True, False]


def test_a_global_quota_counts_everybody_together(each_world: MakeWorld) -> None:
    """Three agents, users and categories, one quota."""
    world = each_world(rules(quota(max=3, per="global")))
    said = [allowed(world, agent=f"a{number}", user_id=f"u{number}", category=f"c{number}") for number in range(4)]
    assert said == [True, True, True, False]
    assert world.used("few", "global") == 3


def test_claims_are_all_or_nothing(each_world: MakeWorld) -> None:
    """One quota is used up: none of the others loses anything by the attempts, whoever they belong to."""
    world = each_world(
        rules(
            quota("mine", max=100),
            quota("users", max=100, per="user", window="day"),
            quota("everybody", max=2, per="global", window="total"),
            budget("money", max=100, per="category"),
        )
    )
    for _ in range(5):
        pay(world, 10, user_id="u")
    assert world.used("mine") == world.used("users", "user:u") == world.used("everybody", "global") == 2
    assert world.used("money", "category:tooling") == 20
    with world.connected() as connection:
        assert len(connection.execute(select(tables.claims)).all()) == 2


def test_a_dry_run_takes_nothing(each_world: MakeWorld) -> None:
    """However often it is asked what would be, the quota is whole, and what it says is what is then done."""
    world = each_world(rules(quota(max=1), budget()))
    assert all(world.run(checking(dry_run=True, parameters={"amount": 60})).verdict.allowed for _ in range(5))
    assert everything(world) == {"usage": [], "claims": []}
    assert pay(world, 60).verdict.allowed
    before = everything(world)
    tried = world.run(checking(dry_run=True, parameters={"amount": 60}))
    assert [finding.guardrail for finding in tried.verdict.violations] == ["few", "money"]
    assert everything(world) == before


def test_what_is_blocked_takes_nothing(each_world: MakeWorld) -> None:
    """A rule, a limit, a halted agent: a refusal for whatever reason leaves every quota as it was."""
    rule = {"id": "no", "when": "action.context.forbidden == true", "message": "no"}
    limit = {"name": "big", "limit": {"field": AMOUNT, "max": 50}}
    world = each_world(rules(quota(max=1), budget(), limit, guardrails=[rule]))
    assert not pay(world, 10, context={"forbidden": True}).verdict.allowed
    assert not pay(world, 51).verdict.allowed
    assert not pay(world, "many").verdict.allowed
    assert world.check(context={"data_exfiltration": True}, agent="rogue").verdict.intervention is Intervention.HALT
    assert not pay(world, 10, agent="rogue").verdict.allowed
    assert everything(world) == {"usage": [], "claims": []}
    assert pay(world, 10).verdict.allowed


def test_a_shadowed_quota_counts_and_never_blocks(each_world: MakeWorld) -> None:
    """It goes on counting past its limit, says so under `shadow`, and each time is a hit without effect."""
    world = each_world(rules(quota(max=2, mode="shadow")))
    answers = [world.check() for _ in range(4)]
    assert all(answer.verdict.allowed for answer in answers)
    assert [[finding.guardrail for finding in answer.verdict.shadow] for answer in answers] == [[], [], ["few"], ["few"]]
    assert world.used("few") == 4
    assert (world.hits()["few"].hits, world.hits()["few"].shadowed) == (0, 2)


def test_a_quota_that_is_off_counts_nothing(each_world: MakeWorld) -> None:
    """It is as if it were not there."""
    world = each_world(rules(quota(max=0, mode="off")))
    assert allowed(world)
    assert everything(world) == {"usage": [], "claims": []}


def test_a_quota_counts_only_what_it_applies_to(each_world: MakeWorld) -> None:
    """Other categories, types and agents take nothing of it."""
    applies = {"categories": ["Billing"], "types": ["Refund"], "agents": ["bot"]}
    world = each_world(rules(quota(max=1, applies_to=applies)))
    refund = {"category": "billing", "type": "refund"}
    assert [allowed(world, **refund) for _ in range(2)] == [True, False]
    assert allowed(world, category="billing", type="payout")
    assert allowed(world, category="shipping", type="refund")
    assert allowed(world, agent="other", **refund)


def test_the_same_decision_counts_once(each_world: MakeWorld) -> None:
    """Asked again with its id, after a restart too, it gets its answer and takes nothing more; a refused one stays refused."""
    paying = budget(applies_to={"tags": ["pays"]})
    world = each_world(rules(quota(max=2), paying))
    answers = [world.check("again", tags=("pays",), parameters={"amount": 10}) for _ in range(3)]
    world.restart()
    answers += world.batch(*(checking("again", tags=("pays",), parameters={"amount": 10}) for _ in range(3)))
    assert all(answer == answers[0] for answer in answers)
    assert (world.used("few"), world.used("money")) == (1, 10)
    assert [allowed(world), allowed(world)] == [True, False]
    refused = world.check("refused")
    world.policy = rules(quota(max=10), paying)
    assert world.check("refused") == refused
    assert world.used("few") == 2


def test_counts_survive_a_reload_a_restart_and_another_limit(each_world: MakeWorld) -> None:
    """A raised limit leaves room for the difference, a lowered one none until enough is free again."""
    world = each_world(rules(quota(max=3), quota("other", max=100)))
    assert [allowed(world) for _ in range(4)] == [True, True, True, False]
    world.restart()
    assert not allowed(world)
    world.policy = rules(quota("other", max=100), quota(max=5, message="other words"))
    assert [allowed(world) for _ in range(3)] == [True, True, False]
    world.policy = rules(quota(max=2))
    world.restart()
    assert not allowed(world)
    world.policy = rules()
    assert allowed(world)
    world.policy = rules(quota(max=6))
    assert [allowed(world) for _ in range(2)] == [True, False]


def test_a_quota_that_measures_something_else_begins_anew(make_world: MakeWorld) -> None:
    """The same name with another window, or with a sum, is another quota."""
    world = make_world(rules(quota(max=1)))
    assert [allowed(world), allowed(world)] == [True, False]
    world.policy = rules(quota(max=1, window="day"))
    assert [allowed(world), allowed(world)] == [True, False]
    world.policy = rules(budget("few", max=1, window="day"))
    assert [pay(world, 1).verdict.allowed, pay(world, 1).verdict.allowed] == [True, False]
    world.policy = rules(quota(max=1))
    assert not allowed(world)


def test_tenants_never_share_a_quota(each_world: MakeWorld) -> None:
    """The same agent, user and names on both sides, one of which has used up everything, in one transaction too."""
    world = each_world(rules(quota(max=2, per="global"), budget(per="user")))
    calls = [checking(caller=caller, parameters={"amount": 50}, user_id="u") for _ in range(3) for caller in (ADA, ADA, BOB)]
    said = [answer.verdict.allowed for answer in world.batch(*calls)]
    assert said == [True, True, True, False, False, True, False, False, False]
    assert world.used("few", "global", "north") == world.used("few", "global", "south") == 2
    assert world.used("few", "global") == 0


def test_sums_of_a_tenth_are_exact(each_world: MakeWorld) -> None:
    """Ten tenths are one, three are three tenths, and not a billionth more fits in."""
    world = each_world(rules(budget("one", max=1), budget("third", max=0.3, applies_to={"categories": ["third"]})))
    assert [pay(world, 0.1).verdict.allowed for _ in range(11)] == [True] * 10 + [False]
    assert world.tallies()["one"].used == UNIT
    assert not pay(world, 0.000000001).verdict.allowed
    assert pay(world, 0).verdict.allowed
    other = {"agent": "other", "category": "third"}
    assert [pay(world, 0.1, **other).verdict.allowed for _ in range(4)] == [True] * 3 + [False]


def test_huge_and_tiny_amounts_are_counted_to_the_last_digit(each_world: MakeWorld) -> None:
    """Beyond 64 bits, and down to a billionth; what is smaller still counts as one."""
    largest = 2**63 - 1
    world = each_world(rules(budget(max=1e21)))
    for _ in range(3):
        assert pay(world, largest).verdict.allowed
    assert world.tallies()["money"].used == 3 * largest * UNIT
    assert pay(world, 0.000000001).verdict.allowed
    assert pay(world, 1e-300).verdict.allowed
    assert world.tallies()["money"].used == 3 * largest * UNIT + 2
    world.restart()
    assert pay(world, largest).verdict.allowed
    assert world.tallies()["money"].used == 4 * largest * UNIT + 2


@pytest.mark.parametrize("amount", [1e300, 1.7976931348623157e308, 10.0**25])
@pytest.mark.parametrize("max", [100, 1e20, 1e21 + 0.5])
def test_an_amount_beyond_all_measure_is_refused_with_an_answer(each_world: MakeWorld, amount: float, max: float) -> None:
    """It is an ordinary refusal, recorded as any other, whatever number the limit is."""
    world = each_world(rules(budget(max=max)))
    assert pay(world, 1).verdict.allowed
    refused = world.check("huge", parameters={"amount": amount})
    assert [finding.guardrail for finding in refused.verdict.violations] == ["money"]
    decision = world.decision("huge")
    assert decision is not None
    assert decision.answer == refused
    assert world.used("money") == 1


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        (None, "amount is missing"),
        ("100", "amount is not a number"),
        (True, "amount is not a number"),
        ([1], "amount is not a number"),
        (-1, "amount is negative"),
        (-0.1, "amount is negative"),
        (float("nan"), "amount is not finite"),
    ],
)
def test_what_is_no_amount_trips_and_takes_nothing(make_world: MakeWorld, amount: Any, says: str) -> None:
    """Missing where the key is there, a text, a truth value, a list, less than nothing, no number: fail closed."""
    world = make_world(policy_of(tripwires={"budget_limit": 100}))
    answer = world.run(checking(dry_run=True, parameters={"amount": amount}))
    assert [finding.message for finding in answer.verdict.violations] == [f"Tripwire triggered: {says}, budget_limit is 100"]
    assert allowed(world)
    assert world.used("budget_limit") == 0


def test_another_spelling_of_the_amount_dodges_no_budget(make_world: MakeWorld) -> None:
    """Whatever the case and the separators, and of two the greater one counts."""
    world = make_world(policy_of(tripwires={"budget_limit": 100}))
    assert world.check(parameters={"Amount": 60}).verdict.allowed
    assert world.check(parameters={"amount": 1, "AMOUNT": 30}).verdict.allowed
    assert world.used("budget_limit") == 90
    assert not world.check(parameters={"amount": 1, "a_mount": 11}).verdict.allowed


def test_to_lower_the_amount_to_what_is_left_is_a_remedy_that_works(each_world: MakeWorld) -> None:
    """It names what is left, and exactly that passes; where nothing is left there is no such remedy."""
    world = each_world(rules(budget(max=100.3)))
    assert pay(world, 60.1).verdict.allowed
    refused = pay(world, 50)
    assert lowers(refused) == [Remedy("lower", field=AMOUNT, to=40.2)]
    assert not pay(world, 40.200000001).verdict.allowed
    assert pay(world, lowers(refused)[0].to).verdict.allowed
    assert lowers(pay(world, 1)) == []


def test_a_remedy_that_alone_would_not_help_is_not_given(make_world: MakeWorld) -> None:
    """Both a count and a budget stand against it: neither to wait for one of them nor to lower the amount is enough."""
    world = make_world(rules(quota(max=1, window="minute"), budget(max=10)))
    assert pay(world, 5).verdict.allowed
    refused = pay(world, 6)
    assert (waits(refused), lowers(refused)) == ([], [])
    assert [remedy.change for remedy in refused.remedies] == ["approval"]
    assert waits(pay(world, 5)) == [START + MINUTE]


def _burst(world: World) -> None:
    for _ in range(3):
        assert allowed(world)


def _spread(world: World) -> None:
    for _ in range(3):
        assert allowed(world)
        world.hand.advance(700)


def _first_given_back(world: World) -> None:
    assert world.check("gone", context={"ask": True}).pending is not None
    world.hand.advance(500)
    assert allowed(world)
    world.resolve("gone", "deny")
    world.hand.advance(500)
    assert allowed(world)
    world.hand.advance(500)
    assert allowed(world)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("window", ["minute", "hour", "day"])
@pytest.mark.parametrize("used_up", [_burst, _spread, _first_given_back])
def test_waiting_as_advised_is_just_long_enough(
    make_world: MakeWorld, window: str, used_up: Callable[[World], None], restarts: bool
) -> None:
    """At the moment that the remedy names it passes, a millisecond before it does not; also when the oldest claim was given back."""
    ask = {"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask"}
    world = make_world(rules(quota(max=3, window=window), guardrails=[ask], time_zone="Europe/Berlin"))
    used_up(world)
    if restarts:
        world.restart()
    (until,) = waits(world.check())
    assert until is not None
    world.hand.time = until - 1
    assert not allowed(world)
    world.hand.time = until
    assert allowed(world)


def test_waiting_helps_after_the_limit_was_lowered_too(make_world: MakeWorld) -> None:
    """Where one place is not enough, the advice is a time by which there is room."""
    world = make_world(rules(quota(max=5, window="minute")))
    for _ in range(5):
        assert allowed(world)
        world.hand.advance(1_000)
    world.policy = rules(quota(max=2, window="minute"))
    (until,) = waits(world.check())
    assert until is not None
    world.hand.time = until
    assert allowed(world)


@pytest.mark.parametrize("steps", [(1_000, -500, 200), (5_000, -9_000), (59_000, -58_000, 1)])
def test_a_clock_that_steps_back_gives_nothing_back(make_world: MakeWorld, steps: tuple[int, ...]) -> None:
    """After a restart with an earlier clock the claims that were made later count for their whole time, and are taken off once."""
    most = 2 * (len(steps) + 1)
    world = make_world(rules(quota(max=most, window="minute")))
    claims: list[int] = []
    for step in (0, *steps):
        world.hand.advance(step)
        world.restart()
        for _ in range(2):
            assert allowed(world)
            claims.append(world.hand.now())
    for _ in range(60):
        world.hand.advance(2_500)
        now = world.hand.now()
        held = sum(claim > now - MINUTE for claim in claims)
        said = allowed(world)
        assert said is (held < most)
        if said:
            claims.append(now)
        assert world.used("few") == held + said
