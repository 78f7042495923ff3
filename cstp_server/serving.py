"""The server process, or several of them under a supervisor."""

import contextlib
import fcntl
import functools
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn, cast

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from cstp_server.connections import ConnectionLimits, GuardedProtocol
from cstp_server.metrics import forget_process
from cstp_server.settings import Settings, publish_metrics_folder

_APP = "cstp_server.app:create_app"
_METRICS_PREFIX = "cstp-metrics-"
_OWNER = "owner"
_OTHER_FILES = 256
"""What a process opens besides connections of callers: the store, the policy, the log, the metrics."""
_log = structlog.get_logger(__name__)


class Supervisor(Multiprocess):
    """Keeps the server processes alive. SIGHUP is passed on to them: it means to read the policy anew, not to restart."""

    def handle_hup(self) -> None:
        """Have every process read its policy anew."""
        for process in self.processes:
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)

    def terminate_all(self) -> None:
        """End every process. This one lets go of the port first: nobody would answer what it still took."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        """Replace a process that has ended; what it counted stays, what it had at that moment is gone."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            if pid is not None:
                forget_process(pid)


def serve(settings: Settings) -> None:
    """Serve until told to end: SIGTERM stops accepting, finishes what was accepted, and ends."""
    limits = ConnectionLimits(settings.max_connections, settings.request_timeout_ms / 1000)
    config = uvicorn.Config(
        _APP,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        # uvicorn calls what it takes for the protocol's class, and hands it to other processes, as it can a partial
        http=cast(type[GuardedProtocol], functools.partial(GuardedProtocol, limits)),
        ws="none",
        access_log=False,
        server_header=False,
        date_header=False,
        log_config=None,
        timeout_graceful_shutdown=-(-settings.shutdown_timeout_ms // 1000),
        proxy_headers=False,
    )
    # uvicorn raises the signal that ended it once more when all is done; that is a good end
    signal.signal(signal.SIGTERM, _end_well)
    _allow_open_files(settings.max_connections + _OTHER_FILES)
    with _metrics_folder(settings):
        if settings.workers == 1:
            uvicorn.Server(config).run()
        else:
            Supervisor(config, [config.bind_socket()]).run()


def _end_well(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


def _allow_open_files(wanted: int) -> None:
    """Have the system allow as many open files as there may be connections, which the server processes inherit."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return
    possible = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (possible, most))
    if possible < wanted:
        _log.warning("few_open_files", allowed=possible, wanted=wanted, remedy="raise the limit, or lower `CSTP_MAX_CONNECTIONS`")


@contextlib.contextmanager
def _metrics_folder(settings: Settings) -> Iterator[None]:
    """A folder in which several processes share what they count. Those of supervisors that were killed are removed."""
    if settings.workers == 1:
        yield
        return
    _remove_ownerless()
    folder = Path(tempfile.mkdtemp(prefix=_METRICS_PREFIX))
    with _owning(folder):
        publish_metrics_folder(folder)
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _owning(folder: Path) -> Iterator[None]:
    """Hold a lock in the folder, which the system lets go of however this process ends."""
    unlocked = folder / f".{_OWNER}"
    with unlocked.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        unlocked.rename(folder / _OWNER)
        yield


def _remove_ownerless() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_METRICS_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / _OWNER).open() as file:  # gone by now, another user's, or locked: somebody lives
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
