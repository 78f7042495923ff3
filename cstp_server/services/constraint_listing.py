"""The constraints of the policy as guards among the others, for listing (SPEC 6 and 9)."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cstp_server.domain.findings import GuardType, Intervention
from cstp_server.policy.compiled import ConstraintPolicy, ConstraintSource
from cstp_server.services.bounding import GAMING, GAMING_GUARD, GUARD_PREFIX
from cstp_server.services.requests import GuardrailInfo

_EVERYBODY = "global"
_EVERY_AGENT = "agent:*"


def listed_constraints(constraints: ConstraintPolicy) -> Iterable[GuardrailInfo]:
    """Those for all, of categories, of every agent, and what single agents have instead or besides; then the watch over habits."""
    found = [
        *_of(constraints, constraints.of_all, _EVERYBODY),
        *(info for name, source in sorted(constraints.of_categories.items()) for info in _of(constraints, source, f"category:{name}")),
        *_of(constraints, constraints.of_every_agent, _EVERY_AGENT),
        *(
            info
            for agent_id, source in sorted(constraints.of_agents.items())
            for info in _of(constraints, source, f"agent:{agent_id}", constraints.of_every_agent.written)
        ),
    ]
    return [*found, _watch(constraints)] if found else []


def _of(
    constraints: ConstraintPolicy, source: ConstraintSource, scope: str, known: Mapping[str, Any] | None = None
) -> Iterable[GuardrailInfo]:
    for name, value in source.written.items():
        if known is None or name not in known or known[name] != value:
            yield GuardrailInfo(
                id=f"{GUARD_PREFIX}{name}",
                type=GuardType.CONSTRAINT.value,
                description=f"{_described(constraints, name)}: {_text(value)}",
                action=Intervention.BLOCK.label,
                mode=constraints.enforcement.value,
                scope=scope,
            )


def _described(constraints: ConstraintPolicy, name: str) -> str:
    dimension = constraints.dimensions.get(name)
    return dimension.description if dimension is not None else name


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _watch(constraints: ConstraintPolicy) -> GuardrailInfo:
    return GuardrailInfo(
        id=GAMING_GUARD,
        type=GuardType.CONSTRAINT.value,
        description="looks for agents that stay just below their bounds, or split what they do into many small steps",
        action=GAMING[constraints.anti_gaming].label,
        mode=constraints.enforcement.value,
    )
