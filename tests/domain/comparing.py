"""What it means that two circuits are the same."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.circuits import advance, fold
from tests.domain.naive import NaiveCircuit


def comparable(circuit: Circuit) -> Circuit:
    """The circuit without lower bounds such as `oldest_at`, and without marks that say how often somebody looked rather than what happened.

    `tail` and `head` name the last line that counts no more, `mid` the last that fades: which one that is among lines that count nothing
    either way is of no matter. When it is due to be added up anew follows from a lower bound.
    """
    window = replace(circuit.window, oldest_at=0, tail=0, head=0, mid=0, fresh_at=None)
    return replace(circuit, window=window, archived_at=None, ages_at=None)


def folded(log: Iterable[Entry], settings_of: Mapping[str, CircuitSettings], settings: CircuitSettings, now: int) -> Circuit:
    """What the whole log gives, looked at at `now`."""
    past = Past()
    circuit = fold(Circuit("global"), log, settings_of.__getitem__, past)
    return advance(circuit, settings, past, now).circuit


def assert_same(circuit: Circuit, naive: NaiveCircuit) -> None:
    """The circuit says what the naive one says."""
    assert (circuit.recoveries, circuit.recovery_ms, circuit.relapses) == (naive.recoveries, naive.recovery_ms, naive.relapses)
    assert circuit.state is naive.state
    window = circuit.window
    counted = (window.failures, window.weighted, window.reviewed, window.failed, window.succeeded)
    assert counted == (naive.failures, naive.weighted, len(naive.window), naive.failed, naive.succeeded)
    assert dict(window.failed_by) == naive.failed_by
    assert {lease.decision_id: lease.expires_at for lease in circuit.leases} == naive.leases
    timed = (circuit.opened_at, circuit.reset_at, circuit.last_failure, circuit.openings, circuit.forced)
    assert timed == (naive.opened_at, naive.reset_at, naive.last_failure, naive.openings, naive.forced)
    assert (circuit.probe_successes, circuit.probe_damage) == (naive.successes, naive.damage)
    failures = [(one.decision, one.at) for one in reversed(naive.window) if one.failed]
    assert list(circuit.recent) == failures[:10]
