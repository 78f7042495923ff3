"""What waits by what it waits for and until when, and events worth telling by time: what the dashboard lists is found by index."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TOLD = sa.text("type NOT IN ('decision.checked', 'decision.recorded', 'decision.reviewed', 'circuit.probe_claimed', 'trust.succeeded')")
WAITS = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_decisions_waiting",
        "decisions",
        ["tenant", "intervention", "due_at", "id"],
        sqlite_where=WAITS,
        postgresql_where=WAITS,
    )
    op.drop_index("ix_events_told", "events")
    op.create_index("ix_events_told", "events", ["tenant", "at", "id"], sqlite_where=TOLD, postgresql_where=TOLD)


def downgrade() -> None:
    op.drop_index("ix_events_told", "events")
    op.create_index("ix_events_told", "events", ["tenant", "id"], sqlite_where=TOLD, postgresql_where=TOLD)
    op.drop_index("ix_decisions_waiting", "decisions")
