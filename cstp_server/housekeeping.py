"""What is tidied away now and then: what is past its retention, and what nothing needs any more (SPEC 12).

One process at a time sees to it, task by task, each once an hour. A task that fails keeps no other from being done, and is tried again a
minute later. How long ago each was done is kept with the duty, so whoever takes over goes on from there.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import structlog

from cstp_server.clock import Clock, new_id
from cstp_server.domain.agent_habits import FORGOTTEN_AFTER_MS
from cstp_server.domain.anchors import Unproven
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.policy.compiled import Policy
from cstp_server.services.ports import CircuitMark, Duties, Transactor
from cstp_server.services.retention import NotePruned
from cstp_server.services.tidying import Tidy

DUTY = "upkeep"
LEASE_MS = 180_000
"""Longer than the time between two rounds, and than any one batch takes."""
EVERY_MS = 3_600_000
_KEEP_EVERY_SECONDS = 30.0
NOTE_EVERY_SECONDS = 30.0
"""For so long at most rows are deleted before it is on record."""
_DAY_MS = 86_400_000
_COUNTED_APART_MS = 7_200_000
"""For how long every process may have tallies of its own: none adds to those of hours that were over so long ago."""
_DEAD_DAYS = 90
_BETWEEN_BATCHES_SECONDS = 0.05
_PAGE = 500
_CIRCUIT_LOG = "circuit_log"

Key = tuple[str, str]
Task = Callable[[], Awaitable[None]]
_log = structlog.get_logger(__name__)


class Upkeep(Protocol):
    """What is asked of the store."""

    async def usage_subjects(self, after: Key | None, limit: int) -> Sequence[Key]:
        """Every subject that has used something of a quota, by tenant, in order, from the one after `after` on."""
        ...

    async def prune_habits(self, before: int) -> int:
        """Delete a small batch of the habits that nobody has put on record since `before`; how many."""
        ...

    async def merge_tallies(self, before: int) -> int:
        """Make one row each of a few tallies of hours that were over at `before`; how many there were."""
        ...

    async def end_lapsed_chains(self) -> None:
        """End the chains that their processes have left without ending them."""
        ...

    async def chains_to_prune(self, before: int) -> Sequence[str]:
        """The chains that have events from before a time that can be cut off."""
        ...

    async def prune_chain(self, chain: str, before: int) -> int:
        """Cut a chain before a time and delete a small batch of what is before the cut; how many. Raises `Unproven`."""
        ...

    async def tidy_outbox(self, dead_before: int) -> int:
        """Forget a small batch of the alerts that were given up before `dead_before`, and of what is open again; how many."""
        ...

    async def tenants_in(self, table: str) -> Sequence[str]:
        """Every tenant that has rows in a table."""
        ...

    async def prune_decisions(self, tenant: str, before: int) -> int:
        """Delete a small batch of decisions older than `before`; how many."""
        ...

    async def prune_hits(self, tenant: str, before: int) -> int:
        """Delete a small batch of hits of tripwires from before `before`; how many."""
        ...

    async def prune_tallies(self, tenant: str, before: int) -> int:
        """Delete a small batch of a tenant's tallies of hours before `before`; how many."""
        ...

    async def all_circuits(self, after: Key | None, limit: int) -> Sequence[CircuitMark]:
        """Every circuit of every tenant, archived ones too, from the one after `after` on."""
        ...

    async def prune_log(self, before: int, key: Key) -> int:
        """Delete a small batch of a circuit's log that nothing needs any more; how many."""
        ...


class DutyLost(Exception):
    """Another process has taken over."""


class Housekeeping:
    """The rounds of one process, one every minute or so: what is due is done, in batches small enough not to be noticed."""

    def __init__(
        self,
        upkeep: Upkeep,
        duties: Duties,
        transactor: Transactor,
        policy: Callable[[], Policy],
        clock: Clock,
        on_task: Callable[[str, str], None],
    ) -> None:
        """`on_task` is told of every task that was due whether it was `done`, `waited` for the store, or `faulted`."""
        self._upkeep = upkeep
        self._duties = duties
        self._transactor = transactor
        self._policy = policy
        self._clock = clock
        self._on_task = on_task
        self._holder = new_id("upk")
        self._kept_at = self._noted_at = 0.0
        self._done: dict[str, int] = {}
        self._pruned: dict[Key, tuple[int, int]] = {}
        """By tenant and table what is not on record yet: before which time rows were deleted, and how many."""
        self._tasks: Mapping[str, Task] = {
            "tidy_usage": self._tidy_usage,
            "tidy_habits": self._tidy_habits,
            "merge_tallies": self._merge_tallies,
            "end_chains": upkeep.end_lapsed_chains,
            "prune_events": self._prune_events,
            "tidy_outbox": self._tidy_outbox,
            "prune_decisions": lambda: self._prune("decisions", upkeep.prune_decisions),
            "prune_hits": lambda: self._prune("tripwire_hits", upkeep.prune_hits),
            "prune_tallies": lambda: self._prune("tallies", upkeep.prune_tallies),
            "prune_log": self._prune_log,
        }

    async def round(self) -> None:
        """Do what is due, unless another process has the duty. Raises `StoreUnavailable` or `Overloaded`."""
        await self._note_what_is_pruned()
        duty = await self._duties.take(DUTY, self._holder, LEASE_MS)
        if duty is None:
            return
        self._done, self._kept_at = _times(duty.progress), self._clock.monotonic()
        try:
            for name, task in self._tasks.items():
                if 0 <= duty.now - self._done.get(name, -EVERY_MS) < EVERY_MS:
                    continue
                is_done = await self._carry_out(name, task)
                await self._note_what_is_pruned()
                if is_done:
                    self._done[name] = duty.now
                    await self._keep()
        except DutyLost:
            await self._note_what_is_pruned()

    async def stop(self) -> None:
        """Leave the duty to others, with everything on record that was done."""
        await self._note_pruned()
        await self._duties.leave(DUTY, self._holder)

    async def _carry_out(self, name: str, task: Task) -> bool:
        """Whether it was done."""
        result = "done"
        try:
            await task()
        except DutyLost:
            raise
        except (StoreUnavailable, Overloaded):
            result = "waited"
        except Exception as fault:  # noqa: BLE001 - whatever one task meets, the others must be done
            _log.error("worker_faulted", task=name, exc_info=fault)
            result = "faulted"
        self._on_task(name, result)
        return result == "done"

    async def _keep(self) -> None:
        if not await self._duties.keep(DUTY, self._holder, LEASE_MS, json.dumps(self._done)):
            raise DutyLost
        self._kept_at = self._clock.monotonic()

    async def _breathe(self) -> None:
        """Let writers have the store between two batches, write down what was deleted now and then, and keep the duty.

        Where it cannot be written down, nothing more is deleted.
        """
        await asyncio.sleep(_BETWEEN_BATCHES_SECONDS)
        if self._pruned and self._clock.monotonic() - self._noted_at > NOTE_EVERY_SECONDS:
            await self._note_pruned()
        if self._clock.monotonic() - self._kept_at > _KEEP_EVERY_SECONDS:
            await self._keep()

    async def _tidy_usage(self) -> None:
        """Forget what was used of quotas and counts no more."""
        after: Key | None = None
        while page := await self._upkeep.usage_subjects(after, _PAGE):
            after = page[-1]
            for tenant, of_tenant in groupby(page, key=itemgetter(0)):
                await self._transactor.run(Tidy(tenant, [subject for _, subject in of_tenant]))
                await self._breathe()

    async def _tidy_habits(self) -> None:
        """Forget the habits of agents that nobody looks at any more."""
        while await self._upkeep.prune_habits(self._clock.now() - FORGOTTEN_AFTER_MS):
            await self._breathe()

    async def _merge_tallies(self) -> None:
        while await self._upkeep.merge_tallies(self._clock.now() - _COUNTED_APART_MS):
            await self._breathe()

    async def _tidy_outbox(self) -> None:
        """Forget alerts that were given up long ago."""
        while await self._upkeep.tidy_outbox(self._clock.now() - _DEAD_DAYS * _DAY_MS):
            await self._breathe()

    async def _prune_events(self) -> None:
        """Delete the events that are past their retention, chain by chain; the ledger says up to where.

        Raises `Unproven`, once all is deleted of which that can be proven.
        """
        days = self._policy().event_retention_days
        if days is None:
            return
        before = self._clock.now() - days * _DAY_MS
        refused: Unproven | None = None
        for chain in await self._upkeep.chains_to_prune(before):
            try:
                while await self._upkeep.prune_chain(chain, before):
                    await self._breathe()
            except Unproven as unproven:
                refused = unproven
        if refused is not None:
            raise refused

    async def _prune(self, table: str, prune: Callable[[str, int], Awaitable[int]]) -> None:
        """Delete what is past its retention from a table, tenant by tenant."""
        before = self._retained_from()
        if before is None:
            return
        for tenant in await self._upkeep.tenants_in(table):
            while count := await prune(tenant, before):
                self._count(tenant, table, before, count)
                await self._breathe()

    async def _prune_log(self) -> None:
        before = self._retained_from()
        if before is None:
            return
        after: Key | None = None
        while page := await self._upkeep.all_circuits(after, _PAGE):
            after = (page[-1].tenant, page[-1].scope)
            for mark in page:
                while count := await self._upkeep.prune_log(before, (mark.tenant, mark.scope)):
                    self._count(mark.tenant, _CIRCUIT_LOG, before, count)
                    await self._breathe()

    def _retained_from(self) -> int | None:
        days = self._policy().retention_days
        return self._clock.now() - days * _DAY_MS if days is not None else None

    def _count(self, tenant: str, table: str, before: int, count: int) -> None:
        if not self._pruned:
            self._noted_at = self._clock.monotonic()
        self._pruned[tenant, table] = (before, self._pruned.get((tenant, table), (0, 0))[1] + count)

    async def _note_what_is_pruned(self) -> None:
        if self._pruned:
            await self._carry_out("note_pruned", self._note_pruned)

    async def _note_pruned(self) -> None:
        """For each tenant and table; what cannot be written down now is the next time."""
        for (tenant, table), (before, count) in list(self._pruned.items()):
            await self._transactor.run(NotePruned(tenant, table, before, count))
            del self._pruned[tenant, table]


def _times(progress: str) -> dict[str, int]:
    """When each task was last done; none where another version has written it down otherwise."""
    try:
        known = json.loads(progress)
    except ValueError:
        return {}
    return {name: at for name, at in known.items() if isinstance(at, int)} if isinstance(known, dict) else {}
