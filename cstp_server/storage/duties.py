"""Duties that one process at a time sees to: leases that are as durable as what they are about (`services.ports.Duties`).

The time of the store may be put back. A lease that would run for more than twice as long as whoever asks would have it was written
by a clock that went ahead: it counts as run out, or else nobody would see to the duty until that time has come again.
"""

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cstp_server.clock import Clock
from cstp_server.services.ports import Duty
from cstp_server.storage import tables
from cstp_server.storage.engine import current_time, is_sqlite
from cstp_server.storage.reader import ReadThreads

_LEASES_AHEAD = 2


class SqlDuties:
    """Leases in the store; the store's own time says when they end. Who finds a duty taken has waited for no writer."""

    def __init__(self, reading: ReadThreads, writing: ReadThreads, clock: Clock) -> None:
        self._reading = reading
        self._writing = writing
        self._clock = clock

    async def take(self, name: str, holder: str, ms: int) -> Duty | None:
        """The duty, unless another process has it."""
        if await self._reading.read(_is_others, name, holder, ms, self._clock):
            return None
        return await self._writing.read(_take, name, holder, ms, self._clock)

    async def keep(self, name: str, holder: str, ms: int, progress: str) -> bool:
        """Have it for so long from now on, and remember how far it has come; false when another process has taken it meanwhile."""
        return await self._writing.read(_keep, name, holder, ms, progress, self._clock)

    async def leave(self, name: str, holder: str) -> None:
        """Let others have it at once."""
        await self._writing.read(_leave, name, holder)


def _is_others(connection: Connection, name: str, holder: str, ms: int, clock: Clock) -> bool:
    """Whether another process has it."""
    known = connection.execute(select(tables.duties).where(tables.duties.c.name == name)).one_or_none()
    return known is not None and known.holder != holder and not _is_over(known.until, current_time(connection, clock), ms)


def _is_over(until: int, now: int, ms: int) -> bool:
    """Whether a lease until then has run out, for whoever would take it for `ms`. `now` is read after `until`: it is the later time."""
    return not now < until <= now + _LEASES_AHEAD * ms


def _take(connection: Connection, name: str, holder: str, ms: int, clock: Clock) -> Duty | None:
    """Of several who find it free, the first one has it; who finds it being taken does not wait."""
    table = tables.duties
    known = connection.execute(select(table).where(table.c.name == name).with_for_update(skip_locked=True)).one_or_none()
    now = current_time(connection, clock)
    if known is None:
        dialect = sqlite if is_sqlite(connection) else postgresql
        new = dialect.insert(table).values(name=name, holder=holder, until=now + ms, progress="").on_conflict_do_nothing()
        return Duty(now, "") if connection.execute(new.returning(table.c.name)).one_or_none() is not None else None
    if known.holder != holder and not _is_over(known.until, now, ms):
        return None
    connection.execute(update(table).where(table.c.name == name).values(holder=holder, until=now + ms))
    return Duty(now, known.progress)


def _keep(connection: Connection, name: str, holder: str, ms: int, progress: str, clock: Clock) -> bool:
    table, now = tables.duties, current_time(connection, clock)
    kept = update(table).where(table.c.name == name, table.c.holder == holder).values(until=now + ms, progress=progress)
    return connection.execute(kept).rowcount == 1


def _leave(connection: Connection, name: str, holder: str) -> None:
    table = tables.duties
    connection.execute(update(table).where(table.c.name == name, table.c.holder == holder).values(until=0))
