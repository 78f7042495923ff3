"""From trust as it is written to the settings of its breakers, one set for each domain (SPEC 10)."""

from collections.abc import Mapping

from cstp_server.domain.circuit_settings import MICRO, CircuitSettings, Effect, OnSuccess, TrustTerms
from cstp_server.domain.damage import DEFAULT_DAMAGE_WEIGHTS, DamageType
from cstp_server.domain.findings import Mode
from cstp_server.domain.scopes import TEMPLATE_VALUE
from cstp_server.policy.compiled import TrustPolicy
from cstp_server.policy.settings_codec import circuit_settings_to_json, keyed
from cstp_server.policy.trust_models import EVERY_DOMAIN, PRESETS, TrustDomainModel, TrustModel

_HOUR_MS = 3_600_000


def compile_trust(model: TrustModel) -> TrustPolicy | None:
    """The breakers of users' trust; none when it is off."""
    if model.mode is Mode.OFF:
        return None
    base = model.domains.get(EVERY_DOMAIN, TrustDomainModel.model_validate({}))
    return TrustPolicy(
        default=_settings(model, base, base),
        domains={name: _settings(model, domain, base) for name, domain in model.domains.items() if name != EVERY_DOMAIN},
    )


def trust_document(trust: TrustPolicy | None) -> Mapping[str, str] | None:
    """Trust in a canonical form."""
    if trust is None:
        return None
    return {name: circuit_settings_to_json(settings) for name, settings in {EVERY_DOMAIN: trust.default, **trust.domains}.items()}


def _settings(model: TrustModel, domain: TrustDomainModel, base: TrustDomainModel) -> CircuitSettings:
    recovery_ms = round(_value("recovery_period_hours", domain, base) * _HOUR_MS)
    return keyed(
        CircuitSettings(
            key="",
            id=f"trust-{TEMPLATE_VALUE}",
            failure_threshold=round(_value("damage_threshold", domain, base) * MICRO),
            window_ms=round(_value("damage_window_hours", domain, base) * _HOUR_MS),
            cooldown_ms=recovery_ms,
            half_open_successes=round(_value("supervised_successes_required", domain, base)),
            half_open_tolerance=round(_value("half_open_tolerance", domain, base) * MICRO),
            probe_timeout_ms=recovery_ms,
            on_success=OnSuccess.NONE,
            effect=Effect.CONFIRM,
            notify=model.notify,
            mode=model.mode,
            trust=TrustTerms(_weights(model, domain, base), _high_impact(model, domain, base)),
        )
    )


def _value(name: str, domain: TrustDomainModel, base: TrustDomainModel) -> float:
    """A key that is given; else that of the domain's preset, if it names one; else the same of `"*"`; else that of the default."""
    for model in (domain, base):
        given: float | None = getattr(model, name)
        if given is not None:
            return given
        if model.preset is not None:
            return PRESETS[model.preset][name]
    return PRESETS["default"][name]


def _weights(model: TrustModel, *domains: TrustDomainModel) -> Mapping[DamageType, int]:
    own, base = (domain.severity_weights for domain in domains)
    given = {**model.severity_weights, **base, **own}
    return {kind: round(given[kind] * MICRO) if kind in given else DEFAULT_DAMAGE_WEIGHTS[kind] for kind in DamageType}


def _high_impact(model: TrustModel, *domains: TrustDomainModel) -> frozenset[str]:
    given = next((domain.high_impact_actions for domain in domains if domain.high_impact_actions is not None), None)
    return frozenset(given if given is not None else model.high_impact_actions)
