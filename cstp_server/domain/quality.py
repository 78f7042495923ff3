"""The quality of an agent's reasoning (CTQ) as a guard: it may raise a warning or ask for an approval, and lifts nothing (SPEC 7)."""

from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Finding, GuardType, Intervention, Mode, Remedy
from cstp_server.domain.values import dataclass

_FIELD = "action.ctq"


@dataclass(frozen=True, slots=True)
class Quality:
    """The least quality that actions should have, from 0 to 1, and what follows where it is less, or not given."""

    min_ctq: float
    intervention: Intervention = Intervention.WARN
    mode: Mode = Mode.ENFORCE

    def check(self, facts: Facts) -> Finding | None:
        """The guard's finding, if it has one."""
        ctq = facts.ctq
        if ctq is not None and ctq >= self.min_ctq:
            return None
        return Finding(
            guardrail="quality",
            type=GuardType.GUARDRAIL,
            intervention=self.intervention,
            message=f"ctq {'is missing' if ctq is None else 'is below the minimum'}: at least {self.min_ctq:g} is wanted",
            mode=self.mode,
            suggestion="reason more carefully, or ask a human",
            changes=(Remedy("raise", field=_FIELD, to=self.min_ctq),),
        )
