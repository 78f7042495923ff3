"""Habits that show somebody working along the bounds: always just below them, or in many small steps (SPEC 9)."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from enum import StrEnum

from cstp_server.domain.constraints import CheckResult, Evaluation
from cstp_server.domain.values import dataclass

REMEMBERED = 10
"""How many evaluations of each dimension are remembered."""
SMALL_ONES = 8
"""How many small ones among them are a habit."""
_BOUNDARY = 0.95
_SMALL = 0.1
_ON_DEMAND = "on_demand:"


class AntiGaming(StrEnum):
    """What follows from habits that game the bounds: they are named, or besides want an approval, or block the action."""

    FLAG = "flag"
    ESCALATE = "escalate"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Habits:
    """Of each dimension, whether an agent's last evaluations used little of the limit, the latest last; at most `REMEMBERED`.

    Those on demand are of their own, under names that no dimension has.
    """

    small: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)


def observe(habits: Habits, evaluation: Evaluation, *, on_demand: bool = False) -> tuple[Habits, tuple[str, ...]]:
    """The habits after one more evaluation, and what they show. Only results with a use and a limit say anything; else it is the same.

    What was evaluated `on_demand`, against bounds that the caller brought along, is remembered by itself: nobody gets rid of the habits
    that checks have shown by asking about something else, or is charged with those of somebody who asked.
    """
    ratios = _ratios(evaluation)
    if not ratios:
        return habits, ()
    prefix = _ON_DEMAND if on_demand else ""
    after = {name: (*habits.small.get(prefix + name, ()), 0 < ratio < _SMALL)[-REMEMBERED:] for name, ratio in ratios.items()}
    return Habits({**habits.small, **{prefix + name: small for name, small in after.items()}}), tuple(_flags(ratios, after))


def _flags(ratios: Mapping[str, float], small: Mapping[str, tuple[bool, ...]]) -> Iterator[str]:
    for name, ratio in ratios.items():
        if ratio > _BOUNDARY:
            yield f"boundary_pushing:{name} (usage_ratio={ratio:.2f})"
        if sum(small[name]) >= SMALL_ONES:
            yield f"constraint_splitting:{name}"


def _ratios(evaluation: Evaluation) -> dict[str, float]:
    ratios = {name: _ratio(result) for name, result in evaluation.results.items()}
    return {name: ratio for name, ratio in ratios.items() if ratio is not None}


def _ratio(result: CheckResult) -> float | None:
    used, limit = result.used, result.limit
    if used is None or limit is None or limit <= 0 or used < 0:
        return None
    return used / limit
