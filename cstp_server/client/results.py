"""What the service answers, typed.

Unknown fields are let through, because servers grow; each answer keeps the whole of what came over the wire under `raw`. Texts that the
service may have more of later (`intervention`, `status`, `state`) are plain strings. Times are aware datetimes in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What every answer keeps: `raw`, all that came over the wire. It takes no part in comparing."""

    raw: Raw = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """One guard's objection or remark.

    A circuit's also has its scope, state and evidence, a tripwire's how severe it is, a constraint's its dimension and how far it is off.
    """

    guardrail: str
    type: str
    message: str
    action: str | None = None
    severity: str | None = None
    suggestion: str | None = None
    scope: str | None = None
    state: str | None = None
    failure_rate: float | None = None
    recent_failures: tuple[str, ...] = ()
    reset_at: datetime | None = None
    tripwire_severity: str | None = None
    dimension: str | None = None
    used: float | None = None
    limit: float | None = None
    remaining: float | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """A half-open circuit's permission that this decision holds: review it before `expires_at`, or it counts as lost."""

    scope: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """What a decision waits for: `cancel_window`, `confirmation` or `approval`. `decision_id` is the one that waits."""

    kind: str
    until: datetime | None = None
    decision_id: str | None = None

    def __str__(self) -> str:
        until = f" until {in_utc(self.until)}" if self.until is not None else ""
        return f"{_WANTED.get(self.kind, self.kind.replace('_', ' '))}{until}"


_WANTED = {"cancel_window": "the end of its cancel window", "confirmation": "a confirmation", "approval": "an approval"}


def in_utc(moment: datetime) -> str:
    """A time as the service writes it, to the second.

    >>> in_utc(datetime.fromisoformat("2026-02-11T13:30:00Z"))
    '2026-02-11T13:30:00Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change that would turn the answer into an allow."""

    change: str
    field: str | None = None
    to: Any = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Check(Answer):
    """The answer to a check (SPEC 3). `allowed` alone is safe to act on."""

    allowed: bool
    intervention: str
    decision_id: str | None = None
    posture: str | None = None
    violations: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    shadow: tuple[Finding, ...] = ()
    probes: tuple[Probe, ...] = ()
    pending: Pending | None = None
    remedies: tuple[Remedy, ...] = ()
    evaluated: int = 0
    evaluated_at: datetime | None = None
    policy_version: str | None = None


@dataclass(frozen=True, slots=True)
class Awaited(Answer):
    """How a decision stands (SPEC 4): `status` is `pending` while it waits, and `pending` then says for what."""

    id: str
    status: str
    allowed: bool
    reason: str | None = None
    pending: Pending | None = None


@dataclass(frozen=True, slots=True)
class Resolved(Answer):
    """What became of a decision that waited. `violations` are what looking at it again found: then it was not let through."""

    id: str
    resolution: str
    status: str
    allowed: bool
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    reason: str | None = None
    violations: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a decision that had waited was settled, as it is on record."""

    status: str
    by: str | None = None
    at: datetime | None = None
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CircuitMove:
    """What a review did to one circuit."""

    scope: str
    previous_state: str
    state: str
    failure_count: int = 0


@dataclass(frozen=True, slots=True)
class Review(Answer):
    """The answer to a review (SPEC 4). `duplicate`: it had been counted before, and was not counted again."""

    id: str
    outcome: str
    status: str = "reviewed"
    success: bool = True
    reviewed_at: datetime | None = None
    circuits: tuple[CircuitMove, ...] = ()
    duplicate: bool = False
    self_reported: bool = False


@dataclass(frozen=True, slots=True)
class ReviewOnRecord:
    """How a decision turned out, and who said so; `self_reported`: its own agent did."""

    outcome: str
    severity: str | None = None
    reviewed_by: str | None = None
    reviewed_at: datetime | None = None
    self_reported: bool = False
    error_type: str | None = None
    notes: str | None = None


@dataclass(frozen=True, slots=True)
class Decision(Answer):
    """A decision on record; everything that the server knows of it is under `raw`."""

    id: str
    status: str
    source: str | None = None
    description: str | None = None
    type: str | None = None
    category: str | None = None
    stakes: str | None = None
    confidence: float | None = None
    tags: tuple[str, ...] = ()
    agent_id: str | None = None
    user_id: str | None = None
    principal: str | None = None
    intervention: str | None = None
    policy_version: str | None = None
    outcome: str | None = None
    created_at: datetime | None = None
    review: ReviewOnRecord | None = None
    pending: Pending | None = None
    resolution: Resolution | None = None
    answer: Check | None = None


@dataclass(frozen=True, slots=True)
class Recorded(Answer):
    """The answer to recording a decision that was taken without asking."""

    id: str
    success: bool = True
    timestamp: datetime | None = None
    guardrail_warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Circuit(Answer):
    """A circuit breaker (SPEC 5). Durations in ms."""

    scope: str
    state: str
    failure_count: int = 0
    failure_threshold: float = 0
    weighted_failures: float = 0
    failure_rate: float = 0
    reviewed_count: int = 0
    success_count: int = 0
    last_failure: datetime | None = None
    window_ms: int = 0
    cooldown_ms: int = 0
    cooldown_remaining_ms: int | None = None
    opened_at: datetime | None = None
    reset_at: datetime | None = None
    probes_in_flight: int = 0
    probe_successes: int = 0
    forced: bool = False
    mode: str = "enforce"
    policy_id: str | None = None
    from_config: bool = True


@dataclass(frozen=True, slots=True)
class Transition:
    """One move of a circuit: when, why, by whom."""

    at: datetime | None = None
    type: str | None = None
    previous_state: str | None = None
    state: str | None = None
    cause: str | None = None
    actor: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class History(Answer):
    """The moves of one circuit, newest first."""

    scope: str
    transitions: tuple[Transition, ...] = ()


@dataclass(frozen=True, slots=True)
class CircuitChange(Answer):
    """What a reset or a trip did, and by whom and when: `reset_…` after the one, `tripped_…` after the other."""

    scope: str
    previous_state: str
    new_state: str
    reset_by: str | None = None
    reset_at: datetime | None = None
    tripped_by: str | None = None
    tripped_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Earnable:
    """The next posture that an agent can earn; `successes_needed` is none when no number of reviewed successes is enough by itself."""

    to_posture: str
    successes_needed: int | None = None


@dataclass(frozen=True, slots=True)
class Posture(Answer):
    """How much autonomy an agent has (SPEC 8), from `level` 5, `full_autonomy`, to 1, `blocked`; `since` is none when it was never moved.

    `original_posture` is what it was before circuits lowered it. `trust_score` and `review_coverage` are from 0 to 1.
    """

    agent_id: str
    posture: str
    level: int
    since: datetime | None = None
    set_by: str | None = None
    reason: str | None = None
    original_posture: str | None = None
    trust_score: float = 0.0
    review_coverage: float = 1.0
    reviewed: int = 0
    earned: Earnable | None = None


@dataclass(frozen=True, slots=True)
class PostureChange(Answer):
    """What became of an attempt to move an agent. Without `success` a guard refused it: `blocked_by` says which, `reason` why."""

    success: bool
    agent_id: str
    from_posture: str
    to_posture: str
    transition_type: str
    reason: str
    blocked_by: str | None = None
    timestamp: datetime | None = None


@dataclass(frozen=True, slots=True)
class PostureTransition:
    """One attempt to move an agent: when, by whom and why; without `success`, what refused it, and the `refusal`."""

    success: bool
    from_posture: str
    to_posture: str
    transition_type: str
    timestamp: datetime | None = None
    actor: str | None = None
    reason: str | None = None
    blocked_by: str | None = None
    refusal: str | None = None
    original_posture: str | None = None
    decision_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PostureHistory(Answer):
    """The attempts to move an agent, newest first."""

    agent_id: str
    transitions: tuple[PostureTransition, ...] = ()


@dataclass(frozen=True, slots=True)
class TrustRecord(Answer):
    """What was counted under which `id`, and how the user's trust stands after it. `weight` is what a damage counts for.

    A `duplicate` had been told before, and was not counted again.
    """

    id: str
    user_id: str
    domain: str
    previous_state: str
    state: str
    damage_score: float = 0.0
    damage_threshold: float = 0.0
    weight: float | None = None
    duplicate: bool = False
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecoveryProgress:
    """How far trust has come back, from 0 to 1; `time_remaining_hours` is there while it has to wait."""

    status: str
    progress: float
    successes: int = 0
    required: int = 0
    time_remaining_hours: float | None = None


@dataclass(frozen=True, slots=True)
class AutonomyLevel(Answer):
    """How freely the AI may act for a user in one domain (SPEC 10)."""

    user_id: str
    domain: str
    state: str
    can_act_freely: bool
    damage_score: float
    damage_threshold: float
    time_in_state_hours: float
    recovery_progress: RecoveryProgress
    recent_damage_count: int = 0
    forced: bool = False
    mode: str = "enforce"


@dataclass(frozen=True, slots=True)
class Confirmation(Answer):
    """Whether an action wants the user's confirmation now, and why, or why not."""

    required: bool
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TrustReset(Answer):
    """What the reset of a user's trust did."""

    user_id: str
    domain: str
    previous_state: str
    state: str
    reset_by: str | None = None
    reset_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrustMetrics(Answer):
    """How many users' trust is in each state, and how often and how fast it was restored; none where none was yet."""

    states: Mapping[str, int] = field(default_factory=dict)
    average_damage_score: float = 0.0
    recovery_rate: float | None = None
    average_recovery_hours: float | None = None


@dataclass(frozen=True, slots=True)
class Metrics(Answer):
    """How agents stand, what moved them, and how evaluations of constraints turned out; none where there was nothing to measure yet."""

    posture_distribution: Mapping[str, int] = field(default_factory=dict)
    average_posture_level: float | None = None
    transitions_by_type: Mapping[str, int] = field(default_factory=dict)
    circuit_breaker_opens: int = 0
    emergency_downgrades: int = 0
    evaluations_total: int = 0
    evaluations_passed: int = 0
    pass_rate: float | None = None
    dimension_failures: Mapping[str, int] = field(default_factory=dict)
    anti_gaming_flags: Mapping[str, int] = field(default_factory=dict)
    average_evaluation_time_ms: float | None = None


@dataclass(frozen=True, slots=True)
class DimensionCheck:
    """What one dimension says of a context; `missing` names the key that the context should have had."""

    satisfied: bool
    reason: str = ""
    remaining: float | None = None
    used: float | None = None
    limit: float | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation(Answer):
    """Whether a context is within constraints (SPEC 9). `failed_dimensions` were not satisfied, whatever `mode` made of it."""

    satisfied: bool
    failed_dimensions: tuple[str, ...] = ()
    results: Mapping[str, DimensionCheck] = field(default_factory=dict)
    anti_gaming_flags: tuple[str, ...] = ()
    mode: str | None = None
    duration_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Tightening(Answer):
    """Whether constraints only tighten those that they were handed on from; `violations` say where they do not."""

    valid: bool
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dimension(Answer):
    """One kind of bound; it can be used when its `status` is `built_in` or `approved`."""

    name: str
    version: str
    description: str = ""
    status: str = "pending"
    reviewed_by: str | None = None
    reviewed_at: datetime | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Dimensions(Answer):
    """Every dimension, built in or installed."""

    dimensions: tuple[Dimension, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One guard of any type, as it is listed."""

    id: str
    type: str
    description: str = ""
    action: str | None = None
    mode: str | None = None
    scope: tuple[str, ...] = ()
    condition: str | None = None
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Guardrails(Answer):
    """Every guard of the policy."""

    guardrails: tuple[Guardrail, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class TripwireHits:
    """How often actions ran into one tripwire, by agent; `shadow_hits` had no effect and are not among `hits`."""

    name: str
    severity: str
    hits: int = 0
    shadow_hits: int = 0
    last_hit: datetime | None = None
    agents: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TripwireStats(Answer):
    """Every tripwire that was run into, the most often first; `total` is the sum of their `hits`."""

    total: int
    tripwires: tuple[TripwireHits, ...] = ()


@dataclass(frozen=True, slots=True)
class Reloaded(Answer):
    """What a reload did: the policy in force afterwards, and what was wrong with the new one, if anything was."""

    policy_version: str | None = None
    changed: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event(Answer):
    """Something that happened (SPEC 11): to what, through whom, and its place in the chain that proves it."""

    id: str
    at: datetime
    type: str
    subject: str
    actor: str
    data: Mapping[str, Any] = field(default_factory=dict)
    policy_version: str | None = None
    chain: str | None = None
    position: int | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class EventPage(Answer):
    """Some of the events, newest first; `next_cursor` leads to the next ones."""

    events: tuple[Event, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class CircuitPage(Answer):
    """Some of the circuits; `next_cursor` leads to the next ones."""

    circuits: tuple[Circuit, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class DecisionPage(Answer):
    """Some of the decisions, newest first; `next_cursor` leads to the next ones."""

    decisions: tuple[Decision, ...]
    next_cursor: str | None = None
