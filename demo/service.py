"""The demo's own service: a process, a database and tokens that are gone when it ends."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cstp_server.client import Client, Retry

_ROOT = Path(__file__).resolve().parent.parent
_HOST = "127.0.0.1"
_START_MS = 60_000
_STOP_SECONDS = 15.0
_LOOK_EVERY_SECONDS = 0.5
_OWN = ("CSTP_", "DATABASE_URL")


class Ended(Exception):
    """The service did not start, or has ended by itself; the message is the end of its log."""


@dataclass(frozen=True, slots=True)
class Service:
    """The running service, where it is, and the tokens of those who call it."""

    process: "subprocess.Popen[bytes]"
    log: Path
    url: str
    agents: str
    pipeline: str
    operator: str

    async def watch(self) -> NoReturn:
        """Look whether it still runs, for ever. Raises `Ended`."""
        while self.process.poll() is None:  # noqa: ASYNC110 - nothing tells when another process ends
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        raise Ended(_end_of(self.log))


@contextmanager
def service(folder: Path, policy: Path, port: int, variables: Mapping[str, str]) -> Iterator[Service]:
    """The service on that port, or on a free one if it is taken, with all that it keeps in `folder`. Raises `Ended`.

    `variables` are what its policy finds in the environment.
    """
    url = f"http://{_HOST}:{_free(port)}"
    environment = _environment(folder) | {"CSTP_PUBLIC_URL": url, **variables}
    log = folder / "service.log"
    command = [*_cstp(), "serve", "--config", str(policy), "--host", _HOST, "--port", url.rpartition(":")[2]]
    with log.open("wb") as written:
        # in a session of its own, so that it ends when this says so, and not by the same Ctrl-C
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=written, stderr=written, start_new_session=True)
    try:
        _await(process, url, log)
        with ThreadPoolExecutor() as pool:
            tokens = pool.map(lambda made: _token(environment, folder, *made), (("fleet", "agent"), ("pipeline", "ci"), ("ann", "ops")))
        yield Service(process, log, url, *tokens)
    finally:
        _stop(process)


def _await(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    with Client(url, retry=Retry(attempts=1_000, total_ms=_START_MS, longest_ms=100)) as client:
        try:
            client.circuits_page(limit=1)
        except Exception as error:  # whatever it is, the log has the reason
            raise Ended(_end_of(log)) from error
    if process.poll() is not None:
        raise Ended(_end_of(log))


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2_000:]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
        return
    process.kill()
    process.wait()


def _token(environment: dict[str, str], folder: Path, name: str, role: str) -> str:
    command = [*_cstp(), "tokens", "create", name, "--role", role]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def _cstp() -> tuple[str, ...]:
    return (sys.executable, "-m", "cstp_server")


def _environment(folder: Path) -> dict[str, str]:
    """The environment without what sets up another service."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    return kept | {"DATABASE_URL": f"sqlite:///{folder / 'demo.db'}", "PYTHONPATH": str(_ROOT)}


def _free(port: int) -> int:
    """That port, or any other if somebody has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return _free(0)
        taken: int = probe.getsockname()[1]
        return taken
