"""How a decision that waits is settled: by a person, by its user, or by time (SPEC 4)."""

from collections.abc import Iterable
from enum import StrEnum

from cstp_server.domain.decisions import Decision, Pending, Status
from cstp_server.domain.findings import Finding, Lift, Verdict
from cstp_server.domain.values import dataclass


class Resolution(StrEnum):
    """What somebody says of a decision that waits."""

    APPROVE = "approve"
    DENY = "deny"
    CANCEL = "cancel"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class Waits:
    """How long decisions wait, in ms: for a person's approval or a user's confirmation, and before a cancel window is over."""

    approval_ms: int = 3_600_000
    cancel_window_ms: int = 5_000

    def pending(self, lift: Lift, now: int) -> Pending:
        """What a decision waits for from `now` on."""
        waits = self.cancel_window_ms if lift is Lift.CANCEL_WINDOW else self.approval_ms
        return Pending(lift.label, now + waits)


LIFTED_BY = {Resolution.APPROVE: Lift.APPROVAL, Resolution.CONFIRM: Lift.CONFIRMATION}
REFUSES = {Resolution.DENY: Status.DENIED, Resolution.CANCEL: Status.CANCELLED}


def lift_of(pending: Pending) -> Lift:
    """What a decision waits for."""
    return Lift[pending.kind.upper()]


def objections(verdict: Verdict, decision: Decision, lift: Lift) -> tuple[Finding, ...]:
    """What still stands against a decision when it is looked at again.

    An approval lifts what it was asked for, and nothing that has come up since; nor does anything lift a finding that is final.
    """
    answered = {(finding.type, finding.guardrail) for finding in _recorded(decision)}
    return tuple(
        finding
        for finding in verdict.violations
        if (finding.type, finding.guardrail) not in answered or finding.lift is None or finding.lift > lift
    )


def _recorded(decision: Decision) -> Iterable[Finding]:
    return decision.answer.verdict.violations if decision.answer is not None else ()
