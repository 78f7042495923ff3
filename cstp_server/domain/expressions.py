"""The seam between the guards and the language their conditions are written in."""

from dataclasses import field
from typing import Any, Protocol

from cstp_server.domain.facts import DEFAULT_ACL_TIER, Facts
from cstp_server.domain.paths import Named
from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class EvaluationFailed:
    """An expression that could not be evaluated; what that means is up to the guard, and for a hard guard it means matched."""

    reason: str


@dataclass(slots=True)
class Subject:
    """What expressions look at: `action`, `agent`, `user`, `posture`, `trust` by name.

    `prepared` belongs to the expression engine: it keeps there what it has converted, for the next expression over the same subject;
    `named` to those who look for names in any spelling (`paths.values_at`).
    """

    data: dict[str, Any]
    prepared: Any = None
    named: Named = field(default_factory=dict)


class Predicate(Protocol):
    """A compiled condition."""

    @property
    def source(self) -> str:
        """The condition as it was written, for messages."""
        ...

    def __call__(self, subject: Subject, /) -> bool | EvaluationFailed:
        """Whether the condition holds; never raises."""
        ...


def subject_of(facts: Facts, *, posture: str, acl_tier: int = DEFAULT_ACL_TIER, trust: dict[str, Any] | None = None) -> Subject:
    """The subject that guards evaluate for these facts.

    The agent's free fields stand only under `action.context` and `action.parameters`, so they can override nothing (SPEC 6).
    """
    return Subject(
        {
            "action": {
                "description": facts.description,
                "type": facts.type,
                "category": facts.category,
                "stakes": facts.stakes.value,
                "confidence": facts.confidence,
                "ctq": facts.ctq,
                "tags": list(facts.tags),
                "parameters": facts.parameters,
                "context": facts.context,
            },
            "agent": {"id": facts.agent_id, "acl_tier": acl_tier},
            "user": {"id": facts.user_id, "domain": facts.user_domain},
            "posture": posture,
            "trust": trust or {},
        }
    )
