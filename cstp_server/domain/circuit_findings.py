"""What a circuit that does not let a decision through says about it."""

from cstp_server.domain.circuit_settings import CircuitSettings, Effect
from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.domain.circuits import has_free_probe
from cstp_server.domain.findings import CircuitDetail, Finding, GuardType, Intervention, Remedy
from cstp_server.domain.scopes import TEMPLATE_VALUE, parse_scope

_INTERVENTIONS = {Effect.BLOCK: Intervention.BLOCK, Effect.CONFIRM: Intervention.CONFIRM}
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS


def circuit_finding(circuit: Circuit, settings: CircuitSettings, now: int) -> Finding | None:
    """The circuit's objection to one more decision at `now`, time having passed for it already; none when it lets it through."""
    if circuit.state is State.CLOSED or (circuit.state is State.HALF_OPEN and has_free_probe(circuit, settings)):
        return None
    free_at = circuit.next_due()
    return Finding(
        guardrail=circuit_id(circuit.scope, settings),
        type=GuardType.CIRCUIT_BREAKER,
        intervention=_INTERVENTIONS[settings.effect],
        message=_open_message(circuit, now) if circuit.state is State.OPEN else _half_open_message(circuit, settings, now),
        mode=settings.mode,
        suggestion=_suggestion(circuit),
        changes=(Remedy("wait", until=free_at),) if free_at is not None else (),
        circuit=CircuitDetail(
            scope=circuit.scope,
            state=circuit.state.value,
            failure_rate=circuit.failure_rate,
            recent_failures=tuple(decision_id for decision_id, _ in circuit.recent),
            reset_at=circuit.reset_at,
        ),
    )


def circuit_id(scope: str, settings: CircuitSettings) -> str:
    """The circuit's name in findings; a template's `*` gives way to the value."""
    if TEMPLATE_VALUE not in settings.id:
        return settings.id
    return settings.id.replace(TEMPLATE_VALUE, parse_scope(scope).value)


def duration_text(ms: int) -> str:
    """A duration as a person says it: `45s`, `22m`, `1h 05m`, rounded up so that nobody comes too early."""
    if ms < _MINUTE_MS:
        return f"{-(-max(ms, 0) // 1000)}s"
    minutes = -(-ms // _MINUTE_MS)
    return f"{minutes}m" if ms <= _HOUR_MS else f"{minutes // 60}h {minutes % 60:02d}m"


def _decisions_of(circuit: Circuit) -> str:
    label = parse_scope(circuit.scope).label
    return f"{label} decisions" if label else "decisions"


def _open_message(circuit: Circuit, now: int) -> str:
    if circuit.forced:
        return f"Circuit breaker OPEN: forced open by {circuit.forced_by}: {circuit.forced_reason}. It stays open until it is reset."
    window = circuit.window
    remaining = duration_text((circuit.reset_at or now) - now)
    return (
        f"Circuit breaker OPEN: {window.failed}/{window.reviewed} recent {_decisions_of(circuit)} failed. Cooldown: {remaining} remaining."
    )


def _half_open_message(circuit: Circuit, settings: CircuitSettings, now: int) -> str:
    probes = "the one probe is" if settings.half_open_probes == 1 else f"all {settings.half_open_probes} probes are"
    remaining = duration_text((circuit.next_due() or now) - now)
    return f"Circuit breaker HALF_OPEN: {probes} waiting for review of {_decisions_of(circuit)}. Next slot in {remaining} at the latest."


def _suggestion(circuit: Circuit) -> str:
    if circuit.forced:
        return "ask an operator to reset the circuit"
    if circuit.state is State.HALF_OPEN:
        return "wait until the probe is reviewed, or ask an operator to reset the circuit"
    return "wait for the cooldown to end, or ask an operator to reset the circuit"
