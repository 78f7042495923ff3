"""Sessions in the store (`services.sessions.Sessions`), so that they hold over all processes and end everywhere at once."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from cstp_server.domain.events import Event
from cstp_server.domain.sessions import Session, SessionChange
from cstp_server.storage import tables
from cstp_server.storage.reader import ReadThreads

_FORGOTTEN_AT_ONCE = 100


class SqlSessions:
    """Reads on the connections that reads have; that a session was used, which is noted once a minute, is written on one of its own."""

    def __init__(self, reading: ReadThreads, writing: ReadThreads) -> None:
        self._reading = reading
        self._writing = writing

    async def find(self, digest: bytes) -> Session | None:
        """The session of that digest."""
        return await self._reading.read(_find, digest)

    async def seen(self, digest: bytes, at: int) -> None:
        """Remember when it was last used."""
        await self._writing.read(_seen, digest, at)


def write_sessions(connection: Connection, changes: Sequence[SessionChange]) -> list[Event]:
    """Keep the sessions that began, forget those that are to end, and some that have run out; the events of those that ended now."""
    table = tables.sessions
    ended = {change.digest: change.event for change in reversed(changes) if change.begun is None}
    begun = [_row(change.digest, change.begun) for change in changes if change.begun is not None]
    if begun:
        over = select(table.c.digest).where(table.c.expires_at <= max(row["created_at"] for row in begun)).limit(_FORGOTTEN_AT_ONCE)
        connection.execute(delete(table).where(table.c.digest.in_(over.with_for_update(skip_locked=True))))
        connection.execute(insert(table), begun)
    gone = connection.execute(delete(table).where(table.c.digest.in_(sorted(ended))).returning(table.c.digest)).scalars() if ended else ()
    return [event for event in map(ended.get, gone) if event is not None]


def _row(digest: bytes, session: Session) -> dict[str, Any]:
    return {
        "digest": digest,
        "tenant": session.tenant,
        "token_digest": session.token_digest,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "seen_at": session.seen_at,
    }


def _find(connection: Connection, digest: bytes) -> Session | None:
    row = connection.execute(select(tables.sessions).where(tables.sessions.c.digest == digest)).one_or_none()
    return Session(row.tenant, row.token_digest, row.created_at, row.expires_at, row.seen_at) if row is not None else None


def _seen(connection: Connection, digest: bytes, at: int) -> None:
    table = tables.sessions
    connection.execute(update(table).where(table.c.digest == digest, table.c.seen_at < at).values(seen_at=at))
