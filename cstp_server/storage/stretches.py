"""Stretches of the logs of many circuits, read with one statement whose text does not change with their number."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ARRAY, BigInteger, Connection, Integer, Select, String, bindparam, cast, func, select

from cstp_server.domain.circuit_state import Entry, EntryKind
from cstp_server.storage import tables
from cstp_server.storage.circuits import entry_of
from cstp_server.storage.engine import is_sqlite


class Stretch(NamedTuple):
    """The lines of a log after `after`, up to and with `last`."""

    after: int
    last: int


def outcomes_within(connection: Connection, tenant: str, stretches: Mapping[str, Stretch]) -> Mapping[str, list[Entry]]:
    """The outcomes in a stretch of the log of each circuit, by scope, oldest first."""
    found: dict[str, list[Entry]] = {scope: [] for scope in stretches}
    for row in _rows(connection, tenant, stretches) if stretches else ():
        found[row.scope].append(entry_of(row))
    return found


def _rows(connection: Connection, tenant: str, stretches: Mapping[str, Stretch]) -> Iterator[Any]:
    if is_sqlite(connection):
        places = orjson.dumps([(scope, *stretch) for scope, stretch in stretches.items()]).decode()
        yield from connection.execute(_SQLITE, {"of_tenant": tenant, "places": places})
    else:
        names, afters, lasts = list(stretches), [each.after for each in stretches.values()], [each.last for each in stretches.values()]
        yield from connection.execute(_POSTGRES, {"of_tenant": tenant, "names": names, "afters": afters, "lasts": lasts})


_log = tables.circuit_log


def _outcomes(place: Any, scope: Any, after: Any, last: Any) -> Select[Any]:
    return (
        select(_log)
        .select_from(place)
        .join(_log, (_log.c.scope == scope) & (_log.c.seq > after) & (_log.c.seq <= last))
        .where(_log.c.tenant == bindparam("of_tenant"), _log.c.kind == EntryKind.OUTCOME.value)
        .order_by(_log.c.scope, _log.c.seq)
    )


_each = func.json_each(bindparam("places", type_=String)).table_valued("value")
_SQLITE = _outcomes(
    _each,
    func.json_extract(_each.c.value, "$[0]"),
    cast(func.json_extract(_each.c.value, "$[1]"), Integer),
    cast(func.json_extract(_each.c.value, "$[2]"), Integer),
)
_given = (
    func.unnest(
        bindparam("names", type_=ARRAY(String)), bindparam("afters", type_=ARRAY(BigInteger)), bindparam("lasts", type_=ARRAY(BigInteger))
    )
    .table_valued("scope", "after", "last")
    .render_derived()
)
_POSTGRES = _outcomes(_given, _given.c.scope, _given.c.after, _given.c.last)
