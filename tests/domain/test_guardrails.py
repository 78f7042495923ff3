"""Static rules, and the single changes that would lift a refusal (SPEC 3 and 6)."""

from typing import Any

import pytest

from cstp_server.domain.expressions import EvaluationFailed, Subject, subject_of
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import CircuitDetail, Finding, GuardType, Intervention, Remedy, Verdict
from cstp_server.domain.guardrails import Guardrail
from cstp_server.domain.remedies import find_remedies


class Always:
    """A condition with a fixed result."""

    source = "some condition"

    def __init__(self, result: bool | EvaluationFailed) -> None:
        self._result = result

    def __call__(self, subject: Subject, /) -> bool | EvaluationFailed:
        return self._result


def about(**context: Any) -> Subject:
    return subject_of(Facts("x", "bot", context=context), posture="supervised")


def rule(*requires: str, when: bool | EvaluationFailed | None = None, action: Intervention = Intervention.BLOCK) -> Guardrail:
    return Guardrail("r", "", action, "not so", when=Always(when) if when is not None else None, requires=requires)


def test_a_rule_without_a_condition_always_applies() -> None:
    """And one whose condition does not hold never does."""
    assert rule().check(about()) is not None
    assert rule(when=True).check(about()) is not None
    assert rule(when=False).check(about()) is None


@pytest.mark.parametrize("action", [Intervention.BLOCK, Intervention.ESCALATE, Intervention.WARN])
def test_a_condition_that_cannot_be_evaluated_counts_as_matched_and_says_so(action: Intervention) -> None:
    """A bad rule does not silently stop enforcing."""
    finding = rule(when=EvaluationFailed("no such key"), action=action).check(about())
    assert finding is not None
    assert finding.intervention is action
    assert finding.message == "not so (its condition `some condition` could not be evaluated and counts as matched: no such key)"


@pytest.mark.parametrize("value", [None, False, 1, "true", "yes", [], {}, 0])
def test_a_required_field_is_true_or_it_is_missing(value: Any) -> None:
    """Anything but `true` is a violation, and the finding names the field."""
    finding = rule("action.context.reviewed").check(about(reviewed=value))
    assert finding is not None
    assert finding.requires == ("action.context.reviewed",)
    assert finding.suggestion == "make sure that `action.context.reviewed` is true"


def test_a_required_field_that_is_true_satisfies_the_rule() -> None:
    """Also below other fields, and whatever the path leads through otherwise is missing."""
    assert rule("action.context.reviewed").check(about(reviewed=True)) is None
    assert rule("action.context.ci.green").check(about(ci={"green": True})) is None
    assert rule("action.context.ci.green").check(about(ci="green")) is not None


def test_only_the_missing_ones_of_several_required_fields_are_named() -> None:
    """So that the caller knows what to do."""
    finding = rule("action.context.a", "action.context.b").check(about(a=True))
    assert finding is not None
    assert finding.requires == ("action.context.b",)


def test_a_rule_that_allows_finds_nothing() -> None:
    """It is listed, and lowers nobody's finding."""
    assert rule(when=True, action=Intervention.ALLOW).check(about()) is None


def violation(*requires: str, free_at: int | None = None, circuit: bool = False) -> Finding:
    detail = CircuitDetail("global", "open", 1.0, (), free_at) if circuit else None
    changes = (Remedy("wait", until=free_at),) if free_at is not None else ()
    return Finding("r", GuardType.GUARDRAIL, Intervention.BLOCK, "no", requires=requires, circuit=detail, changes=changes)


def remedies(*violations: Finding, enough: Any = lambda _remedy: True) -> tuple[Remedy, ...]:
    return find_remedies(Verdict(Intervention.BLOCK, violations), enough)


def test_waiting_is_offered_until_the_last_circuit_is_free() -> None:
    """One wait for all of them."""
    found = remedies(violation(free_at=5, circuit=True), violation(free_at=9, circuit=True))
    assert found == (Remedy("wait", until=9),)


def test_waiting_is_not_offered_when_a_circuit_stays_closed_to_all() -> None:
    """A forced one has nothing to wait for."""
    assert remedies(violation(free_at=5, circuit=True), violation(free_at=None, circuit=True)) == ()


def test_required_fields_are_offered_once_each() -> None:
    """Two rules that want the same field want one change."""
    found = remedies(violation("action.context.a"), violation("action.context.a", "action.context.b"))
    assert found == (Remedy("set", field="action.context.a", to=True), Remedy("set", field="action.context.b", to=True))


def test_only_what_was_verified_is_offered() -> None:
    """A change that alone is not enough is no remedy."""
    assert remedies(violation("action.context.a"), violation(free_at=5, circuit=True), enough=lambda _remedy: False) == ()
