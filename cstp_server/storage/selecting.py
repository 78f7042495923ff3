"""Selecting many rows of a tenant by their keys, with a statement whose text does not change with their number."""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import ARRAY, Connection, Select, String, Table, any_, bindparam, column, func, select

from cstp_server.storage.engine import is_sqlite


class KeyedSelect:
    """A select by tenant and keys; each row is found through the primary key, on either database."""

    def __init__(self, table: Table, key: str, columns: Sequence[str] | None = None) -> None:
        chosen = [table.c[name] for name in columns] if columns is not None else [table]
        of_tenant = select(*chosen).where(table.c.tenant == bindparam("of_tenant"))
        listed: Select[Any] = select(column("value")).select_from(func.json_each(bindparam("names", type_=String)).table_valued("value"))
        named = of_tenant.where(table.c[key] == any_(bindparam("names", type_=ARRAY(String))))
        self._sqlite: Select[Any] = of_tenant.where(table.c[key].in_(listed))
        self._postgres: Select[Any] = named
        self._postgres_locking: Select[Any] = named.order_by(table.c[key]).with_for_update()

    def rows(self, connection: Connection, tenant: str, names: Sequence[str], *, lock: bool) -> Iterator[Any]:
        """The rows; with `lock`, locked in the order of their keys, where SQLite's one writer has them all to itself anyway."""
        if is_sqlite(connection):
            yield from connection.execute(self._sqlite, {"of_tenant": tenant, "names": orjson.dumps(names).decode()})
        else:
            query = self._postgres_locking if lock else self._postgres
            yield from connection.execute(query, {"of_tenant": tenant, "names": list(names)})
