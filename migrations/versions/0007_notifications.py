"""Alerts on their way to people, and which process sends them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("channel", KEY, nullable=False),
        sa.Column("id", KEY, nullable=False, comment="of the event"),
        sa.Column("subject", KEY, nullable=False, comment="alerts of one subject are gathered"),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("queued_at", sa.BigInteger, nullable=False, comment="since when it is tried"),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("dead_at", sa.BigInteger, comment="when it was given up"),
        sa.Column("error", sa.String, comment="why it did not arrive the last time"),
        sa.Column("event", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "channel", "id", name="pk_outbox"),
        sqlite_with_rowid=False,
    )
    waiting = sa.text("dead_at IS NULL")
    op.create_index("ix_outbox_waiting", "outbox", ["channel", "tenant", "subject", "at"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_table(
        "outbox_gates",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("channel", KEY, nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False, comment="when the subject may be told of next"),
        sa.PrimaryKeyConstraint("tenant", "channel", "subject", name="pk_outbox_gates"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("outbox_gates", "outbox"):
        op.drop_table(table)
