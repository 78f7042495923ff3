"""The only source of the time and of ids."""

import time
from typing import Protocol

from ulid_transform import ulid_at_time, ulid_now


class Clock(Protocol):
    """Something that knows what time it is."""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, for measuring how long something took."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    monotonic = staticmethod(time.monotonic)
    """Seconds since some moment, for measuring how long something took."""


def stopwatch() -> int:
    """Nanoseconds since some moment, for measuring what is over in a few microseconds; for the record, and not to decide on."""
    return time.perf_counter_ns()


def new_id(prefix: str) -> str:
    """A new id that sorts by its time of creation: the prefix, an underscore, a ULID."""
    return f"{prefix}_{ulid_now()}"


class RisingIds:
    """Ids that sort in the order in which they were made, even within a millisecond; for one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def new(self, prefix: str) -> str:
        """An id that sorts after every one before it: each has a millisecond to itself, if need be one that is yet to come."""
        self._last = max(self._clock.now(), self._last + 1)
        return f"{prefix}_{ulid_at_time(self._last / 1000)}"
