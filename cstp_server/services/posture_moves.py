"""Moving agents between postures: asked for and guarded, or at once in an emergency (SPEC 8)."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.posture_events import Attempt
from cstp_server.domain.posture_guards import GuardRefusal
from cstp_server.domain.postures import Posture, TransitionType, halted, moved, transition_type
from cstp_server.domain.refusals import Conflict, Forbidden
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.identity import is_agent
from cstp_server.services.looking import posture_in
from cstp_server.services.ports import Decided, Needs, View
from cstp_server.services.requests import PostureRequest, TransitionAnswer

_STALE = "stale_from_posture"
_SELF = "self_upgrade"
_ROLE = "role_too_low"


@dataclass(frozen=True, slots=True)
class MovePosture:
    """One transition as the transactor carries it out. `seen` is the posture that the guards were asked about, `refusal` what they said."""

    caller: Caller
    request: PostureRequest
    seen: Posture
    refusal: GuardRefusal | None
    blocked_at: int | None = None
    """When the agent had last been blocked then: who has blocked it since must not be overruled by an answer that came before."""

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """The agent's posture, which nobody else may move meanwhile."""
        return _agent_alone(self.request.agent_id)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[TransitionAnswer]:
        """Move the agent, unless somebody else has moved it since it was looked at, or somebody objects. Refused attempts are recorded."""
        request = self.request
        current = posture_in(view, policy, request.agent_id)
        kind = transition_type(current.posture, request.to)
        attempt = Attempt(request.agent_id, current.posture, request.to, kind, request.reason, request.metadata)
        attribution = Attribution(self.tenant, self.caller.principal, now, policy.version)
        if request.expected is not None and request.expected is not current.posture:
            message = f"agent `{request.agent_id}` is `{current.posture.label}`, not `{request.expected.label}`"
            return Decided(Conflict(message), events=(attempt.refused(attribution, _STALE, message),))
        if current.posture is not self.seen or current.blocked_at != self.blocked_at:
            message = f"agent `{request.agent_id}` was moved to `{current.posture.label}` meanwhile: look again"
            return Decided(Conflict(message), events=(attempt.refused(attribution, _STALE, message),))
        if kind is TransitionType.UPGRADE and is_agent(self.caller, request.agent_id):
            message = "an agent cannot upgrade itself"
            return Decided(Forbidden(message), events=(attempt.refused(attribution, _SELF, message),))
        if self.refusal is not None:
            event = attempt.refused(attribution, self.refusal.guard, self.refusal.reason)
            return Decided(_refused(attempt, self.refusal, now), events=(event,))
        after = moved(current, request.to, by=self.caller.principal, reason=request.reason, at=now)
        postures = () if after is current else (after,)
        return Decided(_answer(attempt, now), postures=postures, events=(attempt.succeeded(attribution),))


@dataclass(frozen=True, slots=True)
class BlockAgent:
    """An emergency: the agent is blocked, past all guards and whoever else moves it."""

    caller: Caller
    agent_id: str
    reason: str

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """The agent's posture, which nobody else may move meanwhile."""
        return _agent_alone(self.agent_id)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[TransitionAnswer]:
        """Block it. That is on record also for one that has been blocked already, and stops what waits or is being asked for."""
        current = posture_in(view, policy, self.agent_id)
        after = halted(current, by=self.caller.principal, reason=self.reason, at=now)
        attempt = Attempt(self.agent_id, current.posture, Posture.BLOCKED, TransitionType.EMERGENCY_DOWNGRADE, self.reason)
        attribution = Attribution(self.tenant, self.caller.principal, now, policy.version)
        return Decided(_answer(attempt, now), postures=(after,), events=(attempt.succeeded(attribution),))


@dataclass(frozen=True, slots=True)
class RefuseMove:
    """An attempt of somebody whose role is too low to move any agent: it is on record, and that is all. `to` is none for an emergency."""

    caller: Caller
    agent_id: str
    to: Posture | None
    reason: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """The agent's posture, for the record."""
        return Needs(postures=frozenset((self.agent_id,)), final=True)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[TransitionAnswer]:
        """Record it."""
        before, to = posture_in(view, policy, self.agent_id).posture, self.to if self.to is not None else Posture.BLOCKED
        kind = transition_type(before, to) if self.to is not None else TransitionType.EMERGENCY_DOWNGRADE
        refused = Forbidden(f"this takes the role `{Role.OPS.value}`", (Role.OPS.value,))
        attempt = Attempt(self.agent_id, before, to, kind, self.reason, self.metadata)
        event = attempt.refused(Attribution(self.tenant, self.caller.principal, now, policy.version), _ROLE, refused.message)
        return Decided(refused, events=(event,))


def _agent_alone(agent_id: str) -> Needs:
    agent = frozenset((agent_id,))
    return Needs(postures=agent, moves=agent, final=True)


def _answer(attempt: Attempt, now: int) -> TransitionAnswer:
    return TransitionAnswer(
        success=True,
        agent_id=attempt.agent_id,
        before=attempt.before,
        after=attempt.after,
        type=attempt.type,
        reason=attempt.reason,
        at=now,
    )


def _refused(attempt: Attempt, refusal: GuardRefusal, now: int) -> TransitionAnswer:
    return TransitionAnswer(
        success=False,
        agent_id=attempt.agent_id,
        before=attempt.before,
        after=attempt.before,
        type=attempt.type,
        reason=refusal.reason,
        at=now,
        blocked_by=refusal.guard,
    )
