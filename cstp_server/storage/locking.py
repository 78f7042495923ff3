"""Locks by name, for what may have no row yet; each holds until the transaction ends."""

from collections.abc import Iterable
from zlib import crc32

from sqlalchemy import ARRAY, Connection, String, bindparam, func, select

from cstp_server.storage.engine import is_sqlite

_NAMES = func.unnest(bindparam("names", type_=ARRAY(String))).table_valued("name").render_derived()
_KEYS = select(func.hashtextextended(_NAMES.c.name, 0).label("key")).distinct().order_by("key").subquery()
_LOCK = select(func.pg_advisory_xact_lock(_KEYS.c.key))


def lock(connection: Connection, kind: str, keys: Iterable[tuple[str, str]], *, at_most: int | None = None) -> None:
    """Keep everybody else from these things of a kind, by tenant and name, in one order everywhere.

    SQLite's one writer has no rivals. Two names may share a lock, which costs a wait and nothing else; `at_most` so many locks are used
    for all names of the kind together, since the server has room for so many only.
    """
    names = [f"{kind}:{len(tenant)}:{tenant}:{name}" for tenant, name in keys]
    if at_most is not None:
        names = list({f"{kind}:{crc32(name.encode()) % at_most}" for name in names})
    if names and not is_sqlite(connection):
        connection.execute(_LOCK, {"names": names})
