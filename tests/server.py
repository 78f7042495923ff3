"""The service as its users meet it: a process of its own, spoken to over HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from cstp_server.backend import ServerBackend
from cstp_server.cli.values import parse_duration
from cstp_server.domain.callers import DEFAULT_TENANT, Role
from tests.postgres import free_port

_READY_SECONDS = 30.0
_STOP_SECONDS = 30.0
_PORT_TRIES = 3
_ENDED_WELL = (0, -signal.SIGTERM)
_ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def _only(variables: Mapping[str, str]) -> Iterator[None]:
    """Nothing but these in the environment of this process."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class RpcError(Exception):
    """The service answered with a JSON-RPC error."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error['code']} {error['message']} (HTTP {status}): {error.get('data')}")
        self.status = status
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


class RunningServer:
    """`cstp serve` on a free loopback port, in a folder of its own.

    `config` is a policy file or folder; none starts the service where there is no `config/`. Nothing of the caller's environment reaches
    the process but what it needs to run, so only `env` sets the service up, and what it leaves behind stays in its folder. A database that
    is not SQLite is brought to head first, as its operator would. `program` is an installed `cstp`; none runs the code of this checkout.
    Used as a context manager, it is ready inside and gone afterwards, whatever happened.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str | None = None,
        config: Path | None = None,
        env: Mapping[str, str] | None = None,
        workers: int = 1,
        host: str = "127.0.0.1",
        arguments: tuple[str, ...] = (),
        program: Path | None = None,
    ) -> None:
        self.directory = directory
        self.database_url = database_url
        self.config = config
        self.workers = workers
        self.host = host
        self.port = free_port()
        self._arguments = arguments
        self._program = program
        self._env = dict(env or {})
        self._log_file = directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where the service is, without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def logs(self) -> str:
        """All that the process has written, of every start."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    @property
    def pid(self) -> int:
        """The process that was started; with several workers, their supervisor."""
        return self._running().pid

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the service and of the commands run beside it."""
        passed = {name: os.environ[name] for name in ("PATH", "HOME", "SSL_CERT_FILE") if name in os.environ}
        environment = passed | {"PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8", "TERM": "dumb", "TMPDIR": str(self.directory)}
        if self._program is None:
            environment["PYTHONPATH"] = str(_ROOT)
        if self.database_url is not None:
            environment["DATABASE_URL"] = self.database_url
        return environment | self._env

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.database_url is not None and not self.database_url.startswith("sqlite"):
            self.cli("db", "upgrade")
        for _ in range(_PORT_TRIES):
            self._spawn()
            if self._becomes_ready():
                return
            self.kill()
            if "address already in use" not in self.logs.lower():
                break
            self.port = free_port()
        raise AssertionError(f"the service did not become ready:\n{self.logs}")

    def spawn_and_wait(self, timeout: float = _READY_SECONDS) -> int:
        """Start the process, expecting it to end by itself (a refusal to start); its exit code."""
        self.directory.mkdir(parents=True, exist_ok=True)
        process = self._spawn()
        try:
            return process.wait(timeout)
        finally:
            self.kill()

    def terminate(self) -> None:
        """Ask the service to drain and end (SIGTERM), and see that it shuts down in order: with 0, or by the signal once all is done."""
        process = self._running()
        process.terminate()
        try:
            code = process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            logs = self.logs
            self.kill()
            raise AssertionError(f"the service did not end within {_STOP_SECONDS:.0f} s of SIGTERM:\n{logs}") from None
        self._forget()
        await_end_of(process.pid)
        assert code in _ENDED_WELL, f"the service ended with {code} after SIGTERM:\n{self.logs}"
        assert "shutdown complete" in self.logs, f"the service did not shut down in order after SIGTERM:\n{self.logs}"

    def kill(self) -> None:
        """End the whole process group at once (SIGKILL), as a crash or a power cut would."""
        if self._process is None:
            return
        process = self._process
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._forget()
        await_end_of(process.pid)

    def restart(self) -> None:
        """Kill the service if it runs, and start it again on the same port."""
        self.kill()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._running().send_signal(number)

    def cli(
        self, *arguments: str, check: bool = True, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `cstp` beside the service: same folder, database and environment, and what `env` adds to it."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self.directory,
            env=self.environment | dict(env or {}),
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"`cstp {' '.join(arguments)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def python(self, *arguments: str) -> str:
        """What Python prints, in the environment of the service; it must end well."""
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.directory, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def token(self, name: str, *roles: str, agent: str | None = None, tenant: str | None = None, expires: str | None = None) -> str:
        """Create a token as the command line does, but without the second that a process of its own takes to start."""
        lifetime_ms = parse_duration(expires, "--expires") if expires is not None else None
        where = {"DATABASE_URL": f"sqlite:///{self.directory / 'data' / 'cstp.db'}"} | self.environment
        with _only(where):
            return ServerBackend().create_token(
                name=name,
                roles=tuple(Role(role) for role in dict.fromkeys(roles)),
                tenant=tenant if tenant is not None else DEFAULT_TENANT,
                agent_id=agent,
                expires_in_ms=lifetime_ms,
            )

    def raw(
        self,
        body: bytes | str | dict[str, Any] | list[Any],
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        path: str = "/cstp",
    ) -> httpx.Response:
        """POST a body as it is; objects and lists are sent as JSON."""
        content = body if isinstance(body, (bytes, str)) else json.dumps(body)
        sent = (
            {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token is not None else {}) | dict(headers or {})
        )
        return self.http.post(path, content=content, headers=sent)

    def call(self, method: str, params: Mapping[str, Any] | None = None, *, token: str | None = None) -> Any:
        """Call a method and return its result. Raises `RpcError` when the answer is an error."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params or {})}
        response = self.raw(request, token=token)
        answer = response.json()
        if "error" in answer:
            raise RpcError(response.status_code, answer["error"])
        assert answer["id"] == 1
        return answer["result"]

    @property
    def http(self) -> httpx.Client:
        """A client for the service, closed with it."""
        if self._client is None:
            self._client = httpx.Client(base_url=self.url, timeout=70, trust_env=False)
        return self._client

    @property
    def _command(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "cstp_server") if self._program is None else (str(self._program),)

    def _spawn(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            raise RuntimeError("the service is running already")
        config = () if self.config is None else ("--config", str(self.config))
        place = ("--host", self.host, "--port", str(self.port), "--workers", str(self.workers))
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "serve", *config, *place, *self._arguments],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._process

    def _becomes_ready(self) -> bool:
        deadline = time.monotonic() + _READY_SECONDS
        process = self._running()
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            with suppress(httpx.TransportError):
                if self.http.get("/ready", timeout=5).status_code == httpx.codes.OK:
                    return True
            time.sleep(0.05)
        return False

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the service is not running")
        return self._process

    def _forget(self) -> None:
        self._process = None
        if self._client is not None:
            self._client.close()
            self._client = None


def await_end_of(group: int) -> None:
    """Wait until no process of the group runs. Raises `AssertionError` when one goes on."""
    deadline = time.monotonic() + _STOP_SECONDS
    while _runs(group):
        if time.monotonic() > deadline:
            raise AssertionError(f"processes of the service go on {_STOP_SECONDS:.0f} s after its end")
        time.sleep(0.01)


def _runs(group: int) -> bool:
    """Whether a process of the group runs; one that has ended and that nobody has waited for does not.

    A process may read as ended (`Z`) while threads of it still hold its sockets: they count as running.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    found = [(state, threads) for state, of_group, threads in _processes() if of_group == group]
    return not found or any(state not in "ZX" or threads > 1 for state, threads in found)


def _processes() -> Iterator[tuple[str, int, int]]:
    """The state, group and number of threads of every process, where the system shows them under `/proc`."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = entry.read_text().rpartition(")")[2].split()
            yield fields[0], int(fields[2]), int(fields[17])
