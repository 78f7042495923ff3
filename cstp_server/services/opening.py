"""When a time window opens next (SPEC 9)."""

from datetime import datetime, tzinfo

from cstp_server.dimensions.time_window import TimeWindow

_MINUTE_MS = 60_000
_HOUR = 60
_DAY = 24 * _HOUR
_LONGEST_CHANGE = 3 * _HOUR
"""No zone in use puts its clocks forward or back by more."""
_TRIES = 3


def opens_at(window: TimeWindow, now: int, zone: tzinfo) -> int | None:
    """The first full minute after `now` (ms since the epoch) that is within the window; none when there is none in the next days."""
    moment = now - now % _MINUTE_MS
    for _ in range(_TRIES):
        local = datetime.fromtimestamp(moment / 1000, zone)
        ahead = _ahead(window.minutes, local.hour * _HOUR + local.minute)
        if ahead is None:
            return None
        until = moment + ahead * _MINUTE_MS
        if datetime.fromtimestamp(until / 1000, zone).utcoffset() == local.utcoffset():
            return until
        end = until + _LONGEST_CHANGE * _MINUTE_MS
        found = next((at for at in range(moment + _MINUTE_MS, end, _MINUTE_MS) if _is_open(window, at, zone)), None)
        if found is not None:
            return found
        moment = end - _MINUTE_MS
    return None


def _is_open(window: TimeWindow, moment: int, zone: tzinfo) -> bool:
    local = datetime.fromtimestamp(moment / 1000, zone)
    return bool(window.minutes >> (local.hour * _HOUR + local.minute) & 1)


def _ahead(minutes: int, minute: int) -> int | None:
    """How many minutes after this one the next one of them is, a day at most, where the clocks are not changed."""
    later = minutes >> (minute + 1)
    if later:
        return _zeros(later) + 1
    return _zeros(minutes) + _DAY - minute if minutes else None


def _zeros(bits: int) -> int:
    """How many zeros a number ends in."""
    return (bits & -bits).bit_length() - 1
