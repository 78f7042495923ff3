"""What happened: one event for every change and every decision, appended in the transaction of the change (SPEC 11)."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from cstp_server.domain.values import dataclass


class EventType(StrEnum):
    """The names of events; the part before the dot is the subject's kind."""

    DECISION_CHECKED = "decision.checked"
    DECISION_RECORDED = "decision.recorded"
    DECISION_PENDING = "decision.pending"
    DECISION_APPROVED = "decision.approved"
    DECISION_ALLOWED = "decision.allowed"
    DECISION_DENIED = "decision.denied"
    DECISION_CANCELLED = "decision.cancelled"
    DECISION_EXPIRED = "decision.expired"
    DECISION_REVIEWED = "decision.reviewed"
    DECISION_AMENDED = "decision.amended"
    ENFORCEMENT_BYPASSED = "enforcement.bypassed"
    CIRCUIT_OPENED = "circuit.opened"
    CIRCUIT_HALF_OPENED = "circuit.half_opened"
    CIRCUIT_CLOSED = "circuit.closed"
    CIRCUIT_FORCED = "circuit.forced"
    CIRCUIT_CLEARED = "circuit.cleared"
    CIRCUIT_PROBE_CLAIMED = "circuit.probe_claimed"
    CIRCUIT_PROBE_EXPIRED = "circuit.probe_expired"
    CIRCUIT_AMENDED = "circuit.amended"
    CIRCUIT_ARCHIVED = "circuit.archived"
    TRIPWIRE_HIT = "tripwire.hit"
    BUDGET_REACHED = "budget.reached"
    POSTURE_UPGRADED = "posture.upgraded"
    POSTURE_DOWNGRADED = "posture.downgraded"
    POSTURE_MAINTAINED = "posture.maintained"
    POSTURE_REFUSED = "posture.refused"
    DIMENSION_APPROVED = "dimension.approved"
    DIMENSION_REJECTED = "dimension.rejected"
    TRUST_DAMAGED = "trust.damaged"
    TRUST_SUCCEEDED = "trust.succeeded"
    POLICY_LOADED = "policy.loaded"
    POLICY_REJECTED = "policy.rejected"
    NOTIFICATION_SENT = "notification.sent"
    NOTIFICATION_GIVEN_UP = "notification.given_up"
    NOTIFICATION_RETRIED = "notification.retried"
    RETENTION_PRUNED = "retention.pruned"
    SESSION_BEGUN = "session.begun"
    SESSION_ENDED = "session.ended"
    TOKEN_CREATED = "token.created"  # noqa: S105 - the name of an event, not a secret
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - the name of an event, not a secret


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `subject` is the id of what it happened to: a decision's id, a circuit's scope, a token's name."""

    type: EventType
    tenant: str
    subject: str
    actor: str
    at: int
    policy_version: str
    data: Mapping[str, Any] = field(default_factory=dict)
