"""What becomes of a decision that waited: it is let through after a second look, or turned down (SPEC 4)."""

from dataclasses import replace
from typing import Any

from cstp_server.domain.circuit_events import SYSTEM_ACTOR, Attribution
from cstp_server.domain.decisions import Decision, Pending, Resolved, Source, Status
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.findings import CLEAN, Finding, Lift
from cstp_server.domain.posture_events import Attempt
from cstp_server.domain.posture_findings import was_blocked_since
from cstp_server.domain.postures import promoted, transition_type
from cstp_server.domain.resolutions import lift_of, objections
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.evaluating import Case, case_of, evaluate
from cstp_server.services.ledger import Ledger, nothing
from cstp_server.services.looking import NO_LEASES, lease, look, posture_in
from cstp_server.services.own_work import OwnWork
from cstp_server.services.ports import Changed, Decided, Needs, UsageChange, View
from cstp_server.services.promoting import SecondLook, proposed
from cstp_server.services.tripping import UNTRIPPED, Tripped, tripped

_EVENTS = {
    Status.APPROVED: EventType.DECISION_APPROVED,
    Status.ALLOWED: EventType.DECISION_ALLOWED,
    Status.DENIED: EventType.DECISION_DENIED,
    Status.CANCELLED: EventType.DECISION_CANCELLED,
    Status.EXPIRED: EventType.DECISION_EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Settled:
    """A decision that waits no more, what still stood against it, and everything that changed with it."""

    decision: Decision
    objections: tuple[Finding, ...] = ()
    circuits: tuple[Changed, ...] = ()
    usage: tuple[UsageChange, ...] = ()
    left: Tripped = UNTRIPPED
    events: tuple[Event, ...] = ()

    def decided(self, answer: Any) -> Decided[Any]:
        """These changes, with the answer of the use case that made them."""
        return Decided(
            answer,
            changed_decision=self.decision,
            circuits=self.circuits,
            usage=self.usage,
            postures=self.left.postures,
            hits=self.left.hits,
            events=self.events,
        )


def needs_of(decision: Decision, policy: Policy, view: View) -> Needs:
    """Everything that settling a decision may touch."""
    wanted = frozenset((decision.id,))
    if decision.waits_for is None:
        return Needs(wanted)
    if decision.source is Source.PROPOSED:
        agent = frozenset((decision.facts.agent_id,))
        return Needs(wanted, postures=agent, moves=agent)
    needs = _case(decision, policy, view).needs(wanted, [claim.subject for claim in decision.claims])
    return replace(needs, moves=needs.postures)  # an agent that is being blocked does not get it through


def _case(decision: Decision, policy: Policy, view: View) -> Case:
    """The recorded action as the policy sees it today."""
    agent_id = decision.facts.agent_id
    try:
        posture = posture_in(view, policy, agent_id).posture
    except LookupError:
        return case_of(policy, decision.facts)
    return case_of(policy, decision.facts, posture)


@dataclass(frozen=True, slots=True)
class Settlement:
    """Who settles a decision, when, and what they say to it."""

    decision: Decision
    attribution: Attribution
    note: str | None = None
    again: SecondLook | None = None
    """What was found when the posture that is proposed was looked at again."""

    def let_through(self, lift: Lift, status: Status, policy: Policy, view: View) -> Settled:
        """Look at everything again; what has come up since, or cannot be lifted by this, turns the decision down after all.

        What it had reserved is given back first and claimed anew: it counts from the moment that the action may go on. A tripwire that
        it runs into only now is hit as if it had been there at the check, and one that halts does.
        """
        decision, now = self.decision, self.attribution.at
        if decision.source is Source.PROPOSED:
            return self._promote(status, policy, view)
        case = _case(decision, policy, view)
        ledger = self._given_back(policy, view)
        looked = look(case, view, now)
        looked = replace(looked, usage={subject: ledger.of(subject) for subject in looked.usage})
        verdict = evaluate(case, looked.situation(), now)
        before = decision.answer.verdict if decision.answer is not None else CLEAN
        left = tripped(verdict, decision.id, looked.agent, self.attribution, before)
        stopped = was_blocked_since(looked.agent, decision.at)
        against = (*objections(verdict, decision, lift), *((stopped,) if stopped is not None else ()))
        if against:
            reason = f"looked at again: {'; '.join(finding.message for finding in against)}"
            leases, after = NO_LEASES, replace(self._after(Status.DENIED, reason), claims=())
        else:
            leases, after = lease(case, looked, decision.id, now), self._after(status, None)
            after = replace(after, claims=ledger.take(case.claimed))
        reached = ledger.reached(policy.tripwires.budgets_of(case.facts.agent_id), case.facts.agent_id, self.attribution)
        return Settled(
            decision=after,
            objections=against,
            circuits=looked.changes + leases.changes,
            usage=ledger.changes,
            left=left,
            events=(self._event(after), *left.events, *looked.events(self.attribution), *leases.events(self.attribution), *reached),
        )

    def _promote(self, status: Status, policy: Policy, view: View) -> Settled:
        """Give an agent the posture that was proposed for it, unless it has been moved since, or its record or a guard forbids it."""
        attribution, (before, to) = self.attribution, proposed(self.decision)
        current = posture_in(view, policy, self.decision.facts.agent_id)
        moved_since = current.posture is not before or current.holds or current.since > self.decision.at
        if moved_since or self.again is None or self.again.seen != current:
            reason = f"looked at again: the agent was moved since; it is `{current.posture.label}` now, and was `{before.label}`"
            return self.turn_down(Status.DENIED, reason, policy, view)
        reason = self.note or f"proposal `{self.decision.id}` was approved"
        attempt = Attempt(current.agent_id, before, to, transition_type(before, to), reason)
        against = self.again.objection
        if against is not None:
            denied = self.turn_down(Status.DENIED, f"looked at again: {against.message}", policy, view)
            refused = attempt.refused(attribution, against.guardrail, against.message)
            return replace(denied, objections=(against,), events=(*denied.events, refused))
        raised = promoted(current, to, by=attribution.actor, reason=reason, at=attribution.at)
        event = attempt.succeeded(attribution)
        after = self._after(status, None)
        return Settled(after, left=Tripped(postures=(raised,), events=(event,)), events=(self._event(after), event))

    def turn_down(self, status: Status, reason: str | None, policy: Policy, view: View) -> Settled:
        """The decision does not go on, and gives back what it had of quotas and budgets."""
        ledger = self._given_back(policy, view)
        after = replace(self._after(status, reason), claims=())
        return Settled(after, usage=ledger.changes, events=(self._event(after),))

    def _given_back(self, policy: Policy, view: View) -> Ledger:
        ledger = Ledger(view, self.attribution.at, policy.time_zone)
        ledger.adjust(self.decision.claims, nothing)
        return ledger

    def _after(self, status: Status, reason: str | None) -> Decision:
        attribution = self.attribution
        return replace(self.decision, status=status, resolved=Resolved(status, attribution.actor, attribution.at, reason, self.note))

    def _event(self, after: Decision) -> Event:
        attribution, resolved = self.attribution, after.resolved
        waited = self.decision.waits_for
        data = {
            "agent": after.facts.agent_id,
            "kind": waited.kind if waited is not None else None,
            "reason": resolved.reason if resolved is not None else None,
            "note": self.note,
        }
        return Event(
            _EVENTS[after.status], attribution.tenant, after.id, attribution.actor, attribution.at, attribution.policy_version, data
        )


def run_out(decision: Decision, pending: Pending, policy: Policy, view: View, now: int) -> Settled:
    """Time is up: a cancel window that nobody used lets the decision through, anything else that nobody answered does not."""
    settlement = Settlement(decision, Attribution(decision.tenant, SYSTEM_ACTOR, now, policy.version, decision_id=decision.id))
    lift = lift_of(pending)
    if lift is Lift.CANCEL_WINDOW:
        return settlement.let_through(lift, Status.ALLOWED, policy, view)
    return settlement.turn_down(Status.EXPIRED, f"the time for {_NAMES[lift]} has run out", policy, view)


_NAMES = {Lift.APPROVAL: "an approval", Lift.CONFIRMATION: "a confirmation"}


@dataclass(frozen=True, slots=True)
class RunOut(OwnWork):
    """Settle a decision whose time is up; nothing when it is not, or when somebody was faster. The answer is whether it was settled."""

    tenant: str
    id: str

    def needs(self, policy: Policy, view: View) -> Needs:
        """The decision, then all that settling it may touch."""
        return known_needs(self.id, policy, view)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[bool]:
        """Settle it if it is due."""
        decision = view.decision(self.id)
        pending = decision.waits_for if decision is not None else None
        if decision is None or pending is None or pending.until > now:
            return Decided(answer=False)
        return run_out(decision, pending, policy, view, now).decided(answer=True)


def known_needs(id: str, policy: Policy, view: View) -> Needs:
    """First the decision; once that is known, all that settling it may touch."""
    try:
        decision = view.decision(id)
    except LookupError:
        return Needs(frozenset((id,)))
    return needs_of(decision, policy, view) if decision is not None else Needs(frozenset((id,)))
