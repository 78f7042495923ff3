"""What evaluations of constraints are counted by, so that all processes can tell of it together and at any time (SPEC 11)."""

from collections.abc import Collection, Mapping, Sequence

from cstp_server.domain.constraints import Evaluation
from cstp_server.domain.values import dataclass
from cstp_server.services.ports import Tally

OTHER = "other"
"""What dimensions are counted by that nobody knows: their names are the caller's invention."""
_TOTAL = "evaluations"
_PASSED = "evaluations:passed"
_NANOSECONDS = "evaluations:nanoseconds"
_FAILED = "failed:"
_FLAGGED = "flagged:"
_NS_IN_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class EvaluationCounts:
    """How evaluations turned out: what failed by dimension, what habits showed by kind, and how long one took, none before the first."""

    total: int
    passed: int
    failures: Mapping[str, int]
    flags: Mapping[str, int]
    average_ms: float | None


def tally_of(evaluation: Evaluation, flags: Sequence[str], nanoseconds: int, unknown: Collection[str] = ()) -> Tally:
    """What one evaluation adds to the tallies. `unknown` are the dimensions that there are not."""
    tally = {_TOTAL: 1, _PASSED: int(evaluation.satisfied), _NANOSECONDS: nanoseconds}
    counted = [f"{_FAILED}{OTHER if name in unknown else name}" for name in evaluation.failed]
    for name in (*counted, *(f"{_FLAGGED}{flag.partition(':')[0]}" for flag in flags)):
        tally[name] = tally.get(name, 0) + 1
    return tuple(tally.items())


def evaluation_counts(tallies: Mapping[str, int]) -> EvaluationCounts:
    """What the tallies of a tenant say of its evaluations."""
    total = tallies.get(_TOTAL, 0)
    return EvaluationCounts(
        total=total,
        passed=tallies.get(_PASSED, 0),
        failures=_named(tallies, _FAILED),
        flags=_named(tallies, _FLAGGED),
        average_ms=tallies.get(_NANOSECONDS, 0) / _NS_IN_MS / total if total else None,
    )


def _named(tallies: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in sorted(tallies.items()) if name.startswith(prefix)}
