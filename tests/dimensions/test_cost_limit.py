"""`cost_limit` (SPEC 9)."""

import math
from typing import Any

import pytest

from cstp_server.domain.constraints import CheckResult
from tests.dimensions.asking import check, check_all, complaint, tightens


@pytest.mark.parametrize(
    ("limit", "used", "satisfied", "remaining"),
    [
        (1000.0, 500.0, True, 500),
        (1000, 1000, True, 0),
        (1000, 1000.01, False, 0),
        (0.3, 0.3, True, 0),
        ("12.5", "12.5", True, 0),
        (0, 0, True, 0),
        (0, 0.001, False, 0),
        (10, 2.25, True, 7.75),
    ],
)
def test_a_cost_is_held_against_the_limit(limit: Any, used: Any, satisfied: bool, remaining: float) -> None:
    """In cents, fractions allowed, exact; at the limit passes."""
    result = check("cost_limit", limit, cost_used=used)
    assert (result.satisfied, result.remaining, result.used, result.limit) == (satisfied, remaining, float(used), float(limit))


@pytest.mark.parametrize(
    "used", [-1, -0.01, math.nan, math.inf, -math.inf, True, False, "a lot", "-1", "nan", "inf", "", None, [5], {"usd": 5}, 10**40]
)
def test_what_is_no_cost_fails(used: Any) -> None:
    """Negative, not finite, no number, or null, which says nothing of what was spent."""
    result = check("cost_limit", 1000, cost_used=used)
    assert (result.satisfied, result.used, result.missing) == (False, None, None)
    assert result.reason == "`cost_used` must be a number of cents, 0 or more"


def test_a_missing_cost_is_named() -> None:
    """So that the policy can say what follows."""
    assert check("cost_limit", 1000) == CheckResult(satisfied=False, reason="the context lacks `cost_used`", missing="cost_used")


def test_the_reason_says_how_far() -> None:
    """With the numbers, and no others."""
    assert check("cost_limit", 1000, cost_used=1250.5).reason == "exceeds the limit of 1000 by 250.5"
    assert check("cost_limit", 1000, cost_used=10).reason == "within the limit of 1000"


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, None, "", "cheap", "1e9", "0x10", [1000], {"cents": 5}, 10**30, "9" * 40])
def test_what_is_no_limit_is_refused(value: Any) -> None:
    """With what would be right."""
    assert complaint("cost_limit", value) == "must be a number of cents, 0 or more, such as `1000`"


def test_the_lowest_limit_is_the_composed_one() -> None:
    """Whatever their order and form."""
    assert check_all("cost_limit", 100, "50", 75.5, cost_used=50).satisfied
    assert check_all("cost_limit", 100, "50", 75.5, cost_used=51).limit == 50


@pytest.mark.parametrize(
    ("parent", "child", "expected"), [(100, 50, True), (100, 100, True), (100, "100.0", True), (100, 200, False), (0, 0.1, False)]
)
def test_a_lower_limit_tightens(parent: Any, child: Any, expected: bool) -> None:
    """And an equal one."""
    assert tightens("cost_limit", parent, child) is expected
