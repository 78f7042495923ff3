"""Constraints: what an agent may spend, when, how often, on what and with whom (SPEC 9).

A dimension knows one kind of bound. It reads a bound as it is written (`parse`), holds an action's context against it (`check`), tells
whether one bound admits nothing that another refuses (`tightens`), and makes the most restrictive one of several (`compose`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from cstp_server.domain.values import dataclass


class Interaction(StrEnum):
    """How the dimensions' results make one: all must pass, any, more than half, or the first one alone."""

    CONJUNCTIVE = "conjunctive"
    DISJUNCTIVE = "disjunctive"
    INDEPENDENT = "independent"
    HIERARCHICAL = "hierarchical"


class CheckResult(NamedTuple):
    """What a dimension says of a context: whether it is within the bound, why, and where there are numbers, how far.

    `missing` names the key of the context that there should have been; such a result is not satisfied.
    """

    satisfied: bool
    reason: str
    used: float | None = None
    limit: float | None = None
    remaining: float | None = None
    missing: str | None = None


class Dimension(Protocol):
    """One kind of bound. Its methods are pure, and quick: they are asked at every check."""

    @property
    def name(self) -> str:
        """What policies and callers call it: at most 64 small letters, digits and `_`."""
        ...

    @property
    def version(self) -> str:
        """Which version of it this is; an approval is of one version."""
        ...

    @property
    def description(self) -> str:
        """What it bounds, in a few words."""
        ...

    def parse(self, value: Any) -> Any:
        """The bound, of a type of its own, immutable and comparable. Raises `ValueError`, saying what would be right."""
        ...

    def check(self, constraint: Any, context: Mapping[str, Any]) -> CheckResult:
        """Whether the context is within the bound. What is no value of its key is not."""
        ...

    def tightens(self, parent: Any, child: Any) -> bool:
        """Whether `child` admits nothing that `parent` refuses."""
        ...

    def compose(self, constraints: Sequence[Any]) -> Any:
        """The bound that admits what all of these, at least one, admit."""
        ...


class Bound(NamedTuple):
    """A constraint in force: the dimension, and what it has read. `problem` says why it can only fail, where it can."""

    name: str
    dimension: Dimension | None
    constraint: Any = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All dimensions over one context, in their order; `failed` are those that were not satisfied, whatever the interaction made of it."""

    satisfied: bool
    results: Mapping[str, CheckResult] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[str, ...]:
        """The dimensions that were not satisfied."""
        return tuple([name for name, result in self.results.items() if not result.satisfied])


def evaluate(bounds: Sequence[Bound], context: Mapping[str, Any], mode: Interaction, *, missing_passes: bool = False) -> Evaluation:
    """Hold a context (`dimensions.contexts.prepared`) against bounds, each of another dimension, in their order.

    Whatever a dimension does, it is answered: one that raises, or says what is no result, has not passed (fail closed). Without bounds
    there is nothing to fail. `missing_passes`: a key that the context lacks does not count against it, and stays named in the result.
    """
    results = {bound.name: _held(bound, context, missing_passes=missing_passes) for bound in bounds}
    passed = [result.satisfied for result in results.values()]
    return Evaluation(_INTERACTIONS[mode](passed) if passed else True, results)


_INTERACTIONS: Mapping[Interaction, Callable[[Sequence[bool]], bool]] = {
    Interaction.CONJUNCTIVE: all,
    Interaction.DISJUNCTIVE: any,
    Interaction.INDEPENDENT: lambda passed: 2 * sum(passed) > len(passed),
    Interaction.HIERARCHICAL: lambda passed: passed[0],
}
_FAILED = "the dimension failed"
_UNCLEAR = "the dimension gave no clear answer"
_UNKNOWN = "there is no such dimension"
_LONGEST_REASON = 2000
_LARGEST = 1.7e308


def _held(bound: Bound, context: Mapping[str, Any], *, missing_passes: bool) -> CheckResult:
    if bound.problem is not None or bound.dimension is None:
        return CheckResult(satisfied=False, reason=bound.problem or _UNKNOWN)
    try:
        result: object = bound.dimension.check(bound.constraint, context)
    except (Exception, SystemExit):  # noqa: BLE001  code of others may raise anything; nothing has passed it then
        return CheckResult(satisfied=False, reason=_FAILED)
    if not isinstance(result, CheckResult) or not _is_clear(result):
        return CheckResult(satisfied=False, reason=_UNCLEAR)
    if result.missing is not None and missing_passes:
        result = result._replace(satisfied=True)
    is_plain = result.reason.isprintable() and len(result.reason) <= _LONGEST_REASON
    return result if is_plain else result._replace(reason=_plain(result.reason))


def _is_clear(result: CheckResult) -> bool:
    fields: tuple[Any, ...] = result
    satisfied, reason, used, limit, remaining, missing = fields
    return (
        isinstance(satisfied, bool)
        and isinstance(reason, str)
        and _is_number(used)
        and _is_number(limit)
        and _is_number(remaining)
        and (missing is None or (isinstance(missing, str) and not satisfied))
    )


def _is_number(value: object) -> bool:
    """Whether it is none at all, or a number that every store and every wire can carry."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST)


def _plain(reason: str) -> str:
    """A reason that every store and every wire can carry."""
    return reason.replace("\0", "")[:_LONGEST_REASON].encode("utf-8", "replace").decode()
