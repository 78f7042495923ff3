"""The service as a process of its own whose time a test moves on: `ShiftedServer`, and the program that it runs."""

import runpy
import sys
from pathlib import Path

import uvicorn

from cstp_server.app import create_app
from cstp_server.clock import SystemClock
from cstp_server.settings import Settings
from cstp_server.storage import migrating
from cstp_server.storage.engine import database_url
from tests.server import RunningServer

_SHIFT = "shift.ms"
_HOUR_MS = 3_600_000


class ShiftedClock:
    """The machine's clock, and so many milliseconds later as a file says."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._clock = SystemClock()

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self._clock.now() + read_shift(self._file)

    def monotonic(self) -> float:
        """Seconds, of the machine's time: no call waits for longer because of what a test does."""
        return self._clock.monotonic()


class ShiftedServer(RunningServer):
    """`cstp serve` in one process, on SQLite; `advance` lets time pass for it."""

    def advance(self, hours: float) -> None:
        """Let hours pass."""
        file = self.directory / _SHIFT
        self.directory.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text(str(read_shift(file) + round(hours * _HOUR_MS)))
        new.replace(file)

    @property
    def _command(self) -> tuple[str, ...]:
        return sys.executable, "-m", "tests.shifted"


def read_shift(file: Path) -> int:
    """What the file says; nothing where there is none."""
    return int(file.read_text()) if file.exists() else 0


def main(arguments: list[str]) -> None:
    """Serve with that clock in the folder where this was started; any other command is carried out as `cstp` does."""
    if arguments[0] != "serve":
        runpy.run_module("cstp_server", run_name="__main__", alter_sys=True)
        return
    given = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    settings = Settings(config=Path(given["--config"])) if "--config" in given else Settings()
    migrating.upgrade(database_url(settings.database_url))
    app = create_app(settings, ShiftedClock(Path.cwd() / _SHIFT))
    uvicorn.run(app, host=given["--host"], port=int(given["--port"]), log_config=None)


if __name__ == "__main__":
    main(sys.argv[1:])
