"""Tripwires in a canonical form: those that do the same are written the same."""

from collections.abc import Iterable
from typing import Any

from cstp_server.domain.tripwire_rules import Condition, Flag, Limit, Measure, Pattern, Quota, Rule
from cstp_server.domain.tripwires import Applies, Tripwire
from cstp_server.policy.compiled import TripwireSet
from cstp_server.policy.patterns import TextPattern


def tripwires_document(tripwires: TripwireSet) -> dict[str, Any]:
    """All of them; the order of those of one severity does not matter."""
    return {
        "everyone": _documents(tripwires.of_everyone),
        "agents": {agent_id: _documents(own) for agent_id, own in tripwires.of_agents.items()},
    }


def _documents(tripwires: Iterable[Tripwire]) -> list[dict[str, Any]]:
    return sorted((_document(tripwire) for tripwire in tripwires), key=lambda document: str(document["name"]))


def _document(tripwire: Tripwire) -> dict[str, Any]:
    return {
        "name": tripwire.name,
        "rule": _rule(tripwire.rule),
        "severity": tripwire.severity.label,
        "applies": _applies(tripwire.applies),
        "mode": tripwire.mode.value,
        "description": tripwire.description,
        "message": tripwire.message,
        "suggestion": tripwire.suggestion,
        "asks": tripwire.asks,
        "notify": tripwire.notify,
        "notify_use": tripwire.notify_use,
        "trust_impact": tripwire.trust_impact,
    }


def _applies(applies: Applies) -> dict[str, Any]:
    return {
        "agents": sorted(applies.agents),
        "categories": sorted(applies.categories),
        "types": sorted(applies.types),
        "tags": sorted(applies.tags),
        "words": applies.words,
    }


def _rule(rule: Rule) -> dict[str, Any]:
    match rule:
        case Limit():
            return {"measures": [_measure(measure) for measure in rule.measures], "max": rule.max, "min": rule.min}
        case Quota():
            sums = _measure(rule.sums) if rule.sums is not None else None
            return {"max": rule.max, "span": rule.span.value, "per": rule.per.value, "sums": sums, "settles": rule.settles}
        case Condition():
            return {"when": rule.when.source}
        case Flag():
            return {"flag": rule.name}
        case Pattern():
            regex = rule.detector.regex if isinstance(rule.detector, TextPattern) else None
            return {"fields": rule.fields, "regex": regex}
        case _:
            return {"secrets": True}


def _measure(measure: Measure) -> dict[str, Any]:
    return {"path": measure.path, "optional": measure.optional, "words": measure.words}
