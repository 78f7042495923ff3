"""Duties that one process at a time sees to; when decisions were reviewed, and when agents were blocked, for finding them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BLOCKED_AT = {
    "sqlite": "UPDATE postures SET blocked_at = json_extract(data, '$.blocked_at')",
    "postgresql": "UPDATE postures SET blocked_at = (CAST(data AS json) ->> 'blocked_at')::bigint",
}


def upgrade() -> None:
    op.create_table(
        "duties",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False, comment="when it is free for others, unless the holder is faster"),
        sa.Column("progress", sa.Text, nullable=False, comment="where its holder is, for itself and for who takes over"),
        sa.PrimaryKeyConstraint("name", name="pk_duties"),
    )
    op.add_column("decisions", sa.Column("reviewed_at", sa.BigInteger))
    reviewed = sa.text("reviewed_at IS NOT NULL")
    op.create_index("ix_decisions_reviewed", "decisions", ["reviewed_at"], sqlite_where=reviewed, postgresql_where=reviewed)
    op.add_column("postures", sa.Column("blocked_at", sa.BigInteger))
    op.execute(_BLOCKED_AT[op.get_bind().dialect.name])


def downgrade() -> None:
    op.drop_column("postures", "blocked_at")
    op.drop_index("ix_decisions_reviewed", "decisions")
    op.drop_column("decisions", "reviewed_at")
    op.drop_table("duties")
