"""An action held against the constraints that the policy has for it (SPEC 9)."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from types import MappingProxyType
from typing import Any, NamedTuple

from cstp_server.clock import stopwatch
from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.dimensions.contexts import COST_USED, CURRENT_TIME, REQUESTS_IN_PERIOD, prepared
from cstp_server.dimensions.cost_limit import CostLimit
from cstp_server.dimensions.numbers import count_in
from cstp_server.dimensions.rate_limit import RateLimit, RateLimitDimension, spans
from cstp_server.dimensions.spelling import canonical_context, spelled
from cstp_server.dimensions.time_window import TimeWindow
from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.constraints import Bound, CheckResult, Dimension, Evaluation, evaluate
from cstp_server.domain.dimension_reviews import DimensionReview, DimensionStatus, review_of, status_of
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import ConstraintDetail, Finding, GuardType, Intervention, Remedy
from cstp_server.domain.gaming import AntiGaming, Habits, observe
from cstp_server.domain.rates import RateCharge, rate_charges
from cstp_server.domain.usage import Usage
from cstp_server.policy.compiled import Policy
from cstp_server.policy.secrets import SCANNER
from cstp_server.services.opening import opens_at

Reviews = Mapping[str, Sequence[DimensionReview]]
"""What was said of custom dimensions, by their names."""
GUARD_PREFIX = "constraint-"
GAMING_GUARD = "anti-gaming"
RATE_LIMIT = RateLimitDimension.name


class Bounding(NamedTuple):
    """The constraints on one action, and what it says of itself, in the spelling that dimensions know.

    `declared` is that in the action's own spelling. `rates` are the windows in which its agent's checks are counted, by period; `custom`
    the dimensions that must have been approved.
    """

    bounds: tuple[Bound, ...]
    context: Mapping[str, Any]
    declared: Mapping[str, Any]
    rates: Mapping[str, RateCharge]
    custom: frozenset[str]

    @property
    def counts_itself(self) -> bool:
        """Whether it is the service itself that tells how often the agent was let through."""
        return bool(self.rates) and REQUESTS_IN_PERIOD not in self.context

    @property
    def shows_habits(self) -> bool:
        """Whether what it says of itself may show something of its agent's habits."""
        return len(self.bounds) > 1 or not self.counts_itself

    def name_of(self, key: str) -> str:
        """What the action calls a key."""
        return spelled(self.declared, key)

    def limited(self, rate: RateLimit) -> Iterable[tuple[RateCharge, int]]:
        """The windows of a rate limit, with the limit of each."""
        return [(self.rates[period], limit) for period, limit in spans(rate)]


class Held(NamedTuple):
    """What the constraints say of an action, and what that shows of the agent: its habits from then on, none where nobody looks at them.

    `nanoseconds` is how long it took to say it, for the tallies.
    """

    evaluation: Evaluation
    findings: tuple[Finding, ...] = ()
    habits: Habits | None = None
    flags: tuple[str, ...] = ()
    nanoseconds: int = 0


def report(held: Held) -> dict[str, Any]:
    """What an event says of it."""
    evaluation = held.evaluation
    return {"satisfied": evaluation.satisfied, "failed": evaluation.failed, "flags": held.flags}


def bounding_of(policy: Policy, facts: Facts) -> Bounding | None:
    """The constraints that the policy has for an action; none where it has none."""
    constraints = policy.constraints
    bounds = constraints.bounds_of(facts)
    if not bounds:
        return None
    custom = custom_among(bounds) if constraints.reviews else _NONE
    return Bounding(bounds, canonical_context(facts.context), facts.context, _rates(bounds, facts.agent_id), custom)


_NONE: frozenset[str] = frozenset()
_UNCOUNTED: Mapping[str, RateCharge] = MappingProxyType({})


def _rates(bounds: Iterable[Bound], agent_id: str) -> Mapping[str, RateCharge]:
    for bound in bounds:
        if isinstance(bound.constraint, RateLimit):
            return rate_charges(agent_id, [period for period, _ in spans(bound.constraint)])
    return _UNCOUNTED


def hold(bounding: Bounding, policy: Policy, usage: Mapping[str, Usage], reviews: Reviews, known: AgentHabits | None, now: int) -> Held:
    """Hold an action against its constraints at `now`, which may be yet to come. Nothing is said of habits where they are not `known`."""
    constraints, zone, began = policy.constraints, policy.time_zone, stopwatch()
    tallies = {period: charge.counted(usage[charge.subject], now, zone) + 1 for period, charge in bounding.rates.items()}
    said, counts = _counted(bounding.context, tallies)
    context = prepared(said, now, zone, counts)
    bounds = reviewed(bounding.bounds, reviews) if bounding.custom else bounding.bounds
    evaluation = evaluate(bounds, context, constraints.mode, missing_passes=constraints.missing_passes)
    findings = () if evaluation.satisfied else tuple(_violations(bounding, policy, evaluation, usage, now))
    if known is None:
        return Held(evaluation, findings, nanoseconds=stopwatch() - began)
    habits, flags = observe(known.habits, evaluation if _tells(bounding.context, evaluation) else told(evaluation))
    return Held(evaluation, (*findings, *_gaming(policy, flags)), habits, flags, stopwatch() - began)


def _counted(context: Mapping[str, Any], tallies: Mapping[str, int]) -> tuple[Mapping[str, Any], Mapping[str, int] | None]:
    """The context and the service's own counts. Where the action tells a number as well, the larger counts: it may know of more."""
    if not tallies or REQUESTS_IN_PERIOD not in context:
        return context, tallies or None
    given = count_in(context[REQUESTS_IN_PERIOD])
    if given is None:
        return context, None
    rest = {name: value for name, value in context.items() if name != REQUESTS_IN_PERIOD}
    return rest, {period: max(given, count) for period, count in tallies.items()}


def _tells(context: Mapping[str, Any], evaluation: Evaluation) -> bool:
    """Whether the number of requests that counted is the one that the action itself gives."""
    rate = evaluation.results.get(RATE_LIMIT)
    return rate is None or (REQUESTS_IN_PERIOD in context and rate.used == count_in(context[REQUESTS_IN_PERIOD]))


def told(evaluation: Evaluation) -> Evaluation:
    """Without what the service has counted by itself: it shows nothing of how an agent splits its work, or of what it says."""
    return Evaluation(evaluation.satisfied, {name: result for name, result in evaluation.results.items() if name != RATE_LIMIT})


def custom_among(bounds: Iterable[Bound]) -> frozenset[str]:
    """The dimensions of installed packages among those of the bounds."""
    return frozenset([bound.name for bound in bounds if bound.dimension is not None and bound.name not in BUILT_IN])


def reviewed(bounds: Iterable[Bound], reviews: Reviews) -> tuple[Bound, ...]:
    """The bounds, of which those can only fail whose dimension nobody has approved in this version."""
    return tuple([_reviewed(bound, reviews[bound.name]) if bound.name in reviews else bound for bound in bounds])


def _reviewed(bound: Bound, reviews: Sequence[DimensionReview]) -> Bound:
    reason = unusable(bound.dimension, reviews) if bound.dimension is not None else None
    return bound if reason is None else bound._replace(problem=reason)


def unusable(dimension: Dimension, reviews: Sequence[DimensionReview]) -> str | None:
    """Why a custom dimension must not be used; none when it may be."""
    status = status_of(review_of(reviews, dimension.name, dimension.version))
    if status.usable:
        return None
    said = "was rejected" if status is DimensionStatus.REJECTED else "is not approved"
    return f"dimension `{dimension.name}` {said} in version `{dimension.version}`"


def _violations(bounding: Bounding, policy: Policy, evaluation: Evaluation, usage: Mapping[str, Usage], now: int) -> Iterable[Finding]:
    """One for each dimension that failed."""
    for bound in bounding.bounds:
        result = evaluation.results[bound.name]
        if not result.satisfied:
            yield Finding(
                guardrail=f"{GUARD_PREFIX}{bound.name}",
                type=GuardType.CONSTRAINT,
                intervention=Intervention.BLOCK,
                message=f"{bound.name}: {SCANNER.redacted_text(result.reason)}",
                mode=policy.constraints.enforcement,
                suggestion=f"say `action.context.{result.missing}`" if result.missing is not None else None,
                changes=tuple(_changes(bound, result, bounding, policy, usage, now)),
                constraint=ConstraintDetail(bound.name, result.used, result.limit, result.remaining),
            )


def _changes(
    bound: Bound, result: CheckResult, bounding: Bounding, policy: Policy, usage: Mapping[str, Usage], now: int
) -> Iterable[Remedy]:
    """What may put it right: to spend less, or to wait until a window opens, or until there is room in one."""
    if isinstance(bound.constraint, CostLimit) and result.used is not None and result.limit is not None:
        yield Remedy("lower", field=f"action.context.{bounding.name_of(COST_USED)}", to=result.limit)
    elif isinstance(bound.constraint, TimeWindow) and bounding.context.get(CURRENT_TIME) is None:
        until = opens_at(bound.constraint, now, policy.time_zone)
        yield from [Remedy("wait", until=until)] if until is not None else []
    elif isinstance(bound.constraint, RateLimit):
        waits = [_room_at(charge, limit, usage, now, policy.time_zone) for charge, limit in bounding.limited(bound.constraint)]
        yield from [Remedy("wait", until=max(waits))] if (waits := [until for until in waits if until is not None]) else []


def _room_at(charge: RateCharge, limit: int, usage: Mapping[str, Usage], now: int, zone: tzinfo) -> int | None:
    """When there is room for one more in a window that is full; none where it has room, or knows of nothing that will leave it."""
    known = usage[charge.subject]
    return charge.room_at(known, now, zone) if charge.counted(known, now, zone) >= limit else None


GAMING = {AntiGaming.FLAG: Intervention.WARN, AntiGaming.ESCALATE: Intervention.ESCALATE, AntiGaming.BLOCK: Intervention.BLOCK}


def _gaming(policy: Policy, flags: Sequence[str]) -> Iterable[Finding]:
    """What the policy makes of habits that show somebody working along the bounds."""
    constraints = policy.constraints
    if flags:
        yield Finding(
            guardrail=GAMING_GUARD,
            type=GuardType.CONSTRAINT,
            intervention=GAMING[constraints.anti_gaming],
            message=", ".join(flags),
            mode=constraints.enforcement,
        )
