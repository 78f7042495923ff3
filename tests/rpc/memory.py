"""The ports that the edge stands on, in memory: the real use cases run on them, on state that a test can look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cstp_server.domain.callers import Caller, Role, effective_roles
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry, EntryKind
from cstp_server.domain.circuits import advance
from cstp_server.domain.decisions import Decision
from cstp_server.domain.events import Event
from cstp_server.domain.findings import Intervention
from cstp_server.domain.guardrails import Guardrail
from cstp_server.domain.refusals import Refusal
from cstp_server.policy.compiled import CircuitPolicies, Policy
from cstp_server.services.ports import CircuitLog, CircuitRow, Decided, DecisionQuery, Reloaded, UseCase
from cstp_server.services.tokens import digest_of

T = TypeVar("T")

START = 1_770_815_280_125
POLICY = Policy(
    version="sha256:test",
    circuits=CircuitPolicies(
        exact={"category:tooling": CircuitSettings("tooling", "category-tooling-breaker", failure_threshold=2 * MICRO)},
        templates={"agent:*": CircuitSettings("agents", "", failure_threshold=100 * MICRO)},
    ),
    guardrails=(
        Guardrail(
            "no-unreviewed-change", "changes take a review", Intervention.WARN, "have it reviewed", requires=("action.context.reviewed",)
        ),
    ),
)


@dataclass(slots=True)
class SetClock:
    """A clock that shows what it is set to: `at` in ms since the epoch, `elapsed` in seconds."""

    at: int = START
    elapsed: float = 0.0

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.at

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.elapsed


@dataclass(slots=True)
class Memory:
    """One store: carries out use cases one by one, and is read from. `fault` is raised in place of any answer."""

    clock: SetClock
    policy: Policy = POLICY
    stored: dict[tuple[str, str], Decision] = field(default_factory=dict)
    circuits_of: dict[tuple[str, str], Circuit] = field(default_factory=dict)
    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    ran: int = 0
    fault: Exception | None = None

    async def run(self, use_case: UseCase[T]) -> T | Refusal:
        """The use case's answer; what it changes is there for the next one."""
        if self.fault is not None:
            raise self.fault
        self.ran += 1
        view = MemoryView(self, use_case.tenant)
        use_case.needs(self.policy, view)
        decided = use_case.decide(self.policy, view, self.clock.now())
        self._keep(use_case.tenant, decided)
        return decided.answer

    def _keep(self, tenant: str, decided: Decided[T]) -> None:
        for decision in (decided.new_decision, decided.changed_decision):
            if decision is not None:
                self.stored[tenant, decision.id] = decision
        for changed in decided.circuits:
            self.circuits_of[tenant, changed.circuit.scope] = changed.circuit
            if changed.entry is not None:
                self.entries.setdefault((tenant, changed.circuit.scope), []).append(changed.entry)
        self.events.extend(decided.events)

    async def decision(self, tenant: str, id: str) -> Decision | None:
        """One decision."""
        return self.stored.get((tenant, id))

    async def decisions(self, tenant: str, query: DecisionQuery) -> Sequence[Decision]:
        """Decisions that match, newest first."""
        found = [decision for (owner, _), decision in self.stored.items() if owner == tenant and _matches(decision, query)]
        found.sort(key=lambda decision: (decision.at, decision.id), reverse=True)
        return found[: query.limit]

    async def circuit(self, tenant: str, scope: str, settings: CircuitSettings) -> CircuitRow:
        """One circuit, as time has left it."""
        view = MemoryView(self, tenant)
        return CircuitRow(advance(view.circuit(scope), settings, view.past(scope), self.clock.now()).circuit, self.clock.now())

    async def circuits(self, tenant: str, policy: Policy, *, after: str | None, prefix: str | None, limit: int) -> Sequence[CircuitRow]:
        """Stored circuits, by scope."""
        scopes = sorted(scope for owner, scope in self.circuits_of if owner == tenant and scope.startswith(prefix or ""))
        covered = ((scope, policy.circuits.covering_text(scope)) for scope in scopes if after is None or scope > after)
        return [await self.circuit(tenant, scope, settings) for scope, settings in covered if settings is not None][:limit]

    async def transitions(self, tenant: str, scope: str, limit: int) -> Sequence[Event]:
        """The circuit's events, newest first."""
        found = [event for event in self.events if event.tenant == tenant and event.subject == scope]
        return found[::-1][:limit]


@dataclass(frozen=True, slots=True)
class MemoryView:
    """The state of one tenant."""

    memory: Memory
    tenant: str

    def decision(self, id: str) -> Decision | None:
        """The decision of that id."""
        return self.memory.stored.get((self.tenant, id))

    def circuit(self, scope: str) -> Circuit:
        """The circuit of that scope."""
        return self.memory.circuits_of.get((self.tenant, scope), Circuit(scope))

    def past(self, scope: str) -> Past:
        """All outcomes that the window may still hold."""
        window = self.circuit(scope).window
        outcomes = [entry for entry in self.memory.entries.get((self.tenant, scope), []) if entry.kind is EntryKind.OUTCOME]
        return Past(
            [entry for entry in outcomes if entry.seq > window.tail],
            [entry for entry in outcomes if entry.failed and entry.seq > window.head],
        )

    def log(self, scope: str) -> CircuitLog:
        """The whole log, from a fresh circuit on."""
        settings = self.memory.policy.circuits.covering_text(scope)
        known = {settings.key: settings} if settings is not None else {}
        return CircuitLog(Circuit(scope), Past(), self.memory.entries.get((self.tenant, scope), []), known)


@dataclass(slots=True)
class MemoryTokens:
    """Tokens in a dict."""

    key: bytes = b""
    callers: dict[bytes, Caller] = field(default_factory=dict)
    fault: Exception | None = None

    def add(self, secret: str, name: str, *roles: Role, tenant: str = "default", agent: str | None = None) -> None:
        """Make a token."""
        digest = digest_of(secret, self.key)
        self.callers[digest] = Caller(name, effective_roles(frozenset(roles)), tenant, agent, token_digest=digest)

    async def caller_of(self, digest: bytes) -> Caller | None:
        """Who holds the token of that digest."""
        if self.fault is not None:
            raise self.fault
        return self.callers.get(digest)

    async def any_tokens(self) -> bool:
        """Whether there is any token."""
        return bool(self.callers)


@dataclass(slots=True)
class MemoryPolicy:
    """A policy that reloads into itself, or is refused for `problems`."""

    current: Policy = POLICY
    problems: tuple[str, ...] = ()

    async def reload(self, caller: Caller) -> Reloaded:
        """What a reload did."""
        return Reloaded(self.current.version, changed=False, problems=self.problems)


@dataclass(slots=True)
class MemoryReadiness:
    """Ready in what it is told."""

    parts: Mapping[str, bool] = field(default_factory=lambda: {"store": True, "migrations": True, "policy": True})

    async def report(self) -> Mapping[str, bool]:
        """What is there."""
        return self.parts


def _matches(decision: Decision, query: DecisionQuery) -> bool:
    reviewed = decision.reviewed.review.outcome if decision.reviewed is not None else None
    return (
        (query.status is None or decision.status is query.status)
        and (query.agent is None or decision.facts.agent_id == query.agent)
        and (query.category is None or decision.facts.category == query.category)
        and (query.outcome is None or reviewed is query.outcome)
        and (query.since is None or decision.at >= query.since)
        and (query.before is None or (decision.at, decision.id) < query.before)
    )
