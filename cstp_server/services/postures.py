"""What is known of an agent's posture and record, and asking the guards before it is moved (SPEC 8)."""

from collections.abc import Sequence
from dataclasses import replace

from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.events import Event
from cstp_server.domain.posture_guards import TransitionRequest
from cstp_server.domain.postures import AgentPosture, transition_type
from cstp_server.domain.refusals import InvalidInput, Refusal
from cstp_server.domain.trust_scores import Record, successes_needed
from cstp_server.policy.compiled import Policy
from cstp_server.policy.secrets import SCANNER
from cstp_server.services.earning import evidence_since, next_earned, record_since
from cstp_server.services.ports import Guardians, Reader, Transactor
from cstp_server.services.posture_moves import BlockAgent, MovePosture, RefuseMove
from cstp_server.services.requests import Earnable, PostureEntry, PostureRequest, PostureView, TransitionAnswer


async def get(reader: Reader, policy: Policy, clock: Clock, caller: Caller, agent_id: str) -> PostureView:
    """The agent's posture with its record; for one that was never heard of, the posture that it would begin with."""
    current = policy.postures.of(agent_id, await reader.posture(caller.tenant, agent_id))
    record = await record_of(reader, policy, clock, caller.tenant, agent_id)
    return PostureView(current, record, await _earnable(reader, policy, clock, caller.tenant, current, record))


async def record_of(reader: Reader, policy: Policy, clock: Clock, tenant: str, agent_id: str) -> Record:
    """The agent's record within the score's window."""
    now = clock.now()
    return await record_since(reader, policy, tenant, agent_id, now - policy.postures.score_window_ms, now)


async def transition(
    transactor: Transactor, reader: Reader, guardians: Guardians, policy: Policy, clock: Clock, caller: Caller, request: PostureRequest
) -> TransitionAnswer | Refusal:
    """Move an agent if every guard lets it. Guards are asked before anything is locked: one that hangs keeps nobody else waiting."""
    if not request.reason.strip():
        return InvalidInput("`reason` is required: say why the agent is moved", "reason")
    request = _redacted(request)
    if not caller.may(Role.OPS):
        return await transactor.run(RefuseMove(caller, request.agent_id, request.to, request.reason, request.metadata))
    view = await get(reader, policy, clock, caller, request.agent_id)
    before = view.posture.posture
    asked = TransitionRequest(
        agent_id=request.agent_id,
        from_posture=before,
        to_posture=request.to,
        type=transition_type(before, request.to),
        requester=caller.principal,
        reason=request.reason,
        metadata=request.metadata,
        acl_tier=policy.agents.acl_tier(request.agent_id),
        score=view.record.score,
        reviewed=view.record.reviewed,
    )
    refusal = await guardians.ask(policy.postures.guards, asked)
    return await transactor.run(MovePosture(caller, request, before, refusal, view.posture.blocked_at))


async def emergency_downgrade(transactor: Transactor, caller: Caller, agent_id: str, reason: str) -> TransitionAnswer | Refusal:
    """Block an agent at once, past all guards."""
    if not reason.strip():
        return InvalidInput("`reason` is required: say why the agent is blocked", "reason")
    reason = SCANNER.redacted_text(reason)
    if not caller.may(Role.OPS):
        return await transactor.run(RefuseMove(caller, agent_id, None, reason))
    return await transactor.run(BlockAgent(caller, agent_id, reason))


def _redacted(request: PostureRequest) -> PostureRequest:
    return replace(request, reason=SCANNER.redacted_text(request.reason), metadata=SCANNER.redacted_value(request.metadata))


async def history(reader: Reader, caller: Caller, agent_id: str, limit: int) -> Sequence[PostureEntry]:
    """The attempts to move an agent, newest first, refused ones included."""
    return [_entry(event) for event in await reader.posture_events(caller.tenant, agent_id, limit)]


def _entry(event: Event) -> PostureEntry:
    data = event.data
    return PostureEntry(
        at=event.at,
        by=event.actor,
        success=data["success"],
        before=data["from_posture"],
        after=data["to_posture"],
        type=data["transition_type"],
        reason=data["reason"],
        blocked_by=data.get("blocked_by"),
        refusal=data.get("refusal"),
        original=data.get("original_posture"),
        decision_id=data.get("decision_id"),
        metadata=data.get("metadata") or {},
    )


async def _earnable(reader: Reader, policy: Policy, clock: Clock, tenant: str, current: AgentPosture, record: Record) -> Earnable | None:
    """The posture that the agent can earn next, and what it takes."""
    earned = next_earned(policy, current)
    if earned is None:
        return None
    now = clock.now()
    fresh = await record_since(reader, policy, tenant, current.agent_id, evidence_since(policy, current, now), now)
    needed = successes_needed(record, min_score=earned.min_score, min_reviewed=0)
    return Earnable(earned.to, max(needed, earned.min_reviewed - fresh.reviewed) if needed is not None else None)
