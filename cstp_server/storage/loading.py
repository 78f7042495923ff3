"""The rows that a batch of use cases works on, read in the transaction that will write them."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import field
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, select
from sqlalchemy.dialects import postgresql

from cstp_server.domain import circuits as breaker
from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import CircuitSettings, OnSuccess
from cstp_server.domain.circuit_state import Circuit, Entry, EntryKind, State
from cstp_server.domain.decisions import Decision
from cstp_server.domain.dimension_reviews import DimensionReview
from cstp_server.domain.postures import AgentPosture
from cstp_server.domain.usage import Usage
from cstp_server.domain.values import dataclass
from cstp_server.policy.settings_codec import circuit_settings_from_json
from cstp_server.services.ports import CircuitLog, CircuitNeed, Needs
from cstp_server.storage import tables
from cstp_server.storage.circuits import circuit_of, circuit_row, entry_of
from cstp_server.storage.decisions import decision_of
from cstp_server.storage.dimensions import review_of_row
from cstp_server.storage.engine import is_sqlite
from cstp_server.storage.habits import habits_of
from cstp_server.storage.locking import lock
from cstp_server.storage.postures import lock_postures, posture_of
from cstp_server.storage.selecting import KeyedSelect
from cstp_server.storage.usage import RollingWindows, Sweep, usage_of

T = TypeVar("T")
Key = tuple[str, str]
"""A tenant, and an id or a scope in it."""
_FIRST_LINES = 32
_GROWTH = 8


@dataclass(slots=True)
class Loaded:
    """Everything that was read, with the changes of the use cases carried out so far."""

    decisions: dict[Key, Decision | None] = field(default_factory=dict)
    circuits: dict[Key, Circuit] = field(default_factory=dict)
    pasts: dict[Key, Past] = field(default_factory=dict)
    logs: dict[Key, CircuitLog] = field(default_factory=dict)
    usage: dict[Key, Usage] = field(default_factory=dict)
    postures: dict[Key, AgentPosture | None] = field(default_factory=dict)
    habits: dict[Key, AgentHabits] = field(default_factory=dict)
    dimensions: dict[Key, tuple[DimensionReview, ...]] = field(default_factory=dict)
    owned: set[Key] = field(default_factory=set)
    """The agents whose postures nobody else can move until the transaction ends."""
    swept: set[Key] = field(default_factory=set)
    """The usages out of whose windows everything has been taken that leaves by now."""
    aged: dict[Key, Usage] = field(default_factory=dict)
    """Those of them that are not as they are in the store any more."""
    sweeps: list[Sweep] = field(default_factory=list)
    locked: set[Key] = field(default_factory=set)
    """The circuits whose rows nobody else can change until the transaction ends."""
    waited: bool = False
    """Whether it may have waited for somebody else's transaction to end, who then wrote earlier times."""


class TenantView:
    """What one tenant's use case may see of it (`services.ports.View`)."""

    __slots__ = ("_loaded", "_tenant")

    def __init__(self, loaded: Loaded, tenant: str) -> None:
        self._loaded = loaded
        self._tenant = tenant

    def decision(self, id: str) -> Decision | None:
        """The decision of that id, none when there is none. `LookupError` when it was not asked for."""
        return self._loaded.decisions[self._tenant, id]

    def circuit(self, scope: str) -> Circuit:
        """The circuit of that scope."""
        return self._loaded.circuits[self._tenant, scope]

    def past(self, scope: str) -> Past:
        """The outcomes that may leave the circuit's window in this transaction."""
        return self._loaded.pasts[self._tenant, scope]

    def log(self, scope: str) -> CircuitLog:
        """The log that `log_from` asked for."""
        return self._loaded.logs[self._tenant, scope]

    def usage(self, subject: str) -> Usage:
        """What the subject has used."""
        return self._loaded.usage[self._tenant, subject]

    def posture(self, agent_id: str) -> AgentPosture | None:
        """The agent's posture, none when it was never set. `LookupError` when it was not asked for."""
        return self._loaded.postures[self._tenant, agent_id]

    def habits(self, agent_id: str) -> AgentHabits:
        """The agent's habits. `LookupError` when they were not asked for."""
        return self._loaded.habits[self._tenant, agent_id]

    def dimension_reviews(self, name: str) -> tuple[DimensionReview, ...]:
        """What was said of each version of a dimension. `LookupError` when it was not asked for."""
        return self._loaded.dimensions[self._tenant, name]


class CircuitCache:
    """Circuits as they were last read or written, so that an unchanged row is not decoded again, or not even read again.

    All but `_decoded` holds what nobody else can have changed since, and is cleared as soon as anybody may have.
    """

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._decoded: dict[Key, tuple[str, Circuit]] = {}
        self.current: dict[Key, Circuit] = {}
        self.usage: dict[Key, Usage] = {}
        self.postures: dict[Key, AgentPosture | None] = {}
        self.habits: dict[Key, AgentHabits] = {}
        self.dimensions: dict[Key, tuple[DimensionReview, ...]] = {}

    def decode(self, key: Key, text: str) -> Circuit:
        """The circuit of that text."""
        known = self._decoded.get(key)
        if known is not None and known[0] == text:
            return known[1]
        circuit = circuit_of(text)
        if len(self._decoded) >= self._size:
            self._decoded.clear()
        self._decoded[key] = (text, circuit)
        return circuit

    def keep(self, loaded: Loaded) -> None:
        """Remember what is in the store now."""
        _keep(self.current, loaded.circuits, self._size)
        _keep(self.usage, loaded.usage, self._size)
        _keep(self.postures, loaded.postures, self._size)
        _keep(self.habits, loaded.habits, self._size)
        _keep(self.dimensions, loaded.dimensions, self._size)

    def forget(self) -> None:
        """Somebody else may have changed what is in the store."""
        self.current.clear()
        self.usage.clear()
        self.postures.clear()
        self.habits.clear()
        self.dimensions.clear()


class Loader:
    """Reads what is needed and not there yet, one select a table."""

    def __init__(self, connection: Connection, cache: CircuitCache, batch_size: int) -> None:
        self.connection = connection
        self._cache = cache
        self._batch_size = batch_size
        self._locks = not is_sqlite(connection)
        self.loaded = Loaded()

    def missing_rows(self, tenant: str, needs: Needs) -> bool:
        """Whether a decision or a circuit of these needs has not been read, or not been locked though it is to change."""
        loaded = self.loaded
        return (
            _lacks(loaded.decisions, tenant, needs.decisions)
            or _lacks(loaded.postures, tenant, needs.postures)
            or _lacks(loaded.owned, tenant, needs.moves)
            or _lacks(loaded.usage, tenant, needs.usage)
            or _lacks(loaded.habits, tenant, needs.habits)
            or _lacks(loaded.dimensions, tenant, needs.dimensions)
            or _lacks(loaded.circuits, tenant, needs.circuits)
            or (self._locks and _lacks(loaded.locked, tenant, [scope for scope, need in needs.circuits.items() if need.writes]))
        )

    def missing(self, tenant: str, needs: Needs) -> bool:
        """Whether anything of these needs has not been read."""
        if self.missing_rows(tenant, needs):
            return True
        return any(_is_missing(self.loaded, (tenant, scope), need) for scope, need in needs.circuits.items())

    def load_rows(self, wanted: Iterable[tuple[str, Needs]]) -> None:
        """Read decisions and circuits, and lock what may change. Times do not matter yet."""
        decisions: set[Key] = set()
        circuits: dict[Key, CircuitNeed] = {}
        usage: set[Key] = set()
        postures: set[Key] = set()
        moves: set[Key] = set()
        habits: set[Key] = set()
        dimensions: set[Key] = set()
        for tenant, needs in wanted:
            decisions.update((tenant, id) for id in needs.decisions)
            usage.update((tenant, subject) for subject in needs.usage)
            postures.update((tenant, agent_id) for agent_id in needs.postures)
            moves.update((tenant, agent_id) for agent_id in needs.moves)
            habits.update((tenant, agent_id) for agent_id in needs.habits)
            dimensions.update((tenant, name) for name in needs.dimensions)
            for scope, need in needs.circuits.items():
                key = (tenant, scope)
                known = circuits.get(key)
                if known is None or (need.writes and not known.writes):
                    circuits[key] = need
        self._load_decisions(decisions - self.loaded.decisions.keys())
        self._load_circuits(circuits)
        self._load_usage(usage - self.loaded.usage.keys())
        self._load_habits(habits - self.loaded.habits.keys())
        self._own_postures(moves - self.loaded.owned)
        self._load_postures(postures - self.loaded.postures.keys())
        self._load_dimensions(dimensions - self.loaded.dimensions.keys())

    def read_rows(self, wanted: Iterable[tuple[str, Needs]]) -> None:
        """Read circuits without a thought of changing them."""
        self._read_circuits({(tenant, scope) for tenant, needs in wanted for scope in needs.circuits})

    def load_pasts(self, wanted: Iterable[tuple[str, Needs]], now: int) -> None:
        """Read what leaves a window by `now`: outcomes that of a circuit, claims that of a quota."""
        self._sweep_usage(now)
        for tenant, needs in wanted:
            for scope, need in needs.circuits.items():
                key = (tenant, scope)
                if key not in self.loaded.pasts and (need.writes or self.loaded.circuits[key].state is not State.CLOSED):
                    self.loaded.pasts[key] = self.past(key, need.settings, now)

    def load_logs(self, wanted: Iterable[tuple[str, Needs]]) -> None:
        """Read the logs that are to be folded again; what was appended to them must have been written."""
        for tenant, needs in wanted:
            for scope, need in needs.circuits.items():
                if need.log_from is not None:
                    self.loaded.logs[tenant, scope] = self._log((tenant, scope), need.log_from)

    def forget_logs(self) -> None:
        """A log is read for one call: the next one must see what this one appended."""
        self.loaded.logs.clear()

    def forget_past(self, key: Key) -> None:
        """After a log was rewritten: what was read of it is no longer so."""
        self.loaded.pasts.pop(key, None)

    def _load_decisions(self, keys: set[Key]) -> None:
        if not keys:
            return
        for row in self._rows(_DECISIONS, keys, lock=True):
            self.loaded.decisions[row.tenant, row.id] = decision_of(row)
        for key in keys:
            self.loaded.decisions.setdefault(key, None)

    def _load_usage(self, keys: set[Key]) -> None:
        if not keys:
            return
        known = self._cache.usage
        if known:
            self.loaded.usage.update({key: known[key] for key in keys if key in known})
            keys = {key for key in keys if key not in known}
            if not keys:
                return
        if self._locks:  # by name: who only looks leaves no row behind
            lock(self.connection, "usage", keys)
            self.loaded.waited = True
        for row in self._rows(_USAGE, keys, lock=False):
            self.loaded.usage[row.tenant, row.subject] = usage_of(row.subject, row.data)
        for key in keys:
            if key not in self.loaded.usage:
                self.loaded.usage[key] = Usage(key[1])

    def _sweep_usage(self, now: int) -> None:
        loaded = self.loaded
        unswept = {key: usage for key, usage in loaded.usage.items() if key not in loaded.swept}
        if not unswept:
            return
        changed, sweeps = RollingWindows(self.connection).swept(unswept, now)
        loaded.usage.update(changed)
        loaded.aged.update(changed)
        loaded.sweeps.extend(sweeps)
        loaded.swept.update(unswept)

    def _own_postures(self, keys: set[Key]) -> None:
        """Lock the postures that are to be moved, and read them under the lock, whether or not they were read before."""
        if not keys:
            return
        lock_postures(self.connection, keys)
        if self._locks:
            for key in keys:
                self.loaded.postures.pop(key, None)
        self._load_postures(keys - self.loaded.postures.keys())
        self.loaded.owned.update(keys)
        self.loaded.waited = True

    def _load_postures(self, keys: set[Key]) -> None:
        known = self._cache.postures
        if known:
            self.loaded.postures.update({key: known[key] for key in keys if key in known})
            keys = {key for key in keys if key not in known}
        if not keys:
            return
        for row in self._rows(_POSTURES, keys, lock=False):
            self.loaded.postures[row.tenant, row.agent_id] = posture_of(row)
        for key in keys:
            self.loaded.postures.setdefault(key, None)

    def _load_habits(self, keys: set[Key]) -> None:
        known = self._cache.habits
        if known:
            self.loaded.habits.update({key: known[key] for key in keys if key in known})
            keys = {key for key in keys if key not in known}
        if not keys:
            return
        if self._locks:
            lock(self.connection, "habits", keys)
            self.loaded.waited = True
        for row in self._rows(_HABITS, keys, lock=False):
            self.loaded.habits[row.tenant, row.agent_id] = habits_of(row)
        for key in keys:
            if key not in self.loaded.habits:
                self.loaded.habits[key] = AgentHabits(key[1])

    def _load_dimensions(self, keys: set[Key]) -> None:
        known = self._cache.dimensions
        if known:
            self.loaded.dimensions.update({key: known[key] for key in keys if key in known})
            keys = {key for key in keys if key not in known}
        found: dict[Key, list[DimensionReview]] = {key: [] for key in keys}
        for row in self._rows(_DIMENSIONS, keys, lock=False):
            found[row.tenant, row.name].append(review_of_row(row))
        self.loaded.dimensions.update({key: tuple(reviews) for key, reviews in found.items()})

    def _load_circuits(self, wanted: Mapping[Key, CircuitNeed]) -> None:
        loaded = self.loaded
        self._read_circuits({key for key in wanted if key not in loaded.circuits})
        if not self._locks:
            return
        changing = {key for key, need in wanted.items() if need.writes or loaded.circuits[key].state is not State.CLOSED} - loaded.locked
        if changing:
            self._lock_circuits(changing)

    def _read_circuits(self, keys: set[Key]) -> None:
        known = self._cache.current
        if known:
            self.loaded.circuits.update({key: known[key] for key in keys if key in known})
            keys = {key for key in keys if key not in known}
        if not keys:
            return
        for row in self._rows(_CIRCUITS, keys, lock=False):
            key = (row.tenant, row.scope)
            self.loaded.circuits[key] = self._cache.decode(key, row.data)
        for key in keys:
            if key not in self.loaded.circuits:
                self.loaded.circuits[key] = Circuit(key[1])

    def _lock_circuits(self, keys: set[Key]) -> None:
        """Rows are locked in one order everywhere, and re-read: another process may have moved them since."""
        ordered = sorted(keys)
        fresh = [circuit_row(tenant, Circuit(scope)) for tenant, scope in ordered]
        self.connection.execute(postgresql.insert(tables.circuits).on_conflict_do_nothing(), fresh)
        for row in self._rows(_CIRCUITS, keys, lock=True):
            key = (row.tenant, row.scope)
            self.loaded.circuits[key] = self._cache.decode(key, row.data)
        self.loaded.locked.update(keys)
        self.loaded.waited = True

    def _rows(self, query: KeyedSelect, keys: Iterable[Key], *, lock: bool) -> Iterable[Any]:
        """The rows of these keys, in the order of the keys, a tenant at a time."""
        for tenant, of_tenant in groupby(sorted(keys), key=itemgetter(0)):
            yield from query.rows(self.connection, tenant, [name for _, name in of_tenant], lock=lock)

    def past(self, key: Key, settings: CircuitSettings, now: int) -> Past:
        """The outcomes that leave the circuit's window by `now`."""
        circuit = self.loaded.circuits[key]
        window = circuit.window
        if not window.reviewed:
            return Past()
        cutoff = max(now, circuit.logged_at) - settings.window_ms  # no line is older than the last one, whatever the clock says
        gone, horizon = self._until(_outcomes(key), window.tail, cutoff) if window.oldest_at <= cutoff else ([], window.oldest_at - 1)
        failures, more = self._held_failures(key, settings, gone, cutoff)
        fresh, fresh_horizon = self._fresh_failures(key, settings, now)
        return Past(gone, failures, horizon=horizon, more_until=circuit.seq if more else 0, fresh=fresh, fresh_horizon=fresh_horizon)

    def _fresh_failures(self, key: Key, settings: CircuitSettings, now: int) -> tuple[list[Entry], int | None]:
        """The failures that begin to fade by `now`, and until when they are all of them."""
        circuit = breaker.fading_under(self.loaded.circuits[key], settings)
        window = circuit.window
        if settings.trust is None or window.fresh_at is None:
            return [], None
        cutoff = max(now, circuit.logged_at) - settings.fades_after_ms
        if window.fresh_at > cutoff:
            return [], window.fresh_at - 1
        return self._until(_failures(key), window.mid, cutoff)

    def _until(self, lines: Select[Any], place: int, cutoff: int) -> tuple[list[Entry], int | None]:
        """The lines after `place` that happened until `cutoff` and some more, and until when they are all; none when there are no others.

        No line is older than the one before it, so that however many there are, no more need be looked at than are wanted.
        """
        found, size = list[Entry](), _FIRST_LINES
        while True:
            chunk = self._entries(lines.where(tables.circuit_log.c.seq > place).limit(size))
            found.extend(chunk)
            if len(chunk) < size:
                return found, None
            if chunk[-1].at > cutoff:
                return found, chunk[-1].at - 1
            place, size = chunk[-1].seq, size * _GROWTH

    def _held_failures(self, key: Key, settings: CircuitSettings, gone: list[Entry], cutoff: int) -> tuple[list[Entry], bool]:
        """The failures that successes in this batch may take off: no more than the batch has calls."""
        window = self.loaded.circuits[key].window
        if settings.on_success is not OnSuccess.DECREMENT or not window.failures:
            return [], bool(window.failures)
        leaving = [entry for entry in gone if entry.at <= cutoff]
        head = max(window.head, leaving[-1].seq) if leaving else window.head
        failures = self._entries(_failures(key).where(tables.circuit_log.c.seq > head).limit(self._batch_size))
        return failures, len(failures) == self._batch_size

    def _log(self, key: Key, seq: int) -> CircuitLog:
        """The log from the last snapshot before `seq` on, or from its first line."""
        start = self._snapshot_before(key, seq)
        log = tables.circuit_log
        entries = self._entries(_lines(key).where(log.c.seq > start.seq))
        window = start.window
        before = self._entries(_outcomes(key).where(log.c.seq > window.tail, log.c.seq <= start.seq)) if window.reviewed else []
        failures = self._entries(_failures(key).where(log.c.seq > window.head, log.c.seq <= start.seq)) if window.failures else []
        return CircuitLog(start, Past(before, failures, fresh=failures), entries, self._settings({entry.settings for entry in entries}))

    def _snapshot_before(self, key: Key, seq: int) -> Circuit:
        log = tables.circuit_log
        query = (
            select(log.c.snapshot)
            .where(log.c.tenant == key[0], log.c.scope == key[1], log.c.seq < seq, log.c.snapshot.is_not(None))
            .order_by(log.c.seq.desc())
            .limit(1)
        )
        text = self.connection.execute(query).scalar_one_or_none()
        return circuit_of(text) if text is not None else Circuit(key[1])

    def _settings(self, keys: set[str]) -> dict[str, CircuitSettings]:
        table = tables.circuit_settings
        rows = self.connection.execute(select(table).where(table.c.key.in_(sorted(keys))))
        return {row.key: circuit_settings_from_json(row.data) for row in rows}

    def _entries(self, query: Select[Any]) -> list[Entry]:
        return [entry_of(row) for row in self.connection.execute(query)]


_DECISIONS = KeyedSelect(tables.decisions, "id")
_CIRCUITS = KeyedSelect(tables.circuits, "scope", ("tenant", "scope", "data"))
_USAGE = KeyedSelect(tables.usage, "subject")
_POSTURES = KeyedSelect(tables.postures, "agent_id")
_HABITS = KeyedSelect(tables.habits, "agent_id")
_DIMENSIONS = KeyedSelect(tables.dimensions, "name")


def _keep(known: dict[Key, T], found: Mapping[Key, T], size: int) -> None:
    if len(known) + len(found) > size:
        known.clear()
    known.update(found)


def _lacks(known: Container[Key], tenant: str, names: Iterable[str]) -> bool:
    for name in names:  # noqa: SIM110 - to make a generator costs more than to look at what a check needs
        if (tenant, name) not in known:
            return True
    return False


def _is_missing(loaded: Loaded, key: Key, need: CircuitNeed) -> bool:
    circuit = loaded.circuits.get(key)
    if circuit is None:
        return True
    if need.log_from is not None and key not in loaded.logs:
        return True
    return (need.writes or circuit.state is not State.CLOSED) and key not in loaded.pasts


def _lines(key: Key) -> Select[Any]:
    log = tables.circuit_log
    return select(log).where(log.c.tenant == key[0], log.c.scope == key[1]).order_by(log.c.seq)


def _outcomes(key: Key) -> Select[Any]:
    return _lines(key).where(tables.circuit_log.c.kind == EntryKind.OUTCOME.value)


def _failures(key: Key) -> Select[Any]:
    return _outcomes(key).where(tables.circuit_log.c.failed)
