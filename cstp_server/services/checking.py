"""May this decision go on? (SPEC 1 and 3)"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cstp_server.clock import new_id
from cstp_server.domain import circuits as breaker
from cstp_server.domain.callers import Caller
from cstp_server.domain.circuit_events import Attribution, claimed_event, step_events
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, State, Step
from cstp_server.domain.decisions import Answer, Decision, Probe, Remedy, Source, Status
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import CLEAN, Verdict
from cstp_server.domain.refusals import Conflict, Refusal
from cstp_server.domain.remedies import find_remedies
from cstp_server.policy.compiled import Policy
from cstp_server.services.evaluating import DEFAULT_POSTURE, Case, case_of, evaluate
from cstp_server.services.identity import agent_of
from cstp_server.services.ports import Changed, Decided, Needs, Transactor, View
from cstp_server.services.requests import CheckRequest


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

    def needs(self, policy: Policy, _view: View) -> Needs:
        """The circuits of the classified facts, and the decision of that id where the caller chose the id."""
        case = self._classified(policy)
        if self._needs is None:
            self._needs = Needs(frozenset((self.decision_id,)) if self._may_repeat else frozenset(), case.circuit_needs(), final=True)
        return self._needs

    def decide(self, policy: Policy, view: View, now: int) -> Decided[Answer]:
        """The recorded answer if this was asked before, else a new one with its claims."""
        if self._may_repeat and (known := view.decision(self.decision_id)) is not None:
            return Decided(self._repeated(known))
        case = self._classified(policy)
        looked = _look(case, view, now)
        verdict = evaluate(case, looked.circuits, now)
        claims = _claim(case, looked, self.decision_id, now) if verdict.allowed and not self.request.dry_run else {}
        answer = Answer(
            decision_id=self.decision_id,
            verdict=verdict,
            posture=DEFAULT_POSTURE,
            evaluated=case.evaluated,
            evaluated_at=now,
            policy_version=policy.version,
            probes=_probes(claims, self.decision_id),
            remedies=() if verdict.allowed else find_remedies(verdict, lambda remedy: self._would_allow(policy, looked, remedy, now)),
        )
        if self.request.dry_run:
            return Decided(answer)
        return Decided(
            answer,
            new_decision=self._decision(case, answer, now),
            circuits=looked.changes + tuple(claims.values()),
            events=self._events(answer, looked, policy, now),
        )

    @property
    def _may_repeat(self) -> bool:
        return self.request.decision_id is not None and not self.request.dry_run

    def _classified(self, policy: Policy) -> Case:
        if self._case is None or self._case.policy is not policy:
            self._case, self._needs = case_of(policy, self.declared), None
        return self._case

    def _repeated(self, known: Decision) -> Answer | Refusal:
        if known.digest == self.request.digest and known.answer is not None and known.facts.agent_id == self.declared.agent_id:
            return known.answer
        return Conflict(
            f"decision `{self.decision_id}` is already on record with other content: use another `decisionId`", self.decision_id
        )

    def _would_allow(self, policy: Policy, looked: "Looked", remedy: Remedy, now: int) -> bool:
        """Whether the changed call would be allowed, as far as the circuits at hand can tell."""
        at = remedy.until if remedy.until is not None else now
        declared = _with_field(self.declared, remedy.field, remedy.to) if remedy.field is not None else self.declared
        case = case_of(policy, declared)
        if any(scope not in looked.circuits for scope, _ in case.circuits):
            return False
        later = {scope: breaker.cool(circuit, at).circuit for scope, circuit in looked.circuits.items()}
        return evaluate(case, later, at).allowed

    def _decision(self, case: Case, answer: Answer, now: int) -> Decision:
        return Decision(
            tenant=self.tenant,
            id=self.decision_id,
            at=now,
            status=Status.ALLOWED if answer.verdict.allowed else Status.BLOCKED,
            source=Source.CHECKED,
            facts=case.facts,
            intervention=answer.verdict.intervention,
            policy_version=answer.policy_version,
            principal=self.caller.principal,
            digest=self.request.digest,
            answer=answer,
        )

    def _events(self, answer: Answer, looked: "Looked", policy: Policy, now: int) -> tuple[Event, ...]:
        checked = self._checked(answer, policy, now)
        if not looked.steps and not answer.probes:
            return (checked,)
        attribution = Attribution(self.tenant, self.caller.principal, now, policy.version, decision_id=self.decision_id)
        return (checked, *looked.events(attribution), *_claim_events(answer.probes, attribution))

    def _checked(self, answer: Answer, policy: Policy, now: int) -> Event:
        verdict = answer.verdict
        return Event(
            type=EventType.DECISION_CHECKED,
            tenant=self.tenant,
            subject=self.decision_id,
            actor=self.caller.principal,
            at=now,
            policy_version=policy.version,
            data={"intervention": verdict.intervention.label, "agent": self.declared.agent_id, "findings": _guards_of(verdict)},
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """The circuits of a case as time has left them, and the steps that time took."""

    circuits: Mapping[str, Circuit]
    steps: tuple[tuple[CircuitSettings, Step], ...]
    changes: tuple[Changed, ...]

    def events(self, attribution: Attribution) -> tuple[Event, ...]:
        """What time did, as events."""
        return tuple(event for settings, step in self.steps for event in step_events(step, settings, attribution))


def _look(case: Case, view: View, now: int) -> Looked:
    circuits: dict[str, Circuit] = {}
    steps: list[tuple[CircuitSettings, Step]] = []
    changes: list[Changed] = []
    for scope, settings in case.circuits:
        circuit = view.circuit(scope)
        if circuit.state is not State.CLOSED:
            step = breaker.advance(circuit, settings, view.past(scope), now)
            if step.circuit is not circuit:
                circuit = step.circuit
                steps.append((settings, step))
                changes.append(Changed(circuit, settings))
        circuits[scope] = circuit
    return Looked(circuits, tuple(steps), tuple(changes))


def _claim(case: Case, looked: Looked, decision_id: str, now: int) -> dict[str, Changed]:
    """A lease on every half-open circuit of the case; the verdict has made sure that each has a free one, or only shadows."""
    claims: dict[str, Changed] = {}
    for scope, settings in case.circuits:
        circuit = looked.circuits[scope]
        if circuit.state is State.HALF_OPEN and breaker.has_free_probe(circuit, settings):
            step = breaker.claim(circuit, settings, decision_id, case.facts.agent_id, now)
            claims[scope] = Changed(step.circuit, settings, step.entry)
    return claims


def _probes(claims: Mapping[str, Changed], decision_id: str) -> tuple[Probe, ...]:
    if not claims:
        return ()
    leases = ((scope, changed.circuit.lease_of(decision_id)) for scope, changed in claims.items())
    return tuple(Probe(scope, lease.expires_at) for scope, lease in leases if lease is not None)


def _claim_events(probes: tuple[Probe, ...], attribution: Attribution) -> tuple[Event, ...]:
    return tuple(claimed_event(probe.scope, attribution.decision_id or "", probe.expires_at, attribution) for probe in probes)


def _guards_of(verdict: Verdict) -> list[str]:
    return [finding.guardrail for finding in (*verdict.violations, *verdict.warnings, *verdict.shadow)] if verdict is not CLEAN else []


def _with_field(facts: Facts, path: str, value: Any) -> Facts:
    """The facts with one field of the agent's context or parameters changed; `path` as in a finding's `requires`."""
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
