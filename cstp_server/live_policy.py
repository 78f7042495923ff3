"""The policy in force in this process, kept in step with its files, with signals, with calls, and with the other processes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller
from cstp_server.domain.refusals import Overloaded, StoreUnavailable
from cstp_server.metrics import Metrics
from cstp_server.policy.compiled import Policy
from cstp_server.policy.problems import PolicyProblem
from cstp_server.policy.watching import PolicyFile, watch
from cstp_server.policy_record import PolicyRecord
from cstp_server.services.policies import POLICY_VERSION, NotePolicy
from cstp_server.services.ports import Reloaded

_log = structlog.get_logger(__name__)


class LivePolicy:
    """Reads the policy anew when there is reason to (`services.ports.PolicySource`); a bad one keeps the old one in force."""

    def __init__(self, file: PolicyFile, metrics: Metrics, clock: Clock, *, allow_unreviewed: bool = False) -> None:
        self._file = file
        self._allow_unreviewed = allow_unreviewed
        self._allowed: tuple[Policy, Policy] | None = None
        self._metrics = metrics
        self._clock = clock
        self._reading = asyncio.Lock()
        self._seen_version: int | None = None
        self._problems: tuple[str, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._record: PolicyRecord | None = None
        self._on_change: Callable[[], Awaitable[None]] | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def current(self) -> Policy:
        """The policy in force; where the process allows it, one that needs no reviews of dimensions."""
        policy = self._file.current
        if not self._allow_unreviewed:
            return policy
        if self._allowed is None or self._allowed[0] is not policy:
            self._allowed = (policy, replace(policy, constraints=replace(policy.constraints, reviews=False)))
        return self._allowed[1]

    @property
    def problems(self) -> tuple[str, ...]:
        """What was wrong with the newest policy, as callers may read it; nothing when it is the one in force."""
        return self._problems

    def start(self, record: PolicyRecord, on_change: Callable[[], Awaitable[None]]) -> None:
        """Begin to watch the files, in the running loop. `on_change` is called after another policy came into force."""
        self._loop = asyncio.get_running_loop()
        self._record = record
        self._on_change = on_change
        self._metrics.reloaded(accepted=True, at=self._clock.now(), version=self.current.version)
        self._spawn(watch(self._file.path, self._reread))
        self._spawn(on_change())
        self._spawn(record.keep(lambda: self.current.version))

    async def stop(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reload(self, caller: Caller) -> Reloaded:
        """Read the policy anew here, and have every other process do so."""
        return await self._read(caller, spreads=True)

    def request(self) -> None:
        """Read the policy anew soon; for signal handlers."""
        self._spawn(self._reread())

    def follow(self, versions: Mapping[str, int]) -> None:
        """Read the policy anew when another process was told to. May be called from any thread."""
        version = versions.get(POLICY_VERSION, 0)
        before, self._seen_version = self._seen_version, version
        if before is not None and before != version and self._loop is not None:
            self._loop.call_soon_threadsafe(self.request)

    async def _reread(self) -> None:
        await self._read(None, spreads=False)

    async def _read(self, caller: Caller | None, *, spreads: bool) -> Reloaded:
        async with self._reading:
            before = self.current.version
            problems = tuple(self._told(problem) for problem in await asyncio.to_thread(self._file.reload))
            reloaded = Reloaded(self.current.version, self.current.version != before, problems)
            self._report(reloaded)
            news = reloaded.changed or problems != self._problems
            self._problems = problems
            try:
                if self._record is not None and (news or spreads):
                    await self._record.enter(NotePolicy(reloaded.version, problems, spreads, caller), is_news=news)
            finally:
                if reloaded.changed and self._on_change is not None:
                    await self._on_change()
            return reloaded

    def _told(self, problem: PolicyProblem) -> str:
        """The problem as callers may read it: where in the policy it is, not where on this machine the policy is."""
        root = self._file.path if self._file.path.is_dir() else self._file.path.parent
        file = Path(problem.file)
        return str(replace(problem, file=str(file.relative_to(root)) if file.is_relative_to(root) else file.name))

    def _report(self, reloaded: Reloaded) -> None:
        self._metrics.reloaded(accepted=not reloaded.problems, at=self._clock.now(), version=reloaded.version)
        if reloaded.problems:
            _log.error("policy_rejected", problems=reloaded.problems, in_force=reloaded.version)
        elif reloaded.changed:
            _log.info("policy_loaded", version=reloaded.version)

    def _spawn(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _logged(work: Awaitable[object]) -> None:
    try:
        await work
    except (StoreUnavailable, Overloaded) as error:
        _log.warning("policy_task_gave_up", reason=type(error).__name__)
    except Exception as fault:  # noqa: BLE001 - nobody waits for this task, so nobody else would tell
        _log.error("policy_task_faulted", exc_info=fault)
