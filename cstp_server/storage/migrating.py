"""The schema's history, from wherever the migrations are installed."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select, text
from sqlalchemy.engine import URL

from cstp_server.storage.engine import is_sqlite, passing_engine, take_time

_PACKAGED = Path(__file__).resolve().parents[1] / "migrations"
_CHECKOUT = Path(__file__).resolve().parents[2] / "migrations"
_UPGRADE_LOCK = 0x63737470
"""The advisory lock of PostgreSQL that an upgrade holds; any number will do that nobody else uses."""


def upgrade(url: URL) -> str:
    """Bring the schema to its head, in one transaction; the revision reached. Whoever does the same at the same time waits."""
    config = _config()
    engine = passing_engine(url)
    with engine.connect() as connection, connection.begin():
        take_time(connection)
        if not is_sqlite(connection):
            _await_turn(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return head()


def current(url: URL) -> str | None:
    """The revision that the database is at; none when it has no schema yet."""
    with passing_engine(url).connect() as connection, connection.begin():
        return revision_of(connection)


def revision_of(connection: Connection) -> str | None:
    """The revision of the database at the other end; none when it has no schema yet."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def head() -> str:
    """The newest revision that this version of the service knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise LookupError("there are no migrations")
    return revision


def _await_turn(connection: Connection) -> None:
    """However long another upgrade takes."""
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
    connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT).replace("%", "%%"))
    return config
