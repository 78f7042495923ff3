"""May this decision go on? (SPEC 1 and 3)"""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from cstp_server.clock import new_id
from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.callers import Caller
from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.decisions import Answer, Decision, Pending, Source, Status
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import CLEAN, Intervention, Remedy, Verdict
from cstp_server.domain.postures import Posture
from cstp_server.domain.refusals import Conflict, Refusal
from cstp_server.domain.remedies import find_remedies
from cstp_server.domain.usage import Claim
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.bounding import Held, report
from cstp_server.services.evaluating import Case, assess, case_of, evaluate
from cstp_server.services.identity import agent_of
from cstp_server.services.ledger import Ledger
from cstp_server.services.looking import NO_LEASES, Leases, Looked, classify, lease, look
from cstp_server.services.ports import Decided, Needs, Transactor, UsageChange, View
from cstp_server.services.requests import CheckRequest
from cstp_server.services.tallying import tally_of
from cstp_server.services.tripping import UNTRIPPED, Tripped, tripped


async def check(transactor: Transactor, caller: Caller, request: CheckRequest) -> Answer | Refusal:
    """The answer to a check, once it is on record; a dry run is not recorded."""
    agent_id = agent_of(caller, request.agent_named)
    if isinstance(agent_id, Refusal):
        return agent_id
    facts = request.facts if request.facts.agent_id == agent_id else replace(request.facts, agent_id=agent_id)
    decision_id = request.decision_id if request.decision_id is not None else new_id("dec")
    return await transactor.run(Check(caller, request, facts, decision_id))


@dataclass(slots=True)
class Check:
    """One check as the transactor carries it out. `declared` are the facts before classification."""

    caller: Caller
    request: CheckRequest
    declared: Facts
    decision_id: str
    _case: Case | None = field(default=None, init=False)
    _needs: Needs | None = field(default=None, init=False)

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, policy: Policy, view: View) -> Needs:
        """All that the classified facts depend on, and the decision of that id where the caller chose the id."""
        case = self._classified(policy, view)
        if self._needs is None:
            self._needs = case.needs(frozenset((self.decision_id,)) if self._may_repeat else frozenset(), observes=True)
        return self._needs

    def decide(self, policy: Policy, view: View, now: int) -> Decided[Answer]:
        """The recorded answer if this was asked before, else a new one with its claims."""
        if self._may_repeat and (known := view.decision(self.decision_id)) is not None:
            return Decided(self._repeated(known))
        case = self._classified(policy, view)
        looked = look(case, view, now, observes=True)
        assessment = assess(case, looked.situation(), now)
        verdict, held = assessment.verdict, assessment.held
        attribution = Attribution(self.tenant, self.caller.principal, now, policy.version, decision_id=self.decision_id)
        taken = self._take(case, looked, verdict, view, attribution)
        answer = Answer(
            decision_id=self.decision_id,
            verdict=verdict,
            posture=looked.agent.posture.label,
            evaluated=case.evaluated,
            evaluated_at=now,
            policy_version=policy.version,
            probes=taken.leases.probes,
            remedies=() if verdict.allowed else find_remedies(verdict, lambda remedy: self._would_allow(case, policy, looked, remedy, now)),
            pending=_pending(verdict, policy, now),
        )
        if self.request.dry_run:
            return Decided(answer)
        left = UNTRIPPED if verdict is CLEAN else tripped(verdict, self.decision_id, looked.agent, attribution)
        return Decided(
            answer,
            new_decision=self._decision(case, answer, taken.claims, now),
            circuits=looked.changes + taken.leases.changes,
            usage=taken.usage,
            postures=left.postures,
            hits=left.hits,
            habits=_observed(looked, held, now),
            events=self._events(case, answer, looked, taken, left, attribution, held),
            tallies=() if held is None else tally_of(held.evaluation, held.flags, held.nanoseconds),
        )

    @property
    def _may_repeat(self) -> bool:
        return self.request.decision_id is not None and not self.request.dry_run

    def _classified(self, policy: Policy, view: View) -> Case:
        case = classify(policy, self.declared, view, self._case)
        if case is not self._case:
            self._case, self._needs = case, None
        return case

    def _repeated(self, known: Decision) -> Answer | Refusal:
        if known.digest == self.request.digest and known.answer is not None and known.facts.agent_id == self.declared.agent_id:
            return known.answer
        return Conflict(
            f"decision `{self.decision_id}` is already on record with other content: use another `decisionId`", self.decision_id
        )

    def _take(self, case: Case, looked: Looked, verdict: Verdict, view: View, attribution: Attribution) -> "Taken":
        """Probes where the decision may go on; quotas also where it waits, so that what it may still do is not given to others.

        A refusal takes nothing, even one that asks for an approval (SPEC 3).
        """
        waits = verdict.lift is not None and verdict.intervention < Intervention.BLOCK
        if self.request.dry_run or not (verdict.allowed or waits):
            return _NOTHING_TAKEN
        now = attribution.at
        leases = lease(case, looked, self.decision_id, now) if verdict.allowed else NO_LEASES
        if not (claimed := case.claimed):
            return Taken(leases) if leases is not NO_LEASES else _NOTHING_TAKEN
        ledger = Ledger(view, now, case.policy.time_zone)
        claims = ledger.take(claimed)
        reached = ledger.reached(case.policy.tripwires.budgets_of(case.facts.agent_id), case.facts.agent_id, attribution)
        return Taken(leases, claims, ledger.changes, reached)

    def _would_allow(self, case: Case, policy: Policy, looked: Looked, remedy: Remedy, now: int) -> bool:
        """Whether the changed call would be allowed, as far as the state at hand can tell."""
        at = remedy.until if remedy.until is not None else now
        case = self._changed(case, policy, remedy, looked.agent.posture) if remedy.field is not None else case
        if any(scope not in looked.circuits for scope, _ in case.circuits):
            return False
        if any(charge.subject not in looked.usage for charge in case.claimed):
            return False
        if case.bounding is not None and not case.bounding.custom <= looked.reviews.keys():
            return False
        return evaluate(case, looked.at(at), at).allowed

    def _changed(self, case: Case, policy: Policy, remedy: Remedy, posture: Posture) -> Case:
        """The case if the action were changed. No change of a value to one of the policy's takes a credential out of a text."""
        declared = _with_field(self.declared, remedy.field or "", remedy.to)
        return case_of(policy, declared, posture, credentials=case.credentials)

    def _decision(self, case: Case, answer: Answer, claims: tuple[Claim, ...], now: int) -> Decision:
        refused = Status.PENDING if answer.pending is not None else Status.BLOCKED
        return Decision(
            tenant=self.tenant,
            id=self.decision_id,
            at=now,
            status=Status.ALLOWED if answer.verdict.allowed else refused,
            source=Source.CHECKED,
            facts=case.recorded,
            intervention=answer.verdict.intervention,
            policy_version=answer.policy_version,
            principal=self.caller.principal,
            digest=self.request.digest,
            answer=answer,
            claims=claims,
        )

    def _events(
        self, case: Case, answer: Answer, looked: Looked, taken: "Taken", left: Tripped, attribution: Attribution, held: Held | None
    ) -> tuple[Event, ...]:
        data = self._checked(answer.verdict)
        if held is not None:
            data["constraints"] = report(held)
        if looked.agent.posture is not Posture.FULL_AUTONOMY:
            data |= _details(case.recorded)
        checked = self._event(EventType.DECISION_CHECKED, answer, attribution, data)
        if answer.verdict is CLEAN and not looked.steps and not answer.probes:
            return (checked, *taken.reached)
        waiting = () if answer.pending is None else (self._waiting(case, answer, answer.pending, attribution),)
        return (checked, *waiting, *left.events, *looked.events(attribution), *taken.leases.events(attribution), *taken.reached)

    def _checked(self, verdict: Verdict) -> dict[str, Any]:
        return {"intervention": verdict.intervention.label, "agent": self.declared.agent_id, "findings": _guards_of(verdict)}

    def _waiting(self, case: Case, answer: Answer, pending: Pending, attribution: Attribution) -> Event:
        """What whoever is to answer has to know."""
        why = [finding.message for finding in answer.verdict.violations]
        data = {"kind": pending.kind, "until": pending.until, "reasons": why, **self._checked(answer.verdict), **_details(case.recorded)}
        return self._event(EventType.DECISION_PENDING, answer, attribution, data)

    def _event(self, event_type: EventType, answer: Answer, attribution: Attribution, data: Mapping[str, Any]) -> Event:
        return Event(event_type, self.tenant, self.decision_id, attribution.actor, attribution.at, answer.policy_version, data)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a decision was given: probes, and its share of quotas."""

    leases: Leases = NO_LEASES
    claims: tuple[Claim, ...] = ()
    usage: tuple[UsageChange, ...] = ()
    reached: tuple[Event, ...] = ()
    """Thresholds of budgets."""


_NOTHING_TAKEN = Taken()


def _observed(looked: Looked, held: Held | None, now: int) -> tuple[AgentHabits, ...]:
    """The agent's habits, where they are to be put on record."""
    if looked.habits is None or held is None or held.habits is None:
        return ()
    after = looked.habits.after(held.habits, now)
    return (after,) if after is not None else ()


def _pending(verdict: Verdict, policy: Policy, now: int) -> Pending | None:
    if verdict.allowed or (lift := verdict.lift) is None:
        return None
    return policy.waits.pending(lift, now)


def _details(facts: Facts) -> dict[str, Any]:
    """What the audit keeps of an action of an agent that is not fully trusted (SPEC 8)."""
    return {
        "description": facts.description,
        "type": facts.type,
        "category": facts.category,
        "stakes": facts.stakes.value,
        "tags": facts.tags,
        "user": facts.user_id,
    }


def _guards_of(verdict: Verdict) -> list[str]:
    return [finding.guardrail for finding in (*verdict.violations, *verdict.warnings, *verdict.shadow)] if verdict is not CLEAN else []


_FIELDS = {"action.confidence": "confidence", "action.ctq": "ctq"}


def _with_field(facts: Facts, path: str, value: Any) -> Facts:
    """The facts with one field that the agent says of the action changed; `path` as in an expression."""
    if path in _FIELDS:
        return replace(facts, **{_FIELDS[path]: value})
    _, group, *names = path.split(".")
    if group == "context" and names:
        return replace(facts, context=_with_value(facts.context, names, value))
    if group == "parameters" and names:
        return replace(facts, parameters=_with_value(facts.parameters, names, value))
    return facts


def _with_value(fields: Mapping[str, Any], names: Sequence[str], value: Any) -> Mapping[str, Any]:
    first, *deeper = names
    inner = fields.get(first)
    return {**fields, first: _with_value(inner if isinstance(inner, Mapping) else {}, deeper, value) if deeper else value}
