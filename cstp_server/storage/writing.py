"""The changes of a batch, written with one bulk statement a table."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Insert, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite

from cstp_server.clock import RisingIds
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.decisions import Decision
from cstp_server.domain.events import Event
from cstp_server.policy.settings_codec import circuit_settings_to_json
from cstp_server.services.ports import Decided
from cstp_server.storage import tables
from cstp_server.storage.circuits import circuit_row, entry_row
from cstp_server.storage.decisions import decision_row
from cstp_server.storage.engine import is_sqlite
from cstp_server.storage.events import event_rows
from cstp_server.storage.inserting import BulkInsert
from cstp_server.storage.loading import Key, Loaded


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
    bumps: set[str] = field(default_factory=set)


class Writer:
    """Collects what use cases decided, shows it to the next ones, and writes it.

    `circuits`, `new_settings` and `written` are what the transaction changed, for those who care once it is committed.
    """

    def __init__(self, connection: Connection, loaded: Loaded, known_settings: set[str], ids: RisingIds) -> None:
        self._connection = connection
        self._loaded = loaded
        self._known_settings = known_settings
        self._ids = ids
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
        pending.events.extend(decided.events)
        pending.bumps.update(decided.bumps)
        return rewritten

    def flush(self) -> None:
        """Write everything collected so far, in the order that keeps references whole."""
        pending, self.pending = self.pending, Pending()
        self._write_decisions(pending)
        self._write_circuits(pending)
        if pending.events:
            _NEW_EVENTS.execute(self._connection, event_rows(pending.events, self._ids.new("evt")))
            self.written.extend(pending.events)
        self.bumped = self.bumped or bool(pending.bumps)
        for name in sorted(pending.bumps):
            self._connection.execute(
                update(tables.versions).where(tables.versions.c.name == name).values(value=tables.versions.c.value + 1)
            )

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


_NEW_DECISIONS = BulkInsert(tables.decisions, tables.decisions.c.keys())
_NEW_EVENTS = BulkInsert(tables.events, [column.name for column in tables.events.c if column.name not in tables.CHAIN_COLUMNS])
_NEW_ENTRIES = BulkInsert(tables.circuit_log, tables.circuit_log.c.keys())
_CHANGED = ("status", "outcome", "reviewed")
_CHANGE_DECISION = (
    update(tables.decisions)
    .where(tables.decisions.c.tenant == bindparam("key_tenant"), tables.decisions.c.id == bindparam("key_id"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGED})
)


def _changed_row(decision: Decision) -> dict[str, Any]:
    row = decision_row(decision)
    return {"key_tenant": decision.tenant, "key_id": decision.id} | {f"new_{name}": row[name] for name in _CHANGED}


def _key(item: tuple[Key, Circuit]) -> Key:
    return item[0]
