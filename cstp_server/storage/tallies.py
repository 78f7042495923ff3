"""Tallies: what is counted by name and hour, for reading.

On PostgreSQL every process adds to rows of its own, because nobody should wait for somebody else's commit only to count. When an hour is
over, its rows become one.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, select, tuple_

from cstp_server.storage import tables
from cstp_server.storage.engine import is_sqlite
from cstp_server.storage.inserting import BulkInsert

_HOUR_MS = 3_600_000
_EVERYBODY = ""
_AT_ONCE = 500
_table = tables.tallies
_KEY = (_table.c.tenant, _table.c.hour, _table.c.name, _table.c.writer)


class _Addition(BulkInsert):
    """An insert that adds to the rows that are there already."""

    def _statement(self, statement: Any) -> Any:
        more = _table.c.counted + statement.excluded.counted
        return statement.on_conflict_do_update(index_elements=[column.name for column in _KEY], set_={"counted": more})


_ADD = _Addition(_table, [column.name for column in _table.c])


def add_tallies(connection: Connection, tallies: Mapping[tuple[str, str], int], now: int, writer: str) -> None:
    """Count so many more, by tenant and name, in the hour of `now`."""
    hour, by = _hour_of(now), _EVERYBODY if is_sqlite(connection) else writer
    _add(connection, {(tenant, hour, name, by): count for (tenant, name), count in tallies.items()})


def tallies_since(connection: Connection, tenant: str, since: int | None) -> dict[str, int]:
    """What was counted by name, from the beginning of the hour of `since` on."""
    query = select(_table.c.name, func.sum(_table.c.counted)).where(_table.c.tenant == tenant).group_by(_table.c.name)
    if since is not None:
        query = query.where(_table.c.hour >= _hour_of(since))
    return {name: int(count) for name, count in connection.execute(query)}


def merge_tallies(connection: Connection, before: int) -> int:
    """Make one row each of a few that processes have counted apart, in hours that were over at `before`; how many there were."""
    over = select(*_KEY).where(_table.c.hour < _hour_of(before), _table.c.writer != _EVERYBODY).limit(_AT_ONCE)
    found = [tuple(row) for row in connection.execute(over)]
    if not found:
        return 0
    taken = connection.execute(
        delete(_table).where(tuple_(*_KEY).in_(found)).returning(_table)
    ).all()  # none that another process has taken
    merged = Counter[tuple[str, int, str, str]]()
    for row in taken:
        merged[row.tenant, row.hour, row.name, _EVERYBODY] += row.counted
    if merged:
        _add(connection, merged)
    return len(found)


def prune_tallies(connection: Connection, tenant: str, before: int) -> int:
    """Delete a small batch of a tenant's tallies of hours before `before`; how many."""
    oldest = select(*_KEY).where(_table.c.tenant == tenant, _table.c.hour < _hour_of(before)).limit(_AT_ONCE)
    found = [tuple(row) for row in connection.execute(oldest)]
    if found:
        connection.execute(delete(_table).where(tuple_(*_KEY).in_(found)))
    return len(found)


def _add(connection: Connection, counts: Mapping[tuple[str, int, str, str], int]) -> None:
    rows = [
        {"tenant": tenant, "hour": hour, "name": name, "writer": writer, "counted": count}
        for (tenant, hour, name, writer), count in sorted(counts.items())
    ]
    _ADD.execute(connection, rows)


def _hour_of(at: int) -> int:
    return at - at % _HOUR_MS
