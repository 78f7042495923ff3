"""The changes of a batch, written with one bulk statement a table."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

from sqlalchemy import Connection, Insert, bindparam, delete, update
from sqlalchemy.dialects import postgresql, sqlite

from cstp_server.clock import RisingIds
from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.alerts import AlertPolicy
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.decisions import Decision
from cstp_server.domain.dimension_reviews import DimensionReview
from cstp_server.domain.events import Event
from cstp_server.domain.postures import AgentPosture
from cstp_server.domain.sessions import SessionChange
from cstp_server.domain.usage import Usage
from cstp_server.domain.values import dataclass
from cstp_server.policy.settings_codec import circuit_settings_to_json
from cstp_server.services.chaining import LINK_COLUMNS
from cstp_server.services.ports import Decided, OutboxChange, Tally, UsageChange
from cstp_server.storage import tables
from cstp_server.storage.circuits import circuit_row, entry_row
from cstp_server.storage.decisions import decision_row
from cstp_server.storage.dimensions import dimension_row
from cstp_server.storage.engine import is_sqlite
from cstp_server.storage.habits import habits_row
from cstp_server.storage.hits import hit_row
from cstp_server.storage.inserting import BulkInsert, BulkUpsert
from cstp_server.storage.journal import NEW_EVENTS, Journal
from cstp_server.storage.loading import Key, Loaded
from cstp_server.storage.outbox import NEW_ALERTS, outbox_rows, write_changes
from cstp_server.storage.postures import lock_postures, posture_row
from cstp_server.storage.sessions import write_sessions
from cstp_server.storage.tallies import add_tallies
from cstp_server.storage.usage import RollingWindows, claim_row, usage_row


@dataclass(slots=True)
class Amended:
    """A line of a circuit's log that is to be rewritten."""

    key: Key
    entry: Entry


@dataclass(slots=True)
class Pending:
    """Changes that are decided and not yet written."""

    new_decisions: dict[Key, Decision] = field(default_factory=dict)
    changed_decisions: dict[Key, Decision] = field(default_factory=dict)
    circuits: dict[Key, Circuit] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    amended: list[Amended] = field(default_factory=list)
    settings: dict[str, CircuitSettings] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    usage: dict[Key, Usage] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    changed_claims: list[dict[str, Any]] = field(default_factory=list)
    postures: dict[Key, AgentPosture] = field(default_factory=dict)
    hits: list[dict[str, Any]] = field(default_factory=list)
    habits: dict[Key, AgentHabits] = field(default_factory=dict)
    dimensions: dict[tuple[str, str, str], DimensionReview] = field(default_factory=dict)
    outbox: list[tuple[str, OutboxChange]] = field(default_factory=list)
    sessions: list[SessionChange] = field(default_factory=list)
    tallies: dict[tuple[str, str], int] = field(default_factory=dict)
    """By tenant and name."""
    bumps: set[str] = field(default_factory=set)


class Writer:
    """Collects what use cases decided, shows it to the next ones, and writes it.

    `circuits`, `new_settings` and `written` are what the transaction changed, for those who care once it is committed. `counts_as` is the
    process in whose name tallies are counted, and `now` the time that they are counted at.
    """

    def __init__(
        self,
        connection: Connection,
        loaded: Loaded,
        known_settings: set[str],
        ids: RisingIds,
        journal: Journal,
        alerts: AlertPolicy,
        counts_as: str,
    ) -> None:
        self._connection = connection
        self._loaded = loaded
        self._known_settings = known_settings
        self._ids = ids
        self._journal = journal
        self._alerts = alerts
        self._counts_as = counts_as
        self.now = 0
        self.pending = Pending()
        self.new_settings: set[str] = set()
        self.circuits: dict[Key, Circuit] = {}
        self.written: list[Event] = []
        self.bumped = False

    def apply(self, tenant: str, decided: Decided[Any]) -> bool:
        """Take the changes over; true when a log was rewritten, so that what was read of it must be read again."""
        pending, loaded = self.pending, self._loaded
        if decided.new_decision is not None:
            key = (tenant, decided.new_decision.id)
            loaded.decisions[key] = pending.new_decisions[key] = decided.new_decision
        if decided.changed_decision is not None:
            self._change_decision((tenant, decided.changed_decision.id), decided.changed_decision)
        rewritten = False
        for changed in decided.circuits:
            key = (tenant, changed.circuit.scope)
            loaded.circuits[key] = pending.circuits[key] = self.circuits[key] = changed.circuit
            if changed.entry is not None:
                pending.entries.append(entry_row(tenant, changed.circuit.scope, changed.entry, changed.circuit))
                self._need_settings(changed.settings)
            if changed.amended is not None:
                pending.amended.append(Amended(key, changed.amended))
                rewritten = True
        if decided.usage:
            self._take_usage(tenant, decided.usage)
        self._take_agents(tenant, decided)
        for review in decided.dimension_reviews:
            self._take_review(tenant, review)
        pending.events.extend(decided.events)
        pending.outbox.extend([(tenant, change) for change in decided.outbox])
        pending.sessions.extend(decided.sessions)
        self._count(tenant, decided.tallies)
        pending.bumps.update(decided.bumps)
        return rewritten

    def flush(self) -> None:
        """Write everything collected so far, in the order that keeps references whole."""
        pending, self.pending = self.pending, Pending()
        self._write_decisions(pending)
        self._write_circuits(pending)
        self._write_usage(pending)
        self._write_agents(pending)
        self._write_constraints(pending)
        if pending.tallies:
            add_tallies(self._connection, pending.tallies, self.now, self._counts_as)
        if pending.sessions:
            pending.events.extend(write_sessions(self._connection, pending.sessions))
        if pending.events:
            rows = self._journal.rows(pending.events, self._ids.new("evt"))
            NEW_EVENTS.execute_tuples(self._connection, rows)
            if self._alerts.types:
                self._post(pending.events, rows)
            self.written.extend(pending.events)
        if pending.outbox:
            write_changes(self._connection, pending.outbox)
        self.bumped = self.bumped or bool(pending.bumps)
        for name in sorted(pending.bumps):
            self._connection.execute(
                update(tables.versions).where(tables.versions.c.name == name).values(value=tables.versions.c.value + 1)
            )

    def _post(self, events: Sequence[Event], rows: Sequence[tuple[Any, ...]]) -> None:
        """Queue what people are told of, in the transaction of what happened."""
        alerts = outbox_rows(self._alerts, events, [row[_ID] for row in rows])
        if alerts:
            NEW_ALERTS.execute(self._connection, alerts)

    def _take_usage(self, tenant: str, changes: Sequence[UsageChange]) -> None:
        loaded, pending = self._loaded, self.pending
        for change in changes:
            key = (tenant, change.usage.subject)
            loaded.usage[key] = pending.usage[key] = change.usage
            pending.claims.extend([claim_row(tenant, claim) for claim in change.made if claim.seq])
            pending.changed_claims.extend([claim_row(tenant, claim) for claim in change.changed if claim.seq])

    def _take_agents(self, tenant: str, decided: Decided[Any]) -> None:
        loaded, pending = self._loaded, self.pending
        for posture in decided.postures:
            key = (tenant, posture.agent_id)
            loaded.postures[key] = pending.postures[key] = posture
        for habits in decided.habits:
            key = (tenant, habits.agent_id)
            loaded.habits[key] = pending.habits[key] = habits
        pending.hits.extend([hit_row(tenant, hit) for hit in decided.hits])

    def _count(self, tenant: str, tallies: Tally) -> None:
        counted = self.pending.tallies
        for name, more in tallies:
            counted[tenant, name] = counted.get((tenant, name), 0) + more

    def _take_review(self, tenant: str, review: DimensionReview) -> None:
        known, key = self._loaded.dimensions, (tenant, review.name)
        known[key] = (*[other for other in known.get(key, ()) if other.version != review.version], review)
        self.pending.dimensions[tenant, review.name, review.version] = review

    def _change_decision(self, key: Key, decision: Decision) -> None:
        self._loaded.decisions[key] = decision
        if key in self.pending.new_decisions:
            self.pending.new_decisions[key] = decision
        else:
            self.pending.changed_decisions[key] = decision

    def _need_settings(self, settings: CircuitSettings) -> None:
        if settings.key not in self._known_settings:
            self.pending.settings[settings.key] = settings

    def _write_decisions(self, pending: Pending) -> None:
        if pending.new_decisions:
            _NEW_DECISIONS.execute(self._connection, [decision_row(decision) for decision in pending.new_decisions.values()])
        if pending.changed_decisions:
            rows = [_changed_row(decision) for decision in pending.changed_decisions.values()]
            self._connection.execute(_CHANGE_DECISION, rows)

    def _write_circuits(self, pending: Pending) -> None:
        if pending.settings:
            rows = [{"key": key, "data": circuit_settings_to_json(settings)} for key, settings in sorted(pending.settings.items())]
            self._connection.execute(self._upsert(tables.circuit_settings).on_conflict_do_nothing(), rows)
            self.new_settings.update(pending.settings)
        if pending.entries:
            _NEW_ENTRIES.execute(self._connection, pending.entries)
        for amended in pending.amended:
            self._rewrite(amended)
        if pending.circuits:
            self._connection.execute(
                self._replace_circuit(),
                [circuit_row(tenant, circuit) for (tenant, _), circuit in sorted(pending.circuits.items(), key=_key)],
            )

    def _write_usage(self, pending: Pending) -> None:
        """Usage with its claims in rolling windows; what has left them goes."""
        loaded = self._loaded
        for sweep in loaded.sweeps:
            RollingWindows(self._connection).delete(sweep)
        changed = sorted({**loaded.aged, **pending.usage}.items(), key=_key)
        loaded.sweeps, loaded.aged = [], {}
        rows = [usage_row(tenant, usage) for (tenant, _), usage in changed if usage.tallies]
        spent = [{"key_tenant": tenant, "key_subject": subject} for (tenant, subject), usage in changed if not usage.tallies]
        if rows:
            _REPLACE_USAGE.execute(self._connection, rows)
        if spent:
            self._connection.execute(_DROP_USAGE, spent)
        if pending.claims:
            _NEW_CLAIMS.execute(self._connection, pending.claims)
        if pending.changed_claims:
            self._change_claims(pending.changed_claims)

    def _change_claims(self, rows: Sequence[dict[str, Any]]) -> None:
        """A claim that was given back is no row any more, so that what is asked for and given back again costs nobody anything."""
        back = [{f"key_{name}": row[name] for name in _CLAIM_KEY} for row in rows if row["amount"] == "0"]
        kept = [row for row in rows if row["amount"] != "0"]
        if back:
            self._connection.execute(_DROP_CLAIM, back)
        if kept:
            _REPLACE_CLAIMS.execute(self._connection, kept)

    def _write_agents(self, pending: Pending) -> None:
        if pending.postures:
            lock_postures(self._connection, pending.postures.keys() - self._loaded.owned)
            statement = self._upsert(tables.postures)
            replaced = statement.on_conflict_do_update(
                index_elements=["tenant", "agent_id"],
                set_={name: statement.excluded[name] for name in ("posture", "since", "data", "blocked_at")},
            )
            rows = [posture_row(tenant, posture) for (tenant, _), posture in sorted(pending.postures.items(), key=_key)]
            self._connection.execute(replaced, rows)
        if pending.hits:
            _NEW_HITS.execute(self._connection, pending.hits)

    def _write_constraints(self, pending: Pending) -> None:
        if pending.habits:
            rows = [habits_row(tenant, habits) for (tenant, _), habits in sorted(pending.habits.items(), key=_key)]
            _REPLACE_HABITS.execute(self._connection, rows)
        if pending.dimensions:
            rows = [dimension_row(tenant, review) for (tenant, _, _), review in sorted(pending.dimensions.items(), key=_place)]
            _REPLACE_DIMENSIONS.execute(self._connection, rows)

    def _rewrite(self, amended: Amended) -> None:
        """Rewrite a line; snapshots from there on speak of a past that is no longer so."""
        (tenant, scope), entry, log = amended.key, amended.entry, tables.circuit_log
        of_circuit = (log.c.tenant == tenant, log.c.scope == scope)
        values = {"outcome": entry.outcome.value if entry.outcome else None, "failed": entry.failed, "weight": entry.weight}
        self._connection.execute(update(log).where(*of_circuit, log.c.seq == entry.seq).values(values))
        self._connection.execute(update(log).where(*of_circuit, log.c.seq >= entry.seq, log.c.snapshot.is_not(None)).values(snapshot=None))

    def _replace_circuit(self) -> Insert:
        statement = self._upsert(tables.circuits)
        columns = ("state", "due_at", "archived_at", "data")
        replaced: Insert = statement.on_conflict_do_update(
            index_elements=["tenant", "scope"], set_={name: statement.excluded[name] for name in columns}
        )
        return replaced

    def _upsert(self, table: Any) -> Any:
        return sqlite.insert(table) if is_sqlite(self._connection) else postgresql.insert(table)


_ID = LINK_COLUMNS.index("id")
_NEW_DECISIONS = BulkInsert(tables.decisions, tables.decisions.c.keys())
_NEW_ENTRIES = BulkInsert(tables.circuit_log, tables.circuit_log.c.keys())
_NEW_CLAIMS = BulkInsert(tables.claims, tables.claims.c.keys())
_NEW_HITS = BulkInsert(tables.tripwire_hits, tables.tripwire_hits.c.keys())
_REPLACE_HABITS = BulkUpsert(tables.habits, ("tenant", "agent_id"), ("at", "data"))
_REPLACE_DIMENSIONS = BulkUpsert(tables.dimensions, ("tenant", "name", "version"), ("status", "by", "at", "note"))
_REPLACE_USAGE = BulkUpsert(tables.usage, ("tenant", "subject"), ("data",))
_CLAIM_KEY = ("tenant", "meter", "subject", "at", "seq")
_DROP_CLAIM = delete(tables.claims).where(*[tables.claims.c[name] == bindparam(f"key_{name}") for name in _CLAIM_KEY])
_REPLACE_CLAIMS = BulkUpsert(tables.claims, _CLAIM_KEY, ("amount",))
_DROP_USAGE = delete(tables.usage).where(*[tables.usage.c[name] == bindparam(f"key_{name}") for name in ("tenant", "subject")])
_CHANGED = ("status", "outcome", "reviewed", "reviewed_at", "due_at", "resolved", "claims")
_CHANGE_DECISION = (
    update(tables.decisions)
    .where(tables.decisions.c.tenant == bindparam("key_tenant"), tables.decisions.c.id == bindparam("key_id"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGED})
)


def _changed_row(decision: Decision) -> dict[str, Any]:
    row = decision_row(decision)
    return {"key_tenant": decision.tenant, "key_id": decision.id} | {f"new_{name}": row[name] for name in _CHANGED}


def _place(item: tuple[tuple[str, str, str], object]) -> tuple[str, str, str]:
    return item[0]


def _key(item: tuple[Key, object]) -> Key:
    return item[0]
