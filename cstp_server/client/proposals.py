"""What an agent wants to do, as the service is asked about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

Stakes = Literal["low", "medium", "high", "critical"]
Severity = Literal["low", "medium", "high", "critical"]
Outcome = Literal["success", "partial", "failure", "abandoned"]
Resolution = Literal["approve", "deny", "cancel", "confirm"]
PostureName = Literal["full_autonomy", "assisted", "supervised", "human_decides", "blocked"]
Interaction = Literal["conjunctive", "disjunctive", "independent", "hierarchical"]


class TrustDamageType(StrEnum):
    """What went wrong for a user (SPEC 10)."""

    WRONG_ANSWER = "wrong_answer"
    IGNORED_PREFERENCE = "ignored_preference"
    UNEXPECTED_ACTION = "unexpected_action"
    SLOW_RESPONSE = "slow_response"
    MISUNDERSTOOD_INTENT = "misunderstood_intent"
    REPETITIVE_ERROR = "repetitive_error"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One action, who takes it and for whom (SPEC 3). `domain` is the user's, for trust between that user and the agent.

    `ctq` is the quality of the reasoning, from 0 to 1, like `confidence`.

    >>> Proposal("Refund order 1142", type="issue_refund", parameters={"amount": 1000}).to_params()
    {'action': {'description': 'Refund order 1142', 'type': 'issue_refund', 'parameters': {'amount': 1000}}}
    """

    description: str
    type: str | None = None
    category: str | None = None
    stakes: Stakes | str | None = None
    confidence: float | None = None
    tags: Sequence[str] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    agent: str | None = None
    user: str | None = None
    domain: str | None = None
    ctq: float | None = None

    def to_params(self) -> dict[str, Any]:
        """The params of a check; what was not said is left out."""
        action = given(
            description=self.description,
            type=self.type,
            category=self.category,
            stakes=self.stakes,
            confidence=self.confidence,
            ctq=self.ctq,
            tags=list(self.tags) or None,
            parameters=dict(self.parameters) or None,
            context=dict(self.context) or None,
        )
        return given(
            action=action,
            agent={"id": self.agent} if self.agent is not None else None,
            user=given(id=self.user, domain=self.domain) or None,
        )


def given(**params: Any) -> dict[str, Any]:
    """The params that were given, that is, are not none."""
    return {name: value for name, value in params.items() if value is not None}
