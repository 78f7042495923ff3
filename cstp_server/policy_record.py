"""What became of the policy in this process, put on record: at once, or as soon as the store answers again (SPEC 11, 12)."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from cstp_server.clock import Clock, new_id
from cstp_server.domain.callers import DEFAULT_TENANT
from cstp_server.domain.events import EventType
from cstp_server.domain.refusals import Overloaded, Refusal, StoreUnavailable
from cstp_server.services.policies import NotePolicy
from cstp_server.services.ports import Duties, EventQuery, Reader, Transactor

_AGAIN_SECONDS = 1.0
_MOST = 100
_DUTY = "policy_record"
_LEASE_MS = 10_000
_STARTED = "started"
_log = structlog.get_logger(__name__)


class PolicyRecord:
    """Enters notes in the order in which things happened. The policy is in force whether or not the store answers."""

    def __init__(self, transactor: Transactor, reader: Reader, duties: Duties, clock: Clock) -> None:
        self._transactor = transactor
        self._reader = reader
        self._duties = duties
        self._clock = clock
        self._holder = new_id("process")
        self._waiting: deque[NotePolicy] = deque(maxlen=_MOST)
        self._entering = asyncio.Lock()
        self._is_behind = asyncio.Event()

    async def enter(self, note: NotePolicy, *, is_news: bool) -> None:
        """Enter a note. What the store does not take now and `is_news` is entered later, but then has no other process follow: whoever
        asked for that is told that it did not happen. Raises `StoreUnavailable`, `Overloaded` for a note that spreads.
        """
        self._waiting.append(note)
        try:
            await self._enter_waiting()
        except (StoreUnavailable, Overloaded) as error:
            _log.warning("policy_change_not_recorded", reason=type(error).__name__, tried_again=is_news)
            self._put_off(note, is_news=is_news)
            if note.spreads:
                raise

    async def keep(self, version: Callable[[], str]) -> None:
        """Enter the policy that the process began with, if it is another one than the last on record, and later on what had to wait."""
        await self._enter_first(version)
        while True:
            await self._is_behind.wait()
            self._is_behind.clear()
            await asyncio.sleep(_AGAIN_SECONDS)
            try:
                await self._enter_waiting()
            except (StoreUnavailable, Overloaded):
                self._is_behind.set()

    def _put_off(self, note: NotePolicy, *, is_news: bool) -> None:
        waiting = [other for other in self._waiting if other is not note]
        if is_news:
            waiting.append(replace(note, spreads=False, happened_at=self._clock.now()))
        self._waiting.clear()
        self._waiting.extend(waiting)
        self._is_behind.set()

    async def _enter_waiting(self) -> None:
        async with self._entering:
            while self._waiting:
                note = self._waiting[0]
                answer = await self._transactor.run(note)
                if isinstance(answer, Refusal):  # the token was revoked since, and what was done with it is on record all the same
                    await self._transactor.run(replace(note, caller=None, spreads=False))
                if self._waiting and self._waiting[0] is note:
                    self._waiting.popleft()

    async def _enter_first(self, version: Callable[[], str]) -> None:
        """One of several processes that begin at once does it."""
        while True:
            try:
                await self._enter_waiting()
                if await self._is_last(version()) or await self._enter_start(version):
                    return
            except (StoreUnavailable, Overloaded) as error:
                _log.debug("policy_record_waits_for_store", reason=type(error).__name__)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _enter_start(self, version: Callable[[], str]) -> bool:
        if await self._duties.take(_DUTY, self._holder, _LEASE_MS) is None:
            return False
        if not await self._is_last(version()):
            await self._transactor.run(NotePolicy(version(), cause=_STARTED))
        await self._duties.leave(_DUTY, self._holder)
        return True

    async def _is_last(self, version: str) -> bool:
        """Whether the policy that came into force last, as far as is on record, is this one."""
        query = EventQuery(types=(EventType.POLICY_LOADED.value,), limit=1)
        return [entry.policy_version for entry in await self._reader.event_entries(DEFAULT_TENANT, query)] == [version]
