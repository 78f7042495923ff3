"""Counting what is in the store for those who scrape the metrics: seldom, in the background, and once for all who ask."""

import asyncio
from typing import Protocol

import structlog

from cstp_server.clock import Clock
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.services.ports import StoreCounts

_log = structlog.get_logger(__name__)
_EVERY_SECONDS = 5.0
_SHARE = 20
"""Counting may take at most one part in so many of the time, however much there is to count."""
_PATIENCE_SECONDS = 1.0
_OUTDATED_SECONDS = 60.0


class Countable(Protocol):
    """Something whose content can be counted."""

    async def counts(self) -> StoreCounts:
        """What is in it, over all tenants. Raises `StoreUnavailable` or `Overloaded`."""
        ...


class Census:
    """The last count, made anew when it is asked for and some time has passed."""

    def __init__(self, store: Countable, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._counts: StoreCounts | None = None
        self._counted_at = 0.0
        self._due_at: float | None = None
        self._counting: asyncio.Task[None] | None = None

    async def latest(self) -> StoreCounts | None:
        """What is in the store, at most some seconds ago; none when that is not known. Waits for a count, but not for long."""
        if self._counting is None and (self._due_at is None or self._clock.monotonic() >= self._due_at):
            self._counting = asyncio.create_task(self._count(), name="census")
        if self._counting is not None:
            await asyncio.wait([self._counting], timeout=_PATIENCE_SECONDS)
        is_outdated = self._clock.monotonic() - self._counted_at > _OUTDATED_SECONDS
        return None if is_outdated else self._counts

    async def _count(self) -> None:
        began = self._clock.monotonic()
        try:
            self._counts = await self._store.counts()
            self._counted_at = self._clock.monotonic()
        except (StoreUnavailable, Overloaded) as error:
            _log.debug("store_not_counted", reason=type(error).__name__)
        finally:
            ended = self._clock.monotonic()
            self._due_at = ended + max(_EVERY_SECONDS, _SHARE * (ended - began))
            self._counting = None
