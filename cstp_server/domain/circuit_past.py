"""The outcomes that a step of a circuit may take out of its window, or that begin to fade in it."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from cstp_server.domain.circuit_state import Entry


class Past:
    """The outcomes that may leave a circuit's window during a step, oldest first, and those that the steps append.

    It holds every outcome after the circuit's `tail` that happened until `horizon` (all of them when that is none), and the oldest
    `failures` after its `head` (all of them, unless there are more up to `more_until`, a place in the log). Where failures fade, it
    holds the `fresh` ones after its `mid` that happened until `fresh_horizon`. To ask for more than it holds is a fault, and raises
    `LookupError`.

    What has left the window is forgotten; what has begun to fade is not, since another policy may have it fade from another age on.
    """

    __slots__ = ("_failures", "_fresh", "_more_until", "_outcomes")

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        failures: Iterable[Entry] = (),
        *,
        horizon: int | None = None,
        more_until: int = 0,
        fresh: Iterable[Entry] = (),
        fresh_horizon: int | None = None,
    ) -> None:
        self._outcomes = _Stretch(entries, horizon)
        self._failures = _Stretch(failures)
        self._fresh = _Kept(fresh, fresh_horizon)
        self._more_until = more_until

    def append(self, entry: Entry) -> None:
        """Remember an outcome that has just been counted."""
        self._outcomes.append(entry)
        if entry.failed:
            self._failures.append(entry)
            self._fresh.append(entry)

    def expired(self, tail: int, cutoff: int) -> list[Entry]:
        """The outcomes after `tail` that are not younger than `cutoff`; they are forgotten."""
        return list(self._outcomes.taken(tail, cutoff))

    def oldest_at(self) -> int | None:
        """A time before which no outcome is left; none when no outcome is left at all."""
        return self._outcomes.oldest_at()

    def faded(self, mid: int, cutoff: int) -> list[Entry]:
        """The failures after `mid` that are not younger than `cutoff`."""
        return self._fresh.until(mid, cutoff)

    def freshest_at(self, mid: int) -> int | None:
        """A time before which there is no failure after `mid`; none when there is none at all."""
        return self._fresh.first_at(mid)

    def oldest_failure(self, head: int) -> Entry:
        """The first failure after `head`."""
        failure = self._failures.first_after(head, self._more_until)
        if failure is None:
            raise LookupError("the past does not hold the oldest failure that is held against the circuit")
        return failure


class _Stretch:
    """Lines of a log in order: those that were read, up to a horizon, and then those that were appended since."""

    __slots__ = ("_appended", "_horizon", "_read")

    def __init__(self, entries: Iterable[Entry], horizon: int | None = None) -> None:
        self._read = deque(entries)
        self._appended: deque[Entry] = deque()
        self._horizon = horizon

    def append(self, entry: Entry) -> None:
        """One more, younger than all others."""
        self._appended.append(entry)

    def taken(self, place: int, cutoff: int) -> Iterator[Entry]:
        """Those after `place` that are not younger than `cutoff`; they are forgotten."""
        if self._horizon is not None and cutoff > self._horizon:
            raise LookupError("the past does not reach as far as the window has moved")
        for entries in (self._read, self._appended):
            while entries and (entries[0].seq <= place or entries[0].at <= cutoff):
                entry = entries.popleft()
                if entry.seq > place:
                    yield entry

    def oldest_at(self) -> int | None:
        """A time before which none is left; none when none is left at all."""
        if self._read:
            return self._read[0].at
        return _earlier(self._horizon, self._appended[0] if self._appended else None)

    def first_after(self, place: int, more_until: int) -> Entry | None:
        """The first one after `place`; none when there is none, or when there are more in the log up to `more_until` that were not read."""
        for entries in (self._read, self._appended):
            while entries and entries[0].seq <= place:
                entries.popleft()
            if entries:
                return entries[0]
            if place < more_until:
                break
        return None


class _Kept:
    """Lines of a log in order, of which none is forgotten."""

    __slots__ = ("_appended", "_horizon", "_read")

    def __init__(self, entries: Iterable[Entry], horizon: int | None) -> None:
        self._read = list(entries)
        self._appended: list[Entry] = []
        self._horizon = horizon

    def append(self, entry: Entry) -> None:
        """One more, younger than all others."""
        self._appended.append(entry)

    def until(self, place: int, cutoff: int) -> list[Entry]:
        """Those after `place` that are not younger than `cutoff`."""
        if self._horizon is not None and cutoff > self._horizon:
            raise LookupError("the past does not reach as far as what fades")
        return [entry for entries in (self._read, self._appended) for entry in _between(entries, place, cutoff)]

    def first_at(self, place: int) -> int | None:
        """A time before which there is none after `place`; none when there is none at all."""
        first = _after(self._read, place)
        return first.at if first is not None else _earlier(self._horizon, _after(self._appended, place))


def _between(entries: Sequence[Entry], place: int, cutoff: int) -> Sequence[Entry]:
    begin = bisect_right(entries, place, key=_seq)
    return entries[begin : bisect_right(entries, cutoff, lo=begin, key=_time)]


def _after(entries: Sequence[Entry], place: int) -> Entry | None:
    index = bisect_right(entries, place, key=_seq)
    return entries[index] if index < len(entries) else None


def _earlier(horizon: int | None, entry: Entry | None) -> int | None:
    """The time of the entry, or that just beyond the horizon, where more may lie that was not read."""
    times = [*([horizon + 1] if horizon is not None else []), *([entry.at] if entry is not None else [])]
    return min(times, default=None)


_seq, _time = attrgetter("seq"), attrgetter("at")
