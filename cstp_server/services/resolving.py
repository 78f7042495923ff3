"""What people say of decisions that wait: approve, deny, cancel, confirm (SPEC 4)."""

from dataclasses import replace

from cstp_server.clock import Clock
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.decisions import Decision, Pending, Source, Status
from cstp_server.domain.findings import Lift
from cstp_server.domain.refusals import Conflict, DecisionNotFound, Forbidden, Refusal
from cstp_server.domain.resolutions import LIFTED_BY, REFUSES, Resolution, lift_of
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.policy.secrets import SCANNER
from cstp_server.services.decisions import asked_for, may_see
from cstp_server.services.identity import is_agent, is_own
from cstp_server.services.ports import Decided, Guardians, Needs, Reader, Transactor, View
from cstp_server.services.promoting import SecondLook, look_again
from cstp_server.services.requests import ResolveAnswer, ResolveRequest
from cstp_server.services.settling import Settled, Settlement, known_needs, run_out

OF_AGENTS = frozenset({Resolution.CONFIRM, Resolution.CANCEL})
"""What an agent may say of its own decisions: that its user has confirmed, or that it does not want to go on."""


async def resolve(
    transactor: Transactor, reader: Reader, guardians: Guardians, policy: Policy, clock: Clock, caller: Caller, request: ResolveRequest
) -> ResolveAnswer | Refusal:
    """What became of the decision, once that is durable. Before a posture is given that was proposed, its guards are asked once more."""
    if not caller.may(Role.OPS) and request.resolution not in OF_AGENTS:
        return Forbidden(f"`{request.resolution}` takes the role `ops`", (Role.OPS.value,))
    if request.note is not None:
        request = replace(request, note=SCANNER.redacted_text(request.note))
    if request.resolution is not Resolution.APPROVE:
        return await transactor.run(Resolve(caller, request))
    decision = await reader.decision(caller.tenant, request.id)
    if decision is None or decision.source is not Source.PROPOSED or decision.waits_for is None or _is_ones_own(caller, decision):
        return await transactor.run(Resolve(caller, request))
    again = await look_again(reader, guardians, policy, clock, caller, decision, request.note)
    return await transactor.run(Resolve(caller, request, again))


def _is_ones_own(caller: Caller, decision: Decision) -> bool:
    """Whether the caller is whom an approval would let do something, or asked for it themselves."""
    return is_own(caller, decision) or is_agent(caller, decision.facts.agent_id)


@dataclass(frozen=True, slots=True)
class Resolve:
    """One resolution as the transactor carries it out."""

    caller: Caller
    request: ResolveRequest
    again: SecondLook | None = None
    """What was found when the posture that is proposed was looked at again."""

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, policy: Policy, view: View) -> Needs:
        """The decision, then all that settling it may touch."""
        return known_needs(self.request.id, policy, view)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[ResolveAnswer]:
        """Settle the decision if it still waits, and if it waits for this, and if this caller may say so."""
        decision = view.decision(self.request.id)
        if decision is None or not may_see(self.caller, decision):
            return Decided(DecisionNotFound(f"no decision `{self.request.id}`", self.request.id))
        if not self.caller.may(Role.OPS) and not asked_for(self.caller, decision):
            return Decided(Forbidden(f"decision `{decision.id}` is another agent's: to settle it takes the role `ops`", (Role.OPS.value,)))
        pending = decision.waits_for
        if pending is None:
            return Decided(Conflict(f"decision `{decision.id}` does not wait: it is `{decision.status}`{_why(decision)}", decision.id))
        if pending.until <= now:
            late = run_out(decision, pending, policy, view, now)
            return late.decided(Conflict(f"the time of decision `{decision.id}` has run out: it is `{late.decision.status}`", decision.id))
        refused = self._refused(decision, pending)
        if refused is not None:
            return Decided(refused)
        settled = self._settled(decision, policy, view, now)
        return settled.decided(self._answer(settled, now))

    def _refused(self, decision: Decision, pending: Pending) -> Refusal | None:
        """Why this caller may not say this of this decision."""
        said, wanted = self.request.resolution, lift_of(pending)
        lifts = LIFTED_BY.get(said)
        if lifts is not None and lifts < wanted:
            return Conflict(f"decision `{decision.id}` waits for an approval: `{said}` is not enough", decision.id)
        if said is Resolution.CONFIRM and wanted is Lift.CANCEL_WINDOW:
            return Conflict(
                f"decision `{decision.id}` does not wait for a confirmation: it goes on by itself unless it is cancelled", decision.id
            )
        if said is Resolution.APPROVE and _is_ones_own(self.caller, decision):
            return Forbidden("nobody approves the decision of the agent that their own token is", ())
        if said is Resolution.APPROVE and decision.source is Source.PROPOSED and self.again is None:
            return Conflict(f"decision `{decision.id}` was proposed a moment ago: look again", decision.id)
        return None

    def _settled(self, decision: Decision, policy: Policy, view: View, now: int) -> Settled:
        request = self.request
        attribution = Attribution(self.tenant, self.caller.principal, now, policy.version, decision_id=decision.id)
        settlement = Settlement(decision, attribution, request.note, self.again)
        lift = LIFTED_BY.get(request.resolution)
        if lift is not None:
            return settlement.let_through(lift, Status.APPROVED, policy, view)
        status = REFUSES[request.resolution]
        return settlement.turn_down(status, request.note or f"{status} by {self.caller.principal}", policy, view)

    def _answer(self, settled: Settled, now: int) -> ResolveAnswer:
        after = settled.decision
        return ResolveAnswer(
            id=after.id,
            resolution=self.request.resolution,
            status=after.status,
            by=self.caller.principal,
            at=now,
            reason=after.resolved.reason if after.resolved is not None else None,
            objections=settled.objections,
        )


def _why(decision: Decision) -> str:
    """Why it may not go on, where the service itself has denied it."""
    resolved = decision.resolved
    if decision.status is not Status.DENIED or resolved is None or not resolved.reason or resolved.note:
        return ""
    return f": {resolved.reason}"
