"""What callers ask of the use cases, in domain terms; the edge rooms build these from what came over the wire."""

from dataclasses import dataclass

from cstp_server.domain.decisions import CircuitMove, Review
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Finding


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """May this go on? `facts` as declared; `agent_named` is what the call said of the agent, none when it said nothing.

    `digest` identifies the call's content, for idempotency. `facts.agent_id` is filled in by the use case from the token.
    """

    facts: Facts
    agent_named: str | None
    digest: str
    decision_id: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """A decision that was taken without asking."""

    facts: Facts
    agent_named: str | None
    digest: str
    decision_id: str | None = None


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """A recorded decision, and what the guards would have said of it."""

    id: str
    at: int
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """How a decision turned out. `inline` describes one that was never checked here."""

    id: str
    review: Review
    amend: bool = False
    inline: CheckRequest | None = None


@dataclass(frozen=True, slots=True)
class ScopeRequest:
    """A reset or a trip of one circuit."""

    scope: str
    reason: str | None = None
    probe_first: bool = False


@dataclass(frozen=True, slots=True)
class ScopeAnswer:
    """What a reset or a trip did, by whom and when (ms since the epoch)."""

    move: CircuitMove
    by: str
    at: int
    message: str


@dataclass(frozen=True, slots=True)
class CircuitView:
    """A circuit with its policy, as callers see it (SPEC 5). Times in ms since the epoch, durations in ms."""

    scope: str
    state: str
    failure_count: int
    failure_threshold: float
    weighted_failures: float
    failure_rate: float
    reviewed_count: int
    success_count: int
    last_failure: int | None
    window_ms: int
    cooldown_ms: int
    opened_at: int | None
    reset_at: int | None
    cooldown_remaining_ms: int
    probes_in_flight: int
    probe_successes: int
    forced: bool
    mode: str
    policy_id: str
    from_config: bool


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One transition of a circuit."""

    at: int
    type: str
    previous_state: str
    state: str
    cause: str
    actor: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class GuardrailInfo:
    """One guard of any type, for listing."""

    id: str
    type: str
    description: str
    action: str
    mode: str
    scope: str | None = None
    condition: str | None = None
    requires: tuple[str, ...] = ()
