"""The hash chains of events, and the anchors that hold them."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_CHAIN = "chn_before_0003"
_WRITER = "migration"
_PAGE = 5_000
_EVENTS = sa.table("events", *[sa.column(name) for name in ("id", "at", "tenant", "type", "subject", "actor", "policy_version", "data")])

_ANCHORS = sa.table(
    "audit_anchors",
    *[sa.column(name) for name in ("number", "at", "kind", "chain", "position", "hash", "writer", "key_id", "previous_seal", "seal")],
)
_HEAD = sa.table("audit_head", *[sa.column(name) for name in ("id", "number", "anchor_seal", "key_id", "seal")])


def upgrade() -> None:
    op.create_table(
        "audit_anchors",
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String, nullable=False, comment="start, head, end or cut"),
        sa.Column("chain", KEY, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False, comment="of the event at that position"),
        sa.Column("writer", KEY, nullable=False, comment="the process that made the anchor"),
        sa.Column("key_id", sa.String, comment="which key the seal is made with; none: it is a plain hash"),
        sa.Column("previous_seal", sa.LargeBinary, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_anchors"),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False, comment="1: there is one row"),
        sa.Column("number", sa.BigInteger, nullable=False, comment="of the newest anchor"),
        sa.Column("anchor_seal", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.String),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_index("ix_audit_anchors_chain", "audit_anchors", ["chain", "at", "number"])
    op.create_index("ix_audit_anchors_kind", "audit_anchors", ["kind", "chain"])
    op.drop_index("ix_events_chain", "events")
    op.create_index("ix_events_chain", "events", ["chain", "position"], unique=True)
    op.create_index("ix_events_type", "events", ["tenant", "type", "at", "id"])
    op.drop_index("ix_events_subject", "events")
    op.create_index("ix_events_subject", "events", ["tenant", "subject", "at", "id"])
    _chain_events(op.get_bind())


def downgrade() -> None:
    op.drop_index("ix_events_subject", "events")
    op.create_index("ix_events_subject", "events", ["tenant", "subject", "id"])
    op.drop_index("ix_events_type", "events")
    op.drop_index("ix_events_chain", "events")
    chained = sa.text("chain IS NOT NULL")
    op.create_index("ix_events_chain", "events", ["chain", "position"], unique=True, sqlite_where=chained, postgresql_where=chained)
    op.drop_table("audit_head")
    op.drop_table("audit_anchors")


def _chain_events(connection: sa.Connection) -> None:
    """Put the events that were there before into a chain of their own, which ends here: unsigned, but from now on they stay as they are."""
    change = sa.text("UPDATE events SET chain = :chain, position = :position, previous_hash = :previous, hash = :hash WHERE id = :id")
    genesis = hashlib.sha256(b"cstp.chain.1\n" + _CHAIN.encode()).digest()
    position, previous, last, at = 0, genesis, "", 0
    while page := connection.execute(sa.select(_EVENTS).where(_EVENTS.c.id > last).order_by(_EVENTS.c.id).limit(_PAGE)).all():
        rows = []
        for event in page:
            position += 1
            hash = hashlib.sha256(b"cstp.event.1\n" + previous + _text([*event, _CHAIN, position])).digest()
            rows.append({"chain": _CHAIN, "position": position, "previous": previous, "hash": hash, "id": event.id})
            previous, last, at = hash, event.id, max(at, event.at)
        connection.execute(change, rows)
    if position:
        _anchor(connection, at, (("start", 0, genesis), ("end", position, previous)))


def _anchor(connection: sa.Connection, at: int, steps: Sequence[tuple[str, int, bytes]]) -> None:
    """The first lines of the ledger, without a key."""
    seal, number = hashlib.sha256(b"cstp.ledger.1\n").digest(), 0
    for number, (kind, position, hash) in enumerate(steps, start=1):
        payload = b"cstp.anchor.1\n" + seal + _text([number, at, kind, _CHAIN, position, hash.hex(), _WRITER, None])
        values = {"number": number, "at": at, "kind": kind, "chain": _CHAIN, "position": position, "hash": hash, "writer": _WRITER}
        previous, seal = seal, hashlib.sha256(payload).digest()
        connection.execute(sa.insert(_ANCHORS).values(**values, previous_seal=previous, seal=seal))
    head_seal = hashlib.sha256(b"cstp.head.1\n" + seal + _text([number, None])).digest()
    connection.execute(sa.insert(_HEAD).values(id=1, number=number, anchor_seal=seal, seal=head_seal))


def _text(values: list[Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
