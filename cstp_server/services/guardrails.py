"""Every guard of every type, for listing (SPEC 6)."""

from collections.abc import Iterable, Sequence

from cstp_server.domain.amounts import amount_text
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.findings import GuardType, Intervention, Mode
from cstp_server.domain.guardrails import Guardrail
from cstp_server.domain.posture_guards import ConditionGuard, TransitionGuard
from cstp_server.domain.postures import TransitionType
from cstp_server.domain.quality import Quality
from cstp_server.domain.scopes import TEMPLATE_VALUE, USER_TEMPLATE, ScopeKind, parse_scope
from cstp_server.domain.tripwire_rules import Condition, Limit, Measure, Pattern, Quota
from cstp_server.domain.tripwires import Applies, Tripwire
from cstp_server.domain.usage import Span
from cstp_server.policy.compiled import Policy, TrustPolicy
from cstp_server.services.constraint_listing import listed_constraints
from cstp_server.services.ports import InstalledGuard
from cstp_server.services.requests import GuardrailInfo


def list_guardrails(policy: Policy, installed: Sequence[InstalledGuard] = ()) -> Sequence[GuardrailInfo]:
    """Circuits, exact ones first, the measures of users' trust, rules in the policy's order, tripwires, the most severe first,
    constraints, the quality of reasoning, and the guards of transitions between postures in their order, the installed ones last.
    """
    circuits = [*sorted(policy.circuits.exact.items()), *sorted(policy.circuits.templates.items())]
    return [
        *_circuits(circuits),
        *_trust(policy.circuits.trust),
        *(_rule(rule) for rule in policy.guardrails),
        *_tripwires(policy),
        *listed_constraints(policy.constraints),
        *((_quality(policy.quality),) if policy.quality is not None else ()),
        *(_transition_guard(guard) for guard in policy.postures.guards),
        *(_installed_guard(guard) for guard in installed),
    ]


def _tripwires(policy: Policy) -> Iterable[GuardrailInfo]:
    """Those of everyone, then what single agents have instead or besides."""
    agents, tripwires = policy.agents, policy.tripwires
    for tripwire in tripwires.of_everyone:
        yield _tripwire(tripwire, agents.default_acl_tier)
    for agent_id, own in tripwires.of_agents.items():
        for tripwire in own:
            if tripwire not in tripwires.of_everyone:
                yield _tripwire(tripwire, agents.acl_tier(agent_id), agent_id)


def _tripwire(tripwire: Tripwire, acl_tier: int, agent_id: str | None = None) -> GuardrailInfo:
    rule = tripwire.rule
    said = [tripwire.description, _bounds_text(tripwire), _applies_text(tripwire.applies)]
    return GuardrailInfo(
        id=tripwire.name,
        type=GuardType.TRIPWIRE.value,
        description=": ".join(part for part in (tripwire.severity.label, "; ".join(part for part in said if part)) if part),
        action=tripwire.intervention(acl_tier).label,
        mode=tripwire.mode.value,
        scope=f"agent:{agent_id}" if agent_id is not None else None,
        condition=rule.when.source if isinstance(rule, Condition) else None,
    )


def _bounds_text(tripwire: Tripwire) -> str:
    rule = tripwire.rule
    if isinstance(rule, Limit):
        bounds = [f"{word} {amount_text(bound)}" for word, bound in (("at least", rule.min), ("at most", rule.max)) if bound is not None]
        return f"{' and '.join(_measured(measure) for measure in rule.measures)} is {' and '.join(bounds)}"
    if isinstance(rule, Quota):
        counted = "actions" if rule.sums is None else f"of `{rule.sums.text}`"
        return f"at most {amount_text(rule.max)} {counted} per {rule.per.value}, {_SPANS[rule.span]}"
    if isinstance(rule, Pattern):
        return f"looks for a text in {', '.join(f'`{_dotted(path)}`' for path in rule.fields)}"
    return ""


def _measured(measure: Measure) -> str:
    return f"`{measure.text}` of types with the words `{' '.join(measure.words)}`" if measure.words else f"`{measure.text}`"


def _applies_text(applies: Applies) -> str:
    kinds = {
        "agents": sorted(applies.agents),
        "categories": sorted(applies.categories),
        "types": sorted(applies.types),
        "tags": sorted(applies.tags),
        "types with the words": list(applies.words),
    }
    return ", ".join(f"only {kind} {' '.join(f'`{name}`' for name in names)}" for kind, names in kinds.items() if names)


def _dotted(path: Iterable[str]) -> str:
    return ".".join(path)


_HOUR_MS = 3_600_000
_UNITS = ((_HOUR_MS, "h"), (60_000, "min"), (1_000, "s"), (1, "ms"))
_SPANS = {
    Span.SECOND: "in any second",
    Span.MINUTE: "in any minute",
    Span.HOUR: "in any hour",
    Span.ROLLING_DAY: "in any 24 hours",
    Span.DAY: "on a calendar day",
    Span.TOTAL: "for ever",
}


def _quality(quality: Quality) -> GuardrailInfo:
    return GuardrailInfo(
        id="quality",
        type=GuardType.GUARDRAIL.value,
        description=f"the quality of the reasoning, `action.ctq`, is at least {quality.min_ctq:g}",
        action=quality.intervention.label,
        mode=quality.mode.value,
    )


def _installed_guard(guard: InstalledGuard) -> GuardrailInfo:
    broken = "" if guard.loaded else ", and could not be loaded: it refuses all of them"
    return GuardrailInfo(
        id=guard.name,
        type=GuardType.POSTURE.value,
        description=f"installed; is asked before {_kinds_text(guard.applies_to)} of an agent's posture{broken}",
        action=Intervention.BLOCK.label,
        mode=Mode.ENFORCE.value,
    )


def _kinds_text(kinds: Iterable[TransitionType]) -> str:
    asked = sorted(set(kinds) - {TransitionType.EMERGENCY_DOWNGRADE})
    return " or ".join(f"{kind.value}s" if kind is not TransitionType.MAINTAIN else "moves to the same posture" for kind in asked)


def _transition_guard(guard: TransitionGuard) -> GuardrailInfo:
    kinds = _kinds_text(guard.applies_to)
    condition = guard.when.source if isinstance(guard, ConditionGuard) else None
    said = f": {guard.reason}" if isinstance(guard, ConditionGuard) else ""
    return GuardrailInfo(
        id=guard.name,
        type=GuardType.POSTURE.value,
        description=f"is asked before {kinds} of an agent's posture{said}",
        action=Intervention.BLOCK.label,
        mode=Mode.ENFORCE.value,
        condition=condition,
    )


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
    return f"opens for `{scope}` at {threshold}{also} within {_span(settings.window_ms)}; probes after {_span(settings.cooldown_ms)}"


def _span(ms: int) -> str:
    """A time in the largest unit that it is so many of, up to hours: `24 h`, `90 s`."""
    return next(f"{ms // unit} {name}" for unit, name in _UNITS if ms % unit == 0 and ms >= unit) if ms else "0 ms"


def _trust(trust: TrustPolicy | None) -> Iterable[GuardrailInfo]:
    """What holds in single domains, then what holds in all others."""
    if trust is None:
        return
    for domain, settings in sorted(trust.domains.items()):
        yield _trust_in(f"{ScopeKind.USER}:*/{domain}", settings)
    yield _trust_in(USER_TEMPLATE, trust.default)


def _trust_in(scope: str, settings: CircuitSettings) -> GuardrailInfo:
    return GuardrailInfo(
        id=settings.id.replace(TEMPLATE_VALUE, parse_scope(scope).value),
        type=GuardType.TRUST.value,
        description=_trust_text(settings),
        action=settings.effect.value,
        mode=settings.mode.value,
        scope=scope,
    )


def _trust_text(settings: CircuitSettings) -> str:
    threshold, hours = f"{settings.failure_threshold / MICRO:g}", f"{settings.window_ms / _HOUR_MS:g} h"
    listed = ", ".join(f"`{name}`" for name in sorted(settings.trust.high_impact)) if settings.trust is not None else ""
    return (
        f"reduced at {threshold} weighted damages within {hours}: every action wants the user's confirmation; "
        f"under test after {settings.cooldown_ms / _HOUR_MS:g} h: only {listed or 'what does not say its type'} then; "
        f"restored by {settings.half_open_successes} successes"
    )


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
