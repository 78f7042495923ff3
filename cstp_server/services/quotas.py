"""How much of its quotas and budgets an agent has used (SPEC 7)."""

from collections.abc import Sequence

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.tripwire_rules import Per, Quota
from cstp_server.domain.usage import Usage, used_by
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """One quota of an agent: so much of so much in a window. `of` is what is summed, none where actions are counted."""

    name: str
    span: str
    used: float
    most: float
    of: str | None

    @property
    def share(self) -> float:
        """What is used of it, from 0 to 1."""
        return min(self.used / self.most, 1.0) if self.most else 1.0


def agent_quotas(policy: Policy, usage: Usage, agent_id: str, now: int) -> Sequence[QuotaUse]:
    """The quotas that count for this agent by itself, the fullest first. What may have left a rolling window unseen still counts."""
    found = [
        _use(tripwire.name, tripwire.rule, policy, usage, now)
        for tripwire in policy.tripwires.of(agent_id)
        if isinstance(tripwire.rule, Quota) and tripwire.rule.per is Per.AGENT
    ]
    return sorted(found, key=lambda use: (-use.share, use.name))


def _use(name: str, quota: Quota, policy: Policy, usage: Usage, now: int) -> QuotaUse:
    tally = usage.tally(quota.meter(name), quota.span, now, policy.time_zone)
    used = used_by(tally, now, unit=UNIT if quota.sums is None else None)
    return QuotaUse(name, quota.span.value, used / UNIT, quota.max / UNIT, quota.sums.text if quota.sums is not None else None)
