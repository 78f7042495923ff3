"""Those who watch dashboards, in this process; told of what this process changes at once, of the rest soon (`services.feeds.Feed`).

A call that changes something pays for a look at an empty table, as long as nobody watches. What happens is gathered and told at most once a
second, or less often where it is only the daily business, to all who watch a tenant at the same moment: what they then read is read once.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol, TypeAlias

import structlog

from cstp_server.clock import Clock, new_id
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.services.feeds import EVERYTHING, Topic, is_everybodys, is_routine, topics_of

_log = structlog.get_logger(__name__)
_LOOK_EVERY_SECONDS = 0.4
_TELL_EVERY_SECONDS = 0.8
_ROUTINE_EVERY_SECONDS = 3.0
_GATHER_SECONDS = 0.03
_LOOKED_BACK = 300
_REMEMBERED = 2_000
_Noted: TypeAlias = tuple[str, EventType, str, int]
"""Whose, what, to what, and when: enough to know an event again."""


class Happened(Protocol):
    """An event, as far as it is told of."""

    @property
    def id(self) -> str:
        """Its place in the record."""
        ...

    @property
    def tenant(self) -> str:
        """Whose it is."""
        ...

    @property
    def type(self) -> EventType:
        """What happened."""
        ...

    @property
    def subject(self) -> str:
        """What it happened to."""
        ...

    @property
    def at(self) -> int:
        """When, in ms since the epoch."""
        ...


class Record(Protocol):
    """What watching asks of the store."""

    async def latest_events(self, limit: int) -> Sequence[Happened]:
        """The latest events of all tenants."""
        ...


class LiveFeed:
    """Everybody in this process who watches."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._name = new_id("feed")
        self._rooms: dict[str, Room] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looking: asyncio.Task[None] | None = None
        self._known: frozenset[str] | None = None
        self._noted: deque[_Noted] = deque(maxlen=_REMEMBERED)
        self._numbers = itertools.count(1)
        self.is_closed = False

    def start(self) -> None:
        """Begin to look for what other processes change, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._looking = asyncio.create_task(self._look_for_ever(), name="feed")

    def close(self) -> None:
        """The service is about to end: nobody watches any longer."""
        self.is_closed = True
        for room in self._rooms.values():
            room.close()

    def request_close(self) -> None:
        """As `close`; may be called from a signal handler."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.close)

    async def stop(self) -> None:
        """Stop looking."""
        self.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def note(self, events: Sequence[Event]) -> None:
        """Tell those who watch of what has just become durable. May be called from any thread."""
        if self._rooms and self._loop is not None:
            noted = [
                (event.tenant, event.type, event.subject, event.at)
                for event in events
                if event.tenant in self._rooms or is_everybodys(event.type)
            ]
            if noted:
                self._loop.call_soon_threadsafe(self._note, noted)

    def edition(self, tenant: str) -> str | None:
        """What was told of a tenant so far, as a mark; none when nobody watches it here."""
        room = self._rooms.get(tenant)
        return f"{self._name}.{room.edition}" if room is not None else None

    @contextmanager
    def listen(self, tenant: str) -> "Iterator[Ear]":
        """To be told from now on."""
        room = self._rooms.setdefault(tenant, Room(self._clock, self._numbers))
        ear = Ear(self)
        room.ears.add(ear)
        try:
            yield ear
        finally:
            room.ears.discard(ear)
            if not room.ears:
                self._rooms.pop(tenant, None)
                self._known = self._known if self._rooms else None

    def _note(self, noted: Sequence[_Noted]) -> None:
        self._noted.extend(noted)
        self._tell(noted)

    def _tell(self, noted: Iterable[_Noted]) -> None:
        for tenant, event_type, subject, _ in noted:
            for room in self._hearing(tenant, event_type):
                room.note(topics_of(event_type, subject), is_routine=is_routine(event_type))

    def _hearing(self, tenant: str, event_type: EventType) -> "Iterable[Room]":
        if is_everybodys(event_type):
            return tuple(self._rooms.values())
        room = self._rooms.get(tenant)
        return () if room is None else (room,)

    def _tell_all(self) -> None:
        """More has happened than was looked at, so anything may have."""
        for room in self._rooms.values():
            room.note(EVERYTHING, is_routine=True)

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            if not self._rooms:
                continue
            try:
                await self._look()
            except (StoreUnavailable, Overloaded) as error:
                _log.debug("feed_waits_for_store", reason=type(error).__name__)
            except Exception as fault:  # noqa: BLE001 - whoever watches must be told, whatever one look met
                _log.error("feed_faulted", exc_info=fault)

    async def _look(self) -> None:
        """Tell of events that were not there at the last look: ids of several processes need not come in their order."""
        latest = await self._record.latest_events(_LOOKED_BACK)
        known, self._known = self._known, frozenset(happened.id for happened in latest)
        if known is None:
            return
        if len(latest) == _LOOKED_BACK and known.isdisjoint(self._known):
            self._tell_all()
            return
        fresh = {(happened.tenant, happened.type, happened.subject, happened.at) for happened in latest if happened.id not in known}
        if fresh:
            self._tell(fresh.difference(self._noted))


class Room:
    """All who watch one tenant, and what they are to be told next."""

    def __init__(self, clock: Clock, numbers: Iterator[int]) -> None:
        self._clock = clock
        self._numbers = numbers
        self.ears: set[Ear] = set()
        self.edition = next(numbers)
        self._topics: frozenset[Topic] = frozenset()
        self._told_at = float("-inf")
        self._telling: asyncio.TimerHandle | None = None
        self._tells_at = float("inf")

    def note(self, topics: frozenset[Topic], *, is_routine: bool) -> None:
        """To be told as soon as enough time has passed since the last time."""
        self._topics |= topics
        now = self._clock.monotonic()
        every = _ROUTINE_EVERY_SECONDS if is_routine else _TELL_EVERY_SECONDS
        due = max(now + _GATHER_SECONDS, self._told_at + every)
        if due < self._tells_at:
            if self._telling is not None:
                self._telling.cancel()
            self._tells_at = due
            self._telling = asyncio.get_running_loop().call_later(due - now, self._tell)

    def close(self) -> None:
        """Nobody is told of anything any more."""
        for ear in self.ears:
            ear.hear(EVERYTHING)

    def _tell(self) -> None:
        topics, self._topics = self._topics, frozenset()
        self._telling, self._tells_at, self._told_at = None, float("inf"), self._clock.monotonic()
        self.edition = next(self._numbers)
        for ear in self.ears:
            ear.hear(topics)


class Ear:
    """One who watches (`services.feeds.Listener`). Whoever is slow to listen hears of everything at once, and of nothing twice."""

    def __init__(self, feed: LiveFeed) -> None:
        self._feed = feed
        self._topics: frozenset[Topic] = frozenset()
        self._heard = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether the service is about to end."""
        return self._feed.is_closed

    def hear(self, topics: frozenset[Topic]) -> None:
        """Something has changed."""
        self._topics |= topics
        self._heard.set()

    async def next(self, seconds: float) -> frozenset[Topic]:
        """What has changed since the last time; nothing when nothing has within so long."""
        if not self._feed.is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # `wait_for` takes no notice of being cancelled when the wait is just over
                    await self._heard.wait()
        self._heard.clear()
        topics, self._topics = self._topics, frozenset()
        return topics
