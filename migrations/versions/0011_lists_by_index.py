"""What waits by what it waits for and until when, and events worth telling by time: what the dashboard lists is found by index.

On PostgreSQL nothing is written to a table while an index of it is built, so where there are many rows both are better built beforehand,
with `CREATE INDEX CONCURRENTLY`. One that is there already is left as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TOLD = sa.text("type NOT IN ('decision.checked', 'decision.recorded', 'decision.reviewed', 'circuit.probe_claimed', 'trust.succeeded')")
WAITS = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    build("ix_decisions_waiting", "decisions", ["tenant", "intervention", "due_at", "id"], WAITS)
    build("ix_events_told_at", "events", ["tenant", "at", "id"], TOLD)
    op.drop_index("ix_events_told", "events")  # last: until the end of the transaction, nobody reads what it has gone from


def downgrade() -> None:
    op.create_index("ix_events_told", "events", ["tenant", "id"], sqlite_where=TOLD, postgresql_where=TOLD)
    op.drop_index("ix_events_told_at", "events")
    op.drop_index("ix_decisions_waiting", "decisions")


def build(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    """Make an index, unless it is there; one that was begun beforehand and not finished is made anew."""
    if op.get_bind().dialect.name == "postgresql":
        unfinished = sa.text("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid")
        if op.get_bind().execute(unfinished, {"name": name}).first() is not None:
            op.drop_index(name, table)
    op.create_index(name, table, columns, if_not_exists=True, sqlite_where=where, postgresql_where=where)
