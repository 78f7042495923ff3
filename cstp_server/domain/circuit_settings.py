"""One circuit's policy, as the breaker uses it (SPEC 5)."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from cstp_server.domain.damage import DEFAULT_DAMAGE_WEIGHTS, MICRO, Damage, DamageType
from cstp_server.domain.decisions import Outcome, Severity
from cstp_server.domain.findings import Mode
from cstp_server.domain.values import dataclass

__all__ = ["ARCHIVED", "DEFAULT_WEIGHTS", "MICRO", "CircuitSettings", "Effect", "OnSuccess", "TrustTerms"]


class OnSuccess(StrEnum):
    """What a success does to the failures held against the circuit."""

    DECREMENT = "decrement"
    RESET = "reset"
    NONE = "none"


class Effect(StrEnum):
    """What an open circuit does to a decision."""

    BLOCK = "block"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class TrustTerms:
    """What makes a circuit the measure of a user's trust (SPEC 10). Weights in millionths.

    Half-open, it gives no leases: only actions of a `high_impact` type want the user's confirmation, the outcome of everything that was
    asked for since counts, and damage that is borne takes `setback` successes off. Damage fades: it counts whole for the first half of
    the window, and falls to nothing at its end.
    """

    damage_weights: Mapping[DamageType, int] = field(default_factory=lambda: dict(DEFAULT_DAMAGE_WEIGHTS))
    high_impact: frozenset[str] = frozenset()
    setback: int = 2


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """One circuit's policy, as validated (SPEC 5). Weights and thresholds on weights are in millionths, times in ms.

    `key` identifies this set of values: the log names, for each entry, the settings that it met, so that amending an outcome
    does not judge the past by a policy that came later.
    """

    key: str
    id: str
    failure_threshold: int = 5 * MICRO
    failure_rate_threshold: float | None = None
    minimum_decisions: int = 10
    window_ms: int = 3_600_000
    cooldown_ms: int = 1_800_000
    cooldown_multiplier: float = 1.0
    cooldown_max_ms: int | None = None
    half_open_probes: int = 1
    half_open_successes: int = 1
    half_open_tolerance: int = 0
    probe_timeout_ms: int = 1_800_000
    severity_weights: Mapping[Severity, int] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    failure_outcomes: frozenset[Outcome] = frozenset({Outcome.FAILURE})
    on_success: OnSuccess = OnSuccess.DECREMENT
    effect: Effect = Effect.BLOCK
    downgrade_to: str | None = None
    restore_posture: bool = True
    min_distinct_agents: int = 1
    notify: bool = True
    mode: Mode = Mode.ENFORCE
    trust: TrustTerms | None = None

    @property
    def fades_after_ms(self) -> int:
        """The age from which on an outcome counts less and less, in ms: half the window, rounded up."""
        return -(-self.window_ms // 2)

    def weight_of(self, severity: Severity, damage: Damage) -> int:
        """What a failure counts for, in millionths; only a measure of trust asks for the kind of damage."""
        if self.trust is None:
            return self.severity_weights[severity]
        return damage.weight(self.trust.damage_weights, self.severity_weights, severity)

    def cooldown_for(self, openings: int) -> int:
        """The cooldown in ms of the n-th opening since the circuit was last closed."""
        scaled = self.cooldown_ms * self.cooldown_multiplier ** min(openings - 1, _MOST_POWERS)
        longest = self.cooldown_max_ms if self.cooldown_max_ms is not None else _LONGEST_COOLDOWN_MS
        return int(min(scaled, max(longest, self.cooldown_ms)))


DEFAULT_WEIGHTS: Mapping[Severity, int] = {
    Severity.LOW: MICRO // 2,
    Severity.MEDIUM: MICRO,
    Severity.HIGH: 2 * MICRO,
    Severity.CRITICAL: 5 * MICRO,
}
_MOST_POWERS = 64
_LONGEST_COOLDOWN_MS = 365 * 86_400_000

ARCHIVED = CircuitSettings(key="archived", id="archived")
"""Stands for the settings of a circuit that no policy covers any more; nothing is judged by them."""
