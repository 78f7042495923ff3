"""`rate_limit` (SPEC 9)."""

import math
from datetime import UTC
from typing import Any

import pytest

from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.dimensions.contexts import Tallies, prepared
from cstp_server.dimensions.rate_limit import spans
from cstp_server.domain.constraints import CheckResult
from tests.dimensions.asking import check, check_all, complaint, tightens

RATE = BUILT_IN["rate_limit"]


@pytest.mark.parametrize(
    ("limit", "used", "satisfied", "remaining"),
    [
        (100, 50, True, 50),
        ("100/minute", 100, True, 0),
        ("100/minute", 101, False, 0),
        ("100", "99", True, 1),
        (100.0, 99.0, True, 1),
        ("0/day", 0, True, 0),
        ("0/day", 1, False, 0),
    ],
)
def test_requests_are_held_against_the_limit(limit: Any, used: Any, satisfied: bool, remaining: int) -> None:
    """At the limit passes."""
    result = check("rate_limit", limit, requests_in_period=used)
    assert (result.satisfied, result.remaining, result.used) == (satisfied, remaining, float(used))


@pytest.mark.parametrize("used", [-1, 1.5, math.nan, math.inf, True, "many", "-3", None, [3], {"minute": 3}])
def test_what_is_no_number_of_requests_fails(used: Any) -> None:
    """Null as well, and a mapping that only looks like the service's own tallies."""
    result = check("rate_limit", 100, requests_in_period=used)
    assert result == CheckResult(satisfied=False, reason="`requests_in_period` must be a whole number, 0 or more", limit=100)


def test_a_missing_number_is_named() -> None:
    """Unless the service has counted."""
    assert check("rate_limit", 100).missing == "requests_in_period"
    context = prepared({}, 0, UTC, {"minute": 101})
    assert RATE.check(RATE.parse(100), context).reason == "exceeds the limit of 100 in a minute by 1"
    assert RATE.check(RATE.parse("5/hour"), context).missing == "requests_in_period"


def test_a_number_that_is_given_counts_before_the_tally() -> None:
    """Even if it is null, which fails."""
    assert RATE.check(RATE.parse(100), prepared({"requests_in_period": 3}, 0, UTC, {"minute": 101})).satisfied
    assert not RATE.check(RATE.parse(100), prepared({"requests_in_period": None}, 0, UTC, {"minute": 1})).satisfied


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (100, (("minute", 100),)),
        ("100", (("minute", 100),)),
        ("3/second", (("second", 3),)),
        ("5000/day", (("day", 5000),)),
    ],
)
def test_a_number_alone_is_per_minute(value: Any, expected: tuple[tuple[str, int], ...]) -> None:
    """Where the service counts; these are the windows to count in."""
    assert spans(RATE.parse(value)) == expected


def test_composed_limits_all_hold() -> None:
    """Each in its own period, and the tightest is told; a number that is given without its period is held against the lowest."""
    composed = RATE.compose([RATE.parse("10/second"), RATE.parse("100/minute"), RATE.parse("20/second"), RATE.parse("1000/day")])
    assert spans(composed) == (("second", 10), ("minute", 100), ("day", 1000))
    assert RATE.check(composed, {"requests_in_period": Tallies(second=2, minute=99, day=500)}).remaining == 1
    assert (
        RATE.check(composed, {"requests_in_period": Tallies(second=2, minute=99, day=1001)}).reason
        == "exceeds the limit of 1000 in a day by 1"
    )
    assert check_all("rate_limit", "10/second", "100/minute", requests_in_period=11).satisfied is False


def test_needless_limits_are_left_out() -> None:
    """Ten in a second are of no interest where five in an hour are the limit."""
    assert spans(RATE.compose([RATE.parse("10/second"), RATE.parse("5/hour"), RATE.parse("5/minute")])) == (("hour", 5),)


@pytest.mark.parametrize(
    "value",
    [
        -1,
        1.5,
        True,
        None,
        "",
        "100/week",
        "100/minutes",
        "100 / minute",
        "/minute",
        "1.5/minute",
        "100/",
        "-1/minute",
        [100],
        {"minute": 3},
        math.inf,
        "\u0663/minute",
    ],
)
def test_what_is_no_limit_is_refused(value: Any) -> None:
    """With what would be right."""
    assert complaint("rate_limit", value) == "must be a whole number, or `N/second`, `N/minute`, `N/hour` or `N/day`, such as `100/minute`"


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        ("100/minute", "50/minute", True),
        ("100/minute", 100, True),
        (100, "100/minute", True),
        ("100/minute", "101/minute", False),
        ("100/minute", "100/hour", True),
        ("100/hour", "100/minute", False),
        ("100/hour", "1/minute", True),
        ("100/minute", "1/second", True),
        ("59/minute", "1/second", False),
        ("100/minute", "2/second", False),
        ("24/day", "1/hour", True),
        ("23/day", "1/hour", False),
        ("0/second", "0/day", True),
    ],
)
def test_fewer_requests_tighten(parent: Any, child: Any, expected: bool) -> None:
    """In any window of the parent's, and by the number that is given."""
    assert tightens("rate_limit", parent, child) is expected
