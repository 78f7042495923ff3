"""Damage to the trust between a user and the AI: its kinds, and what each weighs (SPEC 10)."""

from collections.abc import Mapping
from enum import StrEnum

from cstp_server.domain.decisions import Review, Severity
from cstp_server.domain.values import dataclass


class DamageType(StrEnum):
    """What went wrong for the user."""

    WRONG_ANSWER = "wrong_answer"
    IGNORED_PREFERENCE = "ignored_preference"
    UNEXPECTED_ACTION = "unexpected_action"
    SLOW_RESPONSE = "slow_response"
    MISUNDERSTOOD_INTENT = "misunderstood_intent"
    REPETITIVE_ERROR = "repetitive_error"


MICRO = 1_000_000
"""Weights are integers in millionths, because sums of floats drift."""

DEFAULT_DAMAGE_WEIGHTS: Mapping[DamageType, int] = {
    DamageType.WRONG_ANSWER: MICRO,
    DamageType.IGNORED_PREFERENCE: 1_500_000,
    DamageType.UNEXPECTED_ACTION: 1_200_000,
    DamageType.SLOW_RESPONSE: 300_000,
    DamageType.MISUNDERSTOOD_INTENT: 800_000,
    DamageType.REPETITIVE_ERROR: 2 * MICRO,
}


@dataclass(frozen=True, slots=True)
class Damage:
    """What is known of a damage. `scale`, in millionths, is its severity; none when only that of a review is known.

    `explicit`: the user said so, which counts half as much again.
    """

    type: DamageType = DamageType.WRONG_ANSWER
    scale: int | None = None
    explicit: bool = False

    def weight(self, weights: Mapping[DamageType, int], severity_weights: Mapping[Severity, int], severity: Severity) -> int:
        """What it counts for, in millionths; never nothing, unless the policy says that its kind weighs nothing."""
        scale = self.scale if self.scale is not None else severity_weights[severity]
        weight = weights[self.type] * scale * (3 if self.explicit else 2)
        return max(weight // (2 * MICRO), min(weight, 1))


UNSAID = Damage()
"""A damage of which nothing was said."""


def damage_told_by(review: Review) -> Damage:
    """What a failure did to the user's trust, as far as the reviewer said."""
    named = review.details.get("damage_type")
    kind = DamageType(named) if isinstance(named, str) and named in DamageType.__members__.values() else UNSAID.type
    return Damage(kind, explicit=review.details.get("user_explicit") is True)
