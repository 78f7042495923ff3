"""A decision that was taken without asking: stored, with what the guards would have said (SPEC 4)."""

from dataclasses import field, replace
from typing import Any

from cstp_server.clock import new_id
from cstp_server.domain.callers import Caller
from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.decisions import Decision, Source, Status
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Finding, Verdict, judge
from cstp_server.domain.refusals import Conflict, Refusal
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.evaluating import Case, evaluate
from cstp_server.services.identity import agent_of
from cstp_server.services.looking import classify, look
from cstp_server.services.ports import Decided, Needs, Transactor, View
from cstp_server.services.requests import RecordAnswer, RecordRequest
from cstp_server.services.tripping import tripped


async def record(transactor: Transactor, caller: Caller, request: RecordRequest) -> RecordAnswer | Refusal:
    """The id under which the decision is on record, and the guards' remarks."""
    agent_id = agent_of(caller, request.agent_named)
    if isinstance(agent_id, Refusal):
        return agent_id
    facts = replace(request.facts, agent_id=agent_id)
    return await transactor.run(RecordDecision(caller, request, facts, request.decision_id or new_id("dec")))


@dataclass(slots=True)
class RecordDecision:
    """One record as the transactor carries it out."""

    caller: Caller
    request: RecordRequest
    declared: Facts
    decision_id: str
    _case: Case | None = field(default=None, init=False)

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, policy: Policy, view: View) -> Needs:
        """The decision of that id, and all that the classified facts depend on."""
        self._case = classify(policy, self.declared, view, self._case)
        return self._case.needs(frozenset((self.decision_id,)))

    def decide(self, policy: Policy, view: View, now: int) -> Decided[RecordAnswer]:
        """Store it. It takes nothing of probes, quotas or budgets: an agent that asked first, and then tells, must not be charged twice.

        A tripwire that the action itself runs into is hit all the same, and one that halts does.
        """
        case = self._case = classify(policy, self.declared, view, self._case)
        looked = look(case, view, now)
        verdict = evaluate(case, looked.situation(), now)
        if (known := view.decision(self.decision_id)) is not None:
            return Decided(self._repeated(known, verdict))
        decision = self._decision(case, verdict, now)
        attribution = Attribution(self.tenant, self.caller.principal, now, policy.version, decision_id=decision.id)
        left = tripped(judge(case.findings), decision.id, looked.agent, attribution)
        return Decided(
            RecordAnswer(self.decision_id, now, _remarks(verdict)),
            new_decision=decision,
            circuits=looked.changes,
            postures=left.postures,
            hits=left.hits,
            events=(*self._events(decision, verdict), *left.events, *looked.events(attribution)),
        )

    def _repeated(self, known: Decision, verdict: Verdict) -> RecordAnswer | Refusal:
        if known.digest == self.request.digest and known.source is Source.RECORDED and known.facts.agent_id == self.declared.agent_id:
            return RecordAnswer(known.id, known.at, _remarks(verdict))
        return Conflict(f"decision `{known.id}` is already on record with other content: use another id", known.id)

    def _decision(self, case: Case, verdict: Verdict, now: int) -> Decision:
        return Decision(
            tenant=self.tenant,
            id=self.decision_id,
            at=now,
            status=Status.ALLOWED if verdict.allowed else Status.BLOCKED,
            source=Source.RECORDED,
            facts=case.recorded,
            intervention=verdict.intervention,
            policy_version=case.policy.version,
            principal=self.caller.principal,
            digest=self.request.digest,
        )

    def _events(self, decision: Decision, verdict: Verdict) -> tuple[Event, ...]:
        data: dict[str, Any] = {"intervention": verdict.intervention.label, "agent": decision.facts.agent_id}
        if not verdict.allowed:
            reasons = [finding.message for finding in verdict.violations]
            data |= {"description": decision.facts.description, "status": decision.status.value, "reasons": reasons}
        types = [EventType.DECISION_RECORDED] if verdict.allowed else [EventType.DECISION_RECORDED, EventType.ENFORCEMENT_BYPASSED]
        return tuple(
            Event(event_type, self.tenant, decision.id, self.caller.principal, decision.at, decision.policy_version, data)
            for event_type in types
        )


def _remarks(verdict: Verdict) -> tuple[Finding, ...]:
    return (*verdict.violations, *verdict.warnings)
