"""Connections: SQLite as a file with WAL and full durability, PostgreSQL through psycopg, from one URL."""

from pathlib import Path
from sqlite3 import SQLITE_BUSY, SQLITE_LOCKED, OperationalError
from time import sleep

from sqlalchemy import BigInteger, Connection, Engine, cast, create_engine, event, func, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from cstp_server.clock import Clock
from cstp_server.storage.database_file import DatabaseFile, OpenFile, open_or_create

_BUSY_SECONDS = 5.0
_STATEMENT_TIMEOUT_MS = 5_000
_IDLE_TIMEOUT_MS = 30_000
_ISOLATION = "READ COMMITTED"
"""Whatever the database's default is: who has waited for a lock must see what was committed meanwhile."""
_WAL_ATTEMPTS = 100
_WAL_PAUSE_SECONDS = 0.05
_PRIMARY_CODE = 0xFF
_SQLITE_PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-65536",
    "wal_autocheckpoint=8192",  # pages: the same index pages change again and again, so fewer copies of the log into the file are cheaper
)

DATABASE_TIME = cast(func.floor(func.extract("epoch", func.clock_timestamp()) * 1000), BigInteger).label("now")
"""The time of the PostgreSQL server, the one that all replicas go by, in ms since the epoch."""


class UnsupportedDatabase(ValueError):
    """A database URL for something else than SQLite in a file or PostgreSQL; the message names no credentials."""


def database_url(text: str) -> URL:
    """The URL with the driver that the service uses. Raises `UnsupportedDatabase`."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise UnsupportedDatabase("`DATABASE_URL` is no URL: use `sqlite:///path` or `postgresql://user@host/name`") from None
    name = url.get_backend_name()
    if name == "sqlite":
        if not url.database or url.database == ":memory:":
            raise UnsupportedDatabase("`DATABASE_URL` must name a file for SQLite: what is only in memory is not durable")
        if url.query:
            raise UnsupportedDatabase("`DATABASE_URL` takes no options for SQLite: remove what follows the `?`")
        return url.set(drivername="sqlite+pysqlite")
    if name in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    raise UnsupportedDatabase(f"`DATABASE_URL` is for `{name}`: use `sqlite:///path` or `postgresql://…`")


def database_file(url: URL) -> DatabaseFile | None:
    """The file that the engines of one process share; none for PostgreSQL."""
    return DatabaseFile(_path(url)) if _is_sqlite(url) else None


def writing_engine(url: URL, file: DatabaseFile | None = None) -> Engine:
    """An engine whose transactions hold the write lock from their first moment on SQLite, and lock rows on PostgreSQL.

    With a `file` its connections are to that file alone, which they do not make; without one a SQLite file that is not there is made.
    """
    return _sqlite_engine(url, "BEGIN IMMEDIATE", file) if _is_sqlite(url) else _postgres_engine(url, isolation_level=_ISOLATION)


def reading_engine(url: URL, connections: int, file: DatabaseFile | None = None) -> Engine:
    """An engine for reads that wait for no writer, with at most so many connections. `file` as for `writing_engine`."""
    if _is_sqlite(url):
        return _sqlite_engine(url, "BEGIN DEFERRED", file, pool_size=connections, max_overflow=0)
    return _postgres_engine(url, pool_size=connections, max_overflow=0, isolation_level="AUTOCOMMIT")


def passing_engine(url: URL, file: DatabaseFile | None = None) -> Engine:
    """An engine that keeps no connection, for commands that do one thing and end. `file` as for `writing_engine`."""
    if _is_sqlite(url):
        return _sqlite_engine(url, "BEGIN IMMEDIATE", file, poolclass=NullPool)
    return _postgres_engine(url, poolclass=NullPool, isolation_level=_ISOLATION)


def verify_file(connection: Connection) -> None:
    """Raise `FileLost` when a SQLite file was removed or replaced since this connection opened it."""
    opened: object = connection.connection.dbapi_connection
    if isinstance(opened, OpenFile):
        opened.verify()


def generation_of(connection: Connection) -> int:
    """A number that grows whenever this process opens another SQLite file than before; 0 for PostgreSQL."""
    opened: object = connection.connection.dbapi_connection
    return opened.generation if isinstance(opened, OpenFile) else 0


def is_sqlite(connection: Connection) -> bool:
    """Whether this connection is to SQLite, where one writer at a time has the whole store."""
    return connection.dialect.name == "sqlite"


def take_time(connection: Connection) -> None:
    """Let the statements of this transaction last as long as they do; they wait for locks no longer than any others."""
    if not is_sqlite(connection):
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {name} = 0"))


def current_time(connection: Connection, clock: Clock) -> int:
    """What time it is for all who share this store, in ms since the epoch."""
    if is_sqlite(connection):
        return clock.now()
    now: int = connection.execute(select(DATABASE_TIME)).scalar_one()
    return now


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _path(url: URL) -> Path:
    return Path(url.database or "").absolute()


def _sqlite_engine(url: URL, begin: str, file: DatabaseFile | None, **options: object) -> Engine:
    path = _path(url)
    if file is None:
        path.parent.mkdir(parents=True, exist_ok=True)

    def connect() -> OpenFile:
        connection = file.open(busy_seconds=_BUSY_SECONDS) if file is not None else open_or_create(path, busy_seconds=_BUSY_SECONDS)
        try:
            _write_ahead(connection)
            for pragma in _SQLITE_PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if file is not None:
                file.remember(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(url, creator=connect, hide_parameters=True, **options)  # parameters are what agents sent: no log shows them

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        verify_file(connection)
        connection.exec_driver_sql(begin)

    return engine


def _write_ahead(connection: OpenFile) -> None:
    """Switch a new file to WAL. Processes that open it at once get in each other's way, and the busy timeout does not cover this."""
    for _ in range(_WAL_ATTEMPTS):
        try:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",):
                return
        except OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE not in (SQLITE_BUSY, SQLITE_LOCKED):
                raise
        sleep(_WAL_PAUSE_SECONDS)
    connection.execute("PRAGMA journal_mode=WAL").fetchone()


def _postgres_engine(url: URL, **options: object) -> Engine:
    timeouts = {
        "statement_timeout": _STATEMENT_TIMEOUT_MS,
        "lock_timeout": _STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": _IDLE_TIMEOUT_MS,  # a process that is frozen in a transaction keeps its locks no longer
    }
    settings = " ".join(f"-c {name}={ms}" for name, ms in timeouts.items())
    connect_args = {"connect_timeout": 3, "options": settings, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    return create_engine(url, connect_args=connect_args, hide_parameters=True, **options)
