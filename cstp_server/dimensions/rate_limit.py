"""`rate_limit`: how often an agent may act (SPEC 9)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cstp_server.dimensions.contexts import ABSENT, REQUESTS_IN_PERIOD, Tallies, missing
from cstp_server.dimensions.numbers import count_in
from cstp_server.domain.constraints import CheckResult

PERIODS_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
"""The periods by their names, the shortest first."""
DEFAULT_PERIOD = "minute"
"""What a number alone is meant for, where the service counts by itself."""
_RATE = re.compile(rf"([0-9]{{1,18}})(?:/({'|'.join(PERIODS_MS)}))?")


class RateLimit(NamedTuple):
    """The most requests in periods of each length, the shortest first. None is there that another one makes needless."""

    limits: tuple[tuple[str, int], ...]

    @property
    def lowest(self) -> int:
        """What a number of requests must not exceed that is given without its period."""
        return min(limit for _, limit in self.limits)


class RateLimitDimension:
    """The most requests in a period. At the limit passes."""

    name = "rate_limit"
    version = "1"
    description = (
        "the most requests in a period, the present one included: a number, of a minute, or `N/second`, `/minute`, `/hour`, `/day`"
    )

    def parse(self, value: Any) -> RateLimit:
        """`N` or `N/period`."""
        period = DEFAULT_PERIOD
        if isinstance(value, str) and (found := _RATE.fullmatch(value)) is not None:
            value, period = found.group(1), found.group(2) or DEFAULT_PERIOD
        limit = count_in(value)
        if limit is None:
            raise ValueError("must be a whole number, or `N/second`, `N/minute`, `N/hour` or `N/day`, such as `100/minute`")
        return RateLimit(((period, limit),))

    def check(self, constraint: RateLimit, context: Mapping[str, Any]) -> CheckResult:
        """The requests, as the context has them, or as the service has counted them in each of the periods."""
        given = context.get(REQUESTS_IN_PERIOD, ABSENT)
        if given is ABSENT:
            return missing(REQUESTS_IN_PERIOD)
        if isinstance(given, Tallies):
            return _tallied(constraint, given)
        used, limit = count_in(given), constraint.lowest
        if used is None:
            return CheckResult(satisfied=False, reason=f"`{REQUESTS_IN_PERIOD}` must be a whole number, 0 or more", limit=limit)
        return _compared(used, limit, "")

    def tightens(self, parent: RateLimit, child: RateLimit) -> bool:
        """Whether no number of requests, and no sequence of them, is within the child and not within the parent."""
        return child.lowest <= parent.lowest and all(
            any(_most_in(PERIODS_MS[period], limit, PERIODS_MS[own]) <= allowed for period, limit in child.limits)
            for own, allowed in parent.limits
        )

    def compose(self, constraints: Sequence[RateLimit]) -> RateLimit:
        """All of the limits, without the needless ones."""
        return _least(limit for constraint in constraints for limit in constraint.limits)


def spans(constraint: RateLimit) -> tuple[tuple[str, int], ...]:
    """The periods to count in, with the limit of each; a number alone is per minute."""
    return constraint.limits


def _tallied(constraint: RateLimit, tallies: Tallies) -> CheckResult:
    results = []
    for period, limit in constraint.limits:
        used = tallies.get(period)
        if used is None:
            return missing(REQUESTS_IN_PERIOD)
        results.append(_compared(used, limit, f" in {_IN[period]}"))
    return min(results, key=lambda result: (result.limit or 0) - (result.used or 0))


_IN = {"second": "a second", "minute": "a minute", "hour": "an hour", "day": "a day"}


def _compared(used: int, limit: int, period: str) -> CheckResult:
    within = used <= limit
    reason = f"within the limit of {limit}{period}" if within else f"exceeds the limit of {limit}{period} by {used - limit}"
    return CheckResult(within, reason, used, limit, max(limit - used, 0))


def _most_in(period_ms: int, limit: int, window_ms: int) -> int:
    """How many fit into any window, where no period has more than the limit: so many periods cover the window."""
    return -(-window_ms // period_ms) * limit


def _least(limits: Iterable[tuple[str, int]]) -> RateLimit:
    """Without those that a limit of the same or a longer period, and no higher, makes needless."""
    lowest: dict[str, int] = {}
    for period, limit in limits:
        lowest[period] = min(limit, lowest.get(period, limit))
    kept: list[tuple[str, int]] = []
    for period in reversed(PERIODS_MS):
        limit = lowest.get(period, -1)
        if limit >= 0 and (not kept or limit < kept[-1][1]):
            kept.append((period, limit))
    return RateLimit(tuple(reversed(kept)))
