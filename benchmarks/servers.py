"""The two servers that are compared, each a process of its own: the service, and the bare route."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.policies import write_policy
from tests.postgres import free_port
from tests.server import RunningServer

_ROOT = Path(__file__).resolve().parent.parent
_READY_SECONDS = 20.0
_ENVIRONMENT = {"CSTP_RATE_LIMIT_PER_SECOND": "0", "CSTP_LOG_FORMAT": "json"}


@dataclass(frozen=True, slots=True)
class Target:
    """A server that answers, and the tokens it knows."""

    port: int
    pid: int
    agents_token: str | None = None
    pipeline_token: str | None = None


@contextmanager
def service(
    folder: Path, *, circuits: int = 20, tripwires: bool = False, constraints: bool = False, database_url: str | None = None
) -> Iterator[Target]:
    """The service as in production: one worker, tokens, an empty store; SQLite in `folder` unless another database is named."""
    _end_in_order()
    config = folder / "config"  # by itself: the policy's folder is watched, and every write of the store would wake the watch
    config.mkdir(parents=True, exist_ok=True)
    policy = write_policy(config / "policy.yaml", circuits, tripwires=tripwires, constraints=constraints)
    server = RunningServer(folder, database_url=database_url, config=policy, env=_ENVIRONMENT)
    if database_url is not None:
        server.cli("db", "upgrade")
    name = f"bench-{free_port()}"
    agents, pipeline = server.token(f"{name}-agents", "ops"), server.token(f"{name}-pipeline", "ci")
    with server:
        yield Target(server.port, server.pid, agents, pipeline)


@contextmanager
def bare_route() -> Iterator[Target]:
    """The bare route."""
    _end_in_order()
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare", str(port)], cwd=_ROOT)
    try:
        _await(process, port)
        yield Target(port, process.pid)
    finally:
        process.terminate()
        process.wait()


def _end_in_order() -> None:
    """Whoever is told to end (SIGTERM) takes its servers along, as on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
            return
        time.sleep(0.05)
    raise RuntimeError(f"the bare route does not answer on port {port}")
