"""What several dimensions together make of a context, and the habits that show in it (SPEC 9)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cstp_server.domain.constraints import Bound, CheckResult, Evaluation, Interaction, evaluate
from cstp_server.domain.gaming import Habits, observe


class Saying:
    """A dimension that passes where its constraint says so; a text is the key that it misses."""

    name, version, description = "saying", "1", "says what it is told"

    def parse(self, value: Any) -> Any:
        """Itself."""
        return value

    def check(self, constraint: Any, _context: Mapping[str, Any]) -> CheckResult:
        """What the constraint says."""
        if isinstance(constraint, str):
            return CheckResult(satisfied=False, reason="missing", missing=constraint)
        return CheckResult(constraint, "said so")

    def tightens(self, _parent: Any, _child: Any) -> bool:
        """Never."""
        return False

    def compose(self, constraints: Sequence[Any]) -> Any:
        """The first."""
        return constraints[0]


def bounds(constraints: Sequence[Any]) -> list[Bound]:
    """Bounds of dimensions that say what they are told."""
    return [Bound(f"d{number}", Saying(), constraint) for number, constraint in enumerate(constraints)]


@pytest.mark.parametrize(
    ("mode", "passed", "expected"),
    [
        (Interaction.CONJUNCTIVE, (True, True), True),
        (Interaction.CONJUNCTIVE, (True, False), False),
        (Interaction.DISJUNCTIVE, (False, True), True),
        (Interaction.DISJUNCTIVE, (False, False), False),
        (Interaction.INDEPENDENT, (True, True, False), True),
        (Interaction.INDEPENDENT, (True, False), False),
        (Interaction.INDEPENDENT, (True, False, False), False),
        (Interaction.INDEPENDENT, (True,), True),
        (Interaction.HIERARCHICAL, (True, False, False), True),
        (Interaction.HIERARCHICAL, (False, True, True), False),
        *((mode, (), True) for mode in Interaction),
    ],
)
def test_the_mode_makes_one_answer_of_all(mode: Interaction, passed: tuple[bool, ...], expected: bool) -> None:
    """All, any, more than half, or the first one; without bounds nothing fails, and the results are all there."""
    evaluation = evaluate(bounds(passed), {}, mode)
    assert evaluation.satisfied is expected
    assert [result.satisfied for result in evaluation.results.values()] == list(passed)
    assert evaluation.failed == tuple(f"d{number}" for number, each in enumerate(passed) if not each)


def test_a_bound_with_a_problem_fails_with_it() -> None:
    """Whatever its dimension would say, and whatever may be missing."""
    problems = [Bound("a", Saying(), True, "wants an approval"), Bound("b", None)]  # noqa: FBT003  a constraint may be anything
    evaluation = evaluate(problems, {}, Interaction.DISJUNCTIVE, missing_passes=True)
    assert not evaluation.satisfied
    assert {name: result.reason for name, result in evaluation.results.items()} == {
        "a": "wants an approval",
        "b": "there is no such dimension",
    }


def test_what_is_missing_fails_unless_it_is_to_pass() -> None:
    """It stays named; what has failed for another reason has failed."""
    evaluation = evaluate(bounds(["tokens", True]), {}, Interaction.CONJUNCTIVE)
    assert (evaluation.satisfied, evaluation.failed) == (False, ("d0",))
    lenient = evaluate(bounds(["tokens", True]), {}, Interaction.CONJUNCTIVE, missing_passes=True)
    assert (lenient.satisfied, lenient.failed, lenient.results["d0"].missing) == (True, (), "tokens")
    assert not evaluate(bounds(["tokens", False]), {}, Interaction.CONJUNCTIVE, missing_passes=True).satisfied


def used(ratio: float, name: str = "cost_limit", limit: float | None = 1000) -> Evaluation:
    """An evaluation in which so much of the limit was used."""
    of_limit = ratio * limit if limit is not None else ratio
    return Evaluation(satisfied=True, results={name: CheckResult(satisfied=True, reason="x", used=of_limit, limit=limit)})


@pytest.mark.parametrize(
    ("ratio", "flag"),
    [
        (0.96, ("boundary_pushing:cost_limit (usage_ratio=0.96)",)),
        (0.95, ()),
        (0.9500001, ("boundary_pushing:cost_limit (usage_ratio=0.95)",)),
        (1, ("boundary_pushing:cost_limit (usage_ratio=1.00)",)),
        (1.5, ("boundary_pushing:cost_limit (usage_ratio=1.50)",)),
        (0.5, ()),
        (0, ()),
    ],
)
def test_who_stays_just_below_a_limit_pushes_it(ratio: float, flag: tuple[str, ...]) -> None:
    """Above 95 %, told with two decimals."""
    assert observe(Habits(), used(ratio))[1] == flag


def flags_of(ratios: Sequence[float]) -> list[tuple[str, ...]]:
    """The flags after each of these evaluations."""
    habits, found = Habits(), []
    for ratio in ratios:
        habits, flags = observe(habits, used(ratio))
        found.append(flags)
    return found


SPLITTING = ("constraint_splitting:cost_limit",)


def test_eight_small_steps_of_ten_are_splitting() -> None:
    """As soon as there are eight, and as long as they are among the last ten."""
    assert flags_of([0.05] * 9) == [()] * 7 + [SPLITTING] * 2
    assert flags_of([0.5, 0.5, *[0.05] * 8])[-1] == SPLITTING
    assert flags_of([0.05] * 8 + [0.5] * 3)[-3:] == [SPLITTING, SPLITTING, ()]
    assert flags_of([0.05] * 7 + [0.5, 0.5, 0.5, 0.05])[-1] == ()


def test_a_tenth_is_not_small_and_nothing_is_no_step() -> None:
    """Below 0.1, and above 0."""
    assert flags_of([0.1] * 10)[-1] == ()
    assert flags_of([0] * 10)[-1] == ()
    assert flags_of([0.0999] * 10)[-1] == SPLITTING


def test_only_results_with_a_use_and_a_limit_count() -> None:
    """Others leave the habits as they are, and a limit of nothing has no ratio."""
    habits = observe(Habits(), used(0.05))[0]
    for evaluation in (
        used(1, limit=None),
        used(5, limit=0),
        Evaluation(satisfied=False, results={"x": CheckResult(satisfied=False, reason="x")}),
    ):
        assert observe(habits, evaluation) == (habits, ())


def test_dimensions_have_habits_of_their_own() -> None:
    """Ten are remembered of each."""
    habits = Habits()
    for _ in range(20):
        habits, _ = observe(habits, used(0.05))
        habits, flags = observe(habits, used(0.5, "rate_limit"))
        assert flags == ()
    assert habits.small == {"cost_limit": (True,) * 10, "rate_limit": (False,) * 10}
