"""`time_window`, and the times that contexts give (SPEC 9)."""

from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cstp_server.dimensions.built_in import BUILT_IN
from cstp_server.dimensions.contexts import prepared
from cstp_server.domain.constraints import CheckResult
from tests.dimensions.asking import check, check_all, complaint, tightens

BERLIN = ZoneInfo("Europe/Berlin")
NAIVE = datetime(2025, 1, 15, 10, 30)  # noqa: DTZ001  callers in Python do give such ones
WINDOW = BUILT_IN["time_window"]


def ms(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)


def is_open(window: str, given: Any = None, now: datetime = datetime(2026, 1, 15, 12, tzinfo=UTC), zone: Any = UTC) -> bool:
    """Whether a window is open, at the time that is given or now."""
    return WINDOW.check(WINDOW.parse(window), prepared({"current_time": given}, ms(now), zone)).satisfied


@pytest.mark.parametrize(
    ("window", "at", "expected"),
    [
        ("09:00-17:00", "08:59:59.999", False),
        ("09:00-17:00", "09:00", True),
        ("09:00-17:00", "10:30", True),
        ("09:00-17:00", "17:00", True),
        ("09:00-17:00", "17:00:59.999", True),
        ("09:00-17:00", "17:01", False),
        ("22:00-06:00", "21:59", False),
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "23:59:59", True),
        ("22:00-06:00", "00:00", True),
        ("22:00-06:00", "06:00", True),
        ("22:00-06:00", "06:01", False),
        ("22:00-06:00", "12:00", False),
        ("00:00-23:59", "00:00", True),
        ("00:00-23:59", "23:59:59", True),
        ("09:00-09:00", "09:00:30", True),
        ("09:00-09:00", "09:01", False),
        ("09:00-09:00", "08:59", False),
        ("09:01-09:00", "21:00", True),
    ],
)
def test_a_window_includes_both_of_its_ends(window: str, at: str, expected: bool) -> None:
    """The last minute whole; over midnight where it ends before it begins; with equal ends for one minute."""
    assert is_open(window, at) is expected


def test_the_seed_s_example() -> None:
    """A `datetime` within business hours."""
    assert check("time_window", "09:00-17:00", current_time=NAIVE).satisfied


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2025-01-15T10:30:00Z", "11:30"),
        ("2025-07-15T10:30:00Z", "12:30"),
        ("2025-01-15t10:30:00.123456z", "11:30"),
        ("2025-01-15T10:30:00-05:00", "16:30"),
        ("2025-01-15T23:30:00Z", "00:30"),
        ("2025-01-15T10:30:00", "10:30"),
        ("2025-01-15 10:30", "10:30"),
        ("10:30", "10:30"),
        ("10:30:15", "10:30"),
        ("10:30Z", "11:30"),
        ("10:30+02:00", "09:30"),
        (NAIVE, "10:30"),
        (datetime(2025, 1, 15, 10, 30, tzinfo=UTC), "11:30"),
        (time(10, 30), "10:30"),
        (time(10, 30, tzinfo=timezone(timedelta(hours=1))), "10:30"),
        (None, "13:00"),
    ],
)
def test_times_are_read_and_converted(given: Any, expected: str) -> None:
    """Without an offset they are in the policy's zone, with one they are converted; null is now."""
    context = prepared({"current_time": given}, ms(datetime(2026, 1, 15, 12, tzinfo=UTC)), BERLIN)
    assert context["current_time"].strftime("%H:%M") == expected
    assert context["current_time"].tzinfo is BERLIN


@pytest.mark.parametrize(
    "given",
    [
        "soon", "", "25:00", "12:60", "2025-02-30T10:00:00Z", "2025-01-15", "20250115T103000Z", "2025-W03-3", "10", "1030",
        "\u0661\u0660:30",
        1736937000, 10.5, True, ["10:30"], {"at": "10:30"}, "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:00-05:00", "10:30:00\n",
    ],
)  # fmt: skip
def test_what_is_no_time_fails(given: Any) -> None:
    """At all hours."""
    context = prepared({"current_time": given}, 0, BERLIN)
    result = WINDOW.check(WINDOW.parse("00:00-23:59"), context)
    assert result == CheckResult(satisfied=False, reason="`current_time` must be a time as in RFC 3339, or `HH:MM`")


def test_a_missing_time_is_now() -> None:
    """In the policy's zone; a dimension that is asked without being told the time says so."""
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert prepared({}, ms(noon), BERLIN)["current_time"] == noon
    assert is_open("14:00-14:00", now=noon, zone=BERLIN)
    assert check("time_window", "09:00-17:00").missing == "current_time"


def test_the_clocks_going_forward_skip_an_hour() -> None:
    """From 02:00 to 02:59 there is no such time on that night: the window does not open."""
    before, after = datetime(2026, 3, 29, 0, 59, tzinfo=UTC), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert is_open("01:59-01:59", now=before, zone=BERLIN)
    assert is_open("03:00-03:00", now=after, zone=BERLIN)
    assert not any(is_open("02:00-02:59", now=before + timedelta(minutes=minute), zone=BERLIN) for minute in range(120))


def test_the_clocks_going_back_open_a_window_twice() -> None:
    """The hour comes twice that night, and so does the window."""
    minutes = [datetime(2026, 10, 25, 0, 0, tzinfo=UTC) + timedelta(minutes=minute) for minute in range(180)]
    assert sum(is_open("02:00-02:59", now=minute, zone=BERLIN) for minute in minutes) == 120


def test_the_context_is_left_as_it_is() -> None:
    """What is added is added to a copy."""
    context = {"cost_used": 5}
    assert set(prepared(context, 0, UTC, {"minute": 3})) == {"cost_used", "current_time", "requests_in_period"}
    assert context == {"cost_used": 5}


@pytest.mark.parametrize(
    "value",
    [
        "9:00-17:00",
        "09:00",
        "09:00-24:00",
        "09:60-10:00",
        "09:00 - 17:00",
        "09:00-17:00\n",
        "",
        None,
        9,
        ["09:00-17:00"],
        "\u0660\u0669:00-17:00",
    ],
)
def test_what_is_no_window_is_refused(value: Any) -> None:
    """With what would be right."""
    assert complaint("time_window", value) == "must be `HH:MM-HH:MM`, from `00:00` to `23:59`, such as `09:00-17:00`"


def test_composed_windows_are_what_they_have_in_common() -> None:
    """Which may be two windows, or none at all."""
    assert (
        check_all("time_window", "22:00-06:00", "05:00-23:00", current_time=time(4)).reason
        == "04:00 is not within 05:00-06:00 or 22:00-23:00"
    )
    assert check_all("time_window", "22:00-06:00", "05:00-23:00", current_time=time(22, 30)).reason == "within 05:00-06:00 or 22:00-23:00"
    assert check_all("time_window", "09:00-10:00", "11:00-12:00", current_time=time(9, 30)) == CheckResult(
        satisfied=False, reason="09:30 is not within any window: they have no minute in common"
    )


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        ("09:00-17:00", "10:00-16:00", True),
        ("09:00-17:00", "09:00-17:00", True),
        ("09:00-17:00", "09:00-17:01", False),
        ("09:00-17:00", "08:59-09:30", False),
        ("22:00-06:00", "23:00-05:00", True),
        ("22:00-06:00", "01:00-02:00", True),
        ("22:00-06:00", "22:00-23:59", True),
        ("22:00-06:00", "05:00-07:00", False),
        ("09:00-17:00", "16:00-10:00", False),
        ("00:00-23:59", "17:00-09:00", True),
        ("12:00-11:59", "00:00-23:59", True),
    ],
)
def test_a_window_within_tightens(parent: str, child: str, expected: bool) -> None:
    """Over midnight as well."""
    assert tightens("time_window", parent, child) is expected
