"""A circuit's settings as text and back, without loss; and the key that identifies a set of values."""

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

from cstp_server.domain.circuit_settings import CircuitSettings, Effect, OnSuccess, TrustTerms
from cstp_server.domain.damage import DamageType
from cstp_server.domain.decisions import Outcome, Severity
from cstp_server.domain.findings import Mode

_KEY_LENGTH = 16
_PLAIN = tuple(
    field.name
    for field in fields(CircuitSettings)
    if field.name not in {"severity_weights", "failure_outcomes", "on_success", "effect", "mode", "trust"}
)


def circuit_settings_to_json(settings: CircuitSettings) -> str:
    """The settings in canonical JSON: equal settings give the same text."""
    return _canonical(_document(settings))


def circuit_settings_from_json(text: str) -> CircuitSettings:
    """The settings that `circuit_settings_to_json` wrote down."""
    document: dict[str, Any] = json.loads(text)
    return CircuitSettings(
        **{name: document[name] for name in _PLAIN},
        severity_weights={Severity(name): weight for name, weight in document["severity_weights"].items()},
        failure_outcomes=frozenset(map(Outcome, document["failure_outcomes"])),
        on_success=OnSuccess(document["on_success"]),
        effect=Effect(document["effect"]),
        mode=Mode(document["mode"]),
        trust=_trust(document.get("trust")),
    )


def _trust(document: dict[str, Any] | None) -> TrustTerms | None:
    if document is None:
        return None
    return TrustTerms(
        damage_weights={DamageType(name): weight for name, weight in document["damage_weights"].items()},
        high_impact=frozenset(document["high_impact"]),
        setback=document["setback"],
    )


def keyed(settings: CircuitSettings) -> CircuitSettings:
    """The settings under the key that follows from all their values: 16 hexadecimal digits."""
    document = {name: value for name, value in _document(settings).items() if name != "key"}
    return replace(settings, key=hashlib.sha256(_canonical(document).encode()).hexdigest()[:_KEY_LENGTH])


def _document(settings: CircuitSettings) -> dict[str, Any]:
    return {
        **{name: getattr(settings, name) for name in _PLAIN},
        "severity_weights": {severity.value: weight for severity, weight in settings.severity_weights.items()},
        "failure_outcomes": sorted(outcome.value for outcome in settings.failure_outcomes),
        "on_success": settings.on_success.value,
        "effect": settings.effect.value,
        "mode": settings.mode.value,
        **({"trust": _trust_document(settings.trust)} if settings.trust is not None else {}),
    }


def _trust_document(terms: TrustTerms) -> dict[str, Any]:
    return {
        "damage_weights": {kind.value: weight for kind, weight in terms.damage_weights.items()},
        "high_impact": sorted(terms.high_impact),
        "setback": terms.setback,
    }


def _canonical(document: dict[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
