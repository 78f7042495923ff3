"""Those who wait for decisions to be settled, in this process; told of what this process settles at once, of the rest soon.

Waiting costs no thread and holds nothing: who waits is an entry here, and all that this process waits for is looked up together.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import structlog

from cstp_server.domain.decisions import Decision
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.refusals import Overloaded, StoreUnavailable

Key = tuple[str, str]
_log = structlog.get_logger(__name__)
_SETTLING = frozenset(
    {
        EventType.DECISION_APPROVED,
        EventType.DECISION_ALLOWED,
        EventType.DECISION_DENIED,
        EventType.DECISION_CANCELLED,
        EventType.DECISION_EXPIRED,
        EventType.DECISION_REVIEWED,
    }
)
_LOOK_EVERY_SECONDS = 0.5
_AT_ONCE = 500


class Lookup(Protocol):
    """What waiting asks of the store."""

    async def decisions_by_key(self, keys: Sequence[Key]) -> Mapping[Key, Decision]:
        """Decisions by tenant and id; one that is not there is left out."""
        ...

    async def settled_among(self, keys: Sequence[Key]) -> set[Key]:
        """Which of these decisions wait no more, or are not there."""
        ...


class Waiters:
    """Everybody in this process who waits for a decision (`services.ports.Waiting`)."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._expected: dict[Key, set[Expectation]] = {}
        self._looking: asyncio.Future[Mapping[Key, Decision]] | None = None
        self._wanted: set[Key] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._polling: asyncio.Task[None] | None = None
        self.is_closed = False

    def start(self) -> None:
        """Begin to look for what other processes settle, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._polling = asyncio.create_task(self._poll(), name="waiting")

    def close(self) -> None:
        """The service is about to end: nobody waits any longer."""
        self.is_closed = True
        self._wake(list(self._expected))

    def request_close(self) -> None:
        """As `close`; may be called from a signal handler."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.close)

    async def stop(self) -> None:
        """Stop looking."""
        self.close()
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    def note(self, events: Sequence[Event]) -> None:
        """Wake those who wait for what has just been settled. May be called from any thread."""
        if not self._expected or self._loop is None:
            return
        keys = [(event.tenant, event.subject) for event in events if event.type in _SETTLING]
        if keys:
            self._loop.call_soon_threadsafe(self._wake, keys)

    @contextmanager
    def expect(self, tenant: str, id: str) -> "Iterator[Expectation]":
        """To be told of everything that happens to the decision from now on."""
        key = (tenant, id)
        expectation = Expectation(self, key)
        self._expected.setdefault(key, set()).add(expectation)
        try:
            yield expectation
        finally:
            others = self._expected[key]
            others.discard(expectation)
            if not others:
                del self._expected[key]

    async def look(self, key: Key) -> Decision | None:
        """The decision as it is now. What is asked for in one turn of the loop is read together."""
        self._wanted.add(key)
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
        return (await asyncio.shield(self._looking)).get(key)

    async def _look(self) -> Mapping[Key, Decision]:
        await asyncio.sleep(0)
        keys, self._wanted, self._looking = sorted(self._wanted), set(), None
        found: dict[Key, Decision] = {}
        for start in range(0, len(keys), _AT_ONCE):
            found.update(await self._lookup.decisions_by_key(keys[start : start + _AT_ONCE]))
        return found

    def _wake(self, keys: Sequence[Key]) -> None:
        for key in keys:
            for expectation in self._expected.get(key, ()):
                expectation.wake()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            keys = list(self._expected)
            try:
                for start in range(0, len(keys), _AT_ONCE):
                    self._wake(list(await self._lookup.settled_among(keys[start : start + _AT_ONCE])))
            except (StoreUnavailable, Overloaded) as error:
                _log.debug("waiting_for_store", reason=type(error).__name__)
            except Exception as fault:  # noqa: BLE001 - whoever waits must be woken, whatever one look met
                _log.error("waiting_faulted", exc_info=fault)


class Expectation:
    """One caller who waits for one decision (`services.ports.Expected`)."""

    def __init__(self, waiters: Waiters, key: Key) -> None:
        self._waiters = waiters
        self._key = key
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """The decision may have been settled."""
        self._woken.set()

    async def look(self) -> Decision | None:
        """The decision as it is now, if there is one."""
        self._woken.clear()
        return await self._waiters.look(self._key)

    async def wait(self, seconds: float) -> bool:
        """Wait until the decision may have been settled, at most that long; false when the service is about to end."""
        if not self._waiters.is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # `wait_for` takes no notice of being cancelled when the wait is just over
                    await self._woken.wait()
        return not self._waiters.is_closed
