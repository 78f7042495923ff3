"""Rounds among the agents whose records may have earned them something, or cost them something, since they were last looked at (SPEC 8).

One process at a time goes on them. A round takes the agents whose decisions were reviewed since the last one, and those with decisions
that have come due meanwhile; now and then, and when the policy has changed, it also goes through all agents, page by page, since outcomes
leave the score's window without anybody's doing.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, field, replace
from types import TracebackType
from typing import Protocol, Self

import structlog

from cstp_server.clock import Clock
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.earning import may_lose, next_earned
from cstp_server.services.ports import Duties, Reader

DUTY = "appraise"
LEASE_MS = 18_000
"""How long a process has the duty without keeping it: with the time between two rounds, how soon another one takes over."""
EVERYBODY_EVERY_MS = 3_600_000
AT_ONCE = 8
"""How many agents are looked at at the same time: a guard that hangs keeps only its own agent waiting."""
_PAGE = 500
_PAGES_A_ROUND = 100
_PAUSE_SECONDS = 0.05
_KEEP_EVERY_SECONDS = 3.0
_LATE_MS = 30_000
"""How much later than its time a review may become visible."""
_SAME_MOMENT_MS = 1_000
"""How old a review must be for the agent's next one to have another time."""

Key = tuple[str, str]
_log = structlog.get_logger(__name__)


class Roll(Protocol):
    """Who there is to be looked at."""

    async def tenants(self) -> Sequence[str]:
        """Every tenant that has decisions."""
        ...

    async def agents(self, tenant: str, after: str | None, limit: int) -> Sequence[str]:
        """Agents that have decisions, in order, from the one after `after` on."""
        ...

    async def agents_reviewed(self, since: int) -> Sequence[tuple[Key, int]]:
        """Agents of whose decisions any were reviewed since a time, in order, with the time of the last review."""
        ...

    async def agents_moved_with_decisions(self, tenant: str, since: int, before: int) -> Sequence[str]:
        """Agents that were ever moved, and have decisions from between two times, in order."""
        ...


class Appraiser(Protocol):
    """Looks at agents one by one (`services.earning.Appraisal`)."""

    async def look_at(self, policy: Policy, tenant: str, agent_id: str) -> None:
        """Look at one agent, and have done what follows from its record."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rounds have come, in ms since the epoch.

    Everything that was reviewed before `reviewed_until`, or made before `due_until`, has been looked at. `everybody_at` is when the last
    walk through all agents began, for the policy `policy`; `place` is the last agent of it that was looked at, none when it is done.
    """

    policy: str = ""
    reviewed_until: int = 0
    due_until: int = 0
    everybody_at: int = 0
    place: Key | None = None

    @classmethod
    def of(cls, text: str) -> "Progress":
        """The progress that `text` tells of; none at all where it is of another version."""
        try:
            known = cls(**json.loads(text))
            return replace(known, place=(known.place[0], known.place[1]) if known.place is not None else None)
        except (TypeError, ValueError, LookupError):
            return cls()

    def text(self) -> str:
        """What `of` reads."""
        return json.dumps(asdict(self))


class DutyLost(Exception):
    """Another process has taken over."""


@dataclass(slots=True)
class Appraising:
    """The rounds of one process. `holder` is its name among the processes that share a store."""

    roll: Roll
    duties: Duties
    reader: Reader
    appraiser: Appraiser
    policy: Callable[[], Policy]
    clock: Clock
    holder: str
    _progress: Progress = field(default_factory=Progress, init=False)
    _kept_at: float = field(default=0.0, init=False)
    _seen: dict[Key, int] = field(default_factory=dict, init=False)
    """The time of the last review of agents that were looked at, as long as later reviews of that time may still appear."""

    async def round(self) -> None:
        """One round, if there is anything to earn or to lose, and unless another process has the duty."""
        postures = self.policy().postures
        if not postures.earned and not postures.min_review_coverage:
            return
        duty = await self.duties.take(DUTY, self.holder, LEASE_MS)
        if duty is None:
            self._seen.clear()
            return
        self._progress, self._kept_at = Progress.of(duty.progress), self.clock.monotonic()
        try:
            async with _Lanes(AT_ONCE) as lanes:
                seen = await self._reviewed(duty.now, lanes)
                await self._fallen_due(duty.now, lanes)
                await lanes.finish()
                self._seen = seen
                await self._everybody(duty.now, lanes)
        except DutyLost:
            return

    async def stop(self) -> None:
        """Leave the duty to others."""
        await self.duties.leave(DUTY, self.holder)

    async def _reviewed(self, now: int, lanes: "_Lanes") -> dict[Key, int]:
        """Agents of whose decisions any were reviewed since the last round, unless there was none; the time of the last review of each."""
        since = self._progress.reviewed_until
        found = await self.roll.agents_reviewed((since or now) - _LATE_MS)
        fresh = [key for key, last in found if self._seen.get(key) != last or last >= since - _SAME_MOMENT_MS] if since else []
        for start in range(0, len(fresh), _PAGE):
            await self._look(fresh[start : start + _PAGE], lanes)
        self._progress = replace(self._progress, reviewed_until=now)
        return dict(found)

    async def _fallen_due(self, now: int, lanes: "_Lanes") -> None:
        """Agents that were moved, and have decisions which should have been reviewed by now and were young at the last round."""
        postures = self.policy().postures
        before = now - postures.review_due_ms
        since = self._progress.due_until or before
        if postures.min_review_coverage > 0 and since < before:
            for tenant in await self.roll.tenants():
                found = await self.roll.agents_moved_with_decisions(tenant, since, before)
                for start in range(0, len(found), _PAGE):
                    await self._look([(tenant, agent_id) for agent_id in found[start : start + _PAGE]], lanes)
        self._progress = replace(self._progress, due_until=before)

    async def _everybody(self, now: int, lanes: "_Lanes") -> None:
        """All agents, where it is time for that, from the place on where the last round stopped."""
        version = self.policy().version
        if self._progress.policy != version or now - self._progress.everybody_at >= EVERYBODY_EVERY_MS:
            self._progress = replace(self._progress, policy=version, everybody_at=now, place=("", ""))
        for _ in range(_PAGES_A_ROUND):
            page = await self._next_page()
            if not page:
                break
            await self._look(page, lanes)
            self._progress = replace(self._progress, place=page[-1])
            if lanes.are_free:
                await self._keep()
            await asyncio.sleep(_PAUSE_SECONDS)
        await lanes.finish()
        await self._keep()

    async def _next_page(self) -> Sequence[Key]:
        place = self._progress.place
        if place is None:
            return ()
        for tenant in await self.roll.tenants():
            after = place[1] or None if tenant == place[0] else None
            if tenant >= place[0] and (found := await self.roll.agents(tenant, after, _PAGE)):
                return [(tenant, agent_id) for agent_id in found]
        self._progress = replace(self._progress, place=None)
        return ()

    async def _look(self, keys: Sequence[Key], lanes: "_Lanes") -> None:
        """Look at those of them for whom it may make a difference."""
        for tenant in sorted({tenant for tenant, _ in keys}):
            for agent_id in await self._promising(tenant, [agent_id for of, agent_id in keys if of == tenant]):
                if self.clock.monotonic() - self._kept_at > _KEEP_EVERY_SECONDS:
                    await self._renew()
                await lanes.start(self.appraiser.look_at(self.policy(), tenant, agent_id))

    async def _promising(self, tenant: str, agent_ids: Sequence[str]) -> Sequence[str]:
        """Those who may lose a posture, or whose record would earn them one if all of it had come since they were last moved."""
        policy = self.policy()
        stored = await self.reader.postures(tenant, agent_ids)
        found = [policy.postures.of(agent_id, stored.get(agent_id)) for agent_id in agent_ids]
        promising = [current.agent_id for current in found if may_lose(policy, current)]
        earning = {current.agent_id: earned for current in found if (earned := next_earned(policy, current)) is not None}
        if not earning:
            return promising
        now = self.clock.now()
        records = await self.reader.records(
            tenant,
            list(earning),
            since=now - policy.postures.score_window_ms,
            due_before=now - policy.postures.review_due_ms,
            self_reported=policy.self_reported,
        )
        for agent_id, record in records.items():
            earned = earning[agent_id]
            if record.reviewed >= earned.min_reviewed and record.score >= earned.min_score and agent_id not in promising:
                promising.append(agent_id)
        return promising

    async def _keep(self) -> None:
        """Go on having the duty, with what has been done so far on record."""
        if not await self.duties.keep(DUTY, self.holder, LEASE_MS, self._progress.text()):
            raise DutyLost
        self._kept_at = self.clock.monotonic()

    async def _renew(self) -> None:
        if await self.duties.take(DUTY, self.holder, LEASE_MS) is None:
            raise DutyLost
        self._kept_at = self.clock.monotonic()


class _Lanes:
    """A few looks at a time. Whatever they meet, the others go on; that the store does not answer is told when they are done."""

    def __init__(self, number: int) -> None:
        self._slots = asyncio.Semaphore(number)
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: StoreUnavailable | Overloaded | None = None

    @property
    def are_free(self) -> bool:
        """Whether nothing is being looked at."""
        return not self._tasks

    async def start(self, work: Coroutine[None, None, None]) -> None:
        """Begin with it as soon as there is room."""
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            work.close()
            raise
        task = asyncio.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for all that was begun."""
        if self._tasks:
            await asyncio.gather(*self._tasks)
        if self._fault is not None:
            raise self._fault

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except (StoreUnavailable, Overloaded) as fault:
            self._fault = fault
        except Exception as fault:  # noqa: BLE001  one agent's must not keep the others from what they have earned
            _log.error("appraisal_faulted", exc_info=fault)
        finally:
            self._slots.release()
