"""How many tokens a request may take."""

from collections.abc import Mapping, Sequence
from typing import Any

from cstp_server.domain.constraints import CheckResult

_KEY = "tokens_used"


class TokenLimitDimension:
    """Limits tokens per request. A constraint is a whole number; at the limit a request passes."""

    name = "token_limit"
    version = "1.0.0"
    description = "Maximum tokens per request"

    def parse(self, value: Any) -> int:
        """The limit: a whole number, or one in digits."""
        limit = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        if not _is_count(limit):
            raise ValueError(f"Cannot parse token limit: {value}")
        if limit < 0:
            raise ValueError(f"Token limit must be non-negative: {limit}")
        return int(limit)

    def check(self, constraint: int, context: Mapping[str, Any]) -> CheckResult:
        """Whether the request takes no more than that; a request that does not say how many it takes may take any number."""
        if _KEY not in context:
            return CheckResult(satisfied=False, reason=f"the context lacks `{_KEY}`", limit=constraint, missing=_KEY)
        used = context[_KEY]
        if not _is_count(used) or used < 0:
            return CheckResult(satisfied=False, reason=f"`{_KEY}` must be a whole number, at least 0", limit=constraint)
        satisfied = used <= constraint
        reason = "within limit" if satisfied else f"exceeded by {used - constraint}"
        return CheckResult(satisfied, reason, used=used, limit=constraint, remaining=max(0, constraint - used))

    def tightens(self, parent: int, child: int) -> bool:
        """Fewer tokens, or as many."""
        return child <= parent

    def compose(self, constraints: Sequence[int]) -> int:
        """The lowest limit."""
        return min(constraints)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
