"""Those who are asked before an agent gets another posture: the guards of the policy, and those of installed packages (SPEC 8).

Whatever a guard from outside does, it keeps nobody but itself waiting: it is asked in a thread of its own, for a limited time, and only
its consent is consent. One that hangs, raises, or answers something else has refused.
"""

import asyncio
import copy
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import structlog

from cstp_server.domain.posture_guards import GuardRefusal, TransitionGuard, TransitionRequest, applying
from cstp_server.domain.postures import TransitionType
from cstp_server.domain.values import dataclass
from cstp_server.services.ports import InstalledGuard

GROUP = "cstp.guards"
"""The entry point group that guards are found by."""
ASKED_FOR_SECONDS = 5.0
"""How long an installed guard may take."""
ASKED_AT_ONCE = 4
"""How many transitions one installed guard may look at at the same time; one that hangs for good takes up a place for good."""
_LONGEST_REASON = 2000
_HANGS = "the guard did not answer in time"
_FAILED = "the guard failed"
_UNCLEAR = "the guard gave no clear answer"
_NOT_LOADED = "the guard is installed and could not be loaded"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BrokenGuard:
    """A guard that could not be loaded: it refuses every transition that it might have looked at (fail closed)."""

    name: str
    applies_to: frozenset[TransitionType] = frozenset(TransitionType)

    def check(self, _request: TransitionRequest, /) -> str | None:
        """Why nothing passes it."""
        return _NOT_LOADED


def load_guards(found: Iterable[EntryPoint] | None = None) -> tuple[TransitionGuard, ...]:
    """The installed guards by the names of their entry points. One that does not load is a `BrokenGuard`, and in the log."""
    every = entry_points(group=GROUP) if found is None else found
    return tuple(_loaded(entry) for entry in sorted(every, key=lambda entry: (entry.name, entry.value)))


class InstalledGuardians:
    """Asks the policy's guards, in their order, and then the installed ones (`services.ports.Guardians`)."""

    def __init__(self, installed: Sequence[TransitionGuard], *, seconds: float = ASKED_FOR_SECONDS, at_once: int = ASKED_AT_ONCE) -> None:
        self._installed = tuple(_Outsider(guard, seconds, at_once) for guard in installed)

    @property
    def installed(self) -> Sequence[InstalledGuard]:
        """The installed guards, in the order in which they are asked."""
        return [_described(outsider.guard) for outsider in self._installed]

    async def ask(self, guards: Sequence[TransitionGuard], request: TransitionRequest) -> GuardRefusal | None:
        """Who refuses the transition first, and why; none when nobody does."""
        for guard in applying(guards, request):
            reason = _verdict(guard, request)
            if reason is not None:
                return GuardRefusal(guard.name, reason)
        for outsider in self._installed:
            if request.type in outsider.guard.applies_to:
                reason = await outsider.ask(request)
                if reason is not None:
                    return GuardRefusal(outsider.guard.name, reason)
        return None


@dataclass(slots=True)
class _Outsider:
    """An installed guard, and those who wait for it, in the running loop."""

    guard: TransitionGuard
    seconds: float
    at_once: int
    _busy: int = 0
    _free: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, request: TransitionRequest) -> str | None:
        """Why it refuses; none when it consents in time."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._ask(replace(request, metadata=copy.deepcopy(dict(request.metadata))))
        except TimeoutError:
            _log.warning("guard_hangs", guard=self.guard.name, agent=request.agent_id, seconds=self.seconds)
            return _HANGS

    async def _ask(self, request: TransitionRequest) -> str | None:
        while self._busy >= self.at_once:
            self._free.clear()
            await self._free.wait()
        self._busy += 1
        answered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        try:
            self._start(request, answered)
        except RuntimeError:  # no thread to be had: nobody has looked at it
            self._end()
            return _FAILED
        return await answered

    def _start(self, request: TransitionRequest, answered: "asyncio.Future[str | None]") -> None:
        loop = answered.get_loop()

        def look() -> None:
            try:
                reason = _verdict(self.guard, request)
            except BaseException as error:  # noqa: BLE001  whatever ends this thread, somebody waits for an answer, and it is no consent
                _log.warning("guard_failed", guard=self.guard.name, agent=request.agent_id, error=type(error).__name__)
                reason = _FAILED
            with suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits for the answer
                loop.call_soon_threadsafe(self._tell, answered, reason)

        threading.Thread(target=copy_context().run, args=(look,), name=f"guard {self.guard.name}", daemon=True).start()

    def _tell(self, answered: "asyncio.Future[str | None]", reason: str | None) -> None:
        self._end()
        if not answered.done():
            answered.set_result(reason)

    def _end(self) -> None:
        self._busy -= 1
        self._free.set()


def _verdict(guard: TransitionGuard, request: TransitionRequest) -> str | None:
    """Why a guard refuses; none when it consents. Never raises."""
    try:
        answer: object = guard.check(request)
    except (Exception, SystemExit) as error:  # noqa: BLE001  code of others may raise anything; that is a refusal and nothing more
        _log.warning("guard_failed", guard=guard.name, agent=request.agent_id, error=type(error).__name__, exc_info=True)
        return _FAILED
    if answer is None:
        return None
    if isinstance(answer, str) and (reason := _plain(answer)):
        return reason
    if isinstance(answer, Coroutine):
        answer.close()
    _log.warning("guard_unclear", guard=guard.name, agent=request.agent_id, answer=type(answer).__name__)
    return _UNCLEAR


def _described(guard: TransitionGuard) -> InstalledGuard:
    return InstalledGuard(guard.name, guard.applies_to, loaded=not isinstance(guard, BrokenGuard))


def _plain(reason: str) -> str:
    """A reason that every store and every wire can carry."""
    return reason.replace("\0", "").strip()[:_LONGEST_REASON].encode("utf-8", "replace").decode()


def _loaded(entry: EntryPoint) -> TransitionGuard:
    loaded: Any = None
    try:
        loaded = entry.load()
        guard: Any = loaded() if inspect.isclass(loaded) else loaded
        return _Installed(_name(guard), _applies_to(guard), _check(guard))
    except (Exception, SystemExit) as error:  # noqa: BLE001  importing code of others may raise anything; nothing then passes that it might guard
        _log.error("guard_not_loaded", guard=entry.name, value=entry.value, error=type(error).__name__, exc_info=True)
        return BrokenGuard(entry.name, _applies_to_if_said(loaded))


@dataclass(frozen=True, slots=True)
class _Installed:
    """A guard as it was when it was loaded, so that it cannot come to look at less later on."""

    name: str
    applies_to: frozenset[TransitionType]
    check: Callable[[TransitionRequest], str | None]


def _name(guard: Any) -> str:
    name = guard.name
    if not isinstance(name, str) or not _plain(name):
        raise TypeError("a guard's `name` must be a text that is not empty")
    return _plain(name)


def _applies_to(guard: Any) -> frozenset[TransitionType]:
    return frozenset(TransitionType(value) for value in guard.applies_to)


def _applies_to_if_said(loaded: Any) -> frozenset[TransitionType]:
    """What a guard that could not be made says that it looks at; everything, where it does not say so."""
    try:
        return _applies_to(loaded)
    except (AttributeError, TypeError, ValueError):
        return frozenset(TransitionType)


def _check(guard: Any) -> Callable[[TransitionRequest], str | None]:
    check = guard.check
    if not callable(check) or inspect.iscoroutinefunction(check):
        raise TypeError("a guard's `check` must be a function, and no asynchronous one")
    return check  # type: ignore[no-any-return]  # whatever it answers is looked at
