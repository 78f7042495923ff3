"""Blocking an agent stops what it waits for: at once for whoever looks, and soon for everybody (SPEC 8)."""

from cstp_server.domain.callers import Caller
from cstp_server.domain.circuit_events import SYSTEM_ACTOR, Attribution
from cstp_server.domain.decisions import Decision, Status
from cstp_server.domain.posture_findings import is_stopped, stop_reason
from cstp_server.domain.postures import AgentPosture, Posture
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.looking import posture_in
from cstp_server.services.ports import Decided, Needs, Reader, Transactor, View
from cstp_server.services.settling import Settlement


async def stopped(transactor: Transactor, reader: Reader, decision: Decision) -> bool:
    """Whether the decision waited although its agent was blocked meanwhile: it is settled now, by this or by whoever was faster."""
    if decision.waits_for is None:
        return False
    agent = await reader.posture(decision.tenant, decision.facts.agent_id)
    if agent is None or not is_stopped(agent, decision.at):
        return False
    await transactor.run(Stop(decision.tenant, decision.id))
    return True


@dataclass(frozen=True, slots=True)
class Stop:
    """Deny a decision that waits although its agent was blocked since it began to; the answer is whether it was."""

    tenant: str
    id: str

    @property
    def caller(self) -> Caller | None:
        """None: whoever looks at the decision, it is the block that denies it."""
        return None

    def needs(self, _policy: Policy, view: View) -> Needs:
        """The decision; once that is known, its agent, and the usage that it gives back."""
        wanted = frozenset((self.id,))
        try:
            decision = view.decision(self.id)
        except LookupError:
            return Needs(wanted)
        if decision is None or decision.waits_for is None:
            return Needs(wanted)
        return Needs(wanted, usage=frozenset(claim.subject for claim in decision.claims), postures=frozenset((decision.facts.agent_id,)))

    def decide(self, policy: Policy, view: View, now: int) -> Decided[bool]:
        """Turn it down, by whoever blocked the agent as long as that is known."""
        decision = view.decision(self.id)
        if decision is None or decision.waits_for is None:
            return Decided(answer=False)
        agent = posture_in(view, policy, decision.facts.agent_id)
        if not is_stopped(agent, decision.at):
            return Decided(answer=False)
        attribution = Attribution(self.tenant, _blocked_by(agent), now, policy.version, decision_id=decision.id)
        return Settlement(decision, attribution).turn_down(Status.DENIED, stop_reason(agent), policy, view).decided(answer=True)


def _blocked_by(agent: AgentPosture) -> str:
    return agent.set_by if agent.posture is Posture.BLOCKED and not agent.holds else SYSTEM_ACTOR
