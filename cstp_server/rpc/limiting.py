"""How often a token may call: the generic cell rate algorithm, in memory, for one process."""

import math

from cstp_server.clock import Clock

_ROUNDING = 1e-9
"""Seconds within which two times are the same."""


class RateLimiter:
    """Admits `per_second` calls a second on average and `burst` at once, for each key. With `per_second` 0 it admits all."""

    def __init__(self, clock: Clock, per_second: float, burst: int) -> None:
        self._now = clock.monotonic
        self._interval = 1 / per_second if per_second else 0.0
        self._tolerance = self._interval * (burst - 1)
        self._due: dict[bytes | None, float] = {}

    def take(self, key: bytes | None) -> int:
        """Count a call: 0 when it is admitted, else the ms after which the next one would be.

        Only keys of known tokens come here, so what is remembered is bounded by their number.
        """
        if not self._interval:
            return 0
        now = self._now()
        due = max(now, self._due.get(key, now))
        early = due - now - self._tolerance
        if early > _ROUNDING:
            return math.ceil(early * 1000)
        self._due[key] = due + self._interval
        return 0
