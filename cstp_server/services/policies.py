"""What a change of policy writes down: that it happened or was refused, and which circuits no policy covers any more (SPEC 12)."""

from collections.abc import Sequence
from dataclasses import replace

from cstp_server.domain.callers import DEFAULT_TENANT, Caller
from cstp_server.domain.circuit_events import SYSTEM_ACTOR, Attribution
from cstp_server.domain.circuit_settings import ARCHIVED
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.holding import Holding, agents_moved
from cstp_server.services.own_work import OwnWork
from cstp_server.services.ports import Changed, CircuitNeed, Decided, Needs, View

POLICY_VERSION = "policy"
"""The name of the counter that tells every process to read its policy anew."""
POLICY_SUBJECT = "policy"


@dataclass(frozen=True, slots=True)
class NotePolicy:
    """Write down that a policy was loaded, or refused for these problems. `spreads` has every other process read its own anew.

    `cause` says what it was loaded for where nobody changed it: `started`. `happened_at` (ms since the epoch) is when, where that is
    written down only later, as after a time without a store.
    """

    version: str
    problems: tuple[str, ...] = ()
    spreads: bool = False
    caller: Caller | None = None
    cause: str | None = None
    happened_at: int | None = None

    @property
    def tenant(self) -> str:
        """The tenant of the caller, or the default one: a policy is the whole service's."""
        return self.caller.tenant if self.caller is not None else DEFAULT_TENANT

    def needs(self, _policy: Policy, _view: View) -> Needs:
        """Nothing."""
        return Needs()

    def decide(self, _policy: Policy, _view: View, now: int) -> Decided[None]:
        """The event, and the counter where others are to follow."""
        actor = self.caller.principal if self.caller is not None else SYSTEM_ACTOR
        event_type = EventType.POLICY_REJECTED if self.problems else EventType.POLICY_LOADED
        said = {"problems": list(self.problems) or None, "cause": self.cause, "happened_at": self.happened_at}
        data = {name: value for name, value in said.items() if value is not None}
        event = Event(event_type, self.tenant, POLICY_SUBJECT, actor, now, self.version, data)
        return Decided(None, events=(event,), bumps=(POLICY_VERSION,) if self.spreads else ())


@dataclass(frozen=True, slots=True)
class Align(OwnWork):
    """Bring circuits of a tenant in line with the policy: archive those that it covers no more, take back those that it covers again,
    and have the open ones lower the postures that it says, or let go of them.
    """

    tenant: str
    scopes: Sequence[str]

    def needs(self, policy: Policy, view: View) -> Needs:
        """The circuits, and the agents whose postures they hold down."""
        circuits = {scope: CircuitNeed(policy.circuits.covering_text(scope) or ARCHIVED, writes=True) for scope in self.scopes}
        agents = frozenset[str]().union(*(agents_moved(view, scope, need.settings) for scope, need in circuits.items()))
        return Needs(circuits=circuits, postures=agents, moves=agents)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[int]:
        """Their state and counts stay as they are; the answer is how many are marked otherwise than before."""
        changes: list[Changed] = []
        events: list[Event] = []
        holding = Holding(view, policy, Attribution(self.tenant, SYSTEM_ACTOR, now, policy.version))
        for scope, need in self.needs(policy, view).circuits.items():
            circuit, settings = view.circuit(scope), policy.circuits.covering_text(scope)
            gone = settings is None
            holding.align(circuit, settings)
            if gone != (circuit.archived_at is not None):
                changes.append(Changed(replace(circuit, archived_at=now if gone else None), need.settings))
                if gone:
                    data = {"state": circuit.state.value, "previous_state": circuit.state.value, "cause": "archived"}
                    events.append(Event(EventType.CIRCUIT_ARCHIVED, self.tenant, scope, SYSTEM_ACTOR, now, policy.version, data))
        held = holding.held
        return Decided(len(changes), circuits=tuple(changes), postures=held.postures, events=(*events, *held.events))
