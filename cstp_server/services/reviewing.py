"""How a decision turned out, and what that does to the circuits (SPEC 4 and 5)."""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from cstp_server.domain import circuits as breaker
from cstp_server.domain.callers import Caller, Role
from cstp_server.domain.circuit_events import Attribution, step_events
from cstp_server.domain.circuit_settings import ARCHIVED, CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.damage import damage_told_by
from cstp_server.domain.decisions import CircuitMove, Decision, Review, ReviewAnswer, Reviewed, Source, Status
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Intervention, Lift, Mode
from cstp_server.domain.refusals import Conflict, DecisionNotFound, Forbidden, Refusal
from cstp_server.domain.resolutions import lift_of
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy, SelfReported
from cstp_server.policy.secrets import SCANNER
from cstp_server.services.amending import Amendment, amend
from cstp_server.services.costs import costs_told_by
from cstp_server.services.evaluating import case_of
from cstp_server.services.holding import Holding, agents_in_log, agents_moved, moves_postures
from cstp_server.services.identity import agent_of_reviewed, is_own
from cstp_server.services.ledger import Ledger
from cstp_server.services.ports import Changed, CircuitNeed, Decided, Needs, Transactor, View
from cstp_server.services.requests import ReviewRequest


async def review(transactor: Transactor, caller: Caller, request: ReviewRequest) -> ReviewAnswer | Refusal:
    """The answer to a review, once it is counted durably."""
    if request.amend and not caller.may(Role.OPS):
        return Forbidden("amending a review takes the role `ops`", (Role.OPS.value,))
    inline = request.inline.facts if request.inline is not None else None
    if request.inline is not None and inline is not None:
        agent_id = agent_of_reviewed(caller, request.inline.agent_named)
        if isinstance(agent_id, Refusal):
            return agent_id
        inline = replace(inline, agent_id=agent_id)
    if request.review.details:
        request = replace(request, review=replace(request.review, details=SCANNER.redacted_value(request.review.details)))
    return await transactor.run(ReviewDecision(caller, request, inline))


@dataclass(slots=True)
class ReviewDecision:
    """One review as the transactor carries it out. `inline` describes the decision in case it was never checked here."""

    caller: Caller
    request: ReviewRequest
    inline: Facts | None
    _counted: tuple[tuple[str, CircuitSettings], ...] = field(default=(), init=False)

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, policy: Policy, view: View) -> Needs:
        """First the decision; once that is known, the circuits of its recorded context."""
        wanted = frozenset((self.request.id,))
        try:
            known = view.decision(self.request.id)
        except LookupError:
            return Needs(wanted)
        if known is not None and (standing := self._standing(policy, known)) is not None:
            return self._amended_needs(wanted, known, standing, policy, view)
        facts = self._facts(policy, known)
        if facts is None:
            return Needs(wanted)
        self._counted = tuple(found for found in policy.circuits.matching(facts) if found[1].mode is not Mode.OFF)
        circuits = {scope: CircuitNeed(settings, writes=True) for scope, settings in self._counted}
        agents = _moved_by(circuits, view, facts.agent_id)
        return Needs(wanted, circuits, _subjects(known) if known is not None else frozenset(), agents, agents)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[ReviewAnswer]:
        """Count a first review; answer a repeated one as before; refuse or amend one that contradicts it."""
        known = view.decision(self.request.id)
        if known is not None and known.source is Source.PROPOSED:
            return Decided(Conflict(f"decision `{known.id}` is a proposal of the service: there is no outcome to review", known.id))
        if known is not None and (standing := self._standing(policy, known)) is not None:
            return self._again(known, standing, policy, view, now)
        if known is None and self.inline is None:
            return Decided(
                DecisionNotFound(f"no decision `{self.request.id}`: check it first, or send its context as `decision`", self.request.id)
            )
        decision = known if known is not None else self._unchecked(policy, now)
        return self._first(decision, known is None, policy, view, now)

    def _standing(self, policy: Policy, known: Decision) -> Reviewed | None:
        """The review on record, if any. One by the agent itself that the policy let move nothing gives way to anybody else's.

        Otherwise an agent could keep its failures from counting by being the first to report a success.
        """
        reviewed = known.reviewed
        if reviewed is None or reviewed.entries or not reviewed.answer.self_reported or policy.self_reported is SelfReported.COUNT:
            return reviewed
        return reviewed if is_own(self.caller, known) else None

    def _facts(self, policy: Policy, known: Decision | None) -> Facts | None:
        if known is not None:
            return known.facts
        return case_of(policy, self.inline).recorded if self.inline is not None else None

    def _unchecked(self, policy: Policy, now: int) -> Decision:
        if self.inline is None:
            raise LookupError("a review without a decision on record needs an inline one")
        return Decision(
            tenant=self.tenant,
            id=self.request.id,
            at=now,
            status=Status.REVIEWED,
            source=Source.REVIEWED,
            facts=case_of(policy, self.inline).recorded,
            intervention=Intervention.ALLOW,
            policy_version=policy.version,
            principal=self.caller.principal,
        )

    def _first(self, decision: Decision, is_new: bool, policy: Policy, view: View, now: int) -> Decided[ReviewAnswer]:
        by_itself = is_own(self.caller, decision)
        attribution = self._attribution(policy, now)
        moves: list[CircuitMove] = []
        changes: list[Changed] = []
        events: list[Event] = []
        holding = Holding(view, policy, attribution)
        for scope, settings in self._counted:
            if by_itself and not self._counts_itself(policy, settings):
                continue
            before = view.circuit(scope)
            entry = self._entry(decision, before, settings, now)
            step = breaker.record(before, settings, view.past(scope), entry)
            moves.append(_move(before, step.circuit))
            changes.append(Changed(step.circuit, settings, step.entry))
            events.extend(step_events(step, settings, attribution))
            holding.follow(before, step.circuit, settings)
        answer = ReviewAnswer(decision.id, self.request.review.outcome, now, tuple(moves), by_itself)
        entries = tuple((change.circuit.scope, change.entry.seq) for change in changes if change.entry is not None)
        reviewed = Reviewed(self.request.review, self.caller.principal, answer, entries)
        ledger = Ledger(view, now, policy.time_zone)
        counts = policy.self_reported if by_itself else SelfReported.COUNT
        claims = ledger.adjust(decision.claims, costs_told_by(decision, self.request.review, counts))
        after = replace(decision, status=Status.REVIEWED, reviewed=reviewed, claims=claims)
        return Decided(
            answer,
            new_decision=after if is_new else None,
            changed_decision=None if is_new else after,
            circuits=tuple(changes),
            usage=ledger.changes,
            postures=holding.held.postures,
            events=(
                self._reviewed_event(answer, attribution),
                *self._bypass(decision, attribution),
                *events,
                *holding.held.events,
                *ledger.reached(policy.tripwires.budgets_of(decision.facts.agent_id), decision.facts.agent_id, attribution),
            ),
        )

    def _entry(self, decision: Decision, circuit: Circuit, settings: CircuitSettings, now: int) -> Entry:
        said = self.request.review
        return breaker.outcome_entry(
            circuit,
            settings,
            decision.id,
            decision.facts.agent_id,
            said.outcome,
            said.severity,
            now,
            asked_at=decision.at,
            damage=damage_told_by(said),
        )

    def _counts_itself(self, policy: Policy, settings: CircuitSettings) -> bool:
        """Whether this circuit takes the outcome from the decision's own agent: what is no failure to it could only make it look better."""
        if policy.self_reported is SelfReported.FAILURES_ONLY:
            return self.request.review.outcome in settings.failure_outcomes
        return policy.self_reported is SelfReported.COUNT

    def _again(self, known: Decision, reviewed: Reviewed, policy: Policy, view: View, now: int) -> Decided[ReviewAnswer]:
        said, before = self.request.review, reviewed.review
        if (said.outcome, said.severity) == (before.outcome, before.severity) and not self._amends_details(before):
            return Decided(replace(reviewed.answer, duplicate=True))
        if not self.request.amend:
            return Decided(Conflict(_contradiction(known.id, before), known.id))
        return amend(Amendment(known, reviewed, said, self._attribution(policy, now)), policy, view)

    def _amends_details(self, before: Review) -> bool:
        """Whether an operator puts right what the action has cost or what it damaged, and nothing else."""
        said = self.request.review
        if not self.request.amend:
            return False
        damages = damage_told_by(replace(said, details={**before.details, **said.details})) != damage_told_by(before)
        return damages or (said.actual_cost is not None and said.actual_cost != before.actual_cost)

    def _amended_needs(self, wanted: frozenset[str], known: Decision, reviewed: Reviewed, policy: Policy, view: View) -> Needs:
        """Nothing but the decision, unless it is amended: then all that its outcome had moved."""
        if not self.request.amend:
            return Needs(wanted)
        circuits = self._amended_circuits(policy, reviewed)
        in_logs = (agents_in_log(view, scope) for scope, need in circuits.items() if moves_postures(need.settings))
        agents = _moved_by(circuits, view, known.facts.agent_id).union(*in_logs)
        return Needs(wanted, circuits, _subjects(known), agents, agents)

    def _amended_circuits(self, policy: Policy, reviewed: Reviewed) -> dict[str, CircuitNeed]:
        circuits = ((scope, seq, policy.circuits.covering_text(scope) or ARCHIVED) for scope, seq in reviewed.entries)
        return {scope: CircuitNeed(settings, writes=True, log_from=seq) for scope, seq, settings in circuits}

    def _attribution(self, policy: Policy, now: int) -> Attribution:
        return Attribution(self.tenant, self.caller.principal, now, policy.version, decision_id=self.request.id)

    def _bypass(self, decision: Decision, attribution: Attribution) -> tuple[Event, ...]:
        """The event that says somebody went on although the service had not let them; once a cancel window is over it has."""
        waits = decision.waits_for
        if decision.was_allowed or (waits is not None and lift_of(waits) is Lift.CANCEL_WINDOW and waits.until <= attribution.at):
            return ()
        facts = decision.facts
        data = {
            "status": decision.status.value,
            "agent": facts.agent_id,
            "intervention": decision.intervention.label,
            "description": facts.description,
            "outcome": self.request.review.outcome.value,
        }
        return (_event(EventType.ENFORCEMENT_BYPASSED, decision.id, attribution, data),)

    def _reviewed_event(self, answer: ReviewAnswer, attribution: Attribution) -> Event:
        said = self.request.review
        data = {"outcome": said.outcome.value, "severity": said.severity.value, "self_reported": answer.self_reported}
        return _event(EventType.DECISION_REVIEWED, answer.id, attribution, data)


def _moved_by(circuits: Mapping[str, CircuitNeed], view: View, agent_id: str) -> frozenset[str]:
    """Whose postures these circuits may move on an outcome of this agent."""
    moved = (agents_moved(view, scope, need.settings, agent_id) for scope, need in circuits.items())
    return frozenset[str]().union(*moved)


def _subjects(decision: Decision) -> frozenset[str]:
    """Whose usage its claims are part of."""
    return frozenset([claim.subject for claim in decision.claims])


def _move(before: Circuit, after: Circuit) -> CircuitMove:
    return CircuitMove(after.scope, before.state.value, after.state.value, after.window.failures)


def _event(event_type: EventType, subject: str, attribution: Attribution, data: Mapping[str, Any]) -> Event:
    return Event(event_type, attribution.tenant, subject, attribution.actor, attribution.at, attribution.policy_version, data)


def _contradiction(decision_id: str, before: Review) -> str:
    return (
        f"decision `{decision_id}` was already reviewed as `{before.outcome.value}` with severity `{before.severity.value}`: "
        "an operator can change that with `amend`"
    )
