"""The record of events as the store has it, for looking through it and for taking it elsewhere: fast, and as of one moment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, or_, select, text
from sqlalchemy.engine import URL

from cstp_server.domain.anchors import Anchor, LedgerHead, NoAnchor, anchor_from, head_from, is_text
from cstp_server.services.chaining import LINK_COLUMNS
from cstp_server.storage import tables
from cstp_server.storage.engine import is_sqlite, reading_engine

_NEVER_WITHOUT_EVENTS = (tables.decisions, tables.circuit_log, tables.postures, tables.tokens)
_PAGE = 2_000
_ANCHORS_AT_ONCE = 2_000
_MOST_UNCHAINED = 1_000
_EVENTS = tables.events.c


class StoredRecord:
    """The record in a database, within one transaction (`services.auditing.EventRecord`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self) -> int:
        """How many events there are."""
        return int(self._connection.execute(select(func.count()).select_from(tables.events)).scalar_one())

    def anchors(self) -> Iterator[Anchor | NoAnchor]:
        """The ledger by number; not what comes after a number that is none, which is enough to know."""
        page = self._connection.execute(_LEDGER).mappings().all()
        while page:
            for row in page:
                yield anchor_from(dict(row)) or NoAnchor(row["number"])
            if not isinstance(page[-1]["number"], int | float):
                return
            page = self._connection.execute(_MORE_LEDGER, {"after": page[-1]["number"]}).mappings().all()

    def head(self) -> LedgerHead | None:
        """Where the ledger says that it ends; none when it does not, or not as it would be written."""
        row = self._connection.execute(select(tables.audit_head).where(tables.audit_head.c.id == 1)).mappings().one_or_none()
        return head_from(dict(row)) if row is not None else None

    def newest_anchor(self) -> Anchor | None:
        """The last line of the ledger."""
        row = self._connection.execute(_NEWEST).mappings().one_or_none()
        return anchor_from(dict(row)) if row is not None else None

    def chains(self) -> Iterator[str]:
        """The chain of every event, each once; one index look-up each."""
        yield from filter(is_text, self._connection.execute(_CHAINS).scalars().all())

    def rows(self, chain: str, after: int | None) -> Iterator[Sequence[Sequence[Any]]]:
        """The events of a chain after a position, or with none all of them, by position, as pages of rows of `LINK_COLUMNS`."""
        rows = self._connection.execute(_ROWS if after is None else _ROWS_AFTER, {"of_chain": chain, "after": after}).all()
        yield from [rows] if rows else []
        while len(rows) == _PAGE:
            first, last = rows[0], rows[-1]
            # no two have the same place, or should: so the next page begins with the last one again, unless all of this one are there
            following = _ROWS_FROM if first.position != last.position else _ROWS_AFTER
            rows = self._connection.execute(following, {"of_chain": chain, "after": last.position}).all()
            yield [row for row in rows if row.id != last.id]

    def extent(self, chain: str, until: int) -> tuple[Any, int]:
        """Of a chain's events up to a position, that of the first one, and how many they are; an index alone is read."""
        first, count = self._connection.execute(_EXTENT, {"of_chain": chain, "until": until}).one()
        return first, count

    def dated(self, since: int) -> Iterator[tuple[str, Any]]:
        """The chains of events that say that they are from `since` or later, with the position of the first of these.

        The index of types knows what is newest of each type. Where one is no text, which cannot be looked up, that is every chain.
        """
        for kind in self._connection.execute(_KINDS).mappings().all():
            if not all(map(is_text, kind.values())):
                yield from ((chain, None) for chain in self.chains())
                return
            for chain, position in self._connection.execute(
                _DATED, {"of_tenant": kind["tenant"], "of_type": kind["type"], "since": since}
            ).all():
                if is_text(chain):
                    yield chain, position

    def unchained(self) -> Iterator[str]:
        """The ids of events that have no place in any chain, or the first ones of very many."""
        yield from self._connection.execute(_UNCHAINED).scalars()
        for chain in self._connection.execute(_CHAINS).scalars().all():
            if not is_text(chain):
                raw = chain if isinstance(chain, bytes) else chain.encode(errors="surrogateescape")
                yield from self._connection.execute(_OF_NO_NAME, {"raw": raw}).scalars()

    def is_used(self) -> bool:
        """Whether there is anything in the store that never comes without an event."""
        return any(self._connection.execute(select(select(table).exists())).scalar() for table in _NEVER_WITHOUT_EVENTS)


def _chains() -> Select[Any]:
    """Every chain that events name, by one look-up in an index each, which no query of distinct values is."""
    found = select(func.min(_EVENTS.chain).label("chain")).cte("found", recursive=True)
    following = select(func.min(_EVENTS.chain)).where(_EVENTS.chain > found.c.chain).scalar_subquery()
    found = found.union_all(select(following).where(found.c.chain.is_not(None)))
    return select(found.c.chain).where(found.c.chain.is_not(None))


def _kinds() -> Select[Any]:
    """Every tenant and type that events have, by one look-up in an index each."""
    tenants = select(func.min(_EVENTS.tenant).label("tenant")).cte("tenants", recursive=True)
    next_tenant = select(func.min(_EVENTS.tenant)).where(_EVENTS.tenant > tenants.c.tenant).scalar_subquery()
    tenants = tenants.union_all(select(next_tenant).where(tenants.c.tenant.is_not(None)))
    first_kind = select(func.min(_EVENTS.type)).where(_EVENTS.tenant == tenants.c.tenant).scalar_subquery()
    kinds = select(tenants.c.tenant, first_kind.label("type")).where(tenants.c.tenant.is_not(None)).cte("kinds", recursive=True)
    next_kind = select(func.min(_EVENTS.type)).where(_EVENTS.tenant == kinds.c.tenant, _EVENTS.type > kinds.c.type).scalar_subquery()
    kinds = kinds.union_all(select(kinds.c.tenant, next_kind).where(kinds.c.type.is_not(None)))
    return select(kinds.c.tenant, kinds.c.type).where(kinds.c.type.is_not(None))


@contextmanager
def reading_record(url: URL) -> Iterator[StoredRecord]:
    """The record as of now, whatever is written meanwhile."""
    engine = reading_engine(url, 1)
    try:
        with engine.connect() as connection:
            if not is_sqlite(connection):
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                if is_sqlite(connection):
                    _read_any_text(connection)
                else:
                    connection.execute(text("SET TRANSACTION READ ONLY"))
                    connection.execute(text("SET LOCAL statement_timeout = 0"))
                    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # whoever takes it elsewhere may be slow
                yield StoredRecord(connection)
    finally:
        engine.dispose()


def _read_any_text(connection: Connection) -> None:
    """Have text that is no UTF-8, which only somebody's hand can have written, be read as something that is never right."""
    opened: Any = connection.connection.dbapi_connection
    opened.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")


_LEDGER = select(tables.audit_anchors).order_by(tables.audit_anchors.c.number).limit(_ANCHORS_AT_ONCE)
_MORE_LEDGER = _LEDGER.where(tables.audit_anchors.c.number > bindparam("after"))
_NEWEST = select(tables.audit_anchors).order_by(tables.audit_anchors.c.number.desc()).limit(1)
_CHAINS = _chains()
_KINDS = _kinds()
_DATED = (
    select(_EVENTS.chain, func.min(_EVENTS.position))
    .where(_EVENTS.tenant == bindparam("of_tenant"), _EVENTS.type == bindparam("of_type"), _EVENTS.at >= bindparam("since"))
    .group_by(_EVENTS.chain)
)
_OF_CHAIN = (_EVENTS.chain == bindparam("of_chain"), _EVENTS.position.is_not(None))
_ROWS = select(*[_EVENTS[name] for name in LINK_COLUMNS]).where(*_OF_CHAIN).order_by(_EVENTS.position).limit(_PAGE)
_ROWS_AFTER = _ROWS.where(_EVENTS.position > bindparam("after"))
_ROWS_FROM = _ROWS.where(_EVENTS.position >= bindparam("after"))
_EXTENT = select(func.min(_EVENTS.position), func.count()).where(*_OF_CHAIN, _EVENTS.position <= bindparam("until"))
_OF_NO_NAME = text("SELECT id FROM events WHERE chain = CAST(:raw AS TEXT) OR chain = :raw ORDER BY id LIMIT 1000")
_UNCHAINED = select(_EVENTS.id).where(or_(_EVENTS.chain.is_(None), _EVENTS.position.is_(None))).order_by(_EVENTS.id).limit(_MOST_UNCHAINED)
