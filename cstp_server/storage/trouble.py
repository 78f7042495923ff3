"""What is wrong with a database, in words for its operator: the cause, and what to do about it, with nothing that agents sent."""

import sqlite3

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cstp_server.storage.database_file import FileLost, FileReplaced

_PRIMARY_CODE = 0xFF
_SPOILED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_SCHEMA = "it has no schema yet: run `cstp db upgrade`"
_UNDEFINED_TABLE = "42P01"
_QUERY_CANCELED = "57014"
_OF_SQLITE = {
    sqlite3.SQLITE_NOTADB: "the file is not a database: put the right file there, or restore a backup",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: stop the service and restore a backup",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: look whether its folder is there, may be written to, and is not mounted read-only",
    sqlite3.SQLITE_READONLY: "the file cannot be written: look at its permissions, its folder's, and how the disk is mounted",
    sqlite3.SQLITE_PERM: "the file cannot be opened: look at its permissions",
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write: make room if it is full, else look at the disk",
    sqlite3.SQLITE_BUSY: "another program holds the write lock: wait for it, or end it",
    sqlite3.SQLITE_LOCKED: "another program holds the write lock: wait for it, or end it",
}


def cause_of(error: SQLAlchemyError) -> str:
    """What the database says is wrong, in one line.

    PostgreSQL's own words may quote a row, so they are told only of connecting, before it has seen one.
    """
    if isinstance(error, FileLost):
        return str(error)
    if not isinstance(error, DBAPIError) or error.orig is None:
        return type(error).__name__
    origin = error.orig
    if isinstance(origin, sqlite3.Error):
        return f"{origin} ({_name_of(origin)})"
    state = getattr(origin, "sqlstate", None)
    if state is not None:
        return f"{type(origin).__name__} ({state})"
    return f"{type(origin).__name__}: {str(origin).partition(chr(10))[0]}" if _never_connected(error) else type(origin).__name__


def advice_for(error: SQLAlchemyError | OSError, url: URL) -> str:
    """What an operator who runs a command on the database may do about an error of it."""
    if isinstance(error, FileLost):
        return str(error)
    where = f"the database `{url.database}`" if url.get_backend_name() == "sqlite" else f"PostgreSQL at `{_place(url)}`"
    if isinstance(error, OSError):
        return f"{where} cannot be opened: {(error.strerror or 'the system refuses').lower()}"
    origin = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(origin, sqlite3.Error):
        return f"{where} cannot be used: {_sqlite_advice(origin)}"
    if getattr(origin, "sqlstate", None) == _UNDEFINED_TABLE:
        return f"{where} cannot be used: {_NO_SCHEMA}"
    if isinstance(error, DBAPIError) and _never_connected(error):
        return f"{where} cannot be reached: {cause_of(error)}: check `DATABASE_URL`, and whether the server runs"
    return f"{where} cannot be used: {cause_of(error)}"


def is_spoiled(error: SQLAlchemyError) -> bool:
    """Whether the connection that met this error is of no use any more, since the file is another one or what was read of it is wrong."""
    origin = error.orig if isinstance(error, DBAPIError) else None
    return isinstance(error, FileReplaced) or (isinstance(origin, sqlite3.Error) and _code_of(origin) & _PRIMARY_CODE in _SPOILED)


def is_cancelled(error: SQLAlchemyError) -> bool:
    """Whether PostgreSQL has ended a statement that took longer than it may."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _QUERY_CANCELED


def _sqlite_advice(error: sqlite3.Error) -> str:
    known = _OF_SQLITE.get(_code_of(error) & _PRIMARY_CODE)
    if known is not None:
        return known
    return _NO_SCHEMA if str(error).startswith("no such table") else f"{error} ({_name_of(error)})"


def _never_connected(error: DBAPIError) -> bool:
    return error.statement is None


def _code_of(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # only what the database itself said has one
    return code


def _name_of(error: sqlite3.Error) -> str:
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    return name


def _place(url: URL) -> str:
    port = f":{url.port}" if url.port is not None else ""
    return f"{url.host or 'localhost'}{port}/{url.database or ''}"
