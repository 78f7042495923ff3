"""Alerts that were given up are counted, told of, and forgotten, without looking at those that wait."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_dead = sa.text("dead_at IS NOT NULL")
    op.create_index("ix_outbox_dead", "outbox", ["dead_at", "channel"], sqlite_where=is_dead, postgresql_where=is_dead)
    of_channel = ["tenant", "channel", "dead_at", "id"]
    op.create_index("ix_outbox_given_up", "outbox", of_channel, sqlite_where=is_dead, postgresql_where=is_dead)


def downgrade() -> None:
    op.drop_index("ix_outbox_given_up", "outbox")
    op.drop_index("ix_outbox_dead", "outbox")
