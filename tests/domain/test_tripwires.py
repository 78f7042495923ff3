"""Tripwires: what each kind of rule says, and what follows from it by severity and tier (SPEC 7)."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.amounts import UNIT, amount_of
from cstp_server.domain.charges import examine
from cstp_server.domain.expressions import EvaluationFailed, Predicate, Subject, subject_of
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Intervention, Lift, Mode, Remedy, TripwireDetail
from cstp_server.domain.quality import Quality
from cstp_server.domain.tripwire_rules import Condition, Flag, Limit, Measure, Pattern, Per, Quota, Secrets, Trip
from cstp_server.domain.tripwires import Applies, Tripwire, TripwireSeverity
from cstp_server.domain.usage import Span
from cstp_server.domain.words import words_of

PATH = ("action", "parameters", "amount")
LIMIT = Limit((Measure(PATH),), max=500 * UNIT)


def facts(**given: Any) -> Facts:
    """An action."""
    return Facts(**{"description": "an action", "agent_id": "agent", **given})


def subject(action: Facts) -> Subject:
    """What rules look at."""
    return subject_of(action, posture="supervised")


def trip(rule: Limit | Condition | Flag | Pattern | Secrets, **given: Any) -> Trip | None:
    """What a rule named `limit` says of an action."""
    action = facts(**given)
    return rule.check("limit", subject(action), action)


def test_a_limit_names_the_change_that_would_do() -> None:
    """To lower what is too much to the limit, to raise what is too little; nothing where no number was given."""
    above = trip(LIMIT, parameters={"amount": 501})
    below = trip(Limit((Measure(PATH),), min=UNIT // 2), parameters={"amount": 0.25})
    missing = trip(LIMIT)
    assert above == Trip("amount exceeds limit of 500", (Remedy("lower", "action.parameters.amount", 500),))
    assert below == Trip("amount is below limit of 0.5", (Remedy("raise", "action.parameters.amount", 0.5),))
    assert missing == Trip("amount is missing, limit is 500")


def test_every_measure_of_a_limit_is_looked_at() -> None:
    """The first that is not within the bounds is told."""
    limit = Limit((Measure(("action", "parameters", "refund"), optional=True), Measure(PATH, words=words_of("refund"))), max=5 * UNIT)
    refund = {"type": "refund", "type_words": words_of("refund")}
    assert trip(limit, parameters={"refund": 5, "amount": 9}) is None
    assert trip(limit, parameters={"refund": 5, "amount": 9}, **refund) == Trip(
        "amount exceeds limit of 5", (Remedy("lower", "action.parameters.amount", 5),)
    )
    assert trip(limit, parameters={"refund": 6, "amount": 1}, **refund) is not None


_NUMBERS = st.one_of(st.integers(0, 10**12), st.floats(0, 1e12), st.decimals(0, 10**6, places=2).map(float))


@given(_NUMBERS, _NUMBERS)
def test_a_limit_compares_decimals(bound: float, value: float) -> None:
    """As they are written: at the limit passes, a billionth above it does not."""
    amount = amount_of(bound)
    assert amount is not None
    passes = trip(Limit((Measure(PATH),), max=amount), parameters={"amount": value}) is None
    exact = Fraction(Decimal(repr(value)))
    assert passes is (exact <= Fraction(amount, UNIT))


_GARBAGE = st.one_of(
    st.none(), st.booleans(), st.text(), st.lists(st.integers()), st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.integers(max_value=-1), st.floats(max_value=-1e-9, allow_nan=False),
)  # fmt: skip


@given(_GARBAGE)
def test_what_is_no_amount_trips(value: object) -> None:
    """A limit, whichever its bounds, and a sum; the reason says why and repeats nothing of it."""
    quota = Quota(10**30, Span.DAY, sums=Measure(PATH, optional=True))
    for rule in (LIMIT, Limit((Measure(PATH, optional=True),), min=0)):
        tripped = trip(rule, parameters={"amount": value})
        assert tripped is not None
        assert tripped.reason.split(",")[0] in {f"amount is {why}" for why in ("missing", "not a number", "negative", "not finite")}
    action = facts(parameters={"amount": value})
    assert isinstance(quota.charge("limit", subject(action), action), Trip)


CHARGES: dict[str, tuple[dict[str, Any], int | None]] = {
    "what it is": ({"amount": 0.1}, UNIT // 10),
    "nothing": ({"amount": 0}, 0),
    "not carried": ({}, None),
    "the greater of two": ({"amount": 1, "Amount": 2}, 2 * UNIT),
}


@pytest.mark.parametrize(("parameters", "charge"), CHARGES.values(), ids=CHARGES)
def test_a_sum_charges_the_amount(parameters: dict[str, Any], charge: int | None) -> None:
    """Where it is carried."""
    action = facts(parameters=parameters)
    assert Quota(UNIT, Span.DAY, sums=Measure(PATH, optional=True)).charge("limit", subject(action), action) == charge


SUBJECTS: dict[str, tuple[Per, dict[str, Any], str]] = {
    "agent": (Per.AGENT, {}, "agent:agent"),
    "user": (Per.USER, {"user_id": "bob"}, "user:bob"),
    "no user": (Per.USER, {}, "user:"),
    "category": (Per.CATEGORY, {"category": "billing"}, "category:billing"),
    "no category": (Per.CATEGORY, {}, "category:"),
    "all": (Per.GLOBAL, {}, "global"),
}


@pytest.mark.parametrize(("per", "given", "expected"), SUBJECTS.values(), ids=SUBJECTS)
def test_a_quota_counts_together_what_belongs_together(per: Per, given: dict[str, Any], expected: str) -> None:
    """To leave out the user or the category dodges nothing: those are counted together too."""
    assert Quota(UNIT, Span.DAY, per).subject(facts(**given)) == expected


def test_a_quota_says_what_is_used_and_what_would_do() -> None:
    """Wait, or ask for no more than there is left."""
    budget = Quota(10 * UNIT, Span.DAY, sums=Measure(PATH))
    assert budget.exceeded("limit", 7 * UNIT, 99) == Trip(
        "amount exceeds limit of 10 (7 used)", (Remedy("wait", until=99), Remedy("lower", "action.parameters.amount", 3))
    )
    assert budget.exceeded("limit", 10 * UNIT, None) == Trip("amount exceeds limit of 10 (10 used)")
    assert budget.exceeded("limit", 0, None) == Trip("amount exceeds limit of 10", (Remedy("lower", "action.parameters.amount", 10),))
    assert Quota(10 * UNIT, Span.HOUR).exceeded("limit", 10 * UNIT, 99) == Trip(
        "number of actions exceeds limit of 10", (Remedy("wait", until=99),)
    )


class Says:
    """A condition with a fixed answer."""

    source = "said"

    def __init__(self, answer: bool | EvaluationFailed) -> None:
        self._answer = answer

    def __call__(self, _subject: Subject, /) -> bool | EvaluationFailed:
        return self._answer


def test_a_condition_trips_unless_it_is_known_not_to_hold() -> None:
    """One that cannot be evaluated trips and says so, beside a message of the tripwire's own too."""
    holds: Predicate = Says(answer=True)
    fails: Predicate = Says(EvaluationFailed("a key is missing"))
    assert trip(Condition(Says(answer=False))) is None
    assert trip(Condition(holds)) == Trip("limit")
    failed = trip(Condition(fails))
    assert failed is not None
    why = "its condition `said` could not be evaluated and counts as matched: a key is missing"
    assert failed == Trip(f"limit: {why}", failure=why)
    assert Tripwire("a", Condition(fails), message="no").finding(failed, 2).message == f"no ({why})"
    assert Tripwire("a", Condition(fails)).finding(failed, 2).message == f"Tripwire triggered: limit: {why}"


SEVERITIES = [
    (TripwireSeverity.STANDARD, False, 0, Intervention.BLOCK, Lift.APPROVAL),
    (TripwireSeverity.STANDARD, False, 2, Intervention.BLOCK, Lift.APPROVAL),
    (TripwireSeverity.STANDARD, False, 3, Intervention.BLOCK, None),
    (TripwireSeverity.STANDARD, True, 2, Intervention.ESCALATE, Lift.APPROVAL),
    (TripwireSeverity.STANDARD, True, 9, Intervention.ESCALATE, Lift.APPROVAL),
    (TripwireSeverity.CRITICAL, False, 2, Intervention.BLOCK, None),
    (TripwireSeverity.CRITICAL, False, 3, Intervention.HALT, None),
    (TripwireSeverity.SEVERE, False, 0, Intervention.HALT, None),
    (TripwireSeverity.SEVERE, False, 9, Intervention.HALT, None),
    (TripwireSeverity.SEVERE, True, 0, Intervention.HALT, None),
]


@pytest.mark.parametrize(("severity", "asks", "tier", "intervention", "lift"), SEVERITIES)
def test_severity_and_tier_decide_what_follows(
    severity: TripwireSeverity, asks: bool, tier: int, intervention: Intervention, lift: Lift | None
) -> None:
    """A standard one may be lifted by a person where there is one; nothing lifts the others."""
    finding = Tripwire("a", LIMIT, severity, asks=asks).finding(Trip("x"), tier)
    assert (finding.intervention, finding.lift) == (intervention, lift)


def test_a_finding_has_what_the_tripwire_says() -> None:
    """Its name, message, suggestion, mode, severity, and the changes of the rule."""
    change = Remedy("lower", "action.parameters.amount", 1)
    tripwire = Tripwire("a", LIMIT, TripwireSeverity.CRITICAL, mode=Mode.SHADOW, suggestion="s", notify=True, trust_impact=False)
    finding = tripwire.finding(Trip("x", (change,)), 2)
    assert (finding.guardrail, finding.message, finding.suggestion) == ("a", "Tripwire triggered: x", "s")
    assert (finding.mode, finding.changes, finding.tripwire) == (
        Mode.SHADOW,
        (change,),
        TripwireDetail("critical", notify=True, trust_impact=False),
    )
    assert replace(tripwire, message="m").finding(Trip("x"), 2).message == "m"


class Finds:
    """A scanner and detector that knows one text."""

    def finds(self, text: str, /) -> bool:
        """Whether it is there."""
        return "evil" in text

    def find(self, action: Facts, /) -> tuple[str, ...]:
        """The one kind."""
        return ("an evil text", "another") if "evil" in action.description else ()

    def redacted(self, action: Facts, /) -> Facts:
        """Without it."""
        return replace(action, description=action.description.replace("evil", "[redacted]"))


def test_a_pattern_names_the_field_and_not_the_text() -> None:
    """The first field in which it was found."""
    pattern = Pattern((("action", "description"), ("action", "parameters")), Finds())
    assert trip(pattern, description="good", parameters={"a": ["x evil x"]}) == Trip("action.parameters contains what limit forbids")
    assert trip(pattern, description="good", context={"a": "evil"}) is None


def test_secrets_are_named_by_kind_and_taken_out_of_the_record() -> None:
    """In shadow mode too; a tripwire that does not apply looks at nothing."""
    scanning = Tripwire("secrets", Secrets(Finds()), TripwireSeverity.CRITICAL, mode=Mode.SHADOW)
    action = facts(description="an evil plan")
    seen = examine((scanning,), subject(action), action, 2)
    assert [finding.message for finding in seen.findings] == ["Tripwire triggered: the action contains an evil text and another"]
    assert seen.recorded.description == "an [redacted] plan"
    elsewhere = replace(scanning, applies=Applies(categories=frozenset({"other"})))
    assert examine((elsewhere,), subject(action), action, 2).findings == ()


def test_all_tripwires_are_looked_at() -> None:
    """Findings in their order, charges beside them; a quiet subject spares its conditions only."""
    tripwires = (
        Tripwire("flag", Flag("bad")),
        Tripwire("condition", Condition(Says(answer=True))),
        Tripwire("count", Quota(UNIT, Span.HOUR)),
        Tripwire("sum", Quota(UNIT, Span.DAY, sums=Measure(PATH))),
        Tripwire("limit", LIMIT),
        Tripwire("elsewhere", LIMIT, applies=Applies(agents=frozenset({"other"}))),
    )
    action = facts(context={"bad": "yes"})
    seen = examine(tripwires, subject(action), action, 2)
    assert [finding.guardrail for finding in seen.findings] == ["flag", "condition", "sum", "limit"]
    assert [(charge.tripwire.name, charge.amount) for charge in seen.charges] == [("count", UNIT)]
    quiet = examine(tripwires, subject(action), action, 2, is_quiet=True)
    assert [finding.guardrail for finding in quiet.findings] == ["flag", "sum", "limit"]


CTQ = [
    (None, "ctq is missing: at least 0.6 is wanted"),
    (0.59, "ctq is below the minimum: at least 0.6 is wanted"),
    (0.6, None),
    (1.0, None),
]


@pytest.mark.parametrize(("ctq", "message"), CTQ)
def test_quality_is_wanted(ctq: float | None, message: str | None) -> None:
    """Not to give it is as bad as to have too little; it never does more than the policy says."""
    finding = Quality(0.6, Intervention.ESCALATE).check(facts(ctq=ctq))
    assert (finding.message if finding is not None else None) == message
    assert finding is None or (finding.intervention, finding.lift) == (Intervention.ESCALATE, Lift.APPROVAL)
