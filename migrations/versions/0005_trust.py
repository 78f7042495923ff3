"""When the decision of an outcome was asked for: what was asked before trust was under test says nothing about it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("circuit_log", sa.Column("asked_at", sa.BigInteger, comment="when its decision was asked for"))


def downgrade() -> None:
    op.drop_column("circuit_log", "asked_at")
