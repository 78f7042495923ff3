"""What time does to circuits, without waiting for traffic (SPEC 5): cooled-down ones become half-open, unreviewed probes are lost."""

from collections.abc import Sequence

from cstp_server.domain import circuits as breaker
from cstp_server.domain.circuit_events import SYSTEM_ACTOR, Attribution, step_events
from cstp_server.domain.events import Event
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.own_work import OwnWork
from cstp_server.services.ports import Changed, CircuitNeed, Decided, Needs, View


@dataclass(frozen=True, slots=True)
class Sweep(OwnWork):
    """Let time pass for some circuits of a tenant; the answer is how many moved."""

    tenant: str
    scopes: Sequence[str]

    def needs(self, policy: Policy, _view: View) -> Needs:
        """The circuits that a policy still covers."""
        found = ((scope, policy.circuits.covering_text(scope)) for scope in self.scopes)
        return Needs(circuits={scope: CircuitNeed(settings, writes=True) for scope, settings in found if settings})

    def decide(self, policy: Policy, view: View, now: int) -> Decided[int]:
        """Advance each; one that another process has moved meanwhile is left as it is."""
        attribution = Attribution(self.tenant, SYSTEM_ACTOR, now, policy.version)
        changes: list[Changed] = []
        events: list[Event] = []
        for scope, need in self.needs(policy, view).circuits.items():
            circuit = view.circuit(scope)
            step = breaker.advance(circuit, need.settings, view.past(scope), now)
            if step.circuit is not circuit:
                changes.append(Changed(step.circuit, need.settings))
                events.extend(step_events(step, need.settings, attribution))
        return Decided(len(changes), circuits=tuple(changes), events=tuple(events))
