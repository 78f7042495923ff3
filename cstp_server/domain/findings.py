"""What guards say about a decision, and the verdict that follows from it (SPEC 1)."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Any

from cstp_server.domain.values import dataclass


class Intervention(IntEnum):
    """What happens to the decision, in rising severity; the most severe finding decides."""

    ALLOW = 0
    WARN = 1
    DELAY = 2
    CONFIRM = 3
    ESCALATE = 4
    BLOCK = 5
    HALT = 6

    @property
    def label(self) -> str:
        """The name on the wire and in the policy."""
        return _LABELS[self]

    @property
    def allows(self) -> bool:
        """True for `allow` and `warn` only: a client that reads nothing but `allowed` is safe."""
        return self <= Intervention.WARN


_LABELS = {intervention: intervention.name.lower() for intervention in Intervention}


class GuardType(StrEnum):
    """The kind of guard that made a finding."""

    CIRCUIT_BREAKER = "circuit_breaker"
    TRIPWIRE = "tripwire"
    POSTURE = "posture"
    CONSTRAINT = "constraint"
    GUARDRAIL = "guardrail"
    TRUST = "trust"


class Mode(StrEnum):
    """Whether a guard's findings count: `shadow` records and reports them without changing the verdict, `off` does not look."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class CircuitDetail:
    """What a circuit's finding adds: its scope, its state and the evidence.

    `reset_at` (ms since the epoch) is when an open circuit may be probed, none when it is forced open.
    """

    scope: str
    state: str
    failure_rate: float
    recent_failures: tuple[str, ...]
    reset_at: int | None


@dataclass(frozen=True, slots=True)
class TripwireDetail:
    """What a tripwire's finding adds: how severe it is, whether people are told, whether it counts against the agent's trust."""

    severity: str
    notify: bool
    trust_impact: bool


@dataclass(frozen=True, slots=True)
class ConstraintDetail:
    """What a constraint's finding adds: which dimension it is about, and, where there are numbers, how far the action is from its bound."""

    dimension: str
    used: float | None = None
    limit: float | None = None
    remaining: float | None = None


@dataclass(frozen=True, slots=True)
class Remedy:
    """A single change that would turn the answer into an allow, verified by evaluating it again.

    `change` is `wait` (with `until`, ms since the epoch), `set`, `lower` or `raise` (with `field` and `to`), `approval` or `confirm`.
    """

    change: str
    field: str | None = None
    to: Any = None
    until: int | None = None


class Lift(IntEnum):
    """What it takes to get past a finding that is not final, in rising order; each does for the ones before it too."""

    CANCEL_WINDOW = 1
    CONFIRMATION = 2
    APPROVAL = 3

    @property
    def label(self) -> str:
        """The name on the wire: the kind of a pending decision."""
        return self.name.lower()


_LIFTS = {
    Intervention.DELAY: Lift.CANCEL_WINDOW,
    Intervention.CONFIRM: Lift.CONFIRMATION,
    Intervention.ESCALATE: Lift.APPROVAL,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One guard's objection or remark."""

    guardrail: str
    type: GuardType
    intervention: Intervention
    message: str
    mode: Mode = Mode.ENFORCE
    suggestion: str | None = None
    requires: tuple[str, ...] = ()
    """Fields that would have to be true for this finding to go away, as paths (`action.context.codeReviewCompleted`)."""
    circuit: CircuitDetail | None = None
    approvable: bool = False
    """An approval lifts this finding although it blocks: a tripwire that a human may let one action past (SPEC 7)."""
    changes: tuple[Remedy, ...] = ()
    """Changes that may make this finding go away."""
    tripwire: TripwireDetail | None = None
    constraint: ConstraintDetail | None = None

    @property
    def lift(self) -> Lift | None:
        """What it takes to get past this finding; none when nothing does."""
        return Lift.APPROVAL if self.approvable else _LIFTS.get(self.intervention)


@dataclass(frozen=True)  # without slots, which are dear to write as JSON
class Verdict:
    """The findings sorted by what they do, and the most severe intervention among those that count."""

    intervention: Intervention
    violations: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    shadow: tuple[Finding, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the decision may go on now."""
        return self.intervention.allows

    @property
    def lift(self) -> Lift | None:
        """What the decision would have to wait for to go on after all; none when it is allowed, or when one finding is final."""
        lifts = [finding.lift for finding in self.violations]
        return max(lift for lift in lifts if lift is not None) if lifts and None not in lifts else None


CLEAN = Verdict(Intervention.ALLOW)


def judge(findings: Iterable[Finding]) -> Verdict:
    """The verdict over all findings: none lowers another's, and a shadowed one decides nothing."""
    violations: list[Finding] = []
    warnings: list[Finding] = []
    shadow: list[Finding] = []
    worst = Intervention.ALLOW
    for finding in findings:
        if finding.mode is Mode.SHADOW:
            shadow.append(finding)
            continue
        if finding.mode is Mode.OFF:
            continue
        worst = max(worst, finding.intervention)
        (warnings if finding.intervention.allows else violations).append(finding)
    if not violations and not warnings and not shadow:
        return CLEAN
    return Verdict(worst, tuple(violations), tuple(warnings), tuple(shadow))
