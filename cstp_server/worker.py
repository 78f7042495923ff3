"""What goes on without calls: time moves circuits, other processes' changes are noticed, blocked agents are stopped."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from cstp_server.appraising import Appraising
from cstp_server.clock import Clock
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.postures import Posture
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.housekeeping import Housekeeping
from cstp_server.policy.compiled import Policy
from cstp_server.services.policies import Align
from cstp_server.services.ports import CircuitMark, Transactor
from cstp_server.services.settling import RunOut
from cstp_server.services.stopping import Stop
from cstp_server.services.sweeping import Sweep

Key = tuple[str, str]
_log = structlog.get_logger(__name__)
_TIDY_EVERY_SECONDS = 60.0
_APPRAISE_EVERY_SECONDS = 10.0
_STOP_EVERY_SECONDS = 30.0
_ANCHOR_EVERY_SECONDS = 1.0
_BETWEEN_BATCHES_SECONDS = 0.05
_LEAST_PAUSE_SECONDS = 1.0
"""Before a round that has failed is tried again, for those that wait within themselves as well."""
_STOPPED_AT_ONCE = 100
_ALIGNED_AT_ONCE = 100
_BLOCKING = frozenset({EventType.POSTURE_DOWNGRADED, EventType.POSTURE_MAINTAINED})


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

    async def all_circuits(self, after: Key | None, limit: int) -> Sequence[CircuitMark]:
        """Every circuit of every tenant, archived ones too, from the one after `after` on."""
        ...

    async def stopped_decisions(self, limit: int) -> Sequence[Key]:
        """Decisions that still wait although their agent was blocked since they began to."""
        ...

    async def anchor(self) -> None:
        """Enter in the ledger how far this process's chain of events has come, if that is due."""
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
        appraising: Appraising,
        housekeeping: Housekeeping,
        sweep_interval_ms: int,
        on_round: Callable[[str, str], None],
    ) -> None:
        """`on_round` is told of every round which task it was, and whether it was `done`, `waited` for the store, or `faulted`."""
        self._upkeep = upkeep
        self._transactor = transactor
        self._policy = policy
        self._clock = clock
        self._on_versions = on_versions
        self._appraising = appraising
        self._housekeeping = housekeeping
        self._on_round = on_round
        self._sweep_seconds = sweep_interval_ms / 1000
        self._tasks: list[asyncio.Task[None]] = []
        self._store_answers = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._blocked = asyncio.Event()

    def start(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._tasks = [
            asyncio.create_task(self._repeat(self.sweep, self._sweep_seconds), name="sweep"),
            asyncio.create_task(self._repeat(self._appraising.round, _APPRAISE_EVERY_SECONDS), name="appraise"),
            asyncio.create_task(self._repeat(self._stop_when_blocked, 0), name="stop"),
            asyncio.create_task(self._repeat(self._housekeeping.round, _TIDY_EVERY_SECONDS), name="upkeep"),
            asyncio.create_task(self._repeat(self._upkeep.anchor, _ANCHOR_EVERY_SECONDS), name="anchor"),
        ]

    async def stop(self) -> None:
        """End, wherever it is: nothing of it is half done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for ended in (self._appraising, self._housekeeping):
            with suppress(StoreUnavailable, Overloaded):
                await ended.stop()

    def note(self, events: Sequence[Event]) -> None:
        """Stop what blocked agents wait for as soon as they are. May be called from any thread."""
        if self._loop is not None and any(_blocks(event) for event in events):
            self._loop.call_soon_threadsafe(self._blocked.set)

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

    async def align(self) -> None:
        """Bring circuits in line with the policy: which of them are in use, and whom those that are not closed hold down."""
        circuits = self._policy().circuits
        after: Key | None = None
        while page := await self._upkeep.all_circuits(after, _ALIGNED_AT_ONCE):
            after = (page[-1].tenant, page[-1].scope)
            affected: dict[str, list[str]] = {}
            for mark in page:
                if not mark.is_closed or mark.is_archived == (circuits.covering_text(mark.scope) is not None):
                    affected.setdefault(mark.tenant, []).append(mark.scope)
            for tenant, scopes in affected.items():
                await self._transactor.run(Align(tenant, scopes))
                await _breathe()

    async def stop_decisions(self) -> None:
        """Deny what still waits although its agent was blocked meanwhile, in batches small enough not to be noticed."""
        while found := await self._upkeep.stopped_decisions(_STOPPED_AT_ONCE):
            await asyncio.gather(*[self._stop_decision(tenant, id) for tenant, id in found])
            await _breathe()

    async def _stop_decision(self, tenant: str, id: str) -> None:
        await self._transactor.run(Stop(tenant, id))

    async def _stop_when_blocked(self) -> None:
        """Once this process has blocked somebody, and now and then, for what others have left undone."""
        self._blocked.clear()
        await self.stop_decisions()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_EVERY_SECONDS):
                await self._blocked.wait()

    async def _repeat(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        task = asyncio.current_task()
        name = task.get_name() if task is not None else ""
        while True:
            result = "done"
            try:
                await work()
                self._store_answers = True
            except (StoreUnavailable, Overloaded) as error:
                if self._store_answers:
                    _log.debug("worker_waits_for_store", reason=type(error).__name__)
                self._store_answers = False
                result = "waited"
            except Exception as fault:  # noqa: BLE001 - the worker must outlive whatever one round of it meets
                _log.error("worker_faulted", task=name, exc_info=fault)
                result = "faulted"
            self._on_round(name, result)
            await asyncio.sleep(seconds if result == "done" else max(seconds, _LEAST_PAUSE_SECONDS))


def _blocks(event: Event) -> bool:
    return event.type in _BLOCKING and event.data.get("to_posture") == Posture.BLOCKED.label


async def _breathe() -> None:
    """Let writers have the store between two batches."""
    await asyncio.sleep(_BETWEEN_BATCHES_SECONDS)
