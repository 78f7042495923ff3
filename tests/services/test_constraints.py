"""Constraints in the check path: what the policy bounds, composed, with what the service knows by itself (SPEC 9)."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cstp_server.domain.callers import LOOPBACK
from cstp_server.domain.decisions import Answer
from cstp_server.domain.findings import ConstraintDetail, Finding, Remedy
from cstp_server.services.guardrails import list_guardrails
from cstp_server.services.recording import RecordDecision
from cstp_server.services.requests import RecordRequest
from tests.services.conftest import MakeWorld
from tests.services.dimensional import Tokens, bounded, bounded_by, installed, say
from tests.services.world import OPS, START, World, checking, facts_of

ELSEWHERE = replace(LOOPBACK, tenant="elsewhere")
ASK = {"guardrails": [{"id": "ask", "when": "action.context.ask == true", "action": "escalate", "message": "ask"}]}
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


def at(text: str) -> int:
    """A moment, in ms since the epoch; UTC where it does not say otherwise."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def spent(cost: Any, **context: Any) -> dict[str, Any]:
    return {"context": {"cost_used": cost, **context}}


def guards(answer: Answer) -> list[str]:
    return [finding.guardrail for finding in answer.verdict.violations]


def only(answer: Answer) -> Finding:
    (finding,) = answer.verdict.violations
    return finding


def let_through(world: World, times: int, **details: Any) -> int:
    """How many of so many checks are let through."""
    return sum(world.check(**details).verdict.allowed for _ in range(times))


def test_at_its_limit_an_action_passes_and_above_it_does_not(each_world: MakeWorld) -> None:
    """The finding says which dimension, how much was used and what the limit is; to spend less is what would help."""
    world = each_world(bounded(everybody={"cost_limit": 1000}))
    assert world.check(**spent(1000)).verdict.allowed
    answer = world.check("over", **spent(1200))
    finding = only(answer)
    assert (finding.guardrail, finding.type.value, finding.intervention.label) == ("constraint-cost_limit", "constraint", "block")
    assert finding.message == "cost_limit: exceeds the limit of 1000 by 200"
    assert finding.constraint == ConstraintDetail("cost_limit", 1200, 1000, 0)
    assert answer.remedies == (Remedy("lower", field="action.context.cost_used", to=1000),)
    world.restart()
    assert world.check("over", **spent(1200)) == answer
    assert world.status("over") == "blocked"


@pytest.mark.parametrize("name", ["costUsed", "CostUsed", "cost-used"])
def test_names_are_found_in_any_spelling(make_world: MakeWorld, name: str) -> None:
    """The bound counts, and the remedy speaks of the name that the agent has given it."""
    world = make_world(bounded(everybody={"cost_limit": 1000}))
    assert world.check(context={name: 10}).verdict.allowed
    answer = world.check(context={name: 1001})
    assert guards(answer) == ["constraint-cost_limit"]
    assert answer.remedies == (Remedy("lower", field=f"action.context.{name}", to=1000),)


def test_two_spellings_that_differ_get_nobody_through(make_world: MakeWorld) -> None:
    """Whichever is the lower one; the same said twice is one."""
    world = make_world(bounded(everybody={"cost_limit": 1000}))
    for context in ({"costUsed": 1, "cost_used": 5000}, {"cost_used": 1, "costUsed": 5000}, {"cost_used": 1, "costUsed": True}):
        answer = world.check(context=context)
        assert guards(answer) == ["constraint-cost_limit"]
        assert answer.remedies == ()
    assert world.check(context={"costUsed": 5, "cost_used": 5}).verdict.allowed


def test_what_is_missing_fails_unless_the_policy_lets_it_pass(make_world: MakeWorld) -> None:
    """The finding says which key there should have been."""
    world = make_world(bounded(everybody={"cost_limit": 1000, "resources": ["data/**"]}))
    answer = world.check()
    assert guards(answer) == ["constraint-cost_limit", "constraint-resources"]
    assert answer.verdict.violations[0].suggestion == "say `action.context.cost_used`"
    assert answer.remedies == ()
    world.policy = bounded(everybody={"cost_limit": 1000, "resources": ["data/**"]}, missing_context="pass")
    assert world.check().verdict.allowed
    assert guards(world.check(**spent(2000))) == ["constraint-cost_limit"]


def test_the_most_restrictive_of_all_that_apply_counts(make_world: MakeWorld) -> None:
    """Of those for everybody, for the category and for the agent."""
    policy = bounded(
        everybody={"cost_limit": 1000},
        categories={"billing": {"cost_limit": 500}},
        agents={"bot": {"cost_limit": 700}, "other": {"data_access": "no_pii"}},
    )
    world = make_world(policy)
    limits = {("bot", "billing"): 500, ("bot", "tooling"): 700, ("third", "tooling"): 1000, ("third", "billing"): 500}
    for (agent, category), limit in limits.items():
        assert world.check(agent=agent, category=category, **spent(limit)).verdict.allowed
        finding = only(world.check(agent=agent, category=category, **spent(limit + 1)))
        assert finding.constraint == ConstraintDetail("cost_limit", limit + 1, limit, 0)
    assert guards(world.check(agent="other", **spent(1, contains_pii=True))) == ["constraint-data_access"]


@pytest.mark.parametrize(
    ("mode", "context", "blocked"),
    [
        ("conjunctive", {"cost_used": 200, "requests_in_period": 5}, ["constraint-cost_limit"]),
        ("disjunctive", {"cost_used": 200, "requests_in_period": 5}, []),
        ("disjunctive", {"cost_used": 200, "requests_in_period": 50}, ["constraint-cost_limit", "constraint-rate_limit"]),
        ("independent", {"cost_used": 200, "requests_in_period": 5}, ["constraint-cost_limit"]),
        ("hierarchical", {"cost_used": 200, "requests_in_period": 5}, ["constraint-cost_limit"]),
        ("hierarchical", {"cost_used": 20, "requests_in_period": 50}, []),
    ],
)
def test_the_mode_says_whether_an_action_is_within_its_bounds(
    make_world: MakeWorld, mode: str, context: dict[str, Any], blocked: list[str]
) -> None:
    """As a whole; if it is not, each dimension that failed is a violation."""
    world = make_world(bounded(mode=mode, everybody={"cost_limit": 100, "rate_limit": 10}))
    assert guards(world.check(context=context)) == blocked


def test_outside_its_hours_an_agent_waits_until_they_begin(make_world: MakeWorld) -> None:
    """In the policy's time zone; the remedy says when, and then it is so."""
    world = make_world(bounded(everybody={"time_window": "09:00-17:00"}, sections={"time_zone": "Europe/Berlin"}))
    world.hand.time = at("2025-01-15T17:30:20+01:00")
    answer = world.check()
    assert only(answer).message == "time_window: 17:30 is not within 09:00-17:00"
    opens = at("2025-01-16T09:00:00+01:00")
    assert answer.remedies == (Remedy("wait", until=opens),)
    world.hand.time = opens - 1
    assert not world.check().verdict.allowed
    world.hand.time = opens
    assert world.check().verdict.allowed


def test_the_hours_keep_step_with_daylight_saving(make_world: MakeWorld) -> None:
    """An opening that the clocks skip is not one; the next day's is."""
    world = make_world(bounded(everybody={"time_window": "02:15-02:45"}, sections={"time_zone": "Europe/Berlin"}))
    world.hand.time = at("2025-03-30T00:30:00+00:00")
    assert world.check().remedies == (Remedy("wait", until=at("2025-03-31T02:15:00+02:00")),)


def test_a_time_that_the_action_gives_counts(make_world: MakeWorld) -> None:
    """In place of the service's own, and no wait would change it."""
    world = make_world(bounded(everybody={"time_window": "09:00-17:00"}))
    world.hand.time = at("2025-01-15T12:00:00")
    answer = world.check(context={"current_time": "20:00"})
    assert guards(answer) == ["constraint-time_window"]
    assert answer.remedies == ()
    world.hand.time = at("2025-01-15T20:00:00")
    assert world.check(context={"currentTime": "2025-01-15T12:00:00Z"}).verdict.allowed


@pytest.mark.parametrize(("limit", "window"), [("3/second", SECOND), (3, MINUTE), ("3/minute", MINUTE), ("3/hour", HOUR), ("3/day", DAY)])
def test_the_service_counts_what_it_lets_through(make_world: MakeWorld, limit: object, window: int) -> None:
    """So many in any window of that length, which rolls; a refusal takes nothing, and says when there is room."""
    world = make_world(bounded(everybody={"rate_limit": limit}))
    for _ in range(3):
        assert world.check().verdict.allowed
        world.hand.advance(window // 10)
    answer = world.check()
    finding = only(answer)
    assert finding.constraint == ConstraintDetail("rate_limit", 4, 3, 0)
    assert answer.remedies == (Remedy("wait", until=START + window),)
    world.hand.time = START + window - 1
    assert not world.check().verdict.allowed
    world.hand.time = START + window
    assert world.check().verdict.allowed
    assert not world.check().verdict.allowed


def test_a_hundred_are_a_hundred(each_world: MakeWorld) -> None:
    """Whether they come one by one or together, over a restart too."""
    world = each_world(bounded(everybody={"rate_limit": "100/day"}))
    assert let_through(world, 30) == 30
    world.restart()
    together = world.batch(*[checking() for _ in range(90)])
    assert sum(answer.verdict.allowed for answer in together) == 70
    assert let_through(world, 5) == 0
    assert world.used("rate_limit") == 100


def test_no_agent_talks_itself_below_the_services_count(make_world: MakeWorld) -> None:
    """The larger of the two counts: what it says, and what it was let through; what is no number fails."""
    world = make_world(bounded(everybody={"rate_limit": "3/hour"}))
    assert guards(world.check(context={"requests_in_period": 4})) == ["constraint-rate_limit"]
    assert world.check(context={"requests_in_period": 4}).remedies == ()
    assert let_through(world, 5, context={"requestsInPeriod": 0}) == 3
    for wrong in (-1, "few", None, True, 1.5):
        assert guards(world.check(agent="other", context={"requests_in_period": wrong})) == ["constraint-rate_limit"]
    assert world.used("rate_limit", "agent:other") == 0


def test_every_period_counts_by_itself(make_world: MakeWorld) -> None:
    """A limit for the minute and one for the day hold at once; what is refused by the one takes nothing of the other."""
    world = make_world(bounded(everybody={"rate_limit": "2/minute"}, agents={"bot": {"rate_limit": "3/day"}}))
    assert let_through(world, 4) == 2
    world.hand.advance(MINUTE)
    assert let_through(world, 4) == 1
    world.hand.advance(MINUTE)
    answer = world.check()
    assert only(answer).constraint == ConstraintDetail("rate_limit", 4, 3, 0)
    assert answer.remedies == (Remedy("wait", until=START + DAY),)
    assert let_through(world, 4, agent="other") == 2


def test_another_guards_refusal_takes_nothing_of_the_rate(make_world: MakeWorld) -> None:
    """Nor does another constraint's."""
    world = make_world(bounded(everybody={"rate_limit": "2/hour", "cost_limit": 10}))
    for _ in range(5):
        assert guards(world.check(**spent(11))) == ["constraint-cost_limit"]
    assert let_through(world, 3, **spent(5)) == 2


def test_a_reload_that_changes_the_limit_keeps_the_count(make_world: MakeWorld) -> None:
    """Of the same period; another period begins anew."""
    world = make_world(bounded(everybody={"rate_limit": "5/hour"}))
    assert let_through(world, 4) == 4
    world.policy = bounded(everybody={"rate_limit": "3/hour"})
    assert let_through(world, 1) == 0
    world.policy = bounded(everybody={"rate_limit": "3/minute"})
    assert let_through(world, 4) == 3


def test_what_is_denied_gives_its_place_back(make_world: MakeWorld) -> None:
    """A decision that waits has its place; one that is never let through has none."""
    world = make_world(bounded(everybody={"rate_limit": "2/hour"}, sections=ASK))
    world.check("waits", context={"ask": True})
    assert world.used("rate_limit") == 1
    world.resolve("waits", "deny")
    assert world.used("rate_limit") == 0
    world.check("goes", context={"ask": True})
    world.resolve("goes")
    assert world.status("goes") == "approved"
    assert let_through(world, 3) == 1


def test_a_shadow_says_everything_and_stops_nobody(make_world: MakeWorld) -> None:
    """It counts as well, so that what it says is what would have been."""
    world = make_world(bounded(enforcement="shadow", everybody={"rate_limit": "2/hour", "cost_limit": 100}))
    for _ in range(2):
        assert world.check(**spent(50)).verdict.shadow == ()
    answer = world.check(**spent(99))
    assert answer.verdict.allowed
    assert [finding.guardrail for finding in answer.verdict.shadow] == ["constraint-rate_limit", "anti-gaming"]
    assert world.used("rate_limit") == 3


def test_what_is_off_is_not_looked_at(make_world: MakeWorld) -> None:
    """Nothing is said, counted or watched."""
    world = make_world(bounded(enforcement="off", everybody={"rate_limit": "1/hour", "cost_limit": 100}))
    answer = world.check(**spent(500))
    assert answer.verdict.allowed
    assert answer.verdict.shadow == ()
    assert world.tallies() == {}
    assert world.habits() == {}


def test_each_bound_is_a_guard_that_looked(make_world: MakeWorld) -> None:
    """`evaluated` counts them."""
    world = make_world(bounded())
    without = world.check().evaluated
    world.policy = bounded(everybody={"cost_limit": 100, "rate_limit": 10})
    assert world.check(**spent(1)).evaluated == without + 2


def test_a_dry_run_leaves_nothing_behind(make_world: MakeWorld) -> None:
    """Neither a place in a window nor a habit; it says what a check would say."""
    world = make_world(bounded(everybody={"rate_limit": "2/hour", "cost_limit": 100}))
    for _ in range(4):
        answer = world.check(dry_run=True, **spent(99))
        assert [finding.guardrail for finding in answer.verdict.warnings] == ["anti-gaming"]
    assert world.tallies() == {}
    assert world.habits() == {}


def test_the_same_check_again_is_counted_and_watched_once(make_world: MakeWorld) -> None:
    """The recorded answer comes back."""
    world = make_world(bounded(everybody={"rate_limit": "2/hour", "cost_limit": 1000}))
    first = world.check("same", **spent(1))
    habits = world.habits()
    for _ in range(3):
        assert world.check("same", **spent(1)) == first
    assert world.used("rate_limit") == 1
    assert world.habits() == habits


def test_to_stay_just_below_a_bound_is_named(make_world: MakeWorld) -> None:
    """It is a warning; the action goes on."""
    world = make_world(bounded(everybody={"cost_limit": 1000}))
    answer = world.check(**spent(960))
    assert answer.verdict.allowed
    (finding,) = answer.verdict.warnings
    assert (finding.guardrail, finding.type.value, finding.intervention.label) == ("anti-gaming", "constraint", "warn")
    assert finding.message == "boundary_pushing:cost_limit (usage_ratio=0.96)"
    assert world.check(**spent(950)).verdict.warnings == ()


def test_many_small_steps_are_named_over_restarts(each_world: MakeWorld) -> None:
    """From the eighth of ten on, whichever process saw the others."""
    world = each_world(bounded(everybody={"cost_limit": 1000}))
    for number in range(7):
        assert world.check(**spent(50)).verdict.warnings == ()
        if number % 3 == 2:
            world.restart()
    (finding,) = world.check(**spent(50)).verdict.warnings
    assert finding.message == "constraint_splitting:cost_limit"
    other = world.started()
    try:
        answer = world.run(checking(None, **spent(50)), other)
        assert isinstance(answer, Answer)
        assert [found.message for found in answer.verdict.warnings] == ["constraint_splitting:cost_limit"]
    finally:
        other.stop()


def test_each_of_a_batch_sees_the_habits_of_those_before_it(each_world: MakeWorld) -> None:
    """Ten small steps in one transaction are ten."""
    world = each_world(bounded(everybody={"cost_limit": 1000}))
    answers = world.batch(*[checking(None, **spent(50)) for _ in range(10)])
    assert [bool(answer.verdict.warnings) for answer in answers] == [False] * 7 + [True] * 3


def test_the_services_own_count_is_nobodys_habit(make_world: MakeWorld) -> None:
    """An agent that acts seldom splits nothing, and one that uses up what it may pushes nothing; what it says itself shows it."""
    world = make_world(bounded(everybody={"rate_limit": "100/hour"}, agents={name: {"rate_limit": "3/hour"} for name in ("few", "low")}))
    assert all(world.check().verdict.warnings == () for _ in range(12))
    assert all(world.check(agent="few").verdict.warnings == () for _ in range(3))
    assert world.habits() == {}
    assert all(world.check(agent="low", context={"requests_in_period": 0}).verdict.warnings == () for _ in range(3))
    (finding,) = world.check(context={"requests_in_period": 97}).verdict.warnings
    assert finding.message == "boundary_pushing:rate_limit (usage_ratio=0.97)"


def test_the_policy_may_want_an_approval_for_such_habits(make_world: MakeWorld) -> None:
    """One who approves lets that decision through; the second look watches nothing."""
    world = make_world(bounded(anti_gaming="escalate", everybody={"cost_limit": 1000}))
    answer = world.check("pushes", **spent(999))
    assert answer.verdict.intervention.label == "escalate"
    assert Remedy("approval") in answer.remedies
    assert world.status("pushes") == "pending"
    habits = world.habits()
    world.resolve("pushes")
    assert world.status("pushes") == "approved"
    assert world.habits() == habits


def test_the_policy_may_block_such_habits(make_world: MakeWorld) -> None:
    """To spend less helps who pushes; a blocked one is watched as well."""
    world = make_world(bounded(anti_gaming="block", everybody={"cost_limit": 1000}))
    answer = world.check("pushes", **spent(999))
    assert guards(answer) == ["anti-gaming"]
    assert world.status("pushes") == "blocked"
    assert list(world.habits()) == ["bot"]


def test_habits_are_written_when_they_change(make_world: MakeWorld) -> None:
    """Ten alike say the same as eleven; who is still looked at is noted once a day, so that it is not forgotten."""
    world = make_world(bounded(everybody={"cost_limit": 1000}))
    for _ in range(10):
        world.check(**spent(500))
        world.hand.advance(MINUTE)
    written = world.habits()["bot"]
    world.check(**spent(500))
    assert world.habits()["bot"] == written
    world.hand.advance(DAY)
    world.check(**spent(500))
    assert world.habits()["bot"] == replace(written, at=world.clock.now())


def test_habits_are_forgotten_in_the_end(each_world: MakeWorld) -> None:
    """Those of an agent that nobody has looked at since; the others stay."""
    world = each_world(bounded(everybody={"cost_limit": 1000}))
    world.check(agent="gone", **spent(5))
    world.restart()
    world.hand.advance(HOUR)
    world.check(agent="here", **spent(5))
    before = world.habits()["here"].at
    assert world.do(world.store.prune_habits(before)) == 1
    assert list(world.habits()) == ["here"]
    assert world.do(world.store.prune_habits(before)) == 0
    world.check(agent="gone", **spent(5))
    assert world.habits()["gone"].habits.small == {"cost_limit": (True,)}


def test_a_tenants_counts_and_habits_are_its_own(each_world: MakeWorld) -> None:
    """An agent of the same name elsewhere has all its room, and no past."""
    world = each_world(bounded(everybody={"rate_limit": "2/hour", "cost_limit": 1000}))
    assert let_through(world, 3, **spent(5)) == 2
    for number in range(2):
        assert world.run(checking(f"e{number}", caller=ELSEWHERE, **spent(500))).verdict.allowed
    assert world.used("rate_limit", tenant="elsewhere") == 2
    assert world.habits("elsewhere")["bot"].habits.small == {"cost_limit": (False, False)}
    assert world.habits()["bot"].habits.small == {"cost_limit": (True, True, True)}


def test_a_second_look_holds_the_action_against_its_bounds_again(make_world: MakeWorld) -> None:
    """As of then: hours that are over by now turn it down, and it gives its place back."""
    world = make_world(bounded(everybody={"time_window": "09:00-17:00", "rate_limit": "5/day"}, sections=ASK))
    world.hand.time = at("2025-01-15T16:50:00")
    world.check("late", context={"ask": True})
    world.check("early", context={"ask": True})
    world.hand.time = at("2025-01-15T17:00:59")
    assert world.resolve("early").status.value == "approved"
    world.hand.time = at("2025-01-15T17:01:00")
    answer = world.resolve("late")
    assert answer.status.value == "denied"
    assert answer.reason == "looked at again: time_window: 17:01 is not within 09:00-17:00"
    assert world.used("rate_limit") == 1


def test_a_decision_that_waited_fits_into_the_place_that_it_had(make_world: MakeWorld) -> None:
    """The limit is full with it, and it is let through."""
    world = make_world(bounded(everybody={"rate_limit": "2/hour"}, sections=ASK))
    world.check("waits", context={"ask": True})
    assert let_through(world, 3) == 1
    assert world.resolve("waits").status.value == "approved"
    assert world.used("rate_limit") == 2


def test_a_decision_that_was_not_asked_for_takes_and_shows_nothing(make_world: MakeWorld) -> None:
    """What the bounds would have said of it is remarked; nothing is counted or watched."""
    world = make_world(bounded(everybody={"cost_limit": 1000, "rate_limit": "1/hour"}))
    for number in range(3):
        facts = facts_of(context={"cost_used": 5000})
        answer = world.run(RecordDecision(OPS, RecordRequest(facts, "bot", f"digest-{number}"), facts, f"told-{number}"))
        assert [finding.guardrail for finding in answer.warnings] == ["constraint-cost_limit"]
    assert world.tallies() == {}
    assert world.habits() == {}


def test_a_dimension_that_nobody_has_approved_fails(each_world: MakeWorld) -> None:
    """Until it is approved, in that version and in that tenant; a rejection ends it at once."""
    known = installed(Tokens())
    world = each_world(bounded_by(Tokens(), 100))
    within: dict[str, Any] = {"context": {"tokensUsed": 5}}
    assert only(world.check(**within)).message == "token_limit: dimension `token_limit` is not approved in version `1.0.0`"
    say(world, known)
    assert world.check(**within).verdict.allowed
    assert only(world.check(context={"tokens_used": 101})).message == "token_limit: 101 of 100 tokens"
    assert not world.run(checking("elsewhere", caller=ELSEWHERE, **within)).verdict.allowed
    say(world, known, approve=False)
    assert only(world.check(**within)).message == "token_limit: dimension `token_limit` was rejected in version `1.0.0`"
    say(world, known)
    world.policy = bounded_by(Tokens(version="1.1.0"), 100)
    assert not world.check(**within).verdict.allowed


def test_a_review_is_seen_by_every_process_at_once(each_world: MakeWorld) -> None:
    """One that has used the dimension before, too."""
    known = installed(Tokens())
    world = each_world(bounded_by(Tokens(), 100))
    other = world.started()
    try:
        for approve in (True, False, True):
            say(world, known, approve=approve)
            answer = world.run(checking(None, context={"tokens_used": 5}), other)
            assert isinstance(answer, Answer)
            assert answer.verdict.allowed is approve
    finally:
        other.stop()


def test_tests_may_do_without_reviews(make_world: MakeWorld) -> None:
    """Where the process allows it."""
    world = make_world(bounded_by(Tokens(), 100, reviews=False))
    assert world.check(context={"tokens_used": 5}).verdict.allowed


def test_an_unapproved_dimension_is_one_of_those_that_failed(make_world: MakeWorld) -> None:
    """Besides others that are within their bounds; what it says when it is used is not looked at."""
    world = make_world(bounded_by(Tokens(), 100, cost_limit=10))
    assert guards(world.check(context={"tokens_used": 5, "cost_used": 5})) == ["constraint-token_limit"]


def test_what_was_decided_is_in_the_event(make_world: MakeWorld) -> None:
    """Whether the bounds were met, what failed, and what the habits showed; nothing where there are none."""
    world = make_world(bounded(everybody={"cost_limit": 100, "rate_limit": "5/hour"}))
    world.check(**spent(99))
    world.check(**spent(101))
    world.policy = bounded()
    world.check()
    said = [event.data.get("constraints") for event in world.events("decision.checked")]
    assert said == [
        {"satisfied": True, "failed": [], "flags": ["boundary_pushing:cost_limit (usage_ratio=0.99)"]},
        {"satisfied": False, "failed": ["cost_limit"], "flags": ["boundary_pushing:cost_limit (usage_ratio=1.01)"]},
        None,
    ]


def test_no_credential_gets_into_a_finding(make_world: MakeWorld) -> None:
    """What a dimension quotes of an action is kept without what looks like one."""
    secret = "AKIA" + "IOSFODNN7EXAMPLE"
    world = make_world(bounded(everybody={"communication": {"mode": "allowed_domains", "allowed_domains": ["a.example"]}}))
    answer = world.check(context={"communication_target": f"https://{secret}.example/x"})
    assert "constraint-communication" in guards(answer)
    assert secret not in str(answer).upper()


def test_constraints_are_listed_among_the_guards() -> None:
    """Each at its place, those of agents only where they differ from every agent's; then the watch over habits."""
    policy = bounded(
        anti_gaming="escalate",
        everybody={"cost_limit": 1000},
        categories={"billing": {"rate_limit": "5/minute"}},
        agents={"*": {"data_access": "no_pii"}, "bot": {"cost_limit": 10}},
    )
    listed = [info for info in list_guardrails(policy) if info.type == "constraint"]
    assert [(info.id, info.scope, info.action, info.mode) for info in listed] == [
        ("constraint-cost_limit", "global", "block", "enforce"),
        ("constraint-rate_limit", "category:billing", "block", "enforce"),
        ("constraint-data_access", "agent:*", "block", "enforce"),
        ("constraint-cost_limit", "agent:bot", "block", "enforce"),
        ("anti-gaming", None, "escalate", "enforce"),
    ]
    assert listed[0].description == "the most that may be spent, in cents: 1000"
    assert [info for info in list_guardrails(bounded()) if info.type == "constraint"] == []
