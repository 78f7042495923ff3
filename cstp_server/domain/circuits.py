"""The one breaker: a pure state machine over the outcomes of decisions.

The rules, in the order in which they are applied (SPEC 5):

1. Time passes first. Whatever left the window no longer counts; a cooled-down circuit is half-open since the moment its cooldown ended;
   a probe that nobody reviewed in time is lost and its slot is free again.
2. An outcome is then appended to the circuit's log and counted in the window, whatever the state.
3. In `closed`, it may reach the threshold. In `half_open`, it moves the circuit only as the outcome of a decision that holds a live lease.
   In `open`, it moves nothing: neither `opened_at` nor `reset_at`.
4. Whatever closes a circuit clears its window and forgets how often it had re-opened.

The state is a fold over the log: `fold(log)` gives the circuit that the same inputs gave one by one, which is what makes it possible
to amend an outcome long afterwards. The log may be long, so a circuit carries sums over the part of it that counts, and two positions:
`tail` (later entries are in the window) and `head` (later failures are still held against it; a success under `decrement` takes off the
oldest). Entries that a step takes out are read from a `Past`, which holds those that may leave, in order.

Weights are integers in millionths, because sums of floats drift. Times are milliseconds since the epoch.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cstp_server.domain.decisions import Outcome, Severity
from cstp_server.domain.findings import Mode

MICRO = 1_000_000
RECENT_FAILURES = 10


class State(StrEnum):
    """Whether decisions flow."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Cause(StrEnum):
    """Why a circuit moves."""

    THRESHOLD_REACHED = "threshold_reached"
    COOLDOWN_ELAPSED = "cooldown_elapsed"
    PROBES_SUCCEEDED = "probes_succeeded"
    PROBE_FAILED = "probe_failed"
    RESET = "reset"
    PROBE_FIRST = "probe_first"
    TRIPPED = "tripped"


TRANSITIONS: Mapping[tuple[State, Cause], State] = {
    (State.CLOSED, Cause.THRESHOLD_REACHED): State.OPEN,
    (State.OPEN, Cause.COOLDOWN_ELAPSED): State.HALF_OPEN,
    (State.HALF_OPEN, Cause.PROBES_SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Cause.PROBE_FAILED): State.OPEN,
    (State.OPEN, Cause.PROBE_FIRST): State.HALF_OPEN,
    (State.HALF_OPEN, Cause.PROBE_FIRST): State.HALF_OPEN,
    (State.CLOSED, Cause.RESET): State.CLOSED,
    (State.OPEN, Cause.RESET): State.CLOSED,
    (State.HALF_OPEN, Cause.RESET): State.CLOSED,
    (State.CLOSED, Cause.TRIPPED): State.OPEN,
    (State.OPEN, Cause.TRIPPED): State.OPEN,
    (State.HALF_OPEN, Cause.TRIPPED): State.OPEN,
}


class IllegalTransition(Exception):
    """A cause that has no meaning in a state; the circuit is unchanged."""


class OnSuccess(StrEnum):
    """What a success does to the failures held against the circuit."""

    DECREMENT = "decrement"
    RESET = "reset"
    NONE = "none"


class Effect(StrEnum):
    """What an open circuit does to a decision."""

    BLOCK = "block"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """One circuit's policy, as validated (SPEC 5). Weights and thresholds on weights are in millionths, times in ms.

    `key` identifies this set of values: the log names, for each entry, the settings that it met, so that amending an outcome
    does not judge the past by a policy that came later.
    """

    key: str
    id: str
    failure_threshold: int = 5 * MICRO
    failure_rate_threshold: float | None = None
    minimum_decisions: int = 10
    window_ms: int = 3_600_000
    cooldown_ms: int = 1_800_000
    cooldown_multiplier: float = 1.0
    cooldown_max_ms: int | None = None
    half_open_probes: int = 1
    half_open_successes: int = 1
    half_open_tolerance: int = 0
    probe_timeout_ms: int = 1_800_000
    severity_weights: Mapping[Severity, int] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    failure_outcomes: frozenset[Outcome] = frozenset({Outcome.FAILURE})
    on_success: OnSuccess = OnSuccess.DECREMENT
    effect: Effect = Effect.BLOCK
    downgrade_to: str | None = None
    restore_posture: bool = True
    min_distinct_agents: int = 1
    notify: bool = True
    mode: Mode = Mode.ENFORCE

    def cooldown_for(self, openings: int) -> int:
        """The cooldown in ms of the n-th opening since the circuit was last closed."""
        scaled = self.cooldown_ms * self.cooldown_multiplier ** min(openings - 1, _MOST_POWERS)
        longest = self.cooldown_max_ms if self.cooldown_max_ms is not None else _LONGEST_COOLDOWN_MS
        return int(min(scaled, max(longest, self.cooldown_ms)))


DEFAULT_WEIGHTS: Mapping[Severity, int] = {
    Severity.LOW: MICRO // 2,
    Severity.MEDIUM: MICRO,
    Severity.HIGH: 2 * MICRO,
    Severity.CRITICAL: 5 * MICRO,
}
_MOST_POWERS = 64
_LONGEST_COOLDOWN_MS = 365 * 86_400_000


class EntryKind(StrEnum):
    """What a line of a circuit's log says happened."""

    OUTCOME = "outcome"
    CLAIM = "claim"
    RESET = "reset"
    PROBE_FIRST = "probe_first"
    TRIP = "trip"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a circuit's log; `seq` counts from 1 without gaps. `weight` is what the outcome weighs when it is a failure."""

    seq: int
    at: int
    kind: EntryKind
    settings: str
    decision_id: str | None = None
    agent_id: str | None = None
    outcome: Outcome | None = None
    failed: bool = False
    weight: int = 0
    actor: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A half-open circuit's permission for one decision, until `expires_at`."""

    decision_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Window:
    """Sums over the outcomes that count.

    `failures` and `weighted` are held against the circuit (a success may take some off); `reviewed`, `failed` and `succeeded` simply
    happened in the window. No entry after `tail` is older than `oldest_at`, so until the window passes it nothing need be read.
    `failed_by` counts failures in the window by agent.
    """

    tail: int = 0
    head: int = 0
    failures: int = 0
    weighted: int = 0
    reviewed: int = 0
    failed: int = 0
    succeeded: int = 0
    oldest_at: int = 0
    failed_by: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one circuit. `since` is when it entered its state; `openings` counts since it was last closed.

    `logged_at` is the time of the last line of its log: no line is older than the one before it, whatever clocks do.
    `archived_at` is when no policy covered it any more.
    """

    scope: str
    state: State = State.CLOSED
    generation: int = 0
    since: int = 0
    opened_at: int | None = None
    reset_at: int | None = None
    openings: int = 0
    forced: bool = False
    forced_by: str | None = None
    forced_reason: str | None = None
    probe_successes: int = 0
    probe_damage: int = 0
    leases: tuple[Lease, ...] = ()
    seq: int = 0
    logged_at: int = 0
    last_failure: int | None = None
    recent: tuple[tuple[str, int], ...] = ()
    window: Window = Window()
    archived_at: int | None = None

    @property
    def failure_rate(self) -> float:
        """Failures over reviewed decisions in the window; `on_success` does not touch it. 0 when nothing was reviewed."""
        return self.window.failed / self.window.reviewed if self.window.reviewed else 0.0

    def lease_of(self, decision_id: str) -> Lease | None:
        """The live lease that a decision holds on this circuit."""
        return next((lease for lease in self.leases if lease.decision_id == decision_id), None)

    def next_due(self) -> int | None:
        """When time alone will next move this circuit: the end of its cooldown, or of its first lease."""
        if self.state is State.OPEN:
            return self.reset_at
        return min((lease.expires_at for lease in self.leases), default=None)


@dataclass(frozen=True, slots=True)
class Transition:
    """A move of the machine, for history and alerts."""

    previous: State
    state: State
    cause: Cause


@dataclass(frozen=True, slots=True)
class Step:
    """What an input did: the circuit afterwards, its moves in order, leases lost to time, and the line for the log."""

    circuit: Circuit
    transitions: tuple[Transition, ...] = ()
    expired: tuple[Lease, ...] = ()
    entry: Entry | None = None


class Past:
    """The outcomes that may leave a circuit's window during a step, oldest first, and those that the steps append.

    It holds every outcome after the circuit's `tail` that happened until `horizon` (all of them when that is none), and the oldest
    `failures` after its `head` (all of them unless `more_failures`). To ask for more than it holds is a fault, and raises `LookupError`.
    """

    __slots__ = ("_appended", "_appended_failures", "_entries", "_failures", "_horizon", "_more_failures")

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        failures: Iterable[Entry] = (),
        *,
        horizon: int | None = None,
        more_failures: bool = False,
    ) -> None:
        self._entries = deque(entries)
        self._failures = deque(failures)
        self._appended: deque[Entry] = deque()
        self._appended_failures: deque[Entry] = deque()
        self._horizon = horizon
        self._more_failures = more_failures

    def append(self, entry: Entry) -> None:
        """Remember an outcome that has just been counted."""
        self._appended.append(entry)
        if entry.failed:
            self._appended_failures.append(entry)

    def expired(self, tail: int, cutoff: int) -> list[Entry]:
        """The outcomes after `tail` that are not younger than `cutoff`; they are forgotten."""
        if self._horizon is not None and cutoff > self._horizon:
            raise LookupError("the past does not reach as far as the window has moved")
        taken: list[Entry] = []
        for entries in (self._entries, self._appended):
            while entries and (entries[0].seq <= tail or entries[0].at <= cutoff):
                entry = entries.popleft()
                if entry.seq > tail:
                    taken.append(entry)
        return taken

    def oldest_at(self) -> int | None:
        """A time before which no outcome is left; none when no outcome is left at all."""
        if self._entries:
            return self._entries[0].at
        if self._horizon is not None:
            return self._horizon + 1
        return self._appended[0].at if self._appended else None

    def oldest_failure(self, head: int) -> Entry:
        """The first failure after `head`."""
        for failures in (self._failures, self._appended_failures):
            while failures and failures[0].seq <= head:
                failures.popleft()
            if failures:
                return failures[0]
            if self._more_failures:
                break
        raise LookupError("the past does not hold the oldest failure that is held against the circuit")


def advance(circuit: Circuit, settings: CircuitSettings, past: Past, now: int) -> Step:
    """Let time pass until `now`."""
    return cool(_slide(circuit, settings, past, now), now)


def cool(circuit: Circuit, now: int) -> Step:
    """What time alone does to the state, leaving the window as it is."""
    transitions: tuple[Transition, ...] = ()
    if circuit.state is State.OPEN and circuit.reset_at is not None and circuit.reset_at <= now:
        circuit, moved = _half_open(circuit, Cause.COOLDOWN_ELAPSED, circuit.reset_at)
        transitions = (moved,)
    expired = tuple(lease for lease in circuit.leases if lease.expires_at <= now)
    if expired:
        circuit = replace(circuit, leases=tuple(lease for lease in circuit.leases if lease.expires_at > now))
    return Step(circuit, transitions, expired)


def has_free_probe(circuit: Circuit, settings: CircuitSettings) -> bool:
    """Whether a half-open circuit would let one more decision through now."""
    return len(circuit.leases) < settings.half_open_probes


def claim(circuit: Circuit, settings: CircuitSettings, decision_id: str, agent_id: str, now: int) -> Step:
    """Lease one of a half-open circuit's probes to a decision; without a free one, or in another state, it is only written down."""
    entry = Entry(circuit.seq + 1, max(now, circuit.logged_at), EntryKind.CLAIM, settings.key, decision_id, agent_id)
    return _claim(circuit, settings, entry)


def record(circuit: Circuit, settings: CircuitSettings, past: Past, entry: Entry) -> Step:
    """Count an outcome, at the time of its entry."""
    passed = advance(circuit, settings, past, entry.at)
    lease = passed.circuit.lease_of(entry.decision_id) if entry.decision_id is not None else None
    circuit = _count(passed.circuit, settings, past, entry)
    transitions = passed.transitions
    if circuit.state is State.HALF_OPEN and lease is not None:
        circuit, moved = _judge_probe(circuit, settings, entry, lease)
        transitions += moved
    elif circuit.state is State.CLOSED and _reaches_threshold(circuit, settings, entry):
        circuit, opened = _open(circuit, settings, Cause.THRESHOLD_REACHED, entry.at)
        transitions += (opened,)
    return Step(circuit, transitions, passed.expired, entry)


def outcome_entry(
    circuit: Circuit, settings: CircuitSettings, decision_id: str, agent_id: str, outcome: Outcome, severity: Severity, now: int
) -> Entry:
    """The line that an outcome gets in the circuit's log."""
    failed = outcome in settings.failure_outcomes
    weight = settings.severity_weights[severity] if failed else 0
    at = max(now, circuit.logged_at)
    return Entry(circuit.seq + 1, at, EntryKind.OUTCOME, settings.key, decision_id, agent_id, outcome, failed, weight)


def amended(entry: Entry, settings: CircuitSettings, outcome: Outcome, severity: Severity) -> Entry:
    """The line as it would have been with another outcome, under the settings that it met."""
    failed = outcome in settings.failure_outcomes
    return replace(entry, outcome=outcome, failed=failed, weight=settings.severity_weights[severity] if failed else 0)


def reset(
    circuit: Circuit, settings: CircuitSettings, past: Past, now: int, *, by: str, reason: str | None = None, probe_first: bool = False
) -> Step:
    """Close the circuit and clear its window; with `probe_first`, let it prove itself first. A closed one is only cleared."""
    kind = EntryKind.PROBE_FIRST if probe_first else EntryKind.RESET
    return _apply(circuit, settings, past, _input_entry(circuit, settings, kind, now, by, reason))


def trip(circuit: Circuit, settings: CircuitSettings, past: Past, now: int, *, by: str, reason: str) -> Step:
    """Force the circuit open until somebody resets it."""
    return _apply(circuit, settings, past, _input_entry(circuit, settings, EntryKind.TRIP, now, by, reason))


def _input_entry(circuit: Circuit, settings: CircuitSettings, kind: EntryKind, now: int, by: str, reason: str | None) -> Entry:
    return Entry(circuit.seq + 1, max(now, circuit.logged_at), kind, settings.key, actor=by, reason=reason)


def fold(start: Circuit, log: Iterable[Entry], settings_of: Callable[[str], CircuitSettings], past: Past | None = None) -> Circuit:
    """The circuit that the log gives, from `start` on, each entry under the settings that it met."""
    circuit = start
    past = past if past is not None else Past()
    for entry in log:
        circuit = _apply(circuit, settings_of(entry.settings), past, entry).circuit
    return circuit


def _apply(circuit: Circuit, settings: CircuitSettings, past: Past, entry: Entry) -> Step:
    if entry.kind is EntryKind.OUTCOME:
        return record(circuit, settings, past, entry)
    passed = advance(circuit, settings, past, entry.at)
    step = _INPUTS[entry.kind](passed.circuit, settings, entry)
    return Step(step.circuit, passed.transitions + step.transitions, passed.expired, step.entry)


def _claim(circuit: Circuit, settings: CircuitSettings, entry: Entry) -> Step:
    circuit = replace(circuit, seq=entry.seq, logged_at=entry.at)
    if circuit.state is not State.HALF_OPEN or not has_free_probe(circuit, settings) or entry.decision_id is None:
        return Step(circuit, entry=entry)
    lease = Lease(entry.decision_id, entry.at + settings.probe_timeout_ms)
    return Step(replace(circuit, leases=(*circuit.leases, lease)), entry=entry)


def _reset(circuit: Circuit, _settings: CircuitSettings, entry: Entry) -> Step:
    circuit, moved = _close(replace(circuit, seq=entry.seq, logged_at=entry.at), Cause.RESET, entry.at)
    return Step(circuit, (moved,), entry=entry)


def _probe_first(circuit: Circuit, settings: CircuitSettings, entry: Entry) -> Step:
    if circuit.state is State.CLOSED:
        return _reset(circuit, settings, entry)
    circuit, moved = _half_open(replace(circuit, seq=entry.seq, logged_at=entry.at), Cause.PROBE_FIRST, entry.at)
    return Step(circuit, (moved,), entry=entry)


def _trip(circuit: Circuit, _settings: CircuitSettings, entry: Entry) -> Step:
    state, moved = _move(circuit, Cause.TRIPPED)
    already_open = circuit.state is State.OPEN
    circuit = replace(
        circuit,
        state=state,
        seq=entry.seq,
        logged_at=entry.at,
        forced=True,
        forced_by=entry.actor,
        forced_reason=entry.reason,
        generation=circuit.generation + 1,
        since=circuit.since if already_open else entry.at,
        opened_at=circuit.opened_at if already_open else entry.at,
        reset_at=None,
        leases=(),
        probe_successes=0,
        probe_damage=0,
    )
    return Step(circuit, (moved,), entry=entry)


_INPUTS: Mapping[EntryKind, Callable[[Circuit, CircuitSettings, Entry], Step]] = {
    EntryKind.CLAIM: _claim,
    EntryKind.RESET: _reset,
    EntryKind.PROBE_FIRST: _probe_first,
    EntryKind.TRIP: _trip,
}


def _move(circuit: Circuit, cause: Cause) -> tuple[State, Transition]:
    state = TRANSITIONS.get((circuit.state, cause))
    if state is None:
        raise IllegalTransition(f"`{cause}` has no meaning while `{circuit.state}`")
    return state, Transition(circuit.state, state, cause)


def _open(circuit: Circuit, settings: CircuitSettings, cause: Cause, at: int) -> tuple[Circuit, Transition]:
    state, moved = _move(circuit, cause)
    openings = circuit.openings + 1
    opened = replace(
        circuit,
        state=state,
        generation=circuit.generation + 1,
        since=at,
        opened_at=at,
        reset_at=at + settings.cooldown_for(openings),
        openings=openings,
        leases=(),
        probe_successes=0,
        probe_damage=0,
    )
    return opened, moved


def _half_open(circuit: Circuit, cause: Cause, at: int) -> tuple[Circuit, Transition]:
    state, moved = _move(circuit, cause)
    half_open = replace(
        circuit,
        state=state,
        generation=circuit.generation + 1,
        since=at,
        reset_at=None,
        forced=False,
        forced_by=None,
        forced_reason=None,
        leases=(),
        probe_successes=0,
        probe_damage=0,
    )
    return half_open, moved


def _close(circuit: Circuit, cause: Cause, at: int) -> tuple[Circuit, Transition]:
    state, moved = _move(circuit, cause)
    closed = Circuit(
        scope=circuit.scope,
        state=state,
        generation=circuit.generation + 1,
        since=circuit.since if circuit.state is State.CLOSED else at,
        seq=circuit.seq,
        logged_at=circuit.logged_at,
        last_failure=circuit.last_failure,
        window=Window(tail=circuit.seq, head=circuit.seq),
    )
    return closed, moved


def _judge_probe(circuit: Circuit, settings: CircuitSettings, entry: Entry, lease: Lease) -> tuple[Circuit, tuple[Transition, ...]]:
    """A probe's outcome: success counts towards closing, a failure beyond the tolerance re-opens, anything else returns the slot."""
    circuit = replace(circuit, leases=tuple(held for held in circuit.leases if held is not lease))
    if entry.failed:
        damage = circuit.probe_damage + entry.weight
        if damage > settings.half_open_tolerance:
            circuit, moved = _open(circuit, settings, Cause.PROBE_FAILED, entry.at)
            return circuit, (moved,)
        return replace(circuit, probe_damage=damage), ()
    if entry.outcome is not Outcome.SUCCESS:
        return circuit, ()
    circuit = replace(circuit, probe_successes=circuit.probe_successes + 1)
    if circuit.probe_successes < settings.half_open_successes:
        return circuit, ()
    circuit, moved = _close(circuit, Cause.PROBES_SUCCEEDED, entry.at)
    return circuit, (moved,)


def _reaches_threshold(circuit: Circuit, settings: CircuitSettings, entry: Entry) -> bool:
    window = circuit.window
    if len(window.failed_by) < settings.min_distinct_agents:
        return False
    if entry.failed and window.weighted >= settings.failure_threshold:
        return True
    rate = settings.failure_rate_threshold
    return rate is not None and window.reviewed >= settings.minimum_decisions and circuit.failure_rate >= rate


def _count(circuit: Circuit, settings: CircuitSettings, past: Past, entry: Entry) -> Circuit:
    """Append an outcome to the window, and let a success take off what the policy says."""
    past.append(entry)
    window = circuit.window
    succeeded = entry.outcome is Outcome.SUCCESS
    counted = replace(
        window,
        failures=window.failures + entry.failed,
        weighted=window.weighted + entry.weight,
        reviewed=window.reviewed + 1,
        failed=window.failed + entry.failed,
        succeeded=window.succeeded + succeeded,
        oldest_at=window.oldest_at if window.reviewed else entry.at,
        failed_by=_tally(window.failed_by, entry.agent_id, 1) if entry.failed else window.failed_by,
    )
    if succeeded and not entry.failed and counted.failures:
        counted = _forgive(counted, settings.on_success, past, entry.seq)
    if not entry.failed:
        return replace(circuit, seq=entry.seq, logged_at=entry.at, window=counted)
    recent = ((entry.decision_id or "", entry.at), *circuit.recent)[:RECENT_FAILURES]
    return replace(circuit, seq=entry.seq, logged_at=entry.at, window=counted, last_failure=entry.at, recent=recent)


def _forgive(window: Window, on_success: OnSuccess, past: Past, seq: int) -> Window:
    if on_success is OnSuccess.RESET:
        return replace(window, head=seq, failures=0, weighted=0)
    if on_success is OnSuccess.NONE:
        return window
    oldest = past.oldest_failure(window.head)
    return replace(window, head=oldest.seq, failures=window.failures - 1, weighted=window.weighted - oldest.weight)


def _slide(circuit: Circuit, settings: CircuitSettings, past: Past, now: int) -> Circuit:
    """Take out of the window what is no longer in it."""
    window = circuit.window
    cutoff = now - settings.window_ms
    if not window.reviewed or window.oldest_at > cutoff:
        return circuit
    gone = past.expired(window.tail, cutoff)
    held = [entry for entry in gone if entry.failed and entry.seq > window.head]
    failed_by = window.failed_by
    for entry in gone:
        if entry.failed:
            failed_by = _tally(failed_by, entry.agent_id, -1)
    oldest_at = past.oldest_at()
    window = replace(
        window,
        tail=gone[-1].seq if gone else window.tail,
        head=max(window.head, gone[-1].seq) if gone else window.head,
        failures=window.failures - len(held),
        weighted=window.weighted - sum(entry.weight for entry in held),
        reviewed=window.reviewed - len(gone),
        failed=window.failed - sum(entry.failed for entry in gone),
        succeeded=window.succeeded - sum(entry.outcome is Outcome.SUCCESS for entry in gone),
        oldest_at=oldest_at if oldest_at is not None else cutoff + 1,
        failed_by=failed_by,
    )
    recent = tuple(failure for failure in circuit.recent if failure[1] > cutoff)
    return replace(circuit, window=window, recent=recent)


def _tally(counts: Mapping[str, int], agent_id: str | None, change: int) -> Mapping[str, int]:
    name = agent_id or ""
    tallied = dict(counts)
    left = tallied.get(name, 0) + change
    if left > 0:
        tallied[name] = left
    else:
        tallied.pop(name, None)
    return tallied
