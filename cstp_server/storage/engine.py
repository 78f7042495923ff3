"""Connections: SQLite as a file with WAL and full durability, PostgreSQL through psycopg, from one URL."""

from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from sqlite3 import OperationalError
from time import sleep

from sqlalchemy import BigInteger, Connection, Engine, cast, create_engine, event, func, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from cstp_server.clock import Clock

BUSY_TIMEOUT_MS = 5_000
_STATEMENT_TIMEOUT_MS = 5_000
_WAL_ATTEMPTS = 100
_WAL_PAUSE_SECONDS = 0.05
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
        return url.set(drivername="sqlite+pysqlite")
    if name in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    raise UnsupportedDatabase(f"`DATABASE_URL` is for `{name}`: use `sqlite:///path` or `postgresql://…`")


def writing_engine(url: URL) -> Engine:
    """An engine whose transactions hold the write lock from their first moment on SQLite, and lock rows on PostgreSQL."""
    return _sqlite_engine(url, "BEGIN IMMEDIATE") if _is_sqlite(url) else _postgres_engine(url)


def reading_engine(url: URL, connections: int) -> Engine:
    """An engine for reads that wait for no writer, with at most so many connections."""
    if _is_sqlite(url):
        return _sqlite_engine(url, "BEGIN DEFERRED", pool_size=connections, max_overflow=0)
    return _postgres_engine(url, pool_size=connections, max_overflow=0, isolation_level="AUTOCOMMIT")


def passing_engine(url: URL) -> Engine:
    """An engine that keeps no connection, for commands that do one thing and end."""
    return _sqlite_engine(url, "BEGIN IMMEDIATE", poolclass=NullPool) if _is_sqlite(url) else _postgres_engine(url, poolclass=NullPool)


def is_sqlite(connection: Connection) -> bool:
    """Whether this connection is to SQLite, where one writer at a time has the whole store."""
    return connection.dialect.name == "sqlite"


def current_time(connection: Connection, clock: Clock) -> int:
    """What time it is for all who share this store, in ms since the epoch."""
    if is_sqlite(connection):
        return clock.now()
    now: int = connection.execute(select(DATABASE_TIME)).scalar_one()
    return now


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _sqlite_engine(url: URL, begin: str, **options: object) -> Engine:
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    # check_same_thread: a pool hands a connection from thread to thread, never to two at a time.
    connect_args = {"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000}
    engine = create_engine(
        url, connect_args=connect_args, hide_parameters=True, **options
    )  # parameters are what agents sent: no log shows them

    @event.listens_for(engine, "connect")
    def configure(connection: SqliteConnection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own implicit BEGIN comes too late to hold the write lock
        _write_ahead(connection)
        for pragma in _SQLITE_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _write_ahead(connection: SqliteConnection) -> None:
    """Switch a new file to WAL. Processes that open it at once get in each other's way, and the busy timeout does not cover this."""
    for _ in range(_WAL_ATTEMPTS):
        try:
            if connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",):
                return
        except OperationalError:
            sleep(_WAL_PAUSE_SECONDS)
    connection.execute("PRAGMA journal_mode=WAL").fetchone()


def _postgres_engine(url: URL, **options: object) -> Engine:
    timeouts = f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c lock_timeout={_STATEMENT_TIMEOUT_MS}"
    connect_args = {"connect_timeout": 3, "options": timeouts, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    return create_engine(url, connect_args=connect_args, hide_parameters=True, **options)
