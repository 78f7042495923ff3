"""`cstp.getPosture`, `transitionPosture`, `emergencyDowngrade` and `getPostureHistory` (SPEC 8)."""

from typing import Literal

from pydantic import Field

from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.postures import POSTURES
from cstp_server.domain.refusals import Forbidden, Refusal
from cstp_server.rpc.context import Context
from cstp_server.rpc.wire import JsonObject, Limit, Name, Params, Result, Text, Time, omitted
from cstp_server.services import postures
from cstp_server.services.requests import Earnable, PostureEntry, PostureRequest, PostureView, TransitionAnswer

PostureName = Literal["full_autonomy", "assisted", "supervised", "human_decides", "blocked"]
DEFAULT_LIMIT = 100


class PostureParams(Params):
    """One agent."""

    agent_id: Name


class TransitionParams(Params):
    """Another posture for an agent."""

    agent_id: Name
    to_posture: PostureName
    from_posture: PostureName | None = Field(default=None, description="what it is now; nothing is moved when it is not")
    reason: Text = Field(description="why; it is kept")
    metadata: JsonObject | None = Field(default=None, description="what guards may ask about; any names")


class EmergencyParams(Params):
    """An agent to block at once, past all guards."""

    agent_id: Name
    reason: Text = Field(description="why; it is kept")


class PostureHistoryParams(Params):
    """The attempts to move one agent, newest first."""

    agent_id: Name
    limit: Limit | None = Field(default=None, description=f"{DEFAULT_LIMIT} when left out")


class EarnableResult(Result):
    """The next posture that the agent can earn by its record."""

    to_posture: str
    successes_needed: int | None = Field(description="how many more reviewed successes alone bring it there; null when none do")

    @classmethod
    def of(cls, earnable: Earnable | None) -> "EarnableResult | None":
        """What can be earned as it goes out."""
        return cls(to_posture=earnable.to.label, successes_needed=earnable.successes_needed) if earnable is not None else None


class PostureResult(Result):
    """An agent's posture and record. An agent that was never moved has what the policy gives it: `since` and `reason` are then null."""

    agent_id: str
    posture: str
    level: int = Field(description="from 5, `full_autonomy`, to 1, `blocked`")
    since: Time | None
    set_by: str = Field(description="who or what moved it: a principal, a circuit, or `policy`")
    reason: str | None
    original_posture: str | None = omitted("what it was before circuits lowered it, and is again when they close")
    trust_score: float = Field(description="the least share of successes that its record speaks for, with 95 % confidence")
    review_coverage: float = Field(description="the share of its decisions that are due for a review and have one")
    reviewed: int = Field(description="how many outcomes the score rests on")
    earned: EarnableResult | None = omitted("what its record brings it next, where the policy lets postures be earned")

    @classmethod
    def of(cls, view: PostureView) -> "PostureResult":
        """The posture as it goes out."""
        current, record = view.posture, view.record
        return cls(
            agent_id=current.agent_id,
            posture=current.posture.label,
            level=int(current.posture),
            since=current.since or None,
            set_by=current.set_by,
            reason=current.reason or None,
            original_posture=current.original.label if current.original not in (None, current.posture) else None,
            trust_score=record.score,
            review_coverage=record.coverage,
            reviewed=record.reviewed,
            earned=EarnableResult.of(view.earnable),
        )


class TransitionOutcomeResult(Result):
    """What became of an attempt to move an agent; without `success` the agent stays in `fromPosture`."""

    success: bool
    agent_id: str
    from_posture: str = Field(description="what it was")
    to_posture: str = Field(description="what was asked for, also when it was refused")
    transition_type: str = Field(description="`upgrade`, `downgrade`, `maintain` or `emergency_downgrade`")
    blocked_by: str | None = omitted("the guard that refused")
    reason: str = Field(description="why it was moved, or why not")
    timestamp: Time

    @classmethod
    def of(cls, answer: TransitionAnswer, to_posture: str) -> "TransitionOutcomeResult":
        """The answer as it goes out."""
        return cls(
            success=answer.success,
            agent_id=answer.agent_id,
            from_posture=answer.before.label,
            to_posture=to_posture,
            transition_type=answer.type.value,
            blocked_by=answer.blocked_by,
            reason=answer.reason,
            timestamp=answer.at,
        )


class PostureTransitionResult(Result):
    """One attempt to move the agent; without `success` it changed nothing."""

    timestamp: Time
    actor: str = Field(description="who or what tried: a principal, or a circuit")
    success: bool
    from_posture: str
    to_posture: str = Field(description="what was asked for")
    transition_type: str
    reason: str = Field(description="why it was tried")
    blocked_by: str | None = omitted("what refused it: a guard, `stale_from_posture`, `self_upgrade`, `role_too_low` or `record`")
    refusal: str | None = omitted("why it was refused")
    original_posture: str | None = omitted("what the agent was before circuits lowered it")
    decision_id: str | None = omitted("the decision that brought it about")
    metadata: JsonObject | None = omitted("what was said for guards to ask about")

    @classmethod
    def of(cls, entry: PostureEntry) -> "PostureTransitionResult":
        """The attempt as it goes out."""
        return cls(
            timestamp=entry.at,
            actor=entry.by,
            success=entry.success,
            from_posture=entry.before,
            to_posture=entry.after,
            transition_type=entry.type,
            reason=entry.reason,
            blocked_by=entry.blocked_by,
            refusal=entry.refusal,
            original_posture=entry.original,
            decision_id=entry.decision_id,
            metadata=dict(entry.metadata) or None,
        )


class PostureHistoryResult(Result):
    """The attempts to move an agent, newest first."""

    agent_id: str
    transitions: list[PostureTransitionResult]


async def get(context: Context, params: PostureParams) -> PostureResult | Refusal:
    """One agent's posture as it is now, and its record."""
    stranger = _stranger(context.caller, params.agent_id)
    if stranger is not None:
        return stranger
    services = context.services
    view = await postures.get(services.reader, services.policy_source.current, services.clock, context.caller, params.agent_id)
    return PostureResult.of(view)


async def transition(context: Context, params: TransitionParams) -> TransitionOutcomeResult | Refusal:
    """Move an agent if every guard lets it."""
    services = context.services
    request = PostureRequest(
        agent_id=params.agent_id,
        to=POSTURES[params.to_posture],
        reason=params.reason,
        expected=POSTURES[params.from_posture] if params.from_posture is not None else None,
        metadata=params.metadata or {},
    )
    answer = await postures.transition(
        services.transactor,
        services.reader,
        services.guardians,
        services.policy_source.current,
        services.clock,
        context.caller,
        request,
    )
    return answer if isinstance(answer, Refusal) else TransitionOutcomeResult.of(answer, params.to_posture)


async def emergency(context: Context, params: EmergencyParams) -> TransitionOutcomeResult | Refusal:
    """Block an agent at once."""
    answer = await postures.emergency_downgrade(context.services.transactor, context.caller, params.agent_id, params.reason)
    return answer if isinstance(answer, Refusal) else TransitionOutcomeResult.of(answer, answer.after.label)


async def history(context: Context, params: PostureHistoryParams) -> PostureHistoryResult | Refusal:
    """The attempts to move one agent."""
    stranger = _stranger(context.caller, params.agent_id)
    if stranger is not None:
        return stranger
    limit = params.limit if params.limit is not None else DEFAULT_LIMIT
    found = await postures.history(context.services.reader, context.caller, params.agent_id, limit)
    return PostureHistoryResult(agent_id=params.agent_id, transitions=[PostureTransitionResult.of(entry) for entry in found])


def _stranger(caller: Caller, agent_id: str) -> Forbidden | None:
    """Why the caller may not know how that agent stands; an agent knows of itself alone."""
    if caller.may(Role.VIEWER) or caller.own_agent == agent_id:
        return None
    return Forbidden(f"agent `{caller.own_agent}` sees its own posture alone, not that of agent `{agent_id}`", (Role.VIEWER.value,))
