"""The outcomes that a step of a circuit may take out of its window."""

from collections import deque
from collections.abc import Iterable

from cstp_server.domain.circuit_state import Entry


class Past:
    """The outcomes that may leave a circuit's window during a step, oldest first, and those that the steps append.

    It holds every outcome after the circuit's `tail` that happened until `horizon` (all of them when that is none), and the oldest
    `failures` after its `head` (all of them, unless there are more up to `more_until`, a place in the log). To ask for more than it
    holds is a fault, and raises `LookupError`.
    """

    __slots__ = ("_appended", "_appended_failures", "_entries", "_failures", "_horizon", "_more_until")

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        failures: Iterable[Entry] = (),
        *,
        horizon: int | None = None,
        more_until: int = 0,
    ) -> None:
        self._entries = deque(entries)
        self._failures = deque(failures)
        self._appended: deque[Entry] = deque()
        self._appended_failures: deque[Entry] = deque()
        self._horizon = horizon
        self._more_until = more_until

    def append(self, entry: Entry) -> None:
        """Remember an outcome that has just been counted."""
        self._appended.append(entry)
        if entry.failed:
            self._appended_failures.append(entry)

    def expired(self, tail: int, cutoff: int) -> list[Entry]:
        """The outcomes after `tail` that are not younger than `cutoff`; they are forgotten."""
        if self._horizon is not None and cutoff > self._horizon:
            raise LookupError("the past does not reach as far as the window has moved")
        taken: list[Entry] = []
        for entries in (self._entries, self._appended):
            while entries and (entries[0].seq <= tail or entries[0].at <= cutoff):
                entry = entries.popleft()
                if entry.seq > tail:
                    taken.append(entry)
        return taken

    def oldest_at(self) -> int | None:
        """A time before which no outcome is left; none when no outcome is left at all."""
        if self._entries:
            return self._entries[0].at
        if self._horizon is not None:
            return self._horizon + 1
        return self._appended[0].at if self._appended else None

    def oldest_failure(self, head: int) -> Entry:
        """The first failure after `head`."""
        for failures in (self._failures, self._appended_failures):
            while failures and failures[0].seq <= head:
                failures.popleft()
            if failures:
                return failures[0]
            if head < self._more_until:
                break
        raise LookupError("the past does not hold the oldest failure that is held against the circuit")
