"""The ledger of anchors: rows <-> domain, and the one way to add to it."""

from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from cstp_server.domain.anchors import FIRST_LINK, Anchor, AnchorKind, AuditKeys, LedgerHead, anchor_from
from cstp_server.storage import tables
from cstp_server.storage.engine import is_sqlite
from cstp_server.storage.inserting import BulkUpsert

_PAGE = 1_000
_LEDGER_LOCK = 0x61756474
"""The advisory lock of PostgreSQL that whoever adds to the ledger holds; any number will do that nobody else uses."""


def append(
    connection: Connection, keys: AuditKeys, kind: AnchorKind, chain: str, position: int, hash: bytes, *, writer: str, at: int
) -> Anchor:
    """Add an anchor in this transaction; whoever wants to add one at the same time waits until it ends."""
    lock_ledger(connection)
    last = last_line(connection)
    number, link, at = (last.number + 1, last.seal, max(at, last.at)) if last is not None else (1, FIRST_LINK, at)
    key_id = keys.current_id
    unsealed = Anchor(number, at, kind, chain, position, hash, writer, key_id, link)
    anchor = Anchor(number, at, kind, chain, position, hash, writer, key_id, link, keys.seal(unsealed.payload(), key_id))
    connection.execute(insert(tables.audit_anchors), _row(anchor))
    _move_head(connection, keys, anchor)
    return anchor


def _move_head(connection: Connection, keys: AuditKeys, anchor: Anchor) -> None:
    head = LedgerHead(anchor.number, anchor.seal, anchor.key_id)
    values = {"number": head.number, "anchor_seal": head.anchor_seal, "key_id": head.key_id, "seal": keys.seal(head.payload(), head.key_id)}
    _HEAD.execute(connection, [{"id": 1, **values}])


def lock_ledger(connection: Connection) -> None:
    """Keep everybody else from adding to the ledger until this transaction ends; on SQLite every writer does anyway."""
    if not is_sqlite(connection):
        connection.execute(select(func.pg_advisory_xact_lock(_LEDGER_LOCK)))


def last_line(connection: Connection) -> Any | None:
    """The row of the newest anchor, whatever it looks like."""
    return connection.execute(_ANCHORS.order_by(tables.audit_anchors.c.number.desc()).limit(1)).one_or_none()


def seal_of(connection: Connection, number: int) -> bytes | None:
    """The seal of the anchor of that number, if there is one."""
    table = tables.audit_anchors
    return connection.execute(select(table.c.seal).where(table.c.number == number)).scalar_one_or_none()


def lines_after(connection: Connection, number: int) -> list[Anchor | None]:
    """A page of the ledger from the anchor after that number on; none in the place of a line that no anchor looks like."""
    rows = connection.execute(_ANCHORS.where(tables.audit_anchors.c.number > number).order_by(tables.audit_anchors.c.number).limit(_PAGE))
    return [anchor_from(dict(row)) for row in rows.mappings()]


def last_of_chain(connection: Connection, chain: str, *, before: int | None = None, cuts: bool = False) -> Anchor | None:
    """The newest anchor of a chain, from before a time if one is given; of its cuts, or else of the others."""
    table = tables.audit_anchors
    kinds = (AnchorKind.CUT,) if cuts else (AnchorKind.START, AnchorKind.HEAD, AnchorKind.END)
    query: Select[Any] = _ANCHORS.where(table.c.chain == chain, table.c.kind.in_([kind.value for kind in kinds]))
    if before is not None:
        query = query.where(table.c.at < before)
    row = connection.execute(query.order_by(table.c.at.desc(), table.c.number.desc()).limit(1)).mappings().one_or_none()
    return anchor_from(dict(row)) if row is not None else None


def open_chains(connection: Connection) -> list[str]:
    """The chains that were begun and not yet ended."""
    table, ended = tables.audit_anchors, tables.audit_anchors.alias()
    has_ended = select(ended.c.number).where(ended.c.kind == AnchorKind.END.value, ended.c.chain == table.c.chain).exists()
    return list(connection.execute(select(table.c.chain).where(table.c.kind == AnchorKind.START.value, ~has_ended)).scalars())


def _row(anchor: Anchor) -> dict[str, Any]:
    return {name: getattr(anchor, name) for name in _COLUMNS} | {"kind": anchor.kind.value}


_HEAD = BulkUpsert(tables.audit_head, ("id",), ("number", "anchor_seal", "key_id", "seal"))
_COLUMNS = tuple(tables.audit_anchors.c.keys())
_ANCHORS = select(tables.audit_anchors)
