"""The only source of the time and of ids."""

import time
from typing import Protocol

from ulid_transform import ulid_now


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

    def monotonic(self) -> float:
        """Seconds since some moment, for measuring how long something took."""
        return time.monotonic()


def new_id(prefix: str) -> str:
    """A new id that sorts by its time of creation: the prefix, an underscore, a ULID."""
    return f"{prefix}_{ulid_now()}"
