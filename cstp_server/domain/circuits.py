"""The one breaker: a pure state machine over the outcomes of decisions.

The rules, in the order in which they are applied (SPEC 5):

1. Time passes first. Whatever left the window no longer counts; a cooled-down circuit is half-open since the moment its cooldown ended;
   a probe that nobody reviewed in time is lost and its slot is free again.
2. An outcome is then appended to the circuit's log and counted in the window, whatever the state.
3. In `closed`, it may reach the threshold. In `half_open`, it moves the circuit only as the outcome of a decision that holds a live lease.
   In `open`, it moves nothing: neither `opened_at` nor `reset_at`.
4. Whatever closes a circuit clears its window and forgets how often it had re-opened.
5. The measure of a user's trust (SPEC 10) is the same machine with two differences: its failures fade, and while it is half-open it gives
   no leases; the outcome of everything that was asked for since then counts, and damage that is borne sets its progress back.

The state is a fold over the log: `fold(log)` gives the circuit that the same inputs gave one by one, which is what makes it possible
to amend an outcome long afterwards. The log may be long, so a circuit carries sums over the part of it that counts, and two positions:
`tail` (later entries are in the window) and `head` (later failures are still held against it; a success under `decrement` takes off the
oldest). Entries that a step takes out are read from a `Past`, which holds those that may leave, in order.

What fades needs no adding up either: the weight of the failures that do, and the sum of each one's weight times its time, say what all of
them count for at any moment.

Times are milliseconds since the epoch.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import CircuitSettings, OnSuccess
from cstp_server.domain.circuit_state import (
    TRANSITIONS,
    Cause,
    Circuit,
    Entry,
    EntryKind,
    IllegalTransition,
    Lease,
    State,
    Step,
    Transition,
    Window,
)
from cstp_server.domain.damage import UNSAID, Damage
from cstp_server.domain.decisions import Outcome, Severity

RECENT_FAILURES = 10
_REMEMBERED = 32
_AGING_PARTS = 64
_AGING_MS = 5_000


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


def held(circuit: Circuit, settings: CircuitSettings, now: int) -> int:
    """What the failures in the window weigh at `now`, in millionths rounded down, time having passed for the circuit until then.

    A failure that fades counts whole for the first half of the window, and then less and less until its end.
    """
    return max(_held_all_window(circuit.window, settings, max(now, circuit.logged_at)), 0) // settings.window_ms


def _held_all_window(window: Window, settings: CircuitSettings, now: int) -> int:
    """What the failures weigh, times the length of the window: a whole number, and exact."""
    left = window.fading_at + (settings.window_ms - now) * window.fading
    return settings.window_ms * (window.weighted - window.fading) + 2 * left


def told_under(circuit: Circuit, id: str) -> Outcome | None:
    """The outcome of no decision that was counted under this id already; none when none was."""
    return next((outcome for told_as, outcome in circuit.told if told_as == id), None)


def claim(circuit: Circuit, settings: CircuitSettings, decision_id: str, agent_id: str, now: int) -> Step:
    """Lease one of a half-open circuit's probes to a decision; without a free one, or in another state, it is only written down.

    The measure of a user's trust gives no leases.
    """
    entry = Entry(circuit.seq + 1, max(now, circuit.logged_at), EntryKind.CLAIM, settings.key, decision_id, agent_id)
    return _claim(circuit, settings, entry)


def record(circuit: Circuit, settings: CircuitSettings, past: Past, entry: Entry) -> Step:
    """Count an outcome, at the time of its entry."""
    passed = advance(circuit, settings, past, entry.at)
    is_probe = _is_probe(passed.circuit, settings, entry)
    circuit = _count(passed.circuit, settings, past, entry)
    transitions = passed.transitions
    if circuit.state is State.HALF_OPEN and is_probe:
        circuit, moved = _judge_probe(circuit, settings, entry)
        transitions += moved
    elif circuit.state is State.CLOSED and _reaches_threshold(circuit, settings, entry):
        circuit, opened = _open(circuit, settings, Cause.THRESHOLD_REACHED, entry.at)
        transitions += (opened,)
    return Step(_aging(circuit, settings), transitions, passed.expired, entry)


def _is_probe(circuit: Circuit, settings: CircuitSettings, entry: Entry) -> bool:
    """Whether the outcome may close a half-open circuit, or open it again: of what was asked for before, it says nothing."""
    if settings.trust is not None:
        return entry.asked_at is None or entry.asked_at >= circuit.since
    return entry.decision_id is not None and circuit.lease_of(entry.decision_id) is not None


def outcome_entry(
    circuit: Circuit,
    settings: CircuitSettings,
    decision_id: str,
    agent_id: str,
    outcome: Outcome,
    severity: Severity,
    now: int,
    *,
    asked_at: int | None = None,
    damage: Damage = UNSAID,
) -> Entry:
    """The line that an outcome gets in the circuit's log. Without `asked_at` it is that of no decision, and told under `decision_id`."""
    failed = outcome in settings.failure_outcomes
    weight = settings.weight_of(severity, damage) if failed else 0
    at = max(now, circuit.logged_at)
    return Entry(circuit.seq + 1, at, EntryKind.OUTCOME, settings.key, decision_id, agent_id, outcome, failed, weight, asked_at=asked_at)


def amended(entry: Entry, settings: CircuitSettings, outcome: Outcome, severity: Severity, damage: Damage = UNSAID) -> Entry:
    """The line as it would have been with another outcome, under the settings that it met."""
    failed = outcome in settings.failure_outcomes
    return replace(entry, outcome=outcome, failed=failed, weight=settings.weight_of(severity, damage) if failed else 0)


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
    is_free = circuit.state is State.HALF_OPEN and settings.trust is None and has_free_probe(circuit, settings)
    if not is_free or entry.decision_id is None:
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
        blamed=_blamed(circuit),
        broken_at=_broken_at(circuit, entry.at),
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
        blamed=_blamed(circuit),
        broken_at=_broken_at(circuit, at),
        relapses=circuit.relapses + (cause is Cause.PROBE_FAILED),
    )
    return opened, moved


def _broken_at(circuit: Circuit, at: int) -> int:
    """When it was closed last, if it opens at `at`."""
    return circuit.broken_at if circuit.broken_at is not None and circuit.state is not State.CLOSED else at


def _blamed(circuit: Circuit) -> tuple[str, ...]:
    return tuple(sorted({*circuit.blamed, *circuit.window.failed_by}))


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
    has_recovered = cause is Cause.PROBES_SUCCEEDED and circuit.broken_at is not None
    closed = Circuit(
        scope=circuit.scope,
        state=state,
        generation=circuit.generation + 1,
        since=circuit.since if circuit.state is State.CLOSED else at,
        seq=circuit.seq,
        logged_at=circuit.logged_at,
        last_failure=circuit.last_failure,
        window=Window(tail=circuit.seq, head=circuit.seq, mid=circuit.seq, fades_ms=circuit.window.fades_ms),
        told=circuit.told,
        recoveries=circuit.recoveries + has_recovered,
        recovery_ms=circuit.recovery_ms + (at - (circuit.broken_at or at) if has_recovered else 0),
        relapses=circuit.relapses,
    )
    return closed, moved


def _judge_probe(circuit: Circuit, settings: CircuitSettings, entry: Entry) -> tuple[Circuit, tuple[Transition, ...]]:
    """A probe's outcome: success counts towards closing, a failure beyond the tolerance re-opens, anything else returns the slot."""
    circuit = replace(circuit, leases=tuple(lease for lease in circuit.leases if lease.decision_id != entry.decision_id))
    if entry.failed:
        damage = circuit.probe_damage + entry.weight
        if damage > settings.half_open_tolerance:
            circuit, moved = _open(circuit, settings, Cause.PROBE_FAILED, entry.at)
            return circuit, (moved,)
        setback = settings.trust.setback if settings.trust is not None else 0
        return replace(circuit, probe_damage=damage, probe_successes=max(0, circuit.probe_successes - setback)), ()
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
    if entry.failed and _held_all_window(window, settings, entry.at) >= settings.failure_threshold * settings.window_ms:
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
        fresh_at=_fresh_at(window, settings, entry),
    )
    if succeeded and not entry.failed and counted.failures:
        counted = _forgive(counted, settings.on_success, past, entry.seq)
    circuit = replace(circuit, seq=entry.seq, logged_at=entry.at, window=counted)
    if entry.asked_at is None and entry.decision_id is not None and entry.outcome is not None:
        circuit = replace(circuit, told=((entry.decision_id, entry.outcome), *circuit.told)[:_REMEMBERED])
    if not entry.failed:
        return circuit
    recent = ((entry.decision_id or "", entry.at), *circuit.recent)[:RECENT_FAILURES]
    return replace(circuit, last_failure=entry.at, recent=recent)


def _fresh_at(window: Window, settings: CircuitSettings, entry: Entry) -> int | None:
    """The time of the oldest failure that does not fade yet, this one counted; none where failures do not fade at all."""
    if settings.trust is None:
        return None
    return entry.at if entry.failed and window.fresh_at is None else window.fresh_at


def _forgive(window: Window, on_success: OnSuccess, past: Past, seq: int) -> Window:
    if on_success is OnSuccess.RESET:
        return replace(window, head=seq, failures=0, weighted=0)
    if on_success is OnSuccess.NONE:
        return window
    oldest = past.oldest_failure(window.head)
    return replace(window, head=oldest.seq, failures=window.failures - 1, weighted=window.weighted - oldest.weight)


def _slide(circuit: Circuit, settings: CircuitSettings, past: Past, now: int) -> Circuit:
    """Let fade what begins to, and take out of the window what is no longer in it."""
    fading = _fade(fading_under(circuit, settings), settings, past, now)
    return _aging(_leave(fading, settings, past, now), settings)


def fading_under(circuit: Circuit, settings: CircuitSettings) -> Circuit:
    """The circuit with sums of what fades as these settings have it: other sums than theirs begin anew, with all that is held."""
    window, fades_ms = circuit.window, settings.window_ms if settings.trust is not None else None
    if window.fades_ms == fades_ms:
        return circuit
    fresh_at = window.oldest_at if fades_ms is not None and window.failures else None
    return replace(circuit, window=replace(window, mid=window.head, fading=0, fading_at=0, fresh_at=fresh_at, fades_ms=fades_ms))


def _fade(circuit: Circuit, settings: CircuitSettings, past: Past, now: int) -> Circuit:
    """Move the failures that are older than half the window to those that fade."""
    window, cutoff = circuit.window, now - settings.fades_after_ms
    if settings.trust is None or window.fresh_at is None or window.fresh_at > cutoff:
        return circuit
    begun = past.faded(window.mid, cutoff)
    window = replace(
        window,
        mid=begun[-1].seq if begun else window.mid,
        fading=window.fading + sum(entry.weight for entry in begun),
        fading_at=window.fading_at + sum(entry.weight * entry.at for entry in begun),
    )
    return replace(circuit, window=replace(window, fresh_at=past.freshest_at(window.mid)))


def _aging(circuit: Circuit, settings: CircuitSettings) -> Circuit:
    """With the time at which what fades should be added up anew: late enough that much does at once, and early enough that no look has
    more to catch up with than what came within a few seconds.
    """
    window = circuit.window
    if settings.trust is None or not window.reviewed:
        return circuit if circuit.ages_at is None else replace(circuit, ages_at=None)
    leaves_at = window.oldest_at + settings.window_ms
    first = leaves_at if window.fresh_at is None else min(window.fresh_at + settings.fades_after_ms, leaves_at)
    ages_at = first + min(settings.window_ms // _AGING_PARTS, _AGING_MS)
    return circuit if circuit.ages_at == ages_at else replace(circuit, ages_at=ages_at)


def _leave(circuit: Circuit, settings: CircuitSettings, past: Past, now: int) -> Circuit:
    """Take out of the window what is no longer in it; what fades has faded before it leaves."""
    window = circuit.window
    cutoff = now - settings.window_ms
    if not window.reviewed or window.oldest_at > cutoff:
        return circuit
    gone = past.expired(window.tail, cutoff)
    counted = [entry for entry in gone if entry.failed and entry.seq > window.head]
    faded = [entry for entry in counted if entry.seq <= window.mid]
    failed_by = window.failed_by
    for entry in gone:
        if entry.failed:
            failed_by = _tally(failed_by, entry.agent_id, -1)
    oldest_at = past.oldest_at()
    window = replace(
        window,
        tail=gone[-1].seq if gone else window.tail,
        head=max(window.head, gone[-1].seq) if gone else window.head,
        failures=window.failures - len(counted),
        weighted=window.weighted - sum(entry.weight for entry in counted),
        reviewed=window.reviewed - len(gone),
        failed=window.failed - sum(entry.failed for entry in gone),
        succeeded=window.succeeded - sum(entry.outcome is Outcome.SUCCESS for entry in gone),
        oldest_at=oldest_at if oldest_at is not None else cutoff + 1,
        failed_by=failed_by,
        fading=window.fading - sum(entry.weight for entry in faded),
        fading_at=window.fading_at - sum(entry.weight * entry.at for entry in faded),
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
