"""From the policy as it is written to the policy as it is used: defaults filled in, all forms of a rule in one expression."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from cstp_server.domain.alerts import AlertPolicy
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.decisions import Severity
from cstp_server.domain.expressions import Predicate
from cstp_server.domain.findings import Intervention
from cstp_server.domain.guardrails import Guardrail
from cstp_server.domain.scopes import parse_scope
from cstp_server.policy.agent_models import EVERY_AGENT, AgentModel
from cstp_server.policy.cel import compile_predicate, speaks_of
from cstp_server.policy.circuit_models import CircuitModel
from cstp_server.policy.compiled import CircuitPolicies, ClassificationRule, ConstraintPolicy, Policy, PosturePolicy, TripwireSet
from cstp_server.policy.constraint_compiling import compile_constraints, constraints_document
from cstp_server.policy.flat import FlatForm, condition_of, path_of, requirement_of, scope_condition
from cstp_server.policy.guardrail_models import GuardrailModel
from cstp_server.policy.models import ClassificationModel, PolicyModel
from cstp_server.policy.notification_compiling import alerts_document, compile_alerts
from cstp_server.policy.posture_compiling import compile_postures, compile_waits, postures_document
from cstp_server.policy.posture_models import NO_POSTURE
from cstp_server.policy.screening import rule_groups, screen_of, sources_of
from cstp_server.policy.settings_codec import circuit_settings_to_json, keyed
from cstp_server.policy.tripwire_compiling import compile_agents, compile_quality, compile_tripwires
from cstp_server.policy.tripwire_documents import tripwires_document
from cstp_server.policy.trust_compiling import compile_trust, trust_document

_VERBS = {
    Intervention.BLOCK: "blocks this action",
    Intervention.ESCALATE: "wants an approval for this action",
    Intervention.WARN: "warns of this action",
    Intervention.ALLOW: "allows this action",
}


def compile_policy(model: PolicyModel) -> Policy:
    """The policy that a valid model describes."""
    circuits = {circuit.scope: compile_circuit(circuit) for circuit in model.circuit_breakers}
    trust = compile_trust(model.trust)
    guardrails = tuple(compile_guardrail(rule) for rule in model.guardrails)
    classification = tuple(_classification(rule) for rule in model.classification)
    tripwires = compile_tripwires(model.tripwires, model.agents)
    screen = screen_of(classification, guardrails, tripwires)
    postures = compile_postures(model.postures, model.agents)
    constraints = compile_constraints(model.constraints, model.agents)
    alerts = compile_alerts(model.notifications)
    return Policy(
        version=_version(model, circuits, guardrails, classification, tripwires, postures, constraints, alerts),
        circuits=CircuitPolicies(
            exact={scope: settings for scope, settings in circuits.items() if not parse_scope(scope).is_template},
            templates={scope: settings for scope, settings in circuits.items() if parse_scope(scope).is_template},
            trust=trust,
        ),
        guardrails=guardrails,
        rule_groups=rule_groups(guardrails, behind=screen is not None),
        classification=classification,
        screen=screen,
        tripwires=tripwires,
        agents=compile_agents(model.agents),
        quality=compile_quality(model.quality),
        waits=compile_waits(model.postures),
        postures=postures,
        constraints=constraints,
        speaks_of_posture=any(speaks_of(source, "posture") for source in sources_of(classification, guardrails, tripwires)),
        self_reported=model.reviews.self_reported,
        time_zone=ZoneInfo(model.time_zone),
        retention_days=model.retention.decisions_days,
        event_retention_days=model.retention.events_days,
        alerts=alerts,
    )


def compile_circuit(model: CircuitModel) -> CircuitSettings:
    """A circuit's settings, with the defaults that depend on other values, and weights in millionths."""
    probes = model.half_open_probes
    return keyed(
        CircuitSettings(
            key="",
            id=model.effective_id,
            failure_threshold=_millionths(model.failure_threshold),
            failure_rate_threshold=model.failure_rate_threshold,
            minimum_decisions=model.minimum_decisions,
            window_ms=model.window_ms,
            cooldown_ms=model.cooldown_ms,
            cooldown_multiplier=model.cooldown_multiplier,
            cooldown_max_ms=model.cooldown_max_ms,
            half_open_probes=probes,
            half_open_successes=model.half_open_successes if model.half_open_successes is not None else probes,
            half_open_tolerance=_millionths(model.half_open_tolerance),
            probe_timeout_ms=model.probe_timeout_ms if model.probe_timeout_ms is not None else model.cooldown_ms,
            severity_weights={severity: _millionths(model.severity_weights.of(severity)) for severity in Severity},
            failure_outcomes=frozenset(model.failure_outcomes),
            on_success=model.on_success,
            effect=model.on_open.effect,
            downgrade_to=None if model.on_open.downgrade_to == NO_POSTURE else model.on_open.downgrade_to,
            restore_posture=model.on_close == "restore",
            min_distinct_agents=model.min_distinct_agents,
            notify=model.notify,
            mode=model.mode,
        )
    )


def compile_guardrail(model: GuardrailModel) -> Guardrail:
    """A rule with all its conditions in one expression.

    Requirements that fields be true stay a list, so that a finding can name those that are missing. Other requirements go into the
    expression: it holds where they are not met.
    """
    requirements = _requirements(model)
    listed = all(value is True for value in requirements.values())
    conditions = list(_conditions(model))
    if not listed:
        met = _all_of([requirement_of(name, value) for name, value in requirements.items()])
        conditions.append(f"!({met})")
    return Guardrail(
        id=model.id,
        description=model.description,
        action=model.intervention,
        message=model.message or _message(model, requirements),
        suggestion=model.suggestion,
        when=compile_predicate(_all_of(conditions)) if conditions else None,
        requires=tuple(dict.fromkeys(map(path_of, requirements))) if listed else (),
        mode=model.mode,
    )


def _message(model: GuardrailModel, requirements: Iterable[str]) -> str:
    named = " and ".join(f"`{name}`" for name in requirements)
    return model.description or (f"rule `{model.id}` requires {named}" if named else f"rule `{model.id}` {_VERBS[model.intervention]}")


def _requirements(model: GuardrailModel) -> dict[str, object]:
    """All required fields with the value that each must have."""
    listed = model.requires
    named: dict[str, object] = dict.fromkeys(listed, True) if isinstance(listed, list) else dict(listed or {})
    return {**named, **model.flat_requires}


def _conditions(model: GuardrailModel) -> Iterable[str]:
    if model.scope is not None:
        yield scope_condition(model.scope)
    if model.when is not None:
        yield model.when
    if isinstance(model.condition, str):
        yield model.condition
    elif model.condition is not None:
        yield from (condition_of(name, value, FlatForm.SUFFIXED) for name, value in model.condition.items())
    yield from (condition_of(name, value, FlatForm.PLAIN) for name, value in model.flat_conditions.items())


def _all_of(conditions: Sequence[str]) -> str:
    """One expression for all; a single one stays as it was written. A line comment at an end must not swallow the parenthesis."""
    if len(conditions) == 1:
        return conditions[0]
    return " && ".join(_grouped(condition) for condition in conditions)


def _grouped(condition: str) -> str:
    if "//" in condition:
        return f"({condition}\n)"
    return f"({condition})" if any(sign in condition for sign in ("&&", "||", "?")) else condition


def _classification(model: ClassificationModel) -> ClassificationRule:
    return ClassificationRule(compile_predicate(model.when), model.stakes, tuple(model.tags), model.category)


def _millionths(weight: float) -> int:
    return round(weight * MICRO)


def _version(
    model: PolicyModel,
    circuits: dict[str, CircuitSettings],
    guardrails: Iterable[Guardrail],
    classification: Iterable[ClassificationRule],
    tripwires: TripwireSet,
    postures: PosturePolicy,
    constraints: ConstraintPolicy,
    alerts: AlertPolicy,
) -> str:
    """The hash of what the policy means: defaults are filled in, and neither comments nor the order of keys or circuits matter."""
    canonical = {
        "circuits": {scope: circuit_settings_to_json(settings) for scope, settings in circuits.items()},
        "guardrails": [_guardrail_document(rule) for rule in guardrails],
        "classification": [
            {"when": rule.when.source, "stakes": rule.stakes, "tags": rule.tags, "category": rule.category} for rule in classification
        ],
        "tripwires": tripwires_document(tripwires),
        "acl_tiers": _tiers(model.agents),
        "quality": model.quality.model_dump(mode="json") if model.quality is not None else None,
        "waits": [model.postures.approval_ttl_ms, model.postures.assisted_delay_ms],
        "postures": postures_document(postures),
        "constraints": constraints_document(constraints),
        "trust": trust_document(compile_trust(model.trust)),
        "notifications": alerts_document(alerts),
        "self_reported": model.reviews.self_reported,
        "time_zone": model.time_zone,
        "retention_days": model.retention.decisions_days,
        "event_retention_days": model.retention.events_days,
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _tiers(agents: Mapping[str, AgentModel]) -> dict[str, int]:
    policies = compile_agents(agents)
    return {EVERY_AGENT: policies.default_acl_tier, **policies.acl_tiers}


def _guardrail_document(rule: Guardrail) -> dict[str, Any]:
    return {
        "id": rule.id,
        "description": rule.description,
        "action": rule.action.label,
        "message": rule.message,
        "suggestion": rule.suggestion,
        "when": _source(rule.when),
        "requires": rule.requires,
        "mode": rule.mode.value,
    }


def _source(predicate: Predicate | None) -> str | None:
    return predicate.source if predicate is not None else None
