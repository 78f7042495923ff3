"""Decisions that wait, what is used of quotas and budgets, postures, hits of tripwires."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("decisions", sa.Column("due_at", sa.BigInteger, comment="when it stops waiting"))
    op.add_column("decisions", sa.Column("resolved", sa.Text))
    op.add_column("decisions", sa.Column("claims", sa.Text, comment="what it has of quotas and budgets"))
    due = sa.text("due_at IS NOT NULL")
    op.create_index("ix_decisions_due", "decisions", ["due_at"], sqlite_where=due, postgresql_where=due)
    op.create_table(
        "usage",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "subject", name="pk_usage"),
    )
    op.create_table(
        "claims",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("meter", KEY, nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.String, nullable=False, comment="billionths, as decimal text: it may exceed 64 bits"),
        sa.PrimaryKeyConstraint("tenant", "meter", "subject", "at", "seq", name="pk_claims"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "postures",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("agent_id", KEY, nullable=False),
        sa.Column("posture", sa.String, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "agent_id", name="pk_postures"),
    )
    op.create_table(
        "tripwire_hits",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("tripwire", KEY, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("decision_id", KEY, nullable=False),
        sa.Column("agent_id", KEY, nullable=False),
        sa.Column("severity", sa.String, nullable=False),
        sa.Column("mode", sa.String, nullable=False),
        sa.Column("trust_impact", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "tripwire", "at", "decision_id", name="pk_tripwire_hits"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tripwire_hits_by_agent", "tripwire_hits", ["tenant", "agent_id", "at"])


def downgrade() -> None:
    for table in ("tripwire_hits", "postures", "claims", "usage"):
        op.drop_table(table)
    op.drop_index("ix_decisions_due", "decisions")
    for column in ("claims", "resolved", "due_at"):
        op.drop_column("decisions", column)
