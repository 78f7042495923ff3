"""The policy in force in this process, read anew on demand, and the watch over its files (SPEC 12)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from watchfiles import awatch

from cstp_server.policy.compiled import Policy
from cstp_server.policy.compiling import compile_policy
from cstp_server.policy.fields import Path as Steps
from cstp_server.policy.loading import read_policy
from cstp_server.policy.models import PolicyModel
from cstp_server.policy.problems import BadPolicy, PolicyProblem
from cstp_server.policy.sources import policy_files

_DEBOUNCE_MS = 400
_STEP_MS = 50
_LOOK_EVERY_MS = 5_000

Examine = Callable[[Policy], Iterable[tuple[Steps, str]]]
Fingerprint = tuple[tuple[str, int, int, int], ...]


class PolicyFile:
    """A policy and where it comes from. `current` is replaced as a whole, so a reader sees the old one or the new one.

    With `optional`, nothing at `path` when it is first read means the built-in empty policy; later on it is a problem, because a policy
    that vanishes must not open the doors.

    `examine` says what is wrong with a policy here, on this machine, that is not wrong with it everywhere, and where in it.
    """

    def __init__(self, path: Path, *, optional: bool = False, examine: Examine = lambda _policy: ()) -> None:
        self.path = path
        self._examine = examine
        self._current = compile_policy(PolicyModel.model_validate({})) if optional and not path.exists() else self._load()

    @property
    def current(self) -> Policy:
        """The last policy that was good."""
        return self._current

    def reload(self) -> tuple[PolicyProblem, ...]:
        """Read the policy anew. With problems the old one stays in force; unchanged content leaves the very object in place."""
        try:
            policy = self._load()
        except BadPolicy as bad:
            return bad.problems
        if policy.version != self._current.version:
            self._current = policy
        return ()

    def _load(self) -> Policy:
        policy, root = read_policy(self.path)
        problems = tuple(PolicyProblem(*root.place_of(place), message) for place, message in self._examine(policy))
        if problems:
            raise BadPolicy(problems)
        return policy


async def watch(path: Path, on_change: Callable[[], Awaitable[None]], *, stop: asyncio.Event | None = None) -> None:
    """Call `on_change` whenever the policy's files are others than before, until `stop` is set or the task is cancelled.

    It notices files that are written, replaced by renaming, added and removed, and links that are pointed elsewhere, which is how a
    mounted ConfigMap changes. Where the file system tells nothing, it looks every few seconds. A burst of changes is one change.
    """
    seen = await asyncio.to_thread(fingerprint, path)
    while not (stop is not None and stop.is_set()):
        watched = await asyncio.to_thread(_folders, path)
        async for _ in awatch(
            *watched,
            watch_filter=None,
            recursive=False,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=stop,
            rust_timeout=_LOOK_EVERY_MS,
            yield_on_timeout=True,
        ):
            now = await asyncio.to_thread(fingerprint, path)
            if now != seen:
                seen = now
                await on_change()
            if await asyncio.to_thread(_folders, path) != watched:
                break


def fingerprint(path: Path) -> Fingerprint:
    """What tells one state of the policy's files from another: names, inodes, times, sizes. Empty when nothing is there."""
    try:
        return tuple((str(file), stat.st_ino, stat.st_mtime_ns, stat.st_size) for file in policy_files(path) for stat in [file.stat()])
    except OSError:
        return ()


def _folders(path: Path) -> tuple[Path, ...]:
    """The folders whose changes may concern the policy: where it stands, and where links lead, or the nearest that exists."""
    places = [path.absolute().parent, path.resolve(), path.resolve().parent]
    folders = [next(folder for folder in (place, *place.parents) if folder.is_dir()) for place in places]
    return tuple(dict.fromkeys(folders))
