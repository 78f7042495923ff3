"""`time_window`: at what times of day an agent may act (SPEC 9)."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from functools import lru_cache, reduce
from operator import and_
from typing import Any, NamedTuple

from cstp_server.dimensions.contexts import ABSENT, CURRENT_TIME, missing
from cstp_server.domain.constraints import CheckResult

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_HOUR = 60
_DAY = 24 * _HOUR


class TimeWindow(NamedTuple):
    """The minutes of the day, one bit each from midnight on."""

    minutes: int


class TimeWindowDimension:
    """A window that opens with its first minute and is open for the whole of its last, every day.

    `09:00-17:00` admits 17:00:59 and not 17:01. `22:00-06:00` is open over midnight; `09:00-09:00` is open for one minute.
    """

    name = "time_window"
    version = "1"
    description = "the hours of the day, both ends included, in the policy's time zone; may go over midnight"

    def parse(self, value: Any) -> TimeWindow:
        """`HH:MM-HH:MM`, from 00:00 to 23:59."""
        found = _WINDOW.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError("must be `HH:MM-HH:MM`, from `00:00` to `23:59`, such as `09:00-17:00`")
        hour, minute, last_hour, last_minute = map(int, found.groups())
        first, last = hour * _HOUR + minute, last_hour * _HOUR + last_minute
        if first <= last:
            return TimeWindow(_up_to(last) & ~_before(first))
        return TimeWindow(_up_to(last) | (_up_to(_DAY - 1) & ~_before(first)))

    def check(self, constraint: TimeWindow, context: Mapping[str, Any]) -> CheckResult:
        """The time of day, as the context has it: a `datetime` or a `time` in the policy's zone (`contexts.prepared`)."""
        now = context.get(CURRENT_TIME, ABSENT)
        if now is ABSENT:
            return missing(CURRENT_TIME)
        if not isinstance(now, datetime | time):
            return CheckResult(satisfied=False, reason=f"`{CURRENT_TIME}` must be a time as in RFC 3339, or `HH:MM`")
        if constraint.minutes >> (now.hour * _HOUR + now.minute) & 1:
            return CheckResult(satisfied=True, reason=f"within {_text(constraint.minutes)}")
        return CheckResult(satisfied=False, reason=f"{now.hour:02}:{now.minute:02} is not within {_text(constraint.minutes)}")

    def tightens(self, parent: TimeWindow, child: TimeWindow) -> bool:
        """Windows that lie within the parent's."""
        return child.minutes & ~parent.minutes == 0

    def compose(self, constraints: Sequence[TimeWindow]) -> TimeWindow:
        """The minutes that all have; none where they have none in common."""
        return TimeWindow(reduce(and_, (constraint.minutes for constraint in constraints)))


def _before(minute: int) -> int:
    return (1 << minute) - 1


def _up_to(minute: int) -> int:
    return _before(minute + 1)


@lru_cache(maxsize=1024)
def _text(minutes: int) -> str:
    """The windows as they are written; those over midnight are two."""
    windows = []
    minute = 0
    while minutes >> minute:
        first = minute + _zeros(minutes >> minute)
        last = first + _zeros(~(minutes >> first)) - 1
        windows.append(f"{_clock(first)}-{_clock(last)}")
        minute = last + 1
    return " or ".join(windows) or "any window: they have no minute in common"


def _zeros(bits: int) -> int:
    """How many zeros a number ends in."""
    return (bits & -bits).bit_length() - 1


def _clock(minute: int) -> str:
    return f"{minute // _HOUR:02}:{minute % _HOUR:02}"
