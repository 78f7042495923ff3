"""What a case depends on, as time has left it; and what letting the decision through takes of it."""

from collections.abc import Mapping

from cstp_server.domain import circuits as breaker
from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.circuit_events import Attribution, claimed_event, step_events
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, State, Step
from cstp_server.domain.decisions import Probe
from cstp_server.domain.events import Event
from cstp_server.domain.facts import Facts
from cstp_server.domain.postures import AgentPosture
from cstp_server.domain.usage import Usage
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.bounding import Reviews
from cstp_server.services.evaluating import Case, Situation, case_of
from cstp_server.services.ports import Changed, View


@dataclass(frozen=True, slots=True)
class Looked:
    """The state behind a case at a moment, and the steps of circuits that time took until then."""

    circuits: Mapping[str, Circuit]
    usage: Mapping[str, Usage]
    agent: AgentPosture
    steps: tuple[tuple[CircuitSettings, Step], ...]
    changes: tuple[Changed, ...]
    reviews: Reviews
    habits: AgentHabits | None = None

    def situation(self) -> Situation:
        """What the guards look at."""
        return Situation(self.circuits, self.usage, self.agent.posture, self.reviews, self.habits)

    def at(self, now: int) -> Situation:
        """What the guards would see at a later moment, if nothing but time happened until then."""
        later = {scope: breaker.cool(circuit, now).circuit for scope, circuit in self.circuits.items()}
        return Situation(later, self.usage, self.agent.posture, self.reviews, self.habits)

    def events(self, attribution: Attribution) -> tuple[Event, ...]:
        """What time did, as events."""
        return tuple(event for settings, step in self.steps for event in step_events(step, settings, attribution))


@dataclass(frozen=True, slots=True)
class Leases:
    """The probes that a decision was given: the circuits with its leases, and what it is told of them."""

    changes: tuple[Changed, ...] = ()
    probes: tuple[Probe, ...] = ()

    def events(self, attribution: Attribution) -> tuple[Event, ...]:
        """That it was given them, as events."""
        return tuple(claimed_event(probe.scope, attribution.decision_id or "", probe.expires_at, attribution) for probe in self.probes)


NO_LEASES = Leases()


def posture_in(view: View, policy: Policy, agent_id: str) -> AgentPosture:
    """The agent's posture as of now."""
    return policy.postures.of(agent_id, view.posture(agent_id))


def classify(policy: Policy, declared: Facts, view: View, known: Case | None) -> Case:
    """The case of these facts under the policy and the agent's posture, as far as that has been read; `known` as long as it holds."""
    case = known if known is not None and known.policy is policy else case_of(policy, declared)
    if not policy.speaks_of_posture:
        return case
    try:
        posture = posture_in(view, policy, declared.agent_id).posture
    except LookupError:
        return case
    return case if posture is case.posture else case_of(policy, declared, posture)


def look(case: Case, view: View, now: int, *, observes: bool = False) -> Looked:
    """Everything that the case depends on, as time has left it at `now`. `observes`: the agent's habits too, where it has bounds."""
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
    usage = {charge.subject: view.usage(charge.subject) for charge in case.claimed}
    agent_id, bounding = case.facts.agent_id, case.bounding
    return Looked(
        circuits,
        usage,
        posture_in(view, case.policy, agent_id),
        tuple(steps),
        tuple(changes),
        reviews={name: view.dimension_reviews(name) for name in bounding.custom} if bounding is not None else {},
        habits=view.habits(agent_id) if observes and bounding is not None and bounding.shows_habits else None,
    )


def lease(case: Case, looked: Looked, decision_id: str, now: int) -> Leases:
    """A lease on every half-open circuit of the case; the verdict has made sure that each has a free one, or only shadows."""
    changes: list[Changed] = []
    for scope, settings in case.circuits:
        circuit = looked.circuits[scope]
        if circuit.state is State.HALF_OPEN and settings.trust is None and breaker.has_free_probe(circuit, settings):
            step = breaker.claim(circuit, settings, decision_id, case.facts.agent_id, now)
            changes.append(Changed(step.circuit, settings, step.entry))
    if not changes:
        return NO_LEASES
    leases = ((changed.circuit.scope, changed.circuit.lease_of(decision_id)) for changed in changes)
    return Leases(tuple(changes), tuple(Probe(scope, lease.expires_at) for scope, lease in leases if lease is not None))
