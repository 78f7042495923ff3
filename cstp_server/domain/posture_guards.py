"""Guards of posture transitions: what must be true before an agent gets another posture (SPEC 8)."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cstp_server.domain.expressions import Predicate, Subject
from cstp_server.domain.postures import Posture, TransitionType
from cstp_server.domain.values import dataclass


@dataclass(frozen=True, slots=True)
class TransitionRequest:
    """A transition that somebody asks for, and what is known of the agent. `score` and `reviewed` are the agent's record."""

    agent_id: str
    from_posture: Posture
    to_posture: Posture
    type: TransitionType
    requester: str
    reason: str
    metadata: Mapping[str, Any]
    acl_tier: int
    score: float
    reviewed: int

    def subject(self) -> Subject:
        """What a guard's expression looks at."""
        return Subject(
            {
                "request": {
                    "from_posture": self.from_posture.label,
                    "to_posture": self.to_posture.label,
                    "from_level": int(self.from_posture),
                    "to_level": int(self.to_posture),
                    "transition_type": self.type.value,
                    "requester": self.requester,
                    "reason": self.reason,
                },
                "metadata": dict(self.metadata),
                "agent": {"id": self.agent_id, "acl_tier": self.acl_tier},
                "trust": {"score": self.score, "reviewed": self.reviewed},
            }
        )


@dataclass(frozen=True, slots=True)
class GuardRefusal:
    """Which guard refused a transition, and why."""

    guard: str
    reason: str


class TransitionGuard(Protocol):
    """One guard, from the policy or from an installed package."""

    @property
    def name(self) -> str:
        """What it is called in answers and in the history."""
        ...

    @property
    def applies_to(self) -> frozenset[TransitionType]:
        """Which transitions it looks at."""
        ...

    def check(self, request: TransitionRequest, /) -> str | None:
        """Why the transition must not be; none when it may. A guard that raises has refused."""
        ...


@dataclass(frozen=True, slots=True)
class ConditionGuard:
    """A guard of the policy: the transition passes where `when` is true, and only there."""

    name: str
    when: Predicate
    reason: str
    applies_to: frozenset[TransitionType] = frozenset({TransitionType.UPGRADE})

    def check(self, request: TransitionRequest, /) -> str | None:
        """The guard's reason unless its condition holds."""
        return None if self.when(request.subject()) is True else self.reason


def applying(guards: Sequence[TransitionGuard], request: TransitionRequest) -> Sequence[TransitionGuard]:
    """The guards that look at such a transition, in their order."""
    return [guard for guard in guards if request.type in guard.applies_to]
