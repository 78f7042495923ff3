"""Trust between a user and the AI: the breaker of `user:<id>/<domain>`, as those who depend on it see it (SPEC 10)."""

from collections.abc import Iterable
from enum import StrEnum

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_findings import circuit_id, duration_text
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings, Effect
from cstp_server.domain.circuit_state import Circuit, State
from cstp_server.domain.facts import fold_name
from cstp_server.domain.findings import CircuitDetail, Finding, GuardType, Intervention, Mode, Remedy
from cstp_server.domain.scopes import parse_scope
from cstp_server.domain.values import dataclass

_WAITED = 0.25
"""The share of the way back that waiting is; supervised successes are the rest."""
_INTERVENTIONS = {Effect.BLOCK: Intervention.BLOCK, Effect.CONFIRM: Intervention.CONFIRM}


class TrustState(StrEnum):
    """How freely the AI acts for a user: it does, or only where little is at stake, or only as the user confirms."""

    FULL_AUTONOMY = "full_autonomy"
    SUPERVISED = "supervised"
    REDUCED_AUTONOMY = "reduced_autonomy"


TRUST_STATES = {State.CLOSED: TrustState.FULL_AUTONOMY, State.HALF_OPEN: TrustState.SUPERVISED, State.OPEN: TrustState.REDUCED_AUTONOMY}


class RecoveryStatus(StrEnum):
    """Where on its way back trust is."""

    FULL_AUTONOMY = "full_autonomy"
    RECOVERY_PERIOD = "recovery_period"
    SUPERVISED_TESTING = "supervised_testing"


@dataclass(frozen=True, slots=True)
class Recovery:
    """How far trust has come back, from 0 to 1, which never falls while no damage comes; `remaining_ms` is none where no time is set."""

    status: RecoveryStatus
    progress: float
    successes: int
    required: int
    remaining_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Autonomy:
    """A user's trust in one domain at a moment. Scores are in weighted damages, times in ms."""

    state: TrustState
    damage_score: float
    damage_threshold: float
    in_state_ms: int
    recent_damage: int
    recovery: Recovery
    forced: bool = False
    mode: Mode = Mode.ENFORCE

    @property
    def acts_freely(self) -> bool:
        """Whether nothing wants the user's confirmation; what is only measured asks for none."""
        return self.state is TrustState.FULL_AUTONOMY or self.mode is not Mode.ENFORCE


def autonomy_of(circuit: Circuit, settings: CircuitSettings, now: int) -> Autonomy:
    """What the circuit means for the user, time having passed for it until `now`."""
    return Autonomy(
        state=TRUST_STATES[circuit.state],
        damage_score=breaker.held(circuit, settings, now) / MICRO,
        damage_threshold=settings.failure_threshold / MICRO,
        in_state_ms=max(0, now - circuit.since) if circuit.generation else 0,
        recent_damage=circuit.window.failures,
        recovery=_recovery(circuit, settings, now),
        forced=circuit.forced,
        mode=settings.mode,
    )


def needs_confirmation(circuit: Circuit, settings: CircuitSettings, action: str | None) -> bool:
    """Whether an action of that type wants the user's confirmation; supervised, one that does not say what it is does too."""
    if circuit.state is State.CLOSED:
        return False
    if circuit.state is State.OPEN or settings.trust is None:
        return True
    return not action or fold_name(action) in settings.trust.high_impact


def trust_finding(circuit: Circuit, settings: CircuitSettings, action: str | None, now: int) -> Finding | None:
    """What trust says against an action of that type at `now`; none when it does not want a confirmation."""
    if not needs_confirmation(circuit, settings, action):
        return None
    return Finding(
        guardrail=circuit_id(circuit.scope, settings),
        type=GuardType.TRUST,
        intervention=_INTERVENTIONS[settings.effect],
        message=reason_of(circuit, settings, action, now),
        mode=settings.mode,
        suggestion="ask the user to confirm this action, then say so with `cstp.resolveDecision` and `confirm`",
        changes=tuple(_waits(circuit)),
        circuit=CircuitDetail(
            scope=circuit.scope,
            state=TRUST_STATES[circuit.state].value,
            failure_rate=circuit.failure_rate,
            recent_failures=tuple(decision_id for decision_id, _ in circuit.recent),
            reset_at=circuit.reset_at,
        ),
    )


def reason_of(circuit: Circuit, settings: CircuitSettings, action: str | None, now: int) -> str:
    """Why an action of that type wants the user's confirmation, or why it does not."""
    user, _, domain = parse_scope(circuit.scope).value.rpartition("/")
    whose = f"trust of user `{user}` in `{domain}`"
    if circuit.state is State.CLOSED:
        return f"{whose} is whole"
    if circuit.state is State.OPEN:
        return f"{whose} is reduced: every action wants the user's confirmation{_until(circuit, now)}"
    progress = f"{circuit.probe_successes} of {settings.half_open_successes} successes"
    if not action:
        return f"{whose} is under test ({progress}): an action of no type may be one of high impact and wants the user's confirmation"
    if needs_confirmation(circuit, settings, action):
        return f"{whose} is under test ({progress}): `{action}` is of high impact and wants the user's confirmation"
    return f"{whose} is under test ({progress}): `{action}` is not of high impact"


def _until(circuit: Circuit, now: int) -> str:
    if circuit.forced:
        return f": {circuit.forced_by} has seen to that: {circuit.forced_reason}"
    return f" for {duration_text((circuit.reset_at or now) - now)}"


def _waits(circuit: Circuit) -> Iterable[Remedy]:
    if circuit.state is State.OPEN and circuit.reset_at is not None:
        yield Remedy("wait", until=circuit.reset_at)


def _recovery(circuit: Circuit, settings: CircuitSettings, now: int) -> Recovery:
    required = settings.half_open_successes
    if circuit.state is State.CLOSED:
        return Recovery(RecoveryStatus.FULL_AUTONOMY, 1.0, 0, required, 0)
    if circuit.state is State.HALF_OPEN:
        share = min(circuit.probe_successes / required, 1.0)
        return Recovery(RecoveryStatus.SUPERVISED_TESTING, _WAITED + (1 - _WAITED) * share, circuit.probe_successes, required, 0)
    if circuit.reset_at is None or circuit.opened_at is None:
        return Recovery(RecoveryStatus.RECOVERY_PERIOD, 0.0, 0, required)
    remaining, whole = max(0, circuit.reset_at - now), max(1, circuit.reset_at - circuit.opened_at)
    waited = min(max(0.0, 1 - remaining / whole), 1.0)
    return Recovery(RecoveryStatus.RECOVERY_PERIOD, _WAITED * waited, 0, required, remaining)
