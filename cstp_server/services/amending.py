"""Another outcome in the place and time of the first one: every circuit it counted in is folded again (SPEC 4)."""

from dataclasses import replace

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_events import Attribution, amended_event, step_events
from cstp_server.domain.circuit_settings import ARCHIVED
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.damage import damage_told_by
from cstp_server.domain.decisions import CircuitMove, Decision, Review, ReviewAnswer, Reviewed
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.costs import costs
from cstp_server.services.holding import Holding
from cstp_server.services.ledger import Ledger
from cstp_server.services.ports import Changed, CircuitLog, Decided, View


@dataclass(frozen=True, slots=True)
class Amendment:
    """What is to stand in the place of an earlier review."""

    decision: Decision
    reviewed: Reviewed
    review: Review
    attribution: Attribution


def amend(amendment: Amendment, policy: Policy, view: View) -> Decided[ReviewAnswer]:
    """State as if the amended outcome had been the first one; a circuit that only the amended failure had tripped closes again.

    Time passes first, on both sides: what a cooldown has done since is not the amendment's doing.
    """
    said = replace(amendment.review, details={**amendment.reviewed.review.details, **amendment.review.details})
    moves: list[CircuitMove] = []
    changes: list[Changed] = []
    events: list[Event] = [_amended(amendment)]
    holding = Holding(view, policy, amendment.attribution)
    attribution = replace(amendment.attribution, reason=f"the outcome of `{amendment.decision.id}` was amended")
    for scope, seq in amendment.reviewed.entries:
        settings = policy.circuits.covering_text(scope)
        log, circuit = view.log(scope), view.circuit(scope)
        entry, again = _folded_again(log, seq, said)
        if settings is None:  # archived: its past is put right, and time stands still for it
            changes.append(Changed(replace(again, archived_at=circuit.archived_at), ARCHIVED, amended=entry))
            continue
        passed = breaker.advance(circuit, settings, view.past(scope), attribution.at)
        before = passed.circuit
        after = replace(breaker.advance(again, settings, log.past, attribution.at).circuit, archived_at=before.archived_at)
        events.extend(step_events(passed, settings, attribution))
        moves.append(CircuitMove(scope, before.state.value, after.state.value, after.window.failures))
        changes.append(Changed(after, settings, amended=entry))
        if after.state is not before.state:
            events.append(amended_event(before.state, after, settings, attribution))
        holding.follow(before, after, settings)
    answer = replace(
        amendment.reviewed.answer, outcome=amendment.review.outcome, reviewed_at=attribution.at, circuits=tuple(moves), duplicate=False
    )
    reviewed = replace(amendment.reviewed, review=said, by=attribution.actor, answer=answer)
    ledger = Ledger(view, attribution.at, policy.time_zone)
    claims = ledger.adjust(amendment.decision.claims, costs(amendment.decision, said))
    return Decided(
        answer,
        changed_decision=replace(amendment.decision, reviewed=reviewed, claims=claims),
        usage=ledger.changes,
        circuits=tuple(changes),
        postures=holding.held.postures,
        events=(*events, *holding.held.events, *_reached(amendment, ledger, policy)),
    )


def _reached(amendment: Amendment, ledger: Ledger, policy: Policy) -> tuple[Event, ...]:
    """Thresholds of budgets that the actual cost has reached after all."""
    agent_id = amendment.decision.facts.agent_id
    return ledger.reached(policy.tripwires.budgets_of(agent_id), agent_id, amendment.attribution)


def _folded_again(log: CircuitLog, seq: int, review: Review) -> tuple[Entry, Circuit]:
    settings_of = log.settings.__getitem__
    entries = [_replaced(entry, seq, review, log) for entry in log.entries]
    rewritten = next(entry for entry in entries if entry.seq == seq)
    return rewritten, breaker.fold(log.start, entries, settings_of, log.past)


def _replaced(entry: Entry, seq: int, review: Review, log: CircuitLog) -> Entry:
    if entry.seq != seq:
        return entry
    return breaker.amended(entry, log.settings[entry.settings], review.outcome, review.severity, damage_told_by(review))


def _amended(amendment: Amendment) -> Event:
    before, said, attribution = amendment.reviewed.review, amendment.review, amendment.attribution
    data = {
        "previous_outcome": before.outcome.value,
        "previous_severity": before.severity.value,
        "outcome": said.outcome.value,
        "severity": said.severity.value,
    }
    return Event(
        EventType.DECISION_AMENDED,
        attribution.tenant,
        amendment.decision.id,
        attribution.actor,
        attribution.at,
        attribution.policy_version,
        data,
    )
