"""What goes on without calls: time moves circuits, other processes' changes are noticed, old rows are pruned."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import structlog

from cstp_server.clock import Clock
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.policy.compiled import Policy
from cstp_server.services.earning import Appraisal
from cstp_server.services.policies import Archive
from cstp_server.services.ports import Transactor
from cstp_server.services.settling import RunOut
from cstp_server.services.sweeping import Sweep
from cstp_server.services.tidying import Tidy

Key = tuple[str, str]
_log = structlog.get_logger(__name__)
_DAY_MS = 86_400_000
_PRUNE_EVERY_SECONDS = 3600.0
_APPRAISE_EVERY_SECONDS = 10.0
_BETWEEN_BATCHES_SECONDS = 0.05
_PAGE = 500


class Upkeep(Protocol):
    """What the worker asks of the store."""

    async def due_circuits(self) -> Sequence[Key]:
        """Circuits that time has moved since they were stored."""
        ...

    async def due_decisions(self) -> Sequence[Key]:
        """Decisions whose time of waiting is up."""
        ...

    async def versions(self) -> Mapping[str, int]:
        """The counters that every process watches."""
        ...

    async def all_circuits(self, after: Key | None, limit: int) -> Sequence[tuple[Key, bool]]:
        """Every circuit of every tenant, with whether it is archived, from the one after `after` on."""
        ...

    async def tenants(self) -> Sequence[str]:
        """Every tenant that has decisions."""
        ...

    async def prune_decisions(self, tenant: str, before: int) -> int:
        """Delete a small batch of decisions older than `before`; how many."""
        ...

    async def usage_subjects(self, after: Key | None, limit: int) -> Sequence[Key]:
        """Every subject that has used something of a quota, by tenant, in order, from the one after `after` on."""
        ...

    async def agents(self, tenant: str, after: str | None, limit: int) -> Sequence[str]:
        """Agents that have decisions, in order, from the one after `after` on."""
        ...

    async def prune_hits(self, tenant: str, before: int) -> int:
        """Delete a small batch of hits of tripwires from before `before`; how many."""
        ...

    async def prune_log(self, before: int, key: Key) -> int:
        """Delete a small batch of a circuit's log that nothing needs any more; how many."""
        ...


class Worker:
    """The background work of one server process. Every process has one; what two of them find, only the first one changes."""

    def __init__(
        self,
        upkeep: Upkeep,
        transactor: Transactor,
        policy: Callable[[], Policy],
        clock: Clock,
        on_versions: Callable[[Mapping[str, int]], None],
        appraisal: Appraisal,
        sweep_interval_ms: int,
    ) -> None:
        self._upkeep = upkeep
        self._transactor = transactor
        self._policy = policy
        self._clock = clock
        self._on_versions = on_versions
        self._appraisal = appraisal
        self._sweep_seconds = sweep_interval_ms / 1000
        self._tasks: list[asyncio.Task[None]] = []
        self._store_answers = True

    def start(self) -> None:
        """Begin, in the running loop."""
        self._tasks = [
            asyncio.create_task(self._repeat(self.sweep, self._sweep_seconds), name="sweep"),
            asyncio.create_task(self._repeat(self.appraise, _APPRAISE_EVERY_SECONDS), name="appraise"),
            asyncio.create_task(self._repeat(self.prune, _PRUNE_EVERY_SECONDS), name="prune"),
        ]

    async def stop(self) -> None:
        """End, wherever it is: nothing of it is half done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Notice what other processes changed, and let time pass for the circuits and the waiting decisions that are due."""
        self._on_versions(await self._upkeep.versions())
        due: dict[str, list[str]] = {}
        for tenant, scope in await self._upkeep.due_circuits():
            due.setdefault(tenant, []).append(scope)
        for tenant, scopes in due.items():
            await self._transactor.run(Sweep(tenant, scopes))
        await asyncio.gather(*[self._run_out(tenant, id) for tenant, id in await self._upkeep.due_decisions()])

    async def _run_out(self, tenant: str, id: str) -> None:
        await self._transactor.run(RunOut(tenant, id))

    async def archive(self) -> None:
        """Archive circuits that no policy covers any more, and take back those that one covers again."""
        circuits = self._policy().circuits
        after: Key | None = None
        while page := await self._upkeep.all_circuits(after, _PAGE):
            after = page[-1][0]
            wrong: dict[str, list[str]] = {}
            for (tenant, scope), is_archived in page:
                if is_archived == (circuits.covering_text(scope) is not None):
                    wrong.setdefault(tenant, []).append(scope)
            for tenant, scopes in wrong.items():
                await self._transactor.run(Archive(tenant, scopes))

    async def appraise(self) -> None:
        """Look at what agents have earned, where the policy has them earn anything."""
        if not self._policy().postures.earned:
            return
        for tenant in await self._upkeep.tenants():
            after: str | None = None
            while page := await self._upkeep.agents(tenant, after, _PAGE):
                after = page[-1]
                for agent_id in page:
                    await self._appraisal.look_at(self._policy(), tenant, agent_id)

    async def tidy(self) -> None:
        """Forget what was used of quotas and counts no more."""
        after: Key | None = None
        while page := await self._upkeep.usage_subjects(after, _PAGE):
            after = page[-1]
            for tenant, of_tenant in groupby(page, key=itemgetter(0)):
                await self._transactor.run(Tidy(tenant, [subject for _, subject in of_tenant]))
                await _breathe()

    async def prune(self) -> None:
        """Delete what is past its retention, in batches small enough not to be noticed."""
        await self.tidy()
        days = self._policy().retention_days
        if days is None:
            return
        before = self._clock.now() - days * _DAY_MS
        for tenant in await self._upkeep.tenants():
            while await self._upkeep.prune_decisions(tenant, before):
                await _breathe()
            while await self._upkeep.prune_hits(tenant, before):
                await _breathe()
        after: Key | None = None
        while page := await self._upkeep.all_circuits(after, _PAGE):
            after = page[-1][0]
            for key, _ in page:
                while await self._upkeep.prune_log(before, key):
                    await _breathe()

    async def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            try:
                await work()
                self._store_answers = True
            except (StoreUnavailable, Overloaded) as error:
                if self._store_answers:
                    _log.debug("worker_waits_for_store", reason=type(error).__name__)
                self._store_answers = False
            except Exception as fault:  # noqa: BLE001 - the worker must outlive whatever one round of it meets
                _log.error("worker_faulted", exc_info=fault)
            await asyncio.sleep(seconds)


async def _breathe() -> None:
    """Let writers have the store between two batches."""
    await asyncio.sleep(_BETWEEN_BATCHES_SECONDS)
