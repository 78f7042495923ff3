"""The short form of tripwires: every row of its table, and the names that are none (SPEC 7)."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.findings import Intervention
from cstp_server.domain.tripwire_rules import Quota
from cstp_server.domain.usage import Span
from cstp_server.policy.short_form import FORMS, UnknownLimit, form_of, tripwire_of
from tests.policy.writing import complaints_about, examined, messages, policy_of

MISSING: dict[str, Any] = {}


def amount(value: object) -> dict[str, Any]:
    """Parameters with that amount."""
    return {"amount": value}


LIMITS: dict[str, tuple[str, str | None, dict[str, Any], str | None]] = {
    "the seed's example": ("max_refund: 500", "issue_refund", amount(1000), "amount exceeds max_refund of 500"),
    "at the limit": ("max_refund: 500", "issue_refund", amount(500), None),
    "at the limit as a float": ("max_refund: 500", "issue_refund", amount(500.0), None),
    "a billionth above": ("max_refund: 500", "issue_refund", amount(500.000000001), "amount exceeds max_refund of 500"),
    "another type": ("max_refund: 500", "issue_credit", amount(1000), None),
    "no type": ("max_refund: 500", None, amount(1000), None),
    "a type in camel case": ("max_refund: 500", "issueRefund", amount(1000), "amount exceeds max_refund of 500"),
    "a type in the plural": ("max_refund: 500", "issue-refunds", amount(1000), "amount exceeds max_refund of 500"),
    "a type that only starts like it": ("max_refund: 500", "issue_refundable", amount(1000), None),
    "a refund without an amount": ("max_refund: 500", "issue_refund", MISSING, "amount is missing, max_refund is 500"),
    "an amount of null": ("max_refund: 500", "issue_refund", amount(None), "amount is missing, max_refund is 500"),
    "an amount that is a text": ("max_refund: 500", "issue_refund", amount("10"), "amount is not a number, max_refund is 500"),
    "an amount that is true": ("max_refund: 500", "issue_refund", {"amount": True}, "amount is not a number, max_refund is 500"),
    "an amount that is a list": ("max_refund: 500", "issue_refund", amount([1]), "amount is not a number, max_refund is 500"),
    "a negative amount": ("max_refund: 500", "issue_refund", amount(-1), "amount is negative, max_refund is 500"),
    "no number at all": ("max_refund: 500", "issue_refund", amount(float("nan")), "amount is not finite, max_refund is 500"),
    "an infinite amount": ("max_refund: 500", "issue_refund", amount(float("inf")), "amount is not finite, max_refund is 500"),
    "a huge amount": ("max_refund: 500", "issue_refund", amount(2**63 - 1), "amount exceeds max_refund of 500"),
    "a huger amount": ("max_refund: 500", "issue_refund", amount(1e300), "amount exceeds max_refund of 500"),
    "an amount in another spelling": ("max_refund: 500", "issue_refund", {"Amount": 501}, "amount exceeds max_refund of 500"),
    "two amounts": ("max_refund: 500", "issue_refund", {"amount": 1, "AMOUNT": 501}, "amount exceeds max_refund of 500"),
    "a parameter of that name": ("max_refund: 500", "anything", {"refund": 501}, "refund exceeds max_refund of 500"),
    "a parameter that is null": ("max_refund: 500", "anything", {"refund": None}, "refund is missing, max_refund is 500"),
    "a parameter in camel case": (
        "max_discount_percent: 20",
        None,
        {"discountPercent": 20.5},
        "discount_percent exceeds max_discount_percent of 20",
    ),
    "two words in a type": ("max_discount_percent: 20", "set discount.percent", amount(30), "amount exceeds max_discount_percent of 20"),
    "two words apart": ("max_discount_percent: 20", "discount_by_percent", amount(30), None),
    "retries": ("max_retry_attempts: 3", None, {"retry_attempts": 4}, "retry_attempts exceeds max_retry_attempts of 3"),
    "records": (
        "max_data_records_accessed: 1000",
        None,
        {"data_records_accessed": 1001},
        "data_records_accessed exceeds max_data_records_accessed of 1000",
    ),
    "a unit price": ("max_price_per_unit: 2.5", None, {"price_per_unit": 2.6}, "price_per_unit exceeds max_price_per_unit of 2.5"),
    "a minimum": ("min_age: 18", None, {"age": 17}, "age is below min_age of 18"),
    "at the minimum": ("min_age: 18", None, {"age": 18}, None),
    "no minimum where it is not carried": ("min_age: 18", "check_age", amount(1), None),
    "a minimum of garbage": ("min_age: 18", None, {"age": "old"}, "age is not a number, min_age is 18"),
    "any transaction": ("max_transaction: 1000", "anything", amount(1000.01), "amount exceeds max_transaction of 1000"),
    "any transaction of null": ("max_transaction: 1000", None, amount(None), "amount is missing, max_transaction is 1000"),
    "a transaction without an amount": ("max_transaction: 1000", "transaction", MISSING, None),
    "approval above": ("require_approval_above: 500", None, amount(501), "amount exceeds require_approval_above of 500"),
    "approval at": ("require_approval_above: 500", None, amount(500), None),
    "approval without an amount": ("require_approval_above: 500", "refund", MISSING, None),
    "sums that floats get wrong": ("max_refund: 0.3", "refund", amount(0.1 + 0.2), "amount exceeds max_refund of 0.3"),
    "the float that is meant": ("max_refund: 0.3", "refund", amount(0.3), None),
}


@pytest.mark.parametrize(("limit", "type", "parameters", "reason"), LIMITS.values(), ids=LIMITS)
def test_a_limit_bounds_what_its_name_says(
    tmp_path: Path, limit: str, type: str | None, parameters: dict[str, Any], reason: str | None
) -> None:
    """The seed's message where it trips, nothing where it does not; at the limit passes, and what is no amount trips."""
    policy = policy_of(tmp_path, f"tripwires: {{{limit}}}")
    assert messages(policy, type=type, parameters=parameters) == ([f"Tripwire triggered: {reason}"] if reason is not None else [])


CONFIDENCE = {
    "enough": (0.8, None),
    "too little": (0.79, "confidence is below {name} of 0.8"),
    "none": (None, "confidence is missing, {name} is 0.8"),
}


@pytest.mark.parametrize("name", ["min_confidence", "min_confidence_score"])
@pytest.mark.parametrize(("confidence", "reason"), CONFIDENCE.values(), ids=CONFIDENCE)
def test_confidence_is_wanted_of_every_action(tmp_path: Path, name: str, confidence: float | None, reason: str | None) -> None:
    """Not to say how sure one is is as bad as to be unsure; a parameter of that name is something else."""
    policy = policy_of(tmp_path, f"tripwires: {{{name}: 0.8}}")
    found = messages(policy, confidence=confidence, parameters={"confidence": 1, "confidence_score": 1})
    assert found == ([f"Tripwire triggered: {reason.format(name=name)}"] if reason is not None else [])


COUNTS = {
    "max_actions_per_minute": (Span.MINUTE, {"anything", None}, set()),
    "max_actions_per_hour": (Span.HOUR, {"anything", None}, set()),
    "max_actions_per_day": (Span.DAY, {"anything", None}, set()),
    "max_api_calls_per_hour": (Span.HOUR, {"api_call", "make-API-calls", "apiCall"}, {"api", "call_api", None, "callback"}),
    "max_queries_per_minute": (Span.MINUTE, {"run_query", "query", "QUERIES"}, {"queryable", None}),
    "daily_action_limit": (Span.DAY, {"anything", None}, set()),
    "daily_refund_limit": (Span.DAY, {"issue_refund", "refunds"}, {"issue_credit", None}),
}


@pytest.mark.parametrize(("name", "expected"), COUNTS.items(), ids=COUNTS)
def test_a_count_takes_one_of_each_such_action(tmp_path: Path, name: str, expected: tuple[Span, set[str | None], set[str | None]]) -> None:
    """`actions` are all, other things are those whose type contains the singular; per agent, and nothing is settled."""
    span, counted, left_alone = expected
    policy = policy_of(tmp_path, f"tripwires: {{{name}: 7}}")
    for type in counted:
        (charge,) = examined(policy, type=type).charges
        assert (charge.amount, charge.subject, charge.quota.max, charge.quota.span) == (UNIT, "agent:agent", 7 * UNIT, span)
        assert not charge.quota.settles
    assert all(examined(policy, type=type).charges == () for type in left_alone)


@pytest.mark.parametrize(("name", "span"), [("daily_budget", Span.DAY), ("daily_spend_limit", Span.DAY), ("budget_limit", Span.TOTAL)])
def test_a_budget_sums_the_amounts(tmp_path: Path, name: str, span: Span) -> None:
    """Of every action that carries one, in billionths, per agent, settled with the actual cost; what is no amount trips."""
    policy = policy_of(tmp_path, f"tripwires: {{{name}: 100.5}}")
    (charge,) = examined(policy, parameters=amount(0.1)).charges
    assert (charge.amount, charge.subject, charge.quota.max) == (UNIT // 10, "agent:agent", 100_500_000_000)
    assert (charge.quota.span, charge.quota.settles) == (span, True)
    assert examined(policy, type="refund").charges == ()
    assert messages(policy, parameters=amount("1")) == [f"Tripwire triggered: amount is not a number, {name} is 100.5"]
    assert messages(policy, parameters=amount(None)) == [f"Tripwire triggered: amount is missing, {name} is 100.5"]
    assert messages(policy, parameters=amount(-5)) == [f"Tripwire triggered: amount is negative, {name} is 100.5"]


def test_an_approval_is_asked_for_instead_of_refusing(tmp_path: Path) -> None:
    """Above `require_approval_above` the action is escalated, whatever the agent's tier."""
    policy = policy_of(tmp_path, "tripwires: {require_approval_above: 500}\nagents: {agent: {acl_tier: 5}}")
    (finding,) = examined(policy, parameters=amount(501)).findings
    assert (finding.intervention, finding.approvable) == (Intervention.ESCALATE, True)


def test_the_limits_of_the_seed_load(tmp_path: Path) -> None:
    """Both of its examples, as they are."""
    seed = {
        "max_refund": 500,
        "max_discount_percent": 20,
        "daily_action_limit": 100,
        "budget_limit": 10000,
        "max_transaction": 1000,
        "daily_budget": 5000,
        "max_actions_per_minute": 10,
        "max_api_calls_per_hour": 100,
        "max_data_records_accessed": 1000,
        "require_approval_above": 500,
        "min_confidence_score": 0.8,
        "max_retry_attempts": 3,
    }
    policy = policy_of(tmp_path, f"tripwires: {seed}")
    assert {tripwire.name for tripwire in policy.tripwires.of_everyone} >= set(seed)


NEAREST = {
    "max_x_per_week": "max_x_per_day",
    "max_api_calls_per_second": "max_api_calls_per_minute",
    "max_actions_per_days": "max_actions_per_day",
    "max_per_day": "max_actions_per_day",
    "min_x_per_day": "max_x_per_day",
    "weekly_limit": "daily_action_limit",
    "daily_limit": "daily_action_limit",
    "hourly_budget": "daily_budget",
    "monthly_spend_limit": "daily_spend_limit",
    "daily_refunds": "daily_refunds_limit",
    "budget": "budget_limit",
    "require_approval": "require_approval_above",
    "require_approval_over": "require_approval_above",
    "maxRefund": "max_refund",
    "max-refund": "max_refund",
    "max refund": "max_refund",
    "MAX_REFUND": "max_refund",
    "max__refund": "max_refund",
    "maximum_refund": "max_refund",
    "refund_max": "max_refund",
    "minimum_age": "min_age",
}


@pytest.mark.parametrize(("name", "near"), NEAREST.items(), ids=NEAREST)
def test_a_name_that_is_no_limit_is_told_with_the_nearest(tmp_path: Path, name: str, near: str) -> None:
    """The file is refused: a limit that nobody understands would not be enforced."""
    assert complaints_about(tmp_path, f"tripwires:\n  max_refund: 1\n  {name}: 5\n") == [
        f"policy.yaml:3: `tripwires.{name}` is no limit, did you mean `{near}`?"
    ]


@pytest.mark.parametrize("name", ["foo", "max_", "min_", "max", "limits_", "_max_refund"])
def test_a_name_like_no_other_is_told_with_all_forms(tmp_path: Path, name: str) -> None:
    """Or with one that is a limit indeed."""
    (complaint,) = complaints_about(tmp_path, f"tripwires: {{{name}: 5}}")
    assert complaint.startswith(f"policy.yaml:1: `tripwires.{name}` is no limit, ")
    for form in FORMS if "did you mean" not in complaint else ():
        assert all(f"`{name}`" in complaint for name in form.names)


SUMS = {
    "daily_budget_limit": "`daily_budget`",
    "daily_cost_limit": "`daily_budget`",
    "max_spend_per_day": "`daily_budget`",
    "max_spend_per_hour": "a `quota` with `sum` in the long form",
}


@pytest.mark.parametrize(("name", "instead"), SUMS.items(), ids=SUMS)
def test_a_count_of_what_is_summed_is_refused(tmp_path: Path, name: str, instead: str) -> None:
    """It would count actions whose type contains `budget`, and so limit nothing that its author has in mind."""
    assert complaints_about(tmp_path, f"tripwires: {{{name}: 5}}") == [
        f"policy.yaml:1: `tripwires.{name}` is no limit: it would count actions; the sum of their amounts is limited by {instead}"
    ]


BOUNDS = {
    "negative": ("max_refund: -1", "max_refund", "a number, 0 or greater, not `-1`"),
    "not a number": ("max_refund: .nan", "max_refund", "a number, 0 or greater, not `nan`"),
    "infinite": ("max_refund: .inf", "max_refund", "a number, 0 or greater, not `inf`"),
    "true": ("max_refund: true", "max_refund", "a number, 0 or greater, not `true`"),
    "a text": ("max_refund: '500'", "max_refund", "a number, 0 or greater, not `500`"),
    "nothing": ("max_refund:", "max_refund", "a number, 0 or greater, not empty"),
    "a list": ("max_refund: [1]", "max_refund", "a number, 0 or greater, not a list"),
    "part of an action": ("daily_action_limit: 1.5", "daily_action_limit", "a whole number, 0 or greater, not `1.5`"),
    "part of a call": ("max_api_calls_per_hour: 0.1", "max_api_calls_per_hour", "a whole number, 0 or greater, not `0.1`"),
    "percent": ("min_confidence: 80", "min_confidence", "a number from 0 to 1, not `80`"),
    "a bit too much": ("min_confidence_score: 1.01", "min_confidence_score", "a number from 0 to 1, not `1.01`"),
}


@pytest.mark.parametrize(("text", "name", "wanted"), BOUNDS.values(), ids=BOUNDS)
def test_a_bound_that_is_none_is_told(tmp_path: Path, text: str, name: str, wanted: str) -> None:
    """With what it must be."""
    assert complaints_about(tmp_path, f"tripwires:\n  {text}\n") == [f"policy.yaml:2: `tripwires.{name}` must be {wanted}"]


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    """100.0 actions are 100."""
    (charge,) = examined(policy_of(tmp_path, "tripwires: {daily_action_limit: 100.0}")).charges
    assert charge.quota.max == 100 * UNIT


_WORD = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
_NAMES = st.lists(_WORD, min_size=1, max_size=5).map("_".join)


@given(st.one_of(_NAMES, _NAMES.map("max_{}".format), _NAMES.map("max_{}_per_day".format), _NAMES.map("daily_{}_limit".format)))
def test_a_name_has_one_meaning_or_none(name: str) -> None:
    """At most one row of the table reads a name, and what it reads becomes a tripwire of that name."""
    assert sum(form.pattern.fullmatch(name) is not None for form in FORMS) <= 1
    try:
        tripwire = tripwire_of(name, 1)
    except UnknownLimit:
        return
    assert tripwire.name == name
    assert form_of(name).pattern.fullmatch(name)
    if name.endswith(("_per_minute", "_per_hour", "_per_day")):
        assert isinstance(tripwire.rule, Quota)
