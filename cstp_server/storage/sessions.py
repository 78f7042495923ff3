"""Sessions in the store (`services.sessions.Sessions`), so that they hold over all processes and end everywhere at once."""

from sqlalchemy import Connection, delete, insert, select, update

from cstp_server.services.sessions import Session
from cstp_server.storage import tables
from cstp_server.storage.reader import ReadThreads

_FORGOTTEN_AT_ONCE = 500


class SqlSessions:
    """Reads on the connections that reads have; what changes something, which is seldom, on one of its own."""

    def __init__(self, reading: ReadThreads, writing: ReadThreads) -> None:
        self._reading = reading
        self._writing = writing

    async def begin(self, digest: bytes, session: Session) -> None:
        """Store a session, and forget those that are over by now."""
        await self._writing.read(_begin, digest, session)

    async def find(self, digest: bytes) -> Session | None:
        """The session of that digest."""
        return await self._reading.read(_find, digest)

    async def seen(self, digest: bytes, at: int) -> None:
        """Remember when it was last used."""
        await self._writing.read(_seen, digest, at)

    async def end(self, digest: bytes) -> None:
        """Forget it."""
        await self._writing.read(_end, digest)


def _begin(connection: Connection, digest: bytes, session: Session) -> None:
    table = tables.sessions
    over = select(table.c.digest).where(table.c.expires_at <= session.created_at).limit(_FORGOTTEN_AT_ONCE)
    connection.execute(delete(table).where(table.c.digest.in_(over)))
    connection.execute(
        insert(table).values(
            digest=digest,
            tenant=session.tenant,
            token_digest=session.token_digest,
            created_at=session.created_at,
            expires_at=session.expires_at,
            seen_at=session.seen_at,
        )
    )


def _find(connection: Connection, digest: bytes) -> Session | None:
    row = connection.execute(select(tables.sessions).where(tables.sessions.c.digest == digest)).one_or_none()
    return Session(row.tenant, row.token_digest, row.created_at, row.expires_at, row.seen_at) if row is not None else None


def _seen(connection: Connection, digest: bytes, at: int) -> None:
    table = tables.sessions
    connection.execute(update(table).where(table.c.digest == digest, table.c.seen_at < at).values(seen_at=at))


def _end(connection: Connection, digest: bytes) -> None:
    connection.execute(delete(tables.sessions).where(tables.sessions.c.digest == digest))
