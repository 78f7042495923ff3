"""Decisions, circuits with their log, events, tokens, versions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("id", KEY, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("intervention", sa.String, nullable=False),
        sa.Column("agent_id", KEY, nullable=False),
        sa.Column("category", KEY),
        sa.Column("outcome", sa.String),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("policy_version", sa.String, nullable=False),
        sa.Column("digest", sa.String),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("answer", sa.Text),
        sa.Column("reviewed", sa.Text),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_newest", "decisions", ["tenant", "at", "id"])
    op.create_index("ix_decisions_by_agent", "decisions", ["tenant", "agent_id", "at", "id"])
    op.create_table(
        "circuits",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("scope", KEY, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("due_at", sa.BigInteger, comment="when time alone will next move it"),
        sa.Column("archived_at", sa.BigInteger),
        sa.Column("data", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "scope", name="pk_circuits"),
    )
    due = sa.text("due_at IS NOT NULL")
    op.create_index("ix_circuits_due", "circuits", ["due_at"], sqlite_where=due, postgresql_where=due)
    op.create_table(
        "circuit_log",
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("scope", KEY, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("settings", sa.String, nullable=False),
        sa.Column("decision_id", KEY),
        sa.Column("agent_id", KEY),
        sa.Column("outcome", sa.String),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("weight", sa.BigInteger, nullable=False, comment="millionths"),
        sa.Column("actor", sa.String),
        sa.Column("reason", sa.Text),
        sa.Column("snapshot", sa.Text, comment="the circuit after this line, now and then"),
        sa.PrimaryKeyConstraint("tenant", "scope", "seq", name="pk_circuit_log"),
        sqlite_with_rowid=False,
    )
    failed = sa.text("failed")
    op.create_index("ix_circuit_log_failures", "circuit_log", ["tenant", "scope", "seq"], sqlite_where=failed, postgresql_where=failed)
    op.create_table(
        "circuit_settings",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_circuit_settings"),
    )
    op.create_table(
        "events",
        sa.Column("id", KEY, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("subject", KEY, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("policy_version", sa.String, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("chain", KEY, comment="the writer whose chain this event is part of"),
        sa.Column("position", sa.BigInteger, comment="its place in that chain, from 1"),
        sa.Column("previous_hash", sa.LargeBinary),
        sa.Column("hash", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_with_rowid=False,
    )
    chained = sa.text("chain IS NOT NULL")
    op.create_index("ix_events_chain", "events", ["chain", "position"], unique=True, sqlite_where=chained, postgresql_where=chained)
    op.create_index("ix_events_subject", "events", ["tenant", "subject", "id"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("roles", sa.String, nullable=False),
        sa.Column("tenant", KEY, nullable=False),
        sa.Column("agent_id", KEY),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )
    in_use = sa.text("revoked_at IS NULL")
    op.create_index("ix_tokens_name", "tokens", ["name"], unique=True, sqlite_where=in_use, postgresql_where=in_use)
    versions = op.create_table(
        "versions",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_versions"),
    )
    op.bulk_insert(versions, [{"name": "policy", "value": 0}, {"name": "tokens", "value": 0}])


def downgrade() -> None:
    for table in ("versions", "tokens", "events", "circuit_settings", "circuit_log", "circuits", "decisions"):
        op.drop_table(table)
