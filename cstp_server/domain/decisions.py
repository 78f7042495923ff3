"""A decision: one governed action, its verdict, its life and its outcome (SPEC 1 and 4)."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Intervention, Remedy, Verdict
from cstp_server.domain.usage import Claim
from cstp_server.domain.values import dataclass


class Status(StrEnum):
    """Where a decision is in its life."""

    ALLOWED = "allowed"
    BLOCKED = "blocked"
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REVIEWED = "reviewed"


class Source(StrEnum):
    """How the service came to know of a decision: it was asked, it was told, only the outcome reached it, or it proposes it itself."""

    CHECKED = "checked"
    RECORDED = "recorded"
    REVIEWED = "reviewed"
    PROPOSED = "proposed"


class Outcome(StrEnum):
    """How a decision turned out."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"
    ABANDONED = "abandoned"


class Severity(StrEnum):
    """How bad a failure was; the circuit's policy weighs it."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Probe:
    """A lease on a half-open circuit that this decision holds; `expires_at` in ms since the epoch."""

    scope: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Pending:
    """What a decision waits for: `cancel_window`, `confirmation` or `approval`, and until when (ms since the epoch)."""

    kind: str
    until: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """How a decision that waited was settled: as what, by whom, when (ms since the epoch), and why."""

    status: Status
    by: str
    at: int
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True)  # without slots, which are dear to write as JSON
class Answer:
    """The answer to a check, whole, as it is recorded."""

    decision_id: str
    verdict: Verdict
    posture: str
    evaluated: int
    evaluated_at: int
    policy_version: str
    probes: tuple[Probe, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    pending: Pending | None = None


@dataclass(frozen=True, slots=True)
class CircuitMove:
    """What a review did to one circuit."""

    scope: str
    previous_state: str
    state: str
    failure_count: int


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer said. `details` holds what is stored and moves nothing (`notes`, `lessons`, …)."""

    outcome: Outcome
    severity: Severity = Severity.MEDIUM
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def actual_cost(self) -> float | None:
        """What the action has really cost, as far as the reviewer knows."""
        return self.details.get("actual_cost")


@dataclass(frozen=True, slots=True)
class ReviewAnswer:
    """The answer to a review, as it is recorded; `duplicate` says that it had been counted before."""

    id: str
    outcome: Outcome
    reviewed_at: int
    circuits: tuple[CircuitMove, ...]
    self_reported: bool = False
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review on record: who, when, what was answered, and the line it has in each circuit's log."""

    review: Review
    by: str
    answer: ReviewAnswer
    entries: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on record.

    `facts` are the classified ones: the circuits that count its outcome are those of the recorded context.
    `digest` identifies the content of the call that made it, so that the same id with other content is a conflict.
    """

    tenant: str
    id: str
    at: int
    status: Status
    source: Source
    facts: Facts
    intervention: Intervention
    policy_version: str
    principal: str
    digest: str | None = None
    answer: Answer | None = None
    reviewed: Reviewed | None = None
    resolved: Resolved | None = None
    claims: tuple[Claim, ...] = ()
    """What it has of quotas and budgets."""

    @property
    def waits_for(self) -> Pending | None:
        """What it waits for; none when it waits for nothing any more."""
        return self.answer.pending if self.status is Status.PENDING and self.answer is not None else None

    @property
    def was_allowed(self) -> bool:
        """Whether the service ever let this decision go on; a review of one that it did not is a bypass."""
        if self.source in _TOLD:
            return True
        if self.status is not Status.REVIEWED:
            return self.status in ALLOWING
        return self.intervention.allows or (self.resolved is not None and self.resolved.status in ALLOWING)


_TOLD = frozenset({Source.RECORDED, Source.REVIEWED})
ALLOWING = frozenset({Status.ALLOWED, Status.APPROVED})
"""What a decision is while it may go on."""
