"""What a circuit is: its states and the moves between them, the lines of its log, and the sums that it carries."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from cstp_server.domain.decisions import Outcome
from cstp_server.domain.values import dataclass


class State(StrEnum):
    """Whether decisions flow."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Cause(StrEnum):
    """Why a circuit moves."""

    THRESHOLD_REACHED = "threshold_reached"
    COOLDOWN_ELAPSED = "cooldown_elapsed"
    PROBES_SUCCEEDED = "probes_succeeded"
    PROBE_FAILED = "probe_failed"
    RESET = "reset"
    PROBE_FIRST = "probe_first"
    TRIPPED = "tripped"


TRANSITIONS: Mapping[tuple[State, Cause], State] = {
    (State.CLOSED, Cause.THRESHOLD_REACHED): State.OPEN,
    (State.OPEN, Cause.COOLDOWN_ELAPSED): State.HALF_OPEN,
    (State.HALF_OPEN, Cause.PROBES_SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Cause.PROBE_FAILED): State.OPEN,
    (State.OPEN, Cause.PROBE_FIRST): State.HALF_OPEN,
    (State.HALF_OPEN, Cause.PROBE_FIRST): State.HALF_OPEN,
    (State.CLOSED, Cause.RESET): State.CLOSED,
    (State.OPEN, Cause.RESET): State.CLOSED,
    (State.HALF_OPEN, Cause.RESET): State.CLOSED,
    (State.CLOSED, Cause.TRIPPED): State.OPEN,
    (State.OPEN, Cause.TRIPPED): State.OPEN,
    (State.HALF_OPEN, Cause.TRIPPED): State.OPEN,
}


class IllegalTransition(Exception):
    """A cause that has no meaning in a state; the circuit is unchanged."""


class EntryKind(StrEnum):
    """What a line of a circuit's log says happened."""

    OUTCOME = "outcome"
    CLAIM = "claim"
    RESET = "reset"
    PROBE_FIRST = "probe_first"
    TRIP = "trip"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a circuit's log; `seq` counts from 1 without gaps. `weight` is what the outcome weighs when it is a failure."""

    seq: int
    at: int
    kind: EntryKind
    settings: str
    decision_id: str | None = None
    agent_id: str | None = None
    outcome: Outcome | None = None
    failed: bool = False
    weight: int = 0
    actor: str | None = None
    reason: str | None = None
    asked_at: int | None = None
    """When its decision was asked for; none where it is the outcome of no decision."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A half-open circuit's permission for one decision, until `expires_at`."""

    decision_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Window:
    """Sums over the outcomes that count.

    `failures` and `weighted` are held against the circuit (a success may take some off); `reviewed`, `failed` and `succeeded` simply
    happened in the window. No entry after `tail` is older than `oldest_at`, so until the window passes it nothing need be read.
    `failed_by` counts failures in the window by agent.

    Where failures fade, `fading` is the weight of those up to `mid`, which do, and `fading_at` the sum of each one's weight times its
    time; no failure after `mid` is older than `fresh_at`. What all of them count for at any moment follows from these sums (`held`),
    which are those of a window of `fades_ms`; none where nothing fades.
    """

    tail: int = 0
    head: int = 0
    failures: int = 0
    weighted: int = 0
    reviewed: int = 0
    failed: int = 0
    succeeded: int = 0
    oldest_at: int = 0
    failed_by: Mapping[str, int] = field(default_factory=dict)
    mid: int = 0
    fading: int = 0
    fading_at: int = 0
    fresh_at: int | None = None
    fades_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state of one circuit. `since` is when it entered its state; `openings` counts since it was last closed.

    `logged_at` is the time of the last line of its log: no line is older than the one before it, whatever clocks do.
    `archived_at` is when no policy covered it any more. `broken_at` is when it was closed last. Of how it has fared: `recoveries` by
    proving itself, which took `recovery_ms` from opening to closing in all, and `relapses` from half-open.
    """

    scope: str
    state: State = State.CLOSED
    generation: int = 0
    since: int = 0
    opened_at: int | None = None
    reset_at: int | None = None
    openings: int = 0
    forced: bool = False
    forced_by: str | None = None
    forced_reason: str | None = None
    probe_successes: int = 0
    probe_damage: int = 0
    leases: tuple[Lease, ...] = ()
    seq: int = 0
    logged_at: int = 0
    last_failure: int | None = None
    recent: tuple[tuple[str, int], ...] = ()
    window: Window = Window()
    archived_at: int | None = None
    blamed: tuple[str, ...] = ()
    """The agents whose failures opened it, and re-opened it since; none while it is closed."""
    told: tuple[tuple[str, Outcome], ...] = ()
    """The latest outcomes that were told of no decision, each after the id it was told under: none counts twice."""
    broken_at: int | None = None
    recoveries: int = 0
    recovery_ms: int = 0
    relapses: int = 0
    ages_at: int | None = None
    """When what fades in it is worth being added up anew; none where nothing does."""

    @property
    def failure_rate(self) -> float:
        """Failures over reviewed decisions in the window; `on_success` does not touch it. 0 when nothing was reviewed."""
        return self.window.failed / self.window.reviewed if self.window.reviewed else 0.0

    def lease_of(self, decision_id: str) -> Lease | None:
        """The live lease that a decision holds on this circuit."""
        return next((lease for lease in self.leases if lease.decision_id == decision_id), None)

    def next_due(self) -> int | None:
        """When time alone will next move this circuit: the end of its cooldown, or of its first lease, or when much of it has faded."""
        due = [self.reset_at] if self.state is State.OPEN else [lease.expires_at for lease in self.leases]
        return min((at for at in (*due, self.ages_at) if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Transition:
    """A move of the machine, for history and alerts."""

    previous: State
    state: State
    cause: Cause


@dataclass(frozen=True, slots=True)
class Step:
    """What an input did: the circuit afterwards, its moves in order, leases lost to time, and the line for the log."""

    circuit: Circuit
    transitions: tuple[Transition, ...] = ()
    expired: tuple[Lease, ...] = ()
    entry: Entry | None = None
