"""What is counted for reading, by the hour."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("hour", sa.BigInteger, nullable=False, comment="when it began"),
        sa.Column("name", KEY, nullable=False),
        sa.Column("writer", KEY, nullable=False, comment="the process that counted; empty: all of them"),
        sa.Column("counted", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "hour", "name", "writer", name="pk_tallies"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("tallies")
