"""Calendar days in a time zone, daylight saving included."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

_MINUTE_MS = 60_000
_DAY = timedelta(days=1)


def day_end(now: int, zone: tzinfo) -> int:
    """When the calendar day that `now` falls into is over in that zone; both in ms since the epoch."""
    return _end_of_day(now // _MINUTE_MS, zone)


@lru_cache(maxsize=256)
def _end_of_day(minute: int, zone: tzinfo) -> int:
    """No zone in use changes its day within a minute."""
    now = minute * _MINUTE_MS
    day = datetime.fromtimestamp(now / 1000, zone).date() + _DAY
    while (end := _start(day, zone)) <= now:
        day += _DAY
    return end


def _start(day: date, zone: tzinfo) -> int:
    """The first moment of a day: midnight, or, where the clocks skip it, the moment they do."""
    midnight = datetime.combine(day, time(), zone)
    return int(midnight.astimezone(UTC).timestamp() * 1000)
