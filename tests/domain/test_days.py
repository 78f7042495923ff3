"""Calendar days in time zones, daylight saving included (SPEC 7)."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.days import day_end

HOUR_MS = 3_600_000


def ms(text: str, zone: str = "UTC") -> int:
    """A local time in ms since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


ENDS = {
    "in the middle of a day": ("2026-01-15T12:00", "UTC", "2026-01-16T00:00"),
    "at its first moment": ("2026-01-15T00:00", "UTC", "2026-01-16T00:00"),
    "at its last minute": ("2026-01-15T23:59:59", "UTC", "2026-01-16T00:00"),
    "at the end of a year": ("2026-12-31T23:00", "UTC", "2027-01-01T00:00"),
    "on a leap day": ("2028-02-29T01:00", "UTC", "2028-03-01T00:00"),
    "in Berlin": ("2026-07-01T00:30", "Europe/Berlin", "2026-07-02T00:00"),
    "in Kathmandu": ("2026-07-01T00:30", "Asia/Kathmandu", "2026-07-02T00:00"),
    "in Kiritimati": ("2026-07-01T13:59", "Pacific/Kiritimati", "2026-07-02T00:00"),
}


@pytest.mark.parametrize(("now", "zone", "end"), ENDS.values(), ids=ENDS)
def test_a_day_ends_at_midnight(now: str, zone: str, end: str) -> None:
    """Local midnight of the next day."""
    assert day_end(ms(now, zone), ZoneInfo(zone)) == ms(end, zone)


LENGTHS = {
    "an ordinary day": ("2026-03-28T00:00", "Europe/Berlin", 24),
    "the day the clocks go forward": ("2026-03-29T00:00", "Europe/Berlin", 23),
    "the day the clocks go back": ("2026-10-25T00:00", "Europe/Berlin", 25),
    "half an hour only": ("2026-10-04T00:00", "Australia/Lord_Howe", 23.5),
}


@pytest.mark.parametrize(("start", "zone", "hours"), LENGTHS.values(), ids=LENGTHS)
def test_a_day_is_as_long_as_its_clocks_say(start: str, zone: str, hours: float) -> None:
    """From midnight to midnight."""
    begin = ms(start, zone)
    assert day_end(begin, ZoneInfo(zone)) - begin == hours * HOUR_MS


def test_a_midnight_that_is_skipped_is_the_moment_of_the_change() -> None:
    """In Beirut the clocks went from 24:00 to 01:00: the day before ended there, and the next one had 23 hours."""
    zone = ZoneInfo("Asia/Beirut")
    end = day_end(ms("2024-03-30T12:00", "Asia/Beirut"), zone)
    assert datetime.fromtimestamp(end / 1000, zone).isoformat() == "2024-03-31T01:00:00+03:00"
    assert day_end(end, zone) - end == 23 * HOUR_MS


def test_a_day_that_a_zone_skips_is_nobodys() -> None:
    """Samoa had no 30 December 2011: the 29th ended where the 31st began."""
    zone = ZoneInfo("Pacific/Apia")
    end = day_end(ms("2011-12-29T12:00", "Pacific/Apia"), zone)
    assert datetime.fromtimestamp(end / 1000, zone).date().isoformat() == "2011-12-31"


def test_a_midnight_that_comes_twice_ends_the_day_once() -> None:
    """In Havana the clocks go back from 01:00 to 00:00: the day that follows has 25 hours, and its first hour twice."""
    zone = ZoneInfo("America/Havana")
    end = day_end(ms("2026-10-31T12:00", "America/Havana"), zone)
    assert day_end(end, zone) - end == 25 * HOUR_MS
    assert day_end(end + HOUR_MS, zone) == day_end(end, zone)


_ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Beirut", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago"]
)


@given(st.integers(0, 60 * 365 * 86_400), _ZONES)
def test_the_end_is_the_first_moment_of_another_day(second: int, name: str) -> None:
    """After now, within 49 hours; the moment before it is still of today's date, and nothing in between is of another."""
    zone, now = ZoneInfo(name), second * 1000
    end = day_end(now, zone)
    today = datetime.fromtimestamp(second, UTC).astimezone(zone).date()
    assert now < end <= now + 25 * HOUR_MS
    assert datetime.fromtimestamp(end / 1000, zone).date() > today
    assert (datetime.fromtimestamp(end / 1000, UTC) - timedelta(milliseconds=1)).astimezone(zone).date() == today
    assert day_end(end - 1, zone) == end
