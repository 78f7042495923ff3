"""Every guard of every type, for listing (SPEC 6)."""

from collections.abc import Iterable, Sequence

from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.findings import GuardType
from cstp_server.domain.guardrails import Guardrail
from cstp_server.policy.compiled import Policy
from cstp_server.services.requests import GuardrailInfo


def list_guardrails(policy: Policy) -> Sequence[GuardrailInfo]:
    """Circuits, exact ones first, then rules in the policy's order."""
    circuits = [*sorted(policy.circuits.exact.items()), *sorted(policy.circuits.templates.items())]
    return [*_circuits(circuits), *(_rule(rule) for rule in policy.guardrails)]


def _circuits(circuits: Iterable[tuple[str, CircuitSettings]]) -> Iterable[GuardrailInfo]:
    for scope, settings in circuits:
        yield GuardrailInfo(
            id=settings.id,
            type=GuardType.CIRCUIT_BREAKER.value,
            description=_circuit_text(scope, settings),
            action=settings.effect.value,
            mode=settings.mode.value,
            scope=scope,
        )


def _circuit_text(scope: str, settings: CircuitSettings) -> str:
    threshold = f"{settings.failure_threshold / MICRO:g} weighted failures"
    rate = settings.failure_rate_threshold
    also = f", or a failure rate of {rate:g} over {settings.minimum_decisions} decisions," if rate is not None else ""
    return f"opens for `{scope}` at {threshold}{also} within {settings.window_ms} ms; probes after {settings.cooldown_ms} ms"


def _rule(rule: Guardrail) -> GuardrailInfo:
    return GuardrailInfo(
        id=rule.id,
        type=GuardType.GUARDRAIL.value,
        description=rule.description,
        action=rule.action.label,
        mode=rule.mode.value,
        condition=rule.when.source if rule.when is not None else None,
        requires=rule.requires,
    )
