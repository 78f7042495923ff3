"""`cost_limit`: how many cents may be spent (SPEC 9)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from cstp_server.dimensions.contexts import ABSENT, COST_USED, missing
from cstp_server.dimensions.numbers import amount_in
from cstp_server.domain.amounts import amount_number, amount_text
from cstp_server.domain.constraints import CheckResult


class CostLimit(NamedTuple):
    """The most that may be spent, in billionths of a cent."""

    amount: int


class CostLimitDimension:
    """The most that may be spent. At the limit passes."""

    name = "cost_limit"
    version = "1"
    description = "the most that may be spent, in cents"

    def parse(self, value: Any) -> CostLimit:
        """A number of cents, fractions allowed, also as a text."""
        amount = amount_in(value)
        if amount is None:
            raise ValueError("must be a number of cents, 0 or more, such as `1000`")
        return CostLimit(amount)

    def check(self, constraint: CostLimit, context: Mapping[str, Any]) -> CheckResult:
        """What was used, as the context has it."""
        given = context.get(COST_USED, ABSENT)
        if given is ABSENT:
            return missing(COST_USED)
        limit = constraint.amount
        used = amount_in(given)
        if used is None:
            return CheckResult(satisfied=False, reason=f"`{COST_USED}` must be a number of cents, 0 or more", limit=amount_number(limit))
        over = used - limit
        reason = _within(limit) if over <= 0 else f"exceeds the limit of {amount_text(limit)} by {amount_text(over)}"
        return CheckResult(over <= 0, reason, amount_number(used), amount_number(limit), amount_number(max(-over, 0)))

    def tightens(self, parent: CostLimit, child: CostLimit) -> bool:
        """A limit that is not higher."""
        return child.amount <= parent.amount

    def compose(self, constraints: Sequence[CostLimit]) -> CostLimit:
        """The lowest."""
        return min(constraints)


@lru_cache(maxsize=1024)
def _within(limit: int) -> str:
    return f"within the limit of {amount_text(limit)}"
