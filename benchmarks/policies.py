"""Policies to measure with: one such as a team has, and one with a thousand circuits."""

from pathlib import Path
from typing import Any

import yaml

_CIRCUITS: tuple[dict[str, Any], ...] = (
    {"scope": "global", "failure_threshold": 1_000, "failure_rate_threshold": 0.5, "minimum_decisions": 50, "window_ms": 900_000},
    {"scope": "stakes:high", "failure_threshold": 30, "window_ms": 86_400_000},
    {"scope": "stakes:critical", "failure_threshold": 2, "window_ms": 86_400_000},
    {"scope": "agent:*", "failure_threshold": 5, "cooldown_multiplier": 2, "cooldown_max_ms": 3_600_000, "half_open_probes": 2},
    {"scope": "category:*", "failure_threshold": 200, "failure_rate_threshold": 0.6},
    {"scope": "tag:*", "failure_threshold": 200},
    {"scope": "user:*", "failure_threshold": 8},
    {"scope": "category:tooling", "failure_threshold": 100},
    {"scope": "category:billing", "failure_threshold": 100, "on_success": "none"},
    {"scope": "category:deployment", "failure_threshold": 50, "min_distinct_agents": 2},
    {"scope": "category:security", "failure_threshold": 50, "on_open": {"effect": "confirm"}},
    {"scope": "category:data", "failure_threshold": 100, "mode": "shadow"},
    {"scope": "tag:refund", "failure_threshold": 100},
    {"scope": "tag:database", "failure_threshold": 100, "severity_weights": {"high": 4.0}},
    {"scope": "tag:infra", "failure_threshold": 100},
    {"scope": "agent:agent-1", "failure_threshold": 4, "window_ms": 7_200_000, "cooldown_ms": 900_000},
    {"scope": "agent:agent-2", "failure_threshold": 4, "on_success": "reset"},
    {"scope": "agent:agent-3", "failure_threshold": 3, "failure_outcomes": ["failure", "partial"]},
    {"scope": "agent:agent-4", "failure_threshold": 3},
    {"scope": "user:user-1/billing", "failure_threshold": 3},
)
_RULES: tuple[dict[str, Any], ...] = (
    {
        "id": "no-production-without-review",
        "when": "action.context.affectsProduction == true",
        "requires": ["codeReviewCompleted"],
        "action": "block",
    },
    {"id": "green-tests", "when": "action.context.affectsProduction == true && action.context.ciGreen == false", "action": "block"},
    {"id": "no-high-stakes-low-confidence", "condition_stakes": "high", "condition_confidence": "< 0.5", "action": "block"},
    {
        "id": "refunds-name-their-amount",
        "when": 'action.type == "issue_refund" && !has(action.parameters.amount)',
        "action": "block",
    },
    {
        "id": "large-refunds",
        "when": 'action.type == "issue_refund" && action.parameters.amount > 5000',
        "requires": ["humanApproval"],
        "action": "escalate",
    },
    {
        "id": "no-secrets-in-context",
        "when": '["password", "secret", "api_key", "apikey"].exists(name, name in action.context)',
        "action": "block",
    },
    {"id": "describe-what-you-do", "when": "size(action.description) < 10", "action": "warn"},
    {"id": "security-wants-confidence", "condition_category": "security", "condition_confidence": "< 0.6", "action": "warn"},
    {"id": "deploys-in-the-shop", "scope": "shop", "when": 'action.type == "deploy" && "batch" in action.tags', "action": "warn"},
    {"id": "no-shouting", "when": 'action.description.startsWith("URGENT")', "action": "warn", "mode": "shadow"},
)
_TRIPWIRES: dict[str, Any] = {
    "limits": {
        "max_refund": 100_000,
        "max_discount_percent": 60,
        "max_data_records_accessed": 1_000_000,
        "max_actions_per_minute": 100_000_000,
        "daily_action_limit": 1_000_000_000,
        "budget_limit": 1_000_000_000_000,
    },
    "rules": [
        {
            "name": "no-customer-export",
            "severity": "severe",
            "when": 'action.type == "export_customers"',
            "message": "customers are never exported",
        },
        {
            "name": "no-card-numbers",
            "pattern": {"fields": ["action.description"], "regex": "\\b[0-9]{4}( ?[0-9]{4}){3}\\b"},
            "message": "no card numbers in descriptions",
        },
        {
            "name": "calm-deploys",
            "applies_to": {"types": ["deploy"]},
            "limit": {"field": "action.parameters.batch", "max": 10_000},
            "mode": "shadow",
        },
    ],
}
"""Ten tripwires with the built-in search for secrets: two quotas and a budget among them, none of which the load reaches."""
_CLASSIFICATION: tuple[dict[str, Any], ...] = (
    {"when": "action.parameters.amount > 1000", "stakes": "high", "tags": ["large"]},
    {"when": "action.context.affectsProduction == true", "stakes": "high", "tags": ["production"]},
)


_CONSTRAINTS: dict[str, Any] = {"global": {"cost_limit": 1000, "rate_limit": "100000000/hour"}}
"""A bound that the agents speak of, and one that the service counts for by itself; the load reaches neither."""


def write_policy(path: Path, circuits: int = len(_CIRCUITS), *, tripwires: bool = False, constraints: bool = False) -> Path:
    """A policy of 10 rules and so many circuits, templates among them, at `path`; with 10 tripwires, and two constraints, where they
    are wanted.
    """
    exact = ({"scope": f"agent:extra-{number}", "failure_threshold": 5} for number in range(circuits - len(_CIRCUITS)))
    document: dict[str, Any] = {
        "classification": [dict(rule) for rule in _CLASSIFICATION],
        "circuit_breakers": [*_CIRCUITS, *exact],
        "guardrails": [dict(rule) for rule in _RULES],
    }
    if tripwires:
        document["tripwires"] = _TRIPWIRES
    if constraints:
        document["constraints"] = _CONSTRAINTS
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path
