"""What the moves of an agent's posture are called in the record of events; refused attempts are on record too (SPEC 8)."""

from collections.abc import Mapping
from typing import Any

from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.postures import AgentPosture, Posture, TransitionType, halted
from cstp_server.domain.values import dataclass

_TYPES = {
    TransitionType.UPGRADE: EventType.POSTURE_UPGRADED,
    TransitionType.DOWNGRADE: EventType.POSTURE_DOWNGRADED,
    TransitionType.MAINTAIN: EventType.POSTURE_MAINTAINED,
    TransitionType.EMERGENCY_DOWNGRADE: EventType.POSTURE_DOWNGRADED,
}

POSTURE_MOVES = frozenset({*_TYPES.values(), EventType.POSTURE_REFUSED})
"""The events of attempts to move an agent."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A move from one posture to another that somebody asked for, or that something did."""

    agent_id: str
    before: Posture
    after: Posture
    type: TransitionType
    reason: str
    metadata: Mapping[str, Any] | None = None

    def succeeded(self, attribution: Attribution, original: Posture | None = None) -> Event:
        """The event of the move."""
        return self._event(_TYPES[self.type], attribution, {"success": True, "original_posture": original.label if original else None})

    def refused(self, attribution: Attribution, blocked_by: str, because: str) -> Event:
        """The event of a move that was not made."""
        return self._event(EventType.POSTURE_REFUSED, attribution, {"success": False, "blocked_by": blocked_by, "refusal": because})

    def _event(self, event_type: EventType, attribution: Attribution, more: Mapping[str, Any]) -> Event:
        data = {
            "from_posture": self.before.label,
            "to_posture": self.after.label,
            "transition_type": self.type.value,
            "reason": self.reason,
            "metadata": dict(self.metadata or {}),
            "decision_id": attribution.decision_id,
            **more,
        }
        return Event(event_type, attribution.tenant, self.agent_id, attribution.actor, attribution.at, attribution.policy_version, data)


@dataclass(frozen=True, slots=True)
class PostureMove:
    """A posture as it is now, and the event that says how it came about."""

    posture: AgentPosture
    event: Event


def emergency(current: AgentPosture, reason: str, attribution: Attribution) -> PostureMove | None:
    """The agent is blocked from now on, past all guards; none when it has been blocked for good already (SPEC 1 and 8)."""
    if current.blocked_at is not None and current.posture is Posture.BLOCKED and not current.holds:
        return None
    after = halted(current, by=attribution.actor, reason=reason, at=attribution.at)
    attempt = Attempt(current.agent_id, current.posture, after.posture, TransitionType.EMERGENCY_DOWNGRADE, reason)
    return PostureMove(after, attempt.succeeded(attribution))
