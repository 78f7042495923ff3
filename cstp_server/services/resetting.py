"""What operators do to a circuit: reset it, let it prove itself, or force it open (SPEC 5)."""

from dataclasses import replace

from cstp_server.domain import circuits as breaker
from cstp_server.domain.callers import Caller
from cstp_server.domain.circuit_events import Attribution, step_events
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, State, Step
from cstp_server.domain.decisions import CircuitMove
from cstp_server.domain.findings import Mode
from cstp_server.domain.refusals import InvalidInput, Refusal
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.policy.secrets import SCANNER
from cstp_server.services.holding import Holding, agents_moved
from cstp_server.services.ports import Changed, CircuitNeed, Decided, Needs, Transactor, View
from cstp_server.services.requests import ScopeAnswer, ScopeRequest
from cstp_server.services.scoping import Covered, covered


async def reset(transactor: Transactor, caller: Caller, request: ScopeRequest) -> ScopeAnswer | Refusal:
    """Close a circuit, or with `probe_first` let it prove itself; a closed one has its counters cleared."""
    return await transactor.run(MoveCircuit(caller, _redacted(request), forces=False))


async def trip(transactor: Transactor, caller: Caller, request: ScopeRequest) -> ScopeAnswer | Refusal:
    """Force a circuit open until it is reset; the reason is required."""
    if not (request.reason or "").strip():
        return InvalidInput("`reason` is required: say why the circuit is forced open", "reason")
    return await transactor.run(MoveCircuit(caller, _redacted(request), forces=True))


def _redacted(request: ScopeRequest) -> ScopeRequest:
    return replace(request, reason=SCANNER.redacted_text(request.reason)) if request.reason is not None else request


@dataclass(frozen=True, slots=True)
class MoveCircuit:
    """One reset or trip as the transactor carries it out."""

    caller: Caller
    request: ScopeRequest
    forces: bool

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, policy: Policy, view: View) -> Needs:
        """The circuit, then the agents whose postures it moves."""
        found = covered(policy, self.request.scope)
        if isinstance(found, Refusal):
            return Needs()
        agents = agents_moved(view, found.scope, found.settings)
        return Needs(circuits={found.scope: CircuitNeed(found.settings, writes=True)}, postures=agents, moves=agents)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[ScopeAnswer]:
        """Move it, whatever its state."""
        found = covered(policy, self.request.scope)
        if isinstance(found, Refusal):
            return Decided(found)
        before = view.circuit(found.scope)
        step = self._step(before, found.settings, view, now)
        attribution = Attribution(self.tenant, self.caller.principal, now, policy.version, self.request.reason)
        seen = step.transitions[-1].previous
        holding = Holding(view, policy, attribution)
        holding.follow(before, step.circuit, found.settings)
        return Decided(
            ScopeAnswer(
                CircuitMove(found.scope, seen.value, step.circuit.state.value, step.circuit.window.failures),
                self.caller.principal,
                now,
                self._message(found, seen, step.circuit),
            ),
            circuits=(Changed(step.circuit, found.settings, step.entry),),
            postures=holding.held.postures,
            events=(*step_events(step, found.settings, attribution), *holding.held.events),
        )

    def _step(self, before: Circuit, settings: CircuitSettings, view: View, now: int) -> Step:
        past, by, request = view.past(before.scope), self.caller.principal, self.request
        if self.forces:
            return breaker.trip(before, settings, past, now, by=by, reason=request.reason or "")
        return breaker.reset(before, settings, past, now, by=by, reason=request.reason, probe_first=request.probe_first)

    def _message(self, found: Covered, before: State, after: Circuit) -> str:
        scope, mode = found.scope, found.settings.mode
        if self.forces:
            harmless = "" if mode is Mode.ENFORCE else f"; its mode is `{mode.value}`, so that it refuses nothing"
            return f"circuit `{scope}` is forced open: it stays open until it is reset{harmless}"
        if after.state is State.HALF_OPEN:
            return f"circuit `{scope}` is half-open: it closes when its probes succeed"
        if before is State.CLOSED:
            return f"circuit `{scope}` was closed: its counters are cleared"
        return f"circuit `{scope}` is closed and its counters are cleared"
