"""Sessions of people who look at the dashboard, and what makes its lists cheap: circuits by state, and events worth telling."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TOLD = sa.text("type NOT IN ('decision.checked', 'decision.recorded', 'decision.reviewed', 'circuit.probe_claimed', 'trust.succeeded')")
IN_USE = sa.text("archived_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("token_digest", sa.LargeBinary, comment="of the token that signed in; none where none was needed"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
    )
    op.create_index("ix_sessions_expires", "sessions", ["expires_at"])
    op.create_index("ix_circuits_state", "circuits", ["tenant", "state", "scope"], sqlite_where=IN_USE, postgresql_where=IN_USE)
    op.create_index("ix_events_told", "events", ["tenant", "id"], sqlite_where=TOLD, postgresql_where=TOLD)


def downgrade() -> None:
    op.drop_index("ix_events_told", "events")
    op.drop_index("ix_circuits_state", "circuits")
    op.drop_table("sessions")
