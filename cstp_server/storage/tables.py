"""The tables. Every row has a tenant; every key begins with it.

Times are milliseconds since the epoch. Documents that are never searched in are JSON text: both databases then run the same code.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

KEY = String().with_variant(String(collation="C"), "postgresql")
"""A text that is compared and sorted by its code points, the same on every database."""

decisions = Table(
    "decisions",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("id", KEY, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("status", String, nullable=False),
    Column("source", String, nullable=False),
    Column("intervention", String, nullable=False),
    Column("agent_id", KEY, nullable=False),
    Column("category", KEY),
    Column("outcome", String),
    Column("principal", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("digest", String),
    Column("facts", Text, nullable=False),
    Column("answer", Text),
    Column("reviewed", Text),
    Column("due_at", BigInteger, comment="when it stops waiting"),
    Column("resolved", Text),
    Column("claims", Text, comment="what it has of quotas and budgets"),
    Column("reviewed_at", BigInteger),
    PrimaryKeyConstraint("tenant", "id"),
)
Index("ix_decisions_newest", decisions.c.tenant, decisions.c.at, decisions.c.id)
Index("ix_decisions_by_agent", decisions.c.tenant, decisions.c.agent_id, decisions.c.at, decisions.c.id)

Index(
    "ix_decisions_due", decisions.c.due_at, sqlite_where=decisions.c.due_at.is_not(None), postgresql_where=decisions.c.due_at.is_not(None)
)
Index(
    "ix_decisions_waiting",
    decisions.c.tenant,
    decisions.c.intervention,
    decisions.c.due_at,
    decisions.c.id,
    sqlite_where=decisions.c.due_at.is_not(None),
    postgresql_where=decisions.c.due_at.is_not(None),
)
Index(
    "ix_decisions_reviewed",
    decisions.c.reviewed_at,
    sqlite_where=decisions.c.reviewed_at.is_not(None),
    postgresql_where=decisions.c.reviewed_at.is_not(None),
)

circuits = Table(
    "circuits",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("scope", KEY, nullable=False),
    Column("state", String, nullable=False),
    Column("due_at", BigInteger, comment="when time alone will next move it"),
    Column("archived_at", BigInteger),
    Column("data", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "scope"),
)
Index(
    "ix_circuits_state",
    circuits.c.tenant,
    circuits.c.state,
    circuits.c.scope,
    sqlite_where=circuits.c.archived_at.is_(None),
    postgresql_where=circuits.c.archived_at.is_(None),
)
Index("ix_circuits_due", circuits.c.due_at, sqlite_where=circuits.c.due_at.is_not(None), postgresql_where=circuits.c.due_at.is_not(None))

circuit_log = Table(
    "circuit_log",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("scope", KEY, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("settings", String, nullable=False),
    Column("decision_id", KEY),
    Column("agent_id", KEY),
    Column("outcome", String),
    Column("failed", Boolean, nullable=False),
    Column("weight", BigInteger, nullable=False, comment="millionths"),
    Column("actor", String),
    Column("reason", Text),
    Column("snapshot", Text, comment="the circuit after this line, now and then"),
    Column("asked_at", BigInteger, comment="when its decision was asked for"),
    PrimaryKeyConstraint("tenant", "scope", "seq"),
    sqlite_with_rowid=False,
)
Index(
    "ix_circuit_log_failures",
    circuit_log.c.tenant,
    circuit_log.c.scope,
    circuit_log.c.seq,
    sqlite_where=text("failed"),
    postgresql_where=text("failed"),
)

circuit_settings = Table(
    "circuit_settings",
    metadata,
    Column("key", String, primary_key=True),
    Column("data", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("tenant", KEY, nullable=False),
    Column("type", String, nullable=False),
    Column("subject", KEY, nullable=False),
    Column("actor", String, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("data", Text, nullable=False),
    Column("chain", KEY, comment="the writer whose chain this event is part of"),
    Column("position", BigInteger, comment="its place in that chain, from 1"),
    Column("previous_hash", LargeBinary),
    Column("hash", LargeBinary),
    sqlite_with_rowid=False,
)
Index("ix_events_chain", events.c.chain, events.c.position, unique=True)
Index("ix_events_subject", events.c.tenant, events.c.subject, events.c.at, events.c.id)
Index("ix_events_type", events.c.tenant, events.c.type, events.c.at, events.c.id)

audit_anchors = Table(
    "audit_anchors",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String, nullable=False, comment="start, head, end or cut"),
    Column("chain", KEY, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False, comment="of the event at that position"),
    Column("writer", KEY, nullable=False, comment="the process that made the anchor"),
    Column("key_id", String, comment="which key the seal is made with; none: it is a plain hash"),
    Column("previous_seal", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
)
Index("ix_audit_anchors_chain", audit_anchors.c.chain, audit_anchors.c.at, audit_anchors.c.number)
Index("ix_audit_anchors_kind", audit_anchors.c.kind, audit_anchors.c.chain)
TOLD = text("type NOT IN ('decision.checked', 'decision.recorded', 'decision.reviewed', 'circuit.probe_claimed', 'trust.succeeded')")
"""Which events people are told of: not those that every decision brings along. The index serves queries that say this word for word."""
Index("ix_events_told_at", events.c.tenant, events.c.at, events.c.id, sqlite_where=TOLD, postgresql_where=TOLD)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="1: there is one row"),
    Column("number", BigInteger, nullable=False, comment="of the newest anchor"),
    Column("anchor_seal", LargeBinary, nullable=False),
    Column("key_id", String),
    Column("seal", LargeBinary, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("subject", KEY, nullable=False),
    Column("data", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "subject"),
)

claims = Table(
    "claims",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("meter", KEY, nullable=False),
    Column("subject", KEY, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("amount", String, nullable=False, comment="billionths, as decimal text: it may exceed 64 bits"),
    PrimaryKeyConstraint("tenant", "meter", "subject", "at", "seq"),
    sqlite_with_rowid=False,
)

postures = Table(
    "postures",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("agent_id", KEY, nullable=False),
    Column("posture", String, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
    Column("blocked_at", BigInteger),
    PrimaryKeyConstraint("tenant", "agent_id"),
)

duties = Table(
    "duties",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("until", BigInteger, nullable=False, comment="when it is free for others, unless the holder is faster"),
    Column("progress", Text, nullable=False, comment="where its holder is, for itself and for who takes over"),
)

tripwire_hits = Table(
    "tripwire_hits",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("tripwire", KEY, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("decision_id", KEY, nullable=False),
    Column("agent_id", KEY, nullable=False),
    Column("severity", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("trust_impact", Boolean, nullable=False),
    PrimaryKeyConstraint("tenant", "tripwire", "at", "decision_id"),
    sqlite_with_rowid=False,
)
Index("ix_tripwire_hits_by_agent", tripwire_hits.c.tenant, tripwire_hits.c.agent_id, tripwire_hits.c.at)

dimensions = Table(
    "dimensions",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("name", KEY, nullable=False),
    Column("version", KEY, nullable=False),
    Column("status", String, nullable=False),
    Column("by", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("note", Text),
    PrimaryKeyConstraint("tenant", "name", "version"),
)

habits = Table(
    "habits",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("agent_id", KEY, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "agent_id"),
)

tallies = Table(
    "tallies",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("hour", BigInteger, nullable=False, comment="when it began"),
    Column("name", KEY, nullable=False),
    Column("writer", KEY, nullable=False, comment="the process that counted; empty: all of them"),
    Column("counted", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "hour", "name", "writer"),
    sqlite_with_rowid=False,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", KEY, nullable=False),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("roles", String, nullable=False),
    Column("tenant", KEY, nullable=False),
    Column("agent_id", KEY),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)
Index(
    "ix_tokens_name", tokens.c.name, unique=True, sqlite_where=tokens.c.revoked_at.is_(None), postgresql_where=tokens.c.revoked_at.is_(None)
)

outbox = Table(
    "outbox",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("channel", KEY, nullable=False),
    Column("id", KEY, nullable=False, comment="of the event"),
    Column("subject", KEY, nullable=False, comment="alerts of one subject are gathered"),
    Column("at", BigInteger, nullable=False),
    Column("queued_at", BigInteger, nullable=False, comment="since when it is tried"),
    Column("attempts", Integer, nullable=False),
    Column("dead_at", BigInteger, comment="when it was given up"),
    Column("error", String, comment="why it did not arrive the last time"),
    Column("event", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "channel", "id"),
    sqlite_with_rowid=False,
)
Index(
    "ix_outbox_waiting",
    outbox.c.channel,
    outbox.c.tenant,
    outbox.c.subject,
    outbox.c.at,
    sqlite_where=outbox.c.dead_at.is_(None),
    postgresql_where=outbox.c.dead_at.is_(None),
)
Index(
    "ix_outbox_dead",
    outbox.c.dead_at,
    outbox.c.channel,
    sqlite_where=outbox.c.dead_at.is_not(None),
    postgresql_where=outbox.c.dead_at.is_not(None),
)
Index(
    "ix_outbox_given_up",
    outbox.c.tenant,
    outbox.c.channel,
    outbox.c.dead_at,
    outbox.c.id,
    sqlite_where=outbox.c.dead_at.is_not(None),
    postgresql_where=outbox.c.dead_at.is_not(None),
)

outbox_gates = Table(
    "outbox_gates",
    metadata,
    Column("tenant", KEY, nullable=False),
    Column("channel", KEY, nullable=False),
    Column("subject", KEY, nullable=False),
    Column("not_before", BigInteger, nullable=False, comment="when the subject may be told of next"),
    PrimaryKeyConstraint("tenant", "channel", "subject"),
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("tenant", KEY, nullable=False),
    Column("token_digest", LargeBinary, comment="of the token that signed in; none where none was needed"),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)
Index("ix_sessions_expires", sessions.c.expires_at)

versions = Table(
    "versions",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
