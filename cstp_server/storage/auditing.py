"""The record of events as the store has it, for looking through it and for taking it elsewhere: fast, and as of one moment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select, text
from sqlalchemy.engine import URL

from cstp_server.domain.anchors import Anchor, LedgerHead, anchor_from, head_from
from cstp_server.services.auditing import FIRST_POSITION
from cstp_server.services.chaining import LINK_COLUMNS
from cstp_server.storage import tables
from cstp_server.storage.engine import is_sqlite, reading_engine

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

    def anchors(self) -> Iterator[Anchor | int]:
        """The ledger by number; of a line that no anchor looks like, the number alone."""
        last = FIRST_POSITION
        while page := self._connection.execute(_LEDGER, {"after": last}).mappings().all():
            for row in page:
                yield anchor_from(dict(row)) or row["number"]
            last = page[-1]["number"]

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
        chain = self._connection.execute(select(func.min(_EVENTS.chain))).scalar()
        while chain is not None:
            yield chain
            chain = self._connection.execute(_NEXT_CHAIN, {"after": chain}).scalar()

    def rows(self, chain: str, after: int) -> Iterator[Sequence[Sequence[Any]]]:
        """The events of a chain after a position, by position, as pages of rows of `LINK_COLUMNS`."""
        while page := self._connection.execute(_ROWS, {"of_chain": chain, "after": after}).all():
            yield page
            after = page[-1].position
            if len(page) < _PAGE:
                return

    def unchained(self) -> Iterator[str]:
        """The ids of events that have no place in any chain, or the first ones of very many."""
        yield from self._connection.execute(_UNCHAINED).scalars()


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
                yield StoredRecord(connection)
    finally:
        engine.dispose()


def _read_any_text(connection: Connection) -> None:
    """Have text that is no UTF-8, which only somebody's hand can have written, be read as something that is never right."""
    opened: Any = connection.connection.dbapi_connection
    opened.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")


_LEDGER = (
    select(tables.audit_anchors)
    .where(tables.audit_anchors.c.number > bindparam("after"))
    .order_by(tables.audit_anchors.c.number)
    .limit(_ANCHORS_AT_ONCE)
)
_NEWEST = select(tables.audit_anchors).order_by(tables.audit_anchors.c.number.desc()).limit(1)
_NEXT_CHAIN = select(func.min(_EVENTS.chain)).where(_EVENTS.chain > bindparam("after"))
_ROWS = (
    select(*[_EVENTS[name] for name in LINK_COLUMNS])
    .where(_EVENTS.chain == bindparam("of_chain"), _EVENTS.position > bindparam("after"))
    .order_by(_EVENTS.position)
    .limit(_PAGE)
)
_UNCHAINED = select(_EVENTS.id).where(or_(_EVENTS.chain.is_(None), _EVENTS.position.is_(None))).order_by(_EVENTS.id).limit(_MOST_UNCHAINED)
