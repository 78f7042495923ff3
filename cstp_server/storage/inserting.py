"""Inserting many rows at once with statements that are compiled once: what every check does should cost nothing but the database's work.

On SQLite the rows go in by the power of two. The driver lets go of the interpreter's lock at every step of a statement, and whenever the
event loop is busy it gets the lock back late; one statement for sixteen rows is one step, and sixteen statements would be sixteen.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from cstp_server.storage.engine import is_sqlite

T = TypeVar("T")
Row = Mapping[str, Any]
_LARGEST = 64


class BulkInsert:
    """An insert of these columns, at least two, into a table."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._table = table
        self._columns = tuple(columns)
        self._values_of = itemgetter(*columns)
        self._of_size = cache(self._compile)

    def execute(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert the rows; each must have exactly the columns."""
        if not is_sqlite(connection):
            connection.execute(self._statement(postgresql.insert(self._table)), rows)
            return
        for part in _powers_of_two(rows):
            connection.exec_driver_sql(self._of_size(len(part)), tuple(chain.from_iterable(map(self._values_of, part))))

    def execute_tuples(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows whose values are in the order of the table's columns, as those of the insert must be, too."""
        if not is_sqlite(connection):
            self.execute(connection, [dict(zip(self._columns, row, strict=True)) for row in rows])
            return
        for part in _powers_of_two(rows):
            connection.exec_driver_sql(self._of_size(len(part)), tuple(chain.from_iterable(part)))

    def _compile(self, size: int) -> str:
        """The statement for so many rows."""
        statement = self._statement(sqlite.insert(self._table))
        head, values, rest = str(statement.compile(dialect=sqlite.dialect(), column_keys=list(self._columns))).partition(" VALUES ")
        marks, space, tail = rest.partition(" ON CONFLICT")
        return head + values + ", ".join([marks] * size) + space + tail

    def _statement(self, statement: Any) -> Any:
        """The insert as the database is to carry it out."""
        return statement


class BulkUpsert(BulkInsert):
    """An insert that replaces `columns` of the rows that are there already, found by their `keys`."""

    def __init__(self, table: Table, keys: Sequence[str], columns: Sequence[str]) -> None:
        super().__init__(table, (*keys, *columns))
        self._keys = tuple(keys)
        self._replaced = tuple(columns)

    def _statement(self, statement: Any) -> Any:
        excluded = {name: statement.excluded[name] for name in self._replaced}
        return statement.on_conflict_do_update(index_elements=list(self._keys), set_=excluded)


def _powers_of_two(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in their order, in parts whose sizes are powers of two, the largest first."""
    start = 0
    while start < len(rows):
        left = len(rows) - start
        size = min(_LARGEST, 1 << (left.bit_length() - 1))
        yield rows[start : start + size]
        start += size
