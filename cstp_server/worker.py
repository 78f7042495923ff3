"""What goes on without calls: time moves circuits, other processes' changes are noticed, old rows are pruned."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from cstp_server.clock import Clock
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.policy.compiled import Policy
from cstp_server.services.policies import Archive
from cstp_server.services.ports import Transactor
from cstp_server.services.sweeping import Sweep

Key = tuple[str, str]
_log = structlog.get_logger(__name__)
_DAY_MS = 86_400_000
_PRUNE_EVERY_SECONDS = 3600.0
_BETWEEN_BATCHES_SECONDS = 0.05
_PAGE = 500


class Upkeep(Protocol):
    """What the worker asks of the store."""

    async def due_circuits(self) -> Sequence[Key]:
        """Circuits that time has moved since they were stored."""
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
        sweep_interval_ms: int,
    ) -> None:
        self._upkeep = upkeep
        self._transactor = transactor
        self._policy = policy
        self._clock = clock
        self._on_versions = on_versions
        self._sweep_seconds = sweep_interval_ms / 1000
        self._tasks: list[asyncio.Task[None]] = []
        self._store_answers = True

    def start(self) -> None:
        """Begin, in the running loop."""
        self._tasks = [
            asyncio.create_task(self._repeat(self.sweep, self._sweep_seconds), name="sweep"),
            asyncio.create_task(self._repeat(self.prune, _PRUNE_EVERY_SECONDS), name="prune"),
        ]

    async def stop(self) -> None:
        """End, wherever it is: nothing of it is half done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Notice what other processes changed, and let time pass for the circuits that are due."""
        self._on_versions(await self._upkeep.versions())
        due: dict[str, list[str]] = {}
        for tenant, scope in await self._upkeep.due_circuits():
            due.setdefault(tenant, []).append(scope)
        for tenant, scopes in due.items():
            await self._transactor.run(Sweep(tenant, scopes))

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

    async def prune(self) -> None:
        """Delete what is past its retention, in batches small enough not to be noticed."""
        days = self._policy().retention_days
        if days is None:
            return
        before = self._clock.now() - days * _DAY_MS
        for tenant in await self._upkeep.tenants():
            while await self._upkeep.prune_decisions(tenant, before):
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
                    _log.warning("worker_waits_for_store", reason=type(error).__name__)
                self._store_answers = False
            except Exception as fault:  # noqa: BLE001 - the worker must outlive whatever one round of it meets
                _log.error("worker_faulted", exc_info=fault)
            await asyncio.sleep(seconds)


async def _breathe() -> None:
    """Let writers have the store between two batches."""
    await asyncio.sleep(_BETWEEN_BATCHES_SECONDS)
