"""What callers ask of the use cases, in domain terms; the edge rooms build these from what came over the wire."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from cstp_server.domain.constraints import Evaluation, Interaction
from cstp_server.domain.damage import Damage
from cstp_server.domain.decisions import CircuitMove, Pending, Review, Status
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Finding
from cstp_server.domain.postures import AgentPosture, Posture, TransitionType
from cstp_server.domain.resolutions import Resolution
from cstp_server.domain.trust import Autonomy, TrustState
from cstp_server.domain.trust_scores import Record
from cstp_server.domain.values import dataclass
from cstp_server.services.tallying import EvaluationCounts


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
class ResolveRequest:
    """What somebody says of a decision that waits, and their remark to it."""

    id: str
    resolution: Resolution
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ResolveAnswer:
    """What became of it, by whom and when (ms since the epoch); `objections` are what the second look found against it."""

    id: str
    resolution: Resolution
    status: Status
    by: str
    at: int
    reason: str | None = None
    objections: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class AwaitRequest:
    """Wait at most so long for a decision to be settled."""

    id: str
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class AwaitAnswer:
    """How a decision stands; `pending` tells what it still waits for."""

    id: str
    status: Status
    allowed: bool
    reason: str | None = None
    pending: Pending | None = None


@dataclass(frozen=True, slots=True)
class TripwireStats:
    """How often a tripwire was run into, and by whom; `shadow_hits` had no effect. `last_hit` in ms since the epoch."""

    name: str
    severity: str
    hits: int
    shadow_hits: int
    last_hit: int | None
    agents: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PostureRequest:
    """Another posture for an agent; `expected` is what the caller takes it for now, none when they do not say."""

    agent_id: str
    to: Posture
    reason: str
    expected: Posture | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TransitionAnswer:
    """What became of a transition: the posture before and after it. `blocked_by` is the guard that refused it."""

    success: bool
    agent_id: str
    before: Posture
    after: Posture
    type: TransitionType
    reason: str
    at: int
    blocked_by: str | None = None


@dataclass(frozen=True, slots=True)
class Earnable:
    """The next posture that an agent can earn, and how many more reviewed successes, and nothing else, it takes; none when none do."""

    to: Posture
    successes_needed: int | None


@dataclass(frozen=True, slots=True)
class PostureView:
    """An agent's posture with its record, and what it can earn next."""

    posture: AgentPosture
    record: Record
    earnable: Earnable | None = None


@dataclass(frozen=True, slots=True)
class PostureEntry:
    """One attempt to move an agent; `by` is who or what tried. `at` in ms since the epoch."""

    at: int
    by: str
    success: bool
    before: str
    after: str
    type: str
    reason: str
    blocked_by: str | None = None
    refusal: str | None = None
    original: str | None = None
    decision_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """Constraints as they are written, and the context to hold against them; what `agent_named` says is for the record of its habits."""

    constraints: Mapping[str, Any]
    context: Mapping[str, Any]
    mode: Interaction = Interaction.CONJUNCTIVE
    agent_named: str | None = None


@dataclass(frozen=True, slots=True)
class EvaluationAnswer:
    """The evaluation, and what the agent's habits show."""

    evaluation: Evaluation
    mode: Interaction
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DimensionInfo:
    """A dimension as callers see it. `status` is `built_in`, `approved`, `pending` or `rejected`; `at` in ms since the epoch."""

    name: str
    version: str
    description: str
    status: str
    by: str | None = None
    at: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class DimensionRequest:
    """A review of an installed dimension: of its installed version, unless `version` names the one that was looked at."""

    name: str
    version: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class TrustRequest:
    """What happened to a user's trust in one domain: `damage`, or, where that is none, a success.

    `id` is the caller's name for this telling, so that it counts once however often it is told; `context` is a remark for the record.
    """

    user_id: str
    domain: str
    damage: Damage | None = None
    explicit: bool = False
    context: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class TrustAnswer:
    """What was counted, under which id, for how much (in weighted damages), and the trust before and after it."""

    id: str
    user_id: str
    domain: str
    at: int
    before: TrustState
    after: Autonomy
    weight: float = 0.0
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class TrustView:
    """A user's trust in one domain now."""

    user_id: str
    domain: str
    autonomy: Autonomy


@dataclass(frozen=True, slots=True)
class ConfirmationAnswer:
    """Whether an action wants the user's confirmation now, and why, or why not."""

    required: bool
    state: TrustState
    reason: str


@dataclass(frozen=True, slots=True)
class GovernanceMetrics:
    """How the agents of a tenant stand, none of them left out; how often they were moved and circuits opened; and their evaluations.

    `average_level` is between 1 (all blocked) and 5 (all autonomous), none while there is no agent.
    """

    agents: Mapping[Posture, int]
    average_level: float | None
    moves: Mapping[TransitionType, int]
    openings: int
    evaluations: EvaluationCounts

    @property
    def emergencies(self) -> int:
        """How often an agent was blocked past all guards."""
        return self.moves[TransitionType.EMERGENCY_DOWNGRADE]


@dataclass(frozen=True, slots=True)
class TrustMetrics:
    """All measures of trust of a tenant. Rates and times are none as long as nothing was recovered or lost again."""

    states: Mapping[TrustState, int]
    average_damage: float
    recovery_rate: float | None
    average_recovery_hours: float | None


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
