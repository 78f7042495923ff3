"""The ports that the edge stands on, in memory: the real use cases run on them, on state that a test can look at."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.callers import Caller, Role, effective_roles
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import MICRO, CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry, EntryKind
from cstp_server.domain.circuits import advance
from cstp_server.domain.decisions import Decision, Source, Status
from cstp_server.domain.dimension_reviews import DimensionReview
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.findings import Intervention, Mode
from cstp_server.domain.guardrails import Guardrail
from cstp_server.domain.postures import AgentPosture, TransitionType
from cstp_server.domain.rates import SPANS
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.tripwires import Hit
from cstp_server.domain.trust_scores import Record
from cstp_server.domain.usage import Claim, Tally, Usage
from cstp_server.policy.compiled import CircuitPolicies, Policy, SelfReported
from cstp_server.services.ports import (
    CircuitLog,
    CircuitRow,
    Decided,
    DecisionQuery,
    EventEntry,
    EventQuery,
    Expected,
    HitCount,
    Reloaded,
    StoreCounts,
    UseCase,
)
from cstp_server.services.tokens import digest_of

T = TypeVar("T")

START = 1_770_815_280_125
_MOVES = (EventType.POSTURE_UPGRADED, EventType.POSTURE_DOWNGRADED, EventType.POSTURE_MAINTAINED, EventType.POSTURE_REFUSED)
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

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.elapsed += seconds
        self.at += round(seconds * 1000)


@dataclass(slots=True)
class Memory:
    """One store: carries out use cases one by one, and is read from. `fault` is raised in place of any answer."""

    clock: SetClock
    policy: Policy = POLICY
    stored: dict[tuple[str, str], Decision] = field(default_factory=dict)
    circuits_of: dict[tuple[str, str], Circuit] = field(default_factory=dict)
    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)
    usage_of: dict[tuple[str, str], Usage] = field(default_factory=dict)
    claims: dict[tuple[str, str, str, int], Claim] = field(default_factory=dict)
    """The claims in rolling windows, by tenant, subject, meter and number."""
    postures_of: dict[tuple[str, str], AgentPosture] = field(default_factory=dict)
    records_of: dict[tuple[str, str], Record] = field(default_factory=dict)
    habits_of: dict[tuple[str, str], AgentHabits] = field(default_factory=dict)
    reviewed: dict[tuple[str, str, str], DimensionReview] = field(default_factory=dict)
    tripped: list[tuple[str, Hit]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    ran: int = 0
    censuses: int = 0
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
        for change in decided.usage:
            subject = change.usage.subject
            self.usage_of[tenant, subject] = change.usage
            for claim in (*change.made, *change.changed):
                self.claims[tenant, subject, claim.meter, claim.seq] = claim
        self.postures_of.update({(tenant, posture.agent_id): posture for posture in decided.postures})
        self.habits_of.update({(tenant, habits.agent_id): habits for habits in decided.habits})
        self.reviewed.update({(tenant, review.name, review.version): review for review in decided.dimension_reviews})
        self.tripped.extend((tenant, hit) for hit in decided.hits)
        self.events.extend(decided.events)
        self.counted.update({(tenant, name): count for name, count in decided.tallies})

    async def decision(self, tenant: str, id: str) -> Decision | None:
        """One decision."""
        return self.stored.get((tenant, id))

    async def event_entries(self, tenant: str, query: EventQuery) -> Sequence[EventEntry]:
        """Events that match, newest first; their ids are their numbers."""
        numbered = [(f"evt_{number:04}", event) for number, event in enumerate(self.events) if event.tenant == tenant]
        newest = sorted(numbered, key=lambda each: (each[1].at, each[0]), reverse=True)
        found = [_entry(id, event) for id, event in newest if _is_asked_for(id, event, query)]
        return found[: query.limit]

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

    async def hits(self, tenant: str, *, since: int | None, agent: str | None) -> Sequence[HitCount]:
        """How often agents ran into tripwires."""
        found = [
            hit
            for owner, hit in self.tripped
            if owner == tenant and (since is None or hit.at >= since) and (agent is None or hit.agent_id == agent)
        ]
        found.sort(key=_of_whom)
        return [_count(list(hits)) for _, hits in groupby(found, key=_of_whom)]

    async def posture(self, tenant: str, agent_id: str) -> AgentPosture | None:
        """The posture of an agent, if it was ever moved."""
        return self.postures_of.get((tenant, agent_id))

    async def postures(self, tenant: str, agent_ids: Sequence[str]) -> Mapping[str, AgentPosture]:
        """The postures of those of these agents that were ever moved."""
        return {agent_id: found for agent_id in agent_ids if (found := self.postures_of.get((tenant, agent_id))) is not None}

    async def last_refusal(self, tenant: str, agent_id: str, actor: str) -> Event | None:
        """The last attempt of that actor to move the agent that was refused."""
        found = [event for event in self.events if event.tenant == tenant and event.subject == agent_id and event.actor == actor]
        return next((event for event in reversed(found) if event.type is EventType.POSTURE_REFUSED), None)

    async def dimension_reviews(self, tenant: str) -> Sequence[DimensionReview]:
        """What was said of custom dimensions."""
        return [review for (owner, _, _), review in self.reviewed.items() if owner == tenant]

    async def let_through(self, tenant: str, agent_id: str, limits: Mapping[str, int]) -> Mapping[str, int]:
        """How many checks of an agent were let through in the last second, minute, hour and day."""
        allowed = [
            decision.at
            for (owner, _), decision in self.stored.items()
            if owner == tenant and decision.facts.agent_id == agent_id and decision.source is Source.CHECKED and decision.was_allowed
        ]
        now = self.clock.now()
        return {period: sum(at > now - (SPANS[period].rolling_ms or 0) for at in allowed) for period in limits}

    async def posture_events(self, tenant: str, agent_id: str, limit: int) -> Sequence[Event]:
        """The attempts to move an agent, newest first."""
        found = [event for event in self.events if event.tenant == tenant and event.subject == agent_id and event.type in _MOVES]
        return found[::-1][:limit]

    async def record(self, tenant: str, agent_id: str, *, since: int, due_before: int, self_reported: SelfReported) -> Record:
        """What was said to be known of an agent."""
        return self.records_of.get((tenant, agent_id), Record())

    async def records(
        self, tenant: str, agent_ids: Sequence[str], *, since: int, due_before: int, self_reported: SelfReported
    ) -> Mapping[str, Record]:
        """What was said to be known of agents."""
        return {agent_id: self.records_of.get((tenant, agent_id), Record()) for agent_id in agent_ids}

    async def counts(self) -> StoreCounts:
        """What is in the store."""
        if self.fault is not None:
            raise self.fault
        self.censuses += 1
        waiting = [decision.at for decision in self.stored.values() if decision.status is Status.PENDING]
        circuits = Counter((scope.partition(":")[0], circuit.state.value) for (_, scope), circuit in self.circuits_of.items())
        postures = Counter(posture.posture.label for posture in self.postures_of.values())
        return StoreCounts(circuits, postures, len(waiting), min(waiting, default=None))

    async def known_agents(self, tenant: str) -> Mapping[str, AgentPosture | None]:
        """Every agent that has decisions or was ever moved."""
        deciding = {decision.facts.agent_id for (owner, _), decision in self.stored.items() if owner == tenant}
        moved = {agent_id: posture for (owner, agent_id), posture in self.postures_of.items() if owner == tenant}
        return {agent_id: moved.get(agent_id) for agent_id in deciding | moved.keys()}

    async def moves(self, tenant: str, *, since: int | None) -> Mapping[TransitionType, int]:
        """How often agents were moved, by type."""
        made = [event for event in self._happened(tenant, since) if event.type in _MOVES and event.data["success"]]
        return Counter(TransitionType(event.data["transition_type"]) for event in made)

    async def openings(self, tenant: str, *, since: int | None) -> int:
        """How often circuits opened."""
        found = [event.data for event in self._happened(tenant, since) if event.type.startswith("circuit.")]
        return sum(data.get("state") == "open" and data.get("previous_state") != "open" for data in found)

    async def tallies(self, tenant: str, *, since: int | None) -> Mapping[str, int]:
        """What was counted by name, whenever it was."""
        return {name: count for (owner, name), count in self.counted.items() if owner == tenant}

    def _happened(self, tenant: str, since: int | None) -> list[Event]:
        return [event for event in self.events if event.tenant == tenant and (since is None or event.at >= since)]

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
        failures = [entry for entry in outcomes if entry.failed and entry.seq > window.head]
        return Past([entry for entry in outcomes if entry.seq > window.tail], failures, fresh=failures)

    def log(self, scope: str) -> CircuitLog:
        """The whole log, from a fresh circuit on."""
        settings = self.memory.policy.circuits.covering_text(scope)
        known = {settings.key: settings} if settings is not None else {}
        return CircuitLog(Circuit(scope), Past(), self.memory.entries.get((self.tenant, scope), []), known)

    def habits(self, agent_id: str) -> AgentHabits:
        """The agent's habits."""
        return self.memory.habits_of.get((self.tenant, agent_id), AgentHabits(agent_id))

    def dimension_reviews(self, name: str) -> Sequence[DimensionReview]:
        """What was said of each version of a dimension."""
        return [review for (owner, known, _), review in self.memory.reviewed.items() if owner == self.tenant and known == name]

    def usage(self, subject: str) -> Usage:
        """What the subject has used, counted anew from its claims."""
        usage = self.memory.usage_of.get((self.tenant, subject), Usage(subject))
        return Usage(subject, {meter: self._as_of_now(subject, meter, tally) for meter, tally in usage.tallies.items()})

    def _as_of_now(self, subject: str, meter: str, tally: Tally) -> Tally:
        window = tally.span.rolling_ms
        if window is None:
            return tally
        began = self.memory.clock.now() - window
        of_meter = (claim for key, claim in self.memory.claims.items() if key[:3] == (self.tenant, subject, meter))
        within = [claim for claim in of_meter if claim.at > began]
        if not within:
            return tally._replace(used=0, oldest_at=None, newest_at=None)
        return tally._replace(used=sum(claim.amount for claim in within), oldest_at=within[0].at, newest_at=within[-1].at)

    def posture(self, agent_id: str) -> AgentPosture | None:
        """The agent's posture."""
        return self.memory.postures_of.get((self.tenant, agent_id))


@dataclass(frozen=True, slots=True)
class MemoryWaiting:
    """Waits in the test's time: a wait lasts as long as it was asked for, and the clock is then so much later."""

    memory: Memory

    @contextmanager
    def expect(self, tenant: str, id: str) -> Iterator[Expected]:
        """To be told of everything that happens to the decision."""
        yield MemoryExpected(self.memory, tenant, id)


@dataclass(frozen=True, slots=True)
class MemoryExpected:
    """One decision that somebody waits for."""

    memory: Memory
    tenant: str
    id: str

    async def look(self) -> Decision | None:
        """The decision as it is now."""
        return await self.memory.decision(self.tenant, self.id)

    async def wait(self, seconds: float) -> bool:
        """Let that much time pass."""
        self.memory.clock.pass_seconds(seconds)
        return True


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


def _of_whom(hit: Hit) -> tuple[str, str]:
    return hit.tripwire, hit.agent_id


def _count(hits: list[Hit]) -> HitCount:
    shadowed = sum(hit.mode is Mode.SHADOW for hit in hits)
    latest = max(hits, key=lambda hit: hit.at)
    return HitCount(latest.tripwire, latest.severity, latest.agent_id, len(hits) - shadowed, shadowed, latest.at)


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


def _is_asked_for(id: str, event: Event, query: EventQuery) -> bool:
    return (
        (not query.types or event.type.value in query.types)
        and (query.subject is None or event.subject == query.subject)
        and (query.since is None or event.at >= query.since)
        and (query.before is None or (event.at, id) < query.before)
    )


def _entry(id: str, event: Event) -> EventEntry:
    where = (event.at, event.type.value, event.subject, event.actor, event.policy_version, event.data)
    return EventEntry(id, *where, chain="chn_1", position=1, hash=b"\x01" * 32)
