"""The server process, or several of them under a supervisor."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn
from uvicorn.supervisors import Multiprocess

from cstp_server.settings import Settings, publish_metrics_folder

_APP = "cstp_server.app:create_app"


class Supervisor(Multiprocess):
    """Keeps the server processes alive. SIGHUP is passed on to them: it means to read the policy anew, not to restart."""

    def handle_hup(self) -> None:
        """Have every process read its policy anew."""
        for process in self.processes:
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)


def serve(settings: Settings) -> None:
    """Serve until told to end: SIGTERM stops accepting, finishes what was accepted, and ends."""
    config = uvicorn.Config(
        _APP,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
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
    with _metrics_folder(settings):
        if settings.workers == 1:
            uvicorn.Server(config).run()
        else:
            Supervisor(config, [config.bind_socket()]).run()


def _end_well(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


@contextlib.contextmanager
def _metrics_folder(settings: Settings) -> Iterator[None]:
    """A folder in which several processes share what they count."""
    if settings.workers == 1:
        yield
        return
    folder = Path(tempfile.mkdtemp(prefix="cstp-metrics-"))
    publish_metrics_folder(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
