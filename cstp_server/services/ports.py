"""What the use cases ask of the machinery, and what they give back to it.

A use case says which rows it may touch (`needs`), and decides on them (`decide`) without input or output of its own. The transactor loads
the needs of many use cases at once, hands each in turn the state that the ones before it left, writes all changes in one transaction, and
answers when they are durable.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from cstp_server.domain.agent_habits import AgentHabits
from cstp_server.domain.callers import Caller
from cstp_server.domain.circuit_past import Past
from cstp_server.domain.circuit_settings import CircuitSettings
from cstp_server.domain.circuit_state import Circuit, Entry
from cstp_server.domain.constraints import Dimension
from cstp_server.domain.decisions import Decision, Status
from cstp_server.domain.decisions import Outcome as DecisionOutcome
from cstp_server.domain.dimension_reviews import DimensionReview
from cstp_server.domain.events import Event
from cstp_server.domain.posture_guards import GuardRefusal, TransitionGuard, TransitionRequest
from cstp_server.domain.postures import AgentPosture, TransitionType
from cstp_server.domain.refusals import Refusal
from cstp_server.domain.sessions import SessionChange
from cstp_server.domain.tripwires import Hit
from cstp_server.domain.trust_scores import Record
from cstp_server.domain.usage import Claim, Usage
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy, SelfReported

T = TypeVar("T")
Tally: TypeAlias = tuple[tuple[str, int], ...]
"""What is counted by name, and how many."""


@dataclass(frozen=True, slots=True)
class CircuitNeed:
    """A circuit that a use case looks at.

    `settings` give the window that must be loaded. `writes` says that the circuit will change whatever its state, so its row is locked at
    once; a circuit that is not closed is locked in any case. `log_from` asks for the log from that line on, for amending.
    """

    settings: CircuitSettings
    writes: bool = False
    log_from: int | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """The rows that a use case may touch, in its own tenant: decisions by id, circuits by scope, usage by subject, postures by agent,
    habits by agent, reviews of dimensions by the dimension's name.

    Usage and habits are locked as soon as they are read, since whoever looks at them is about to change them; postures are, of the agents
    in `moves`.
    `final` says that nothing it may see would make it need more, so that it need not be asked again.
    """

    decisions: frozenset[str] = frozenset()
    circuits: Mapping[str, CircuitNeed] = field(default_factory=dict)
    usage: frozenset[str] = frozenset()
    postures: frozenset[str] = frozenset()
    moves: frozenset[str] = frozenset()
    habits: frozenset[str] = frozenset()
    dimensions: frozenset[str] = frozenset()
    final: bool = False


@dataclass(frozen=True, slots=True)
class CircuitLog:
    """A stretch of a circuit's log for folding it again: the state before `entries`, what may leave its window, and all named settings."""

    start: Circuit
    past: Past
    entries: Sequence[Entry]
    settings: Mapping[str, CircuitSettings]


class View(Protocol):
    """The state of one tenant as of now: what was loaded, with the changes of the use cases that came before in the batch."""

    def decision(self, id: str) -> Decision | None:
        """The decision of that id, if there is one. `LookupError` when it was never asked for in `needs`."""
        ...

    def circuit(self, scope: str) -> Circuit:
        """The circuit of that scope; a fresh closed one before its first use."""
        ...

    def past(self, scope: str) -> Past:
        """The outcomes that may leave the circuit's window in this transaction."""
        ...

    def log(self, scope: str) -> CircuitLog:
        """The log that `log_from` asked for."""
        ...

    def usage(self, subject: str) -> Usage:
        """What the subject has used; what has left a rolling window by now is not part of it any more."""
        ...

    def posture(self, agent_id: str) -> AgentPosture | None:
        """The agent's posture, if it was ever set. `LookupError` when it was never asked for in `needs`."""
        ...

    def habits(self, agent_id: str) -> AgentHabits:
        """The agent's habits; none, of one that was never looked at."""
        ...

    def dimension_reviews(self, name: str) -> Sequence[DimensionReview]:
        """The last review of each version of a dimension that was ever reviewed."""
        ...


@dataclass(frozen=True, slots=True)
class Changed:
    """A circuit as it is now, the line that its log gained, and, after an amendment, the line that was rewritten."""

    circuit: Circuit
    settings: CircuitSettings
    entry: Entry | None = None
    amended: Entry | None = None


@dataclass(frozen=True, slots=True)
class UsageChange:
    """What a subject has used as of now, the claims that were made on it, and those that count for another amount than before."""

    usage: Usage
    made: tuple[Claim, ...] = ()
    changed: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class OutboxChange:
    """What became of alerts of one subject on one channel `at` some time; `sent`, `failed` and `dead` are the ids of their events.

    Those that were `sent` are gone, those that `failed` are tried again, those that are `dead` no more unless somebody asks for it. The
    subject is told of again from `not_before` on (ms since the epoch). `error` says why they did not arrive.
    """

    channel: str
    subject: str
    at: int
    not_before: int
    sent: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Decided(Generic[T]):
    """What a use case decided: the answer, the rows as they are from now on, and what to remember of it."""

    answer: T | Refusal
    new_decision: Decision | None = None
    changed_decision: Decision | None = None
    circuits: tuple[Changed, ...] = ()
    usage: tuple[UsageChange, ...] = ()
    postures: tuple[AgentPosture, ...] = ()
    hits: tuple[Hit, ...] = ()
    habits: tuple[AgentHabits, ...] = ()
    dimension_reviews: tuple[DimensionReview, ...] = ()
    events: tuple[Event, ...] = ()
    outbox: tuple[OutboxChange, ...] = ()
    sessions: tuple[SessionChange, ...] = ()
    tallies: Tally = ()
    """So many more of each, for reading."""
    bumps: tuple[str, ...] = ()
    """Versions that every process watches and that are to be counted up: `tokens`, `policy`."""


class UseCase(Protocol[T]):
    """One call that may change something, on behalf of one tenant."""

    @property
    def tenant(self) -> str:
        """Whose rows it touches; no use case sees another tenant's."""
        ...

    @property
    def caller(self) -> Caller | None:
        """On whose behalf, so that a token revoked a moment ago changes nothing any more; none for the service's own work."""
        ...

    def needs(self, policy: Policy, view: View) -> Needs:
        """The rows it may touch. Asked again whenever more was loaded, until it wants nothing more."""
        ...

    def decide(self, policy: Policy, view: View, now: int) -> Decided[T]:
        """The decision, at `now` (ms since the epoch). Pure: the same arguments give the same result."""
        ...


class Transactor(Protocol):
    """Carries out use cases, durably and one after another."""

    async def run(self, use_case: UseCase[T]) -> T | Refusal:
        """The use case's answer, once what it says is durable.

        Raises `StoreUnavailable` when the database does not answer, `Overloaded` when the queue is full or the deadline has passed.
        """
        ...


@dataclass(frozen=True, slots=True)
class DecisionQuery:
    """Which decisions to list, newest first. `since` in ms since the epoch; `before` is the place (time, id) to go on from."""

    status: Status | None = None
    agent: str | None = None
    category: str | None = None
    outcome: DecisionOutcome | None = None
    since: int | None = None
    before: tuple[int, str] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class CircuitRow:
    """A circuit as a reader sees it, with the time of reading: what time has done to it since it was stored is already in it."""

    circuit: Circuit
    now: int


@dataclass(frozen=True, slots=True)
class HitCount:
    """How often one agent ran into one tripwire; `shadowed` of those had no effect. `last_at` in ms since the epoch."""

    tripwire: str
    severity: str
    agent_id: str
    hits: int
    shadowed: int
    last_at: int


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events to list, newest first; without `types`, of all.

    `since` in ms since the epoch; `before` is the place (time, id) to go on from.
    """

    types: tuple[str, ...] = ()
    subject: str | None = None
    since: int | None = None
    before: tuple[int, str] | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An event on record, with its place in the chain that proves it."""

    id: str
    at: int
    type: str
    subject: str
    actor: str
    policy_version: str
    data: Mapping[str, Any]
    chain: str | None
    position: int | None
    hash: bytes | None


@dataclass(frozen=True, slots=True)
class AlertCounts:
    """Alerts of one channel that wait to arrive, since when the first of them does (ms since the epoch), and that were given up."""

    waiting: int = 0
    waiting_since: int | None = None
    dead: int = 0


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """What is in the store, over all tenants: circuits in use by kind of scope and state, agents that were ever moved by posture, the
    decisions that wait, and alerts by channel. `waiting_since` is when the first of these decisions was asked for, in ms since the epoch.
    """

    circuits: Mapping[tuple[str, str], int]
    postures: Mapping[str, int]
    waiting: int
    waiting_since: int | None
    alerts: Mapping[str, AlertCounts] = field(default_factory=dict)


class Reader(Protocol):
    """Reads that change nothing and wait for no writer."""

    async def decision(self, tenant: str, id: str) -> Decision | None:
        """One decision."""
        ...

    async def decisions(self, tenant: str, query: DecisionQuery) -> Sequence[Decision]:
        """Decisions that match, newest first, at most `query.limit`."""
        ...

    async def circuit(self, tenant: str, scope: str, settings: CircuitSettings) -> CircuitRow:
        """One circuit, as time has left it; a fresh closed one before its first use."""
        ...

    async def circuits(self, tenant: str, policy: Policy, *, after: str | None, prefix: str | None, limit: int) -> Sequence[CircuitRow]:
        """Stored circuits that the policy covers, by scope, from the one after `after` on, at most `limit`."""
        ...

    async def hits(self, tenant: str, *, since: int | None, agent: str | None) -> Sequence[HitCount]:
        """How often agents ran into tripwires, by tripwire and agent."""
        ...

    async def posture(self, tenant: str, agent_id: str) -> AgentPosture | None:
        """The posture of an agent, if it was ever moved."""
        ...

    async def postures(self, tenant: str, agent_ids: Sequence[str]) -> Mapping[str, AgentPosture]:
        """The postures of those of these agents that were ever moved."""
        ...

    async def posture_events(self, tenant: str, agent_id: str, limit: int) -> Sequence[Event]:
        """The attempts to move an agent, newest first."""
        ...

    async def last_refusal(self, tenant: str, agent_id: str, actor: str) -> Event | None:
        """The last attempt of that actor to move the agent that was refused."""
        ...

    async def record(self, tenant: str, agent_id: str, *, since: int, due_before: int, self_reported: SelfReported) -> Record:
        """What is known of an agent's decisions since a time; those before `due_before` should have been reviewed by now."""
        ...

    async def records(
        self, tenant: str, agent_ids: Sequence[str], *, since: int, due_before: int, self_reported: SelfReported
    ) -> Mapping[str, Record]:
        """As `record`, of many agents at once."""
        ...

    async def event_entries(self, tenant: str, query: EventQuery) -> Sequence[EventEntry]:
        """Events that match, newest first, at most `query.limit`."""
        ...

    async def known_agents(self, tenant: str) -> Mapping[str, AgentPosture | None]:
        """Every agent that has decisions or was ever moved, with its posture if it was."""
        ...

    async def moves(self, tenant: str, *, since: int | None) -> Mapping[TransitionType, int]:
        """How often agents were moved, by type; attempts that were refused are none."""
        ...

    async def openings(self, tenant: str, *, since: int | None) -> int:
        """How often circuits opened, forced ones included."""
        ...

    async def tallies(self, tenant: str, *, since: int | None) -> Mapping[str, int]:
        """What was counted by name, from the beginning of the hour of `since` on."""
        ...

    async def transitions(self, tenant: str, scope: str, limit: int) -> Sequence[Event]:
        """The circuit's events, newest first."""
        ...

    async def let_through(self, tenant: str, agent_id: str, limits: Mapping[str, int]) -> Mapping[str, int]:
        """How many checks of an agent were let through lately, by period (`second`, `minute`, `hour`, `day`: any 24 hours).

        Beyond the limit that is given for a period, it may stop counting.
        """
        ...

    async def dimension_reviews(self, tenant: str) -> Sequence[DimensionReview]:
        """The last review of each version of each dimension that was ever reviewed."""
        ...


@dataclass(frozen=True, slots=True)
class InstalledGuard:
    """A guard of an installed package; one that is not `loaded` refuses whatever it might have looked at."""

    name: str
    applies_to: frozenset[TransitionType]
    loaded: bool = True


class Guardians(Protocol):
    """Asks the guards of posture transitions: the policy's, and those of installed packages."""

    @property
    def installed(self) -> Sequence[InstalledGuard]:
        """The guards of installed packages, in the order in which they are asked."""
        ...

    async def ask(self, guards: Sequence[TransitionGuard], request: TransitionRequest) -> GuardRefusal | None:
        """Who refuses the transition first, and why; none when nobody does. A guard that hangs or fails has refused."""
        ...


class Dimensions(Protocol):
    """The kinds of constraints that this process knows, by name."""

    @property
    def built_in(self) -> Mapping[str, Dimension]:
        """Those that the service brings along."""
        ...

    @property
    def custom(self) -> Mapping[str, Dimension]:
        """Those of installed packages; each is unusable until somebody has approved its name and version."""
        ...

    @property
    def allow_unreviewed(self) -> bool:
        """Whether custom ones are usable without an approval, which is for tests."""
        ...


class Expected(Protocol):
    """One decision that somebody waits for."""

    async def look(self) -> Decision | None:
        """The decision as it is now, if there is one."""
        ...

    async def wait(self, seconds: float) -> bool:
        """Wait until the decision may have been settled, at most that long; false when the service is about to end."""
        ...


class Waiting(Protocol):
    """Knows when decisions are settled, in this process or another."""

    def expect(self, tenant: str, id: str) -> AbstractContextManager[Expected]:
        """To be told of everything that happens to the decision from now on."""
        ...


@dataclass(frozen=True, slots=True)
class Duty:
    """A duty that one process has taken, at `now` (ms since the epoch), and how far whoever had it before has come with it."""

    now: int
    progress: str


class Duties(Protocol):
    """Work that one process at a time sees to, for so many ms at a time: another one takes over when the holder does not keep it."""

    async def take(self, name: str, holder: str, ms: int) -> Duty | None:
        """The duty, unless another process has it. All who ask for one of that name ask for about as many ms."""
        ...

    async def keep(self, name: str, holder: str, ms: int, progress: str) -> bool:
        """Have it for so long from now on, and remember how far it has come; false when another process has taken it meanwhile."""
        ...

    async def leave(self, name: str, holder: str) -> None:
        """Let others have it at once."""
        ...


@dataclass(frozen=True, slots=True)
class CircuitMark:
    """What a circuit's row says of its use: whether it is archived, and whether it lets decisions flow."""

    tenant: str
    scope: str
    is_archived: bool
    is_closed: bool


class PolicySource(Protocol):
    """The policy in force in this process, and the way to read it anew."""

    @property
    def current(self) -> Policy:
        """The policy in force."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the newest policy, where it was refused and the one before it stays in force; nothing otherwise."""
        ...

    async def reload(self, caller: Caller) -> "Reloaded":
        """Read the policy anew here and have every other process do so; a bad one changes nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did: the version in force afterwards, and what was wrong with the new policy, if anything was."""

    version: str
    changed: bool
    problems: tuple[str, ...] = ()


class Authenticator(Protocol):
    """Knows tokens by their digest."""

    async def caller_of(self, digest: bytes) -> Caller | None:
        """Who holds the token of that digest; none when it is unknown, revoked or expired. A revocation takes effect at once."""
        ...

    async def any_tokens(self) -> bool:
        """Whether any token is configured; while none is, a loopback caller has every role."""
        ...
