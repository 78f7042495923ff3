"""What people look for in the store, and no call needs: lists, counts, searches, the latest events."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from cstp_server.domain.circuit_state import Entry, State
from cstp_server.domain.decisions import Decision, Outcome, Status
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.facts import Stakes
from cstp_server.domain.findings import Lift
from cstp_server.domain.postures import Posture
from cstp_server.domain.tripwire_rules import Per
from cstp_server.domain.tripwires import Hit
from cstp_server.domain.usage import Usage
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.notifying import GivenUp
from cstp_server.services.ports import CircuitRow, HitCount

ROUTINE = frozenset(
    {
        EventType.DECISION_CHECKED,
        EventType.DECISION_RECORDED,
        EventType.DECISION_REVIEWED,
        EventType.CIRCUIT_PROBE_CLAIMED,
        EventType.TRUST_SUCCEEDED,
    }
)
"""Events that every decision brings along; nobody is told of them one by one."""
MOST_WAITING = 1_000
"""Decisions that wait are counted up to this number, by what they wait for: it stands for itself and all that are larger."""
GLANCED = 5_000
"""So many rows are counted in a moment, and may be whenever a page is looked at."""
TimedPlace = tuple[int, str]
"""Where a list goes on: at that time (ms since the epoch), and after that id."""


@dataclass(frozen=True, slots=True)
class CircuitSearch:
    """Which stored circuits to list, by scope: in one state, of users' trust (`of_users`) or all others, whose scope contains a text."""

    state: State | None = None
    of_users: bool = False
    text: str | None = None
    after: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class DecisionSearch:
    """Which decisions to look for, newest first: those that match, among at most `scans` from `before` (time, id) on.

    `text` is looked for in what the agent said of the action, whatever its case. They were asked for at `since` or later, and before
    `until`; `type` and `category` are folded (SPEC 3).
    """

    status: Status | None = None
    agent: str | None = None
    category: str | None = None
    type: str | None = None
    stakes: Stakes | None = None
    outcome: Outcome | None = None
    intervention: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None
    before: TimedPlace | None = None
    limit: int = 50
    scans: int = 20_000

    @property
    def picks(self) -> bool:
        """Whether it may take a look at many decisions to find a few: what it names besides agent and time is looked for one by one."""
        return any((self.status, self.category, self.type, self.stakes, self.outcome, self.intervention, self.text))

    @property
    def narrows(self) -> bool:
        """Whether it names more than an agent."""
        return self.picks or self.since is not None or self.until is not None


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """What was found, and the place to go on from; none when there is nothing further. `is_full`: there was no need to look further."""

    decisions: Sequence[Decision]
    next: TimedPlace | None
    is_full: bool


@dataclass(frozen=True, slots=True)
class WaitingSearch:
    """Which of the decisions that wait to list: those that wait for one of `lifts`, the soonest to run out first, from `after` on."""

    lifts: frozenset[Lift] = frozenset(Lift)
    after: TimedPlace | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class EventSearch:
    """Which events to list, newest first, from the one before `before` on; `kind` is the part of their type before the dot.

    None of the types in `without` is listed.
    Where a `subject` is narrowed down to a kind or to types, these are looked for among its next `scans` events.
    """

    kind: str | None = None
    subject: str | None = None
    types: frozenset[EventType] = frozenset()
    without: frozenset[EventType] = frozenset()
    since: int | None = None
    before: TimedPlace | None = None
    limit: int = 50
    scans: int = 20_000

    @property
    def wanted(self) -> frozenset[EventType]:
        """The types that are asked for, by name or as a kind; none asks for all of them."""
        return self.types or frozenset(each for each in EventType if self.kind is not None and each.value.startswith(f"{self.kind}."))


@dataclass(frozen=True, slots=True)
class Told:
    """An event with its place in the record."""

    id: str
    event: Event

    @property
    def place(self) -> TimedPlace:
        """Where a list goes on after it."""
        return self.event.at, self.id


@dataclass(frozen=True, slots=True)
class Seen:
    """One decision, as far as counting goes. `at` in ms since the epoch."""

    at: int
    agent_id: str
    status: str
    intervention: str
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Glance:
    """The latest decisions of a tenant; `is_all` says that there are no more of them since the time that was asked for."""

    seen: Sequence[Seen]
    is_all: bool


@dataclass(frozen=True, slots=True)
class CircuitCounts:
    """How many circuits are stored and covered by the policy, by the state that time has left them in: of users' trust, and all others."""

    others: Mapping[State, int] = field(default_factory=dict)
    of_users: Mapping[State, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hits:
    """How often agents ran into tripwires, by tripwire and agent; `is_all` unless there may be more hits than were counted."""

    counts: Sequence[HitCount]
    is_all: bool


class Catalogue(Protocol):
    """Looks things up for people, one tenant's at a time; nothing here waits for a writer."""

    async def circuit_counts(self, tenant: str, policy: Policy) -> CircuitCounts:
        """How many circuits that the policy covers are in each state, as time has left them."""
        ...

    async def circuits(self, tenant: str, policy: Policy, search: CircuitSearch) -> Sequence[CircuitRow]:
        """Stored circuits that the policy covers and that match, by scope, as time has left them."""
        ...

    async def stored(self, tenant: str, scopes: Sequence[str]) -> frozenset[str]:
        """Which of these circuits are stored, in use or not."""
        ...

    async def outcomes(self, tenant: str, lasts: Mapping[str, int], limit: int) -> Mapping[str, Sequence[Entry]]:
        """The outcomes among the last `limit` lines of the logs of some circuits, oldest first; `lasts` are their last lines' numbers."""
        ...

    async def search(self, tenant: str, search: DecisionSearch) -> DecisionPage:
        """Decisions that match."""
        ...

    async def decisions_of(self, tenant: str, ids: Sequence[str]) -> Mapping[str, Decision]:
        """Decisions by id; one that is not there is left out."""
        ...

    async def glance(self, tenant: str, since: int, limit: int) -> Glance:
        """The latest decisions since a time, newest first, at most `limit`."""
        ...

    async def waiting(self, tenant: str) -> Mapping[str, int]:
        """How many decisions wait, by what for; counting stops at `MOST_WAITING`."""
        ...

    async def waiting_decisions(self, tenant: str, search: WaitingSearch) -> Sequence[Decision]:
        """The decisions that wait and match, the soonest to run out first."""
        ...

    async def hits(self, tenant: str, *, since: int, agent: str | None, limit: int) -> Hits:
        """How often agents ran into tripwires since a time; at most `limit` of the latest hits of each tripwire, or of the agent, count."""
        ...

    async def hits_of(self, tenant: str, agent_id: str, since: int, limit: int) -> Sequence[Hit]:
        """The latest times that an agent ran into a tripwire since a time, newest first."""
        ...

    async def events(self, tenant: str, search: EventSearch) -> Sequence[Told]:
        """Events that match, newest first; of the routine ones only those of a `subject`."""
        ...

    async def agents(
        self, tenant: str, *, text: str | None, posture: Posture | None, after: str | None, limit: int
    ) -> Mapping[str, int | None]:
        """Agents that have decisions or were moved, by id, with the time of their last decision; those whose id contains a text.

        With a `posture`, those alone that were moved there.
        """
        ...

    async def posture_counts(self, tenant: str) -> Mapping[str, int]:
        """How many of the agents that were ever moved are in each posture."""
        ...

    async def given_up(self, tenant: str, channels: Iterable[str]) -> Sequence[GivenUp]:
        """What was given up of the tenant's alerts on some channels, the one that failed last first."""
        ...

    async def usages(self, tenant: str, subjects: Sequence[str]) -> Mapping[str, Usage]:
        """What some subjects have used of their quotas, as of their last claims; those that have used nothing are left out."""
        ...

    async def usages_per(self, tenant: str, per: Per, limit: int) -> Mapping[str, Usage]:
        """As `usages`, of the first subjects of one kind, by their names."""
        ...
