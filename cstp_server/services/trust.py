"""Trust between a user and the AI: what happened to it, how it stands, and what it asks for (SPEC 10)."""

from dataclasses import replace

from cstp_server.clock import new_id
from cstp_server.domain import circuits as breaker
from cstp_server.domain.callers import ANONYMOUS, Caller
from cstp_server.domain.circuit_events import Attribution, step_events
from cstp_server.domain.circuit_settings import MICRO
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.damage import UNSAID
from cstp_server.domain.decisions import Outcome, Severity
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.findings import Mode
from cstp_server.domain.refusals import CircuitNotFound, Conflict, InvalidInput, Refusal
from cstp_server.domain.scopes import ScopeKind
from cstp_server.domain.trust import TRUST_STATES, TrustState, autonomy_of, needs_confirmation, reason_of
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.policy.secrets import SCANNER
from cstp_server.services import resetting
from cstp_server.services.holding import Holding, agents_moved
from cstp_server.services.ports import Changed, CircuitNeed, Decided, Needs, Reader, Transactor, View
from cstp_server.services.requests import (
    ConfirmationAnswer,
    ScopeAnswer,
    ScopeRequest,
    TrustAnswer,
    TrustMetrics,
    TrustRequest,
    TrustView,
)
from cstp_server.services.scoping import Covered, covered

_HOUR_MS = 3_600_000
_PAGE = 500
_TOLD = {Outcome.FAILURE: "damage", Outcome.SUCCESS: "success"}


async def record(transactor: Transactor, caller: Caller, request: TrustRequest) -> TrustAnswer | Refusal:
    """Count a damage or a success, once it is durable; one that was told under the same id before is not counted again.

    A damage under the id of a success, or the other way round, is a `Conflict`: one of the two would be lost.
    """
    if request.context is not None:
        request = replace(request, context=SCANNER.redacted_text(request.context))
    told_as = request.id if request.id is not None else new_id("trust")
    return await transactor.run(RecordTrust(caller, request, told_as))


async def autonomy(reader: Reader, policy: Policy, caller: Caller, user_id: str, domain: str) -> TrustView | Refusal:
    """How a user's trust stands now."""
    found = _covered(policy, user_id, domain)
    if isinstance(found, Refusal):
        return found
    row = await reader.circuit(caller.tenant, found.scope, found.settings)
    return TrustView(user_id, domain, autonomy_of(row.circuit, found.settings, row.now))


async def confirmation(
    reader: Reader, policy: Policy, caller: Caller, user_id: str, domain: str, action: str | None
) -> ConfirmationAnswer | Refusal:
    """Whether an action of that type wants the user's confirmation now; where trust is not enforced none does."""
    found = _covered(policy, user_id, domain)
    if isinstance(found, Refusal):
        return found
    row = await reader.circuit(caller.tenant, found.scope, found.settings)
    wanted, mode = needs_confirmation(row.circuit, found.settings, action), found.settings.mode
    reason = reason_of(row.circuit, found.settings, action, row.now)
    return ConfirmationAnswer(
        required=wanted and mode is Mode.ENFORCE,
        state=TRUST_STATES[row.circuit.state],
        reason=reason if mode is Mode.ENFORCE or not wanted else f"{reason}; its mode is `{mode}`, so that nothing is asked",
    )


async def reset(
    transactor: Transactor, policy: Policy, caller: Caller, user_id: str, domain: str, reason: str | None
) -> ScopeAnswer | Refusal:
    """Make a user's trust whole again, whatever happened to it."""
    found = _covered(policy, user_id, domain)
    if isinstance(found, Refusal):
        return found
    return await resetting.reset(transactor, caller, ScopeRequest(found.scope, reason))


async def metrics(reader: Reader, policy: Policy, caller: Caller) -> TrustMetrics:
    """How the users of a tenant stand, as far as anything ever happened to their trust; a policy's own breakers of users measure none."""
    states = dict.fromkeys(TrustState, 0)
    damage = recoveries = relapses = recovery_ms = 0
    after: str | None = None
    while page := await reader.circuits(caller.tenant, policy, after=after, prefix=f"{ScopeKind.USER}:", limit=_PAGE):
        after = page[-1].circuit.scope
        for row in page:
            settings = policy.circuits.covering_text(row.circuit.scope)
            if settings is None or settings.trust is None:
                continue
            states[TRUST_STATES[row.circuit.state]] += 1
            damage += breaker.held(row.circuit, settings, row.now)
            recoveries += row.circuit.recoveries
            relapses += row.circuit.relapses
            recovery_ms += row.circuit.recovery_ms
    users = sum(states.values())
    return TrustMetrics(
        states=states,
        average_damage=damage / MICRO / users if users else 0.0,
        recovery_rate=recoveries / (recoveries + relapses) if recoveries + relapses else None,
        average_recovery_hours=recovery_ms / _HOUR_MS / recoveries if recoveries else None,
    )


@dataclass(frozen=True, slots=True)
class RecordTrust:
    """One damage or success as the transactor carries it out."""

    caller: Caller
    request: TrustRequest
    told_as: str

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def needs(self, policy: Policy, view: View) -> Needs:
        """The circuit, then the agents whose postures it moves, which a policy may have given to users' circuits too."""
        found = _covered(policy, self.request.user_id, self.request.domain)
        if isinstance(found, Refusal):
            return Needs()
        agents = agents_moved(view, found.scope, found.settings, self._teller)
        return Needs(circuits={found.scope: CircuitNeed(found.settings, writes=True)}, postures=agents, moves=agents)

    def decide(self, policy: Policy, view: View, now: int) -> Decided[TrustAnswer]:
        """Count it, unless it was counted before; what would take the place of something else that was is refused."""
        found = _covered(policy, self.request.user_id, self.request.domain)
        if isinstance(found, Refusal):
            return Decided(found)
        before, past = view.circuit(found.scope), view.past(found.scope)
        told = breaker.told_under(before, self.told_as)
        if told is not None:
            if told is not self._outcome:
                return Decided(Conflict(f"`{self.told_as}` was told already, as a {_TOLD[told]}: use another id", self.told_as))
            passed = breaker.advance(before, found.settings, past, now).circuit
            return Decided(self._answer(found, passed, passed, None, now))
        entry = self._entry(before, found, now)
        step = breaker.record(before, found.settings, past, entry)
        attribution = Attribution(self.tenant, self.caller.principal, now, policy.version)
        holding = Holding(view, policy, attribution)
        holding.follow(before, step.circuit, found.settings)
        seen = replace(before, state=breaker.cool(before, entry.at).circuit.state)
        return Decided(
            self._answer(found, seen, step.circuit, entry, now),
            circuits=(Changed(step.circuit, found.settings, step.entry),),
            postures=holding.held.postures,
            events=(self._event(found, entry, attribution), *step_events(step, found.settings, attribution), *holding.held.events),
        )

    @property
    def _outcome(self) -> Outcome:
        return Outcome.SUCCESS if self.request.damage is None else Outcome.FAILURE

    @property
    def _teller(self) -> str:
        """Whom a damage is counted by."""
        return self.caller.own_agent or self.caller.principal or ANONYMOUS

    def _entry(self, circuit: Circuit, found: Covered, now: int) -> Entry:
        damage = self.request.damage or UNSAID
        return breaker.outcome_entry(
            circuit, found.settings, self.told_as, self._teller, self._outcome, Severity.MEDIUM, now, damage=damage
        )

    def _answer(self, found: Covered, before: Circuit, after: Circuit, entry: Entry | None, now: int) -> TrustAnswer:
        return TrustAnswer(
            id=self.told_as,
            user_id=self.request.user_id,
            domain=self.request.domain,
            at=now,
            before=TRUST_STATES[before.state],
            after=autonomy_of(after, found.settings, now),
            weight=entry.weight / MICRO if entry is not None else 0.0,
            duplicate=entry is None,
        )

    def _event(self, found: Covered, entry: Entry, attribution: Attribution) -> Event:
        damage, request = self.request.damage, self.request
        data = {
            "id": self.told_as,
            "explicit": damage.explicit if damage is not None else request.explicit,
            "context": request.context,
            **({"damage_type": damage.type.value, "weight": entry.weight / MICRO} if damage is not None else {}),
        }
        event_type = EventType.TRUST_SUCCEEDED if damage is None else EventType.TRUST_DAMAGED
        return Event(event_type, self.tenant, found.scope, attribution.actor, attribution.at, attribution.policy_version, data)


def _scope(user_id: str, domain: str) -> str:
    return f"{ScopeKind.USER}:{user_id}/{domain}"


def _covered(policy: Policy, user_id: str, domain: str) -> Covered | Refusal:
    unnamed = _unnamed(user_id, domain)
    if unnamed is not None:
        return unnamed
    found = covered(policy, _scope(user_id, domain))
    if isinstance(found, CircuitNotFound):
        return replace(found, message=f"nothing measures the trust of `{found.scope}`: the policy has `trust: {{mode: off}}`")
    if isinstance(found, Covered) and found.settings.trust is None:
        message = f"nothing measures the trust of `{found.scope}`: the policy has a circuit breaker of its own in its place"
        return CircuitNotFound(message, found.scope)
    return found


def _unnamed(user_id: str, domain: str) -> InvalidInput | None:
    """What keeps these two from naming one user's trust in one domain: with a `/` in the domain, they might name another's."""
    if not domain or "/" in domain:
        return InvalidInput("`domain` must be a text without `/`, and not empty", "domain")
    return InvalidInput("`userId` must not be empty", "userId") if not user_id else None
