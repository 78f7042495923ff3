"""How much of a budget is used, and when people are told: once each time that a threshold is reached (SPEC 11)."""

from typing import NamedTuple

from cstp_server.domain.amounts import amount_number
from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.events import Event, EventType
from cstp_server.domain.tripwire_rules import Quota
from cstp_server.domain.tripwires import Tripwire
from cstp_server.domain.usage import Span, Tally

THRESHOLDS = (100, 95, 80)
"""Shares of a budget in per cent, the largest first."""


class Use(NamedTuple):
    """What one subject has used of a budget by now, and the agent whose action was the last."""

    subject: str
    tally: Tally
    agent_id: str


def threshold(quota: Quota, before: Tally | None, after: Tally) -> int | None:
    """The largest threshold that a tally has just reached, in per cent; none when it was reached before, or is not yet."""
    used = 0 if before is None or _has_started_again(before, after) else before.used
    if after.used <= used:
        return None
    return next((share for share in THRESHOLDS if used * 100 < share * quota.max <= after.used * 100), None)


def _has_started_again(before: Tally, after: Tally) -> bool:
    """Whether another day has begun in between."""
    return after.span is Span.DAY and before.oldest_at != after.oldest_at


def reached_event(budget: Tripwire, quota: Quota, use: Use, percent: int, attribution: Attribution) -> Event:
    """The event of having reached a threshold of a budget."""
    data = {
        "percent": percent,
        "of": use.subject,
        "used": amount_number(use.tally.used),
        "max": amount_number(quota.max),
        "window": quota.span.value,
        "ends_at": use.tally.ends_at,
        "agent": use.agent_id,
        "decision_id": attribution.decision_id,
        "mode": budget.mode.value,
    }
    return Event(
        EventType.BUDGET_REACHED, attribution.tenant, budget.name, attribution.actor, attribution.at, attribution.policy_version, data
    )


def is_budget(tripwire: Tripwire) -> bool:
    """Whether it limits a sum, and people are to be told how much of it is used."""
    return tripwire.notify_use and isinstance(tripwire.rule, Quota) and tripwire.rule.sums is not None
