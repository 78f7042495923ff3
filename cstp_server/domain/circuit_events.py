"""What the moves of a circuit are called in the record of events."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.circuit_state import Cause, Circuit, State, Step, Transition
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.values import dataclass

SYSTEM_ACTOR = "system"
CIRCUIT_MOVES = frozenset(
    {
        EventType.CIRCUIT_OPENED,
        EventType.CIRCUIT_HALF_OPENED,
        EventType.CIRCUIT_CLOSED,
        EventType.CIRCUIT_FORCED,
        EventType.CIRCUIT_CLEARED,
        EventType.CIRCUIT_AMENDED,
        EventType.CIRCUIT_ARCHIVED,
    }
)
"""The events whose data says what a circuit's state was, what it is, and the cause."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who moved a circuit, when, under which policy, and why, as far as somebody said so."""

    tenant: str
    actor: str
    at: int
    policy_version: str
    reason: str | None = None
    decision_id: str | None = None


def step_events(step: Step, settings: CircuitSettings, attribution: Attribution) -> Iterable[Event]:
    """The events of one step: leases lost to time, then the moves in order."""
    scope = step.circuit.scope
    for lease in step.expired:
        yield _event(EventType.CIRCUIT_PROBE_EXPIRED, scope, attribution, {"decision_id": lease.decision_id}, actor=SYSTEM_ACTOR)
    for moved in step.transitions:
        by = _by_time(attribution) if moved.cause is Cause.COOLDOWN_ELAPSED else attribution
        yield _event(_event_type(moved), scope, by, _transition_data(moved, step.circuit, settings, by))


def amended_event(before: State, circuit: Circuit, settings: CircuitSettings, attribution: Attribution) -> Event:
    """The event of a circuit whose state is another one since an outcome in its past was amended."""
    data = {"previous_state": before.value, "state": circuit.state.value, "cause": "amended"} | _evidence(circuit, settings, attribution)
    return _event(EventType.CIRCUIT_AMENDED, circuit.scope, attribution, data)


def claimed_event(scope: str, decision_id: str, expires_at: int, attribution: Attribution) -> Event:
    """The event of a probe that a decision was given."""
    return _event(EventType.CIRCUIT_PROBE_CLAIMED, scope, attribution, {"decision_id": decision_id, "expires_at": expires_at})


def _by_time(attribution: Attribution) -> Attribution:
    """What time did was nobody's doing, whatever the call that noticed it was about."""
    return replace(attribution, actor=SYSTEM_ACTOR, reason=None, decision_id=None)


def _event_type(moved: Transition) -> EventType:
    if moved.cause is Cause.TRIPPED:
        return EventType.CIRCUIT_FORCED
    if moved.previous is State.CLOSED and moved.state is State.CLOSED:
        return EventType.CIRCUIT_CLEARED
    return _TYPES[moved.state]


_TYPES = {
    State.OPEN: EventType.CIRCUIT_OPENED,
    State.HALF_OPEN: EventType.CIRCUIT_HALF_OPENED,
    State.CLOSED: EventType.CIRCUIT_CLOSED,
}


def _transition_data(moved: Transition, circuit: Circuit, settings: CircuitSettings, attribution: Attribution) -> dict[str, Any]:
    return {
        "previous_state": moved.previous.value,
        "state": moved.state.value,
        "cause": moved.cause.value,
    } | _evidence(circuit, settings, attribution)


def _evidence(circuit: Circuit, settings: CircuitSettings, attribution: Attribution) -> dict[str, Any]:
    return {
        "generation": circuit.generation,
        "failures": circuit.window.failures,
        "weighted_failures": breaker.held(circuit, settings, attribution.at) / MICRO,
        "failed": circuit.window.failed,
        "reviewed": circuit.window.reviewed,
        "window_ms": settings.window_ms,
        "recent_failures": [decision_id for decision_id, _ in circuit.recent],
        "reset_at": circuit.reset_at,
        "effect": settings.effect.value,
        "mode": settings.mode.value,
        "notify": settings.notify,
        "reason": attribution.reason,
        "decision_id": attribution.decision_id,
        **({"trust": True} if settings.trust is not None else {}),
    }


def _event(event_type: EventType, scope: str, attribution: Attribution, data: Mapping[str, Any], *, actor: str | None = None) -> Event:
    return Event(
        type=event_type,
        tenant=attribution.tenant,
        subject=scope,
        actor=actor if actor is not None else attribution.actor,
        at=attribution.at,
        policy_version=attribution.policy_version,
        data=data,
    )
