"""Looking again before a posture that was proposed is given: at the agent's record, and with the guards (SPEC 8)."""

from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller
from cstp_server.domain.decisions import Decision
from cstp_server.domain.findings import Finding, GuardType, Intervention
from cstp_server.domain.postures import POSTURES, AgentPosture, Posture
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.earning import is_earned, records_of, transition_asked
from cstp_server.services.ports import Guardians, Reader

_RECORD = "record"
"""What refuses a posture that the agent's record does not earn any more."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """What was found when an approval came: the agent as it was, and what stands against raising it."""

    seen: AgentPosture
    objection: Finding | None = None


def proposed(decision: Decision) -> tuple[Posture, Posture]:
    """From what to what an agent is to be raised."""
    parameters = decision.facts.parameters
    return POSTURES[parameters["fromPosture"]], POSTURES[parameters["toPosture"]]


async def look_again(
    reader: Reader, guardians: Guardians, policy: Policy, clock: Clock, caller: Caller, decision: Decision, note: str | None
) -> SecondLook:
    """The record and the guards, as of now; before anything is locked, since a guard may take its time."""
    agent_id, (_, to) = decision.facts.agent_id, proposed(decision)
    current = policy.postures.of(agent_id, await reader.posture(decision.tenant, agent_id))
    earned = next((earned for earned in policy.postures.earned if earned.to is to), None)
    if earned is None:
        return SecondLook(current, _objection(_RECORD, f"no record earns `{to.label}` any more"))
    fresh, whole = await records_of(reader, policy, decision.tenant, current, clock.now())
    if not is_earned(policy, earned, fresh, whole):
        return SecondLook(current, _objection(_RECORD, f"the agent's record does not earn `{to.label}` any more"))
    asked = transition_asked(policy, current, to, whole, requester=caller.principal, reason=note)
    refusal = await guardians.ask(policy.postures.guards, asked)
    return SecondLook(current, _objection(refusal.guard, refusal.reason) if refusal is not None else None)


def _objection(guard: str, reason: str) -> Finding:
    return Finding(guard, GuardType.POSTURE, Intervention.BLOCK, reason)
