"""How much of quotas and budgets is used: of those that count for agents, users and categories, and of those of all together (SPEC 7)."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.decisions import Decision
from cstp_server.domain.findings import Mode
from cstp_server.domain.tripwire_rules import Per, Quota
from cstp_server.domain.tripwires import Tripwire
from cstp_server.domain.usage import Usage, used_by
from cstp_server.domain.values import dataclass
from cstp_server.policy.compiled import Policy
from cstp_server.services.catalogue import Catalogue

LOOKED_AT = 500
"""Of how many agents, users or categories at most the fullest are found."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """One quota of one subject: so much of so much in a window. `of` is what is summed, none where actions are counted.

    `whom` is the agent, user or category that it is counted for, empty where the action names none, or where all are counted together.
    """

    name: str
    span: str
    used: float
    most: float
    of: str | None
    per: Per
    whom: str
    mode: Mode

    @property
    def share(self) -> float:
        """What is used of it, from 0 to 1."""
        return min(self.used / self.most, 1.0) if self.most else 1.0


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """One quota of the policy, and those who have used the most of it, the fullest first.

    `agent` is whom alone it is in force for; none where it is for everybody that the policy does not say otherwise of. `is_cut`: there are
    more subjects than were looked at.
    """

    name: str
    span: str
    most: float
    of: str | None
    per: Per
    mode: Mode
    agent: str | None
    fullest: Sequence[QuotaUse]
    is_cut: bool


class _Counter(NamedTuple):
    """A tripwire that is a quota; `agent` is whom alone it is in force for."""

    tripwire: Tripwire
    quota: Quota
    agent: str | None = None

    @property
    def only(self) -> str | None:
        """The subject that it counts for, where there is but one."""
        if self.quota.per is Per.GLOBAL:
            return Per.GLOBAL.value
        return f"{Per.AGENT}:{self.agent}" if self.quota.per is Per.AGENT and self.agent is not None else None


async def agent_quotas(
    catalogue: Catalogue, policy: Policy, tenant: str, agent_id: str, latest: Sequence[Decision], now: int
) -> Sequence[QuotaUse]:
    """The quotas that an agent draws on, the fullest first: its own, those of all, those of users and categories of its `latest` decisions.

    What may have left a rolling window unseen still counts.
    """
    tripwires = (tripwire for tripwire in policy.tripwires.of(agent_id) if tripwire.applies.may_be_of(agent_id))
    counters = _counters(tripwires, agent_id)
    counted = [(counter, subject) for counter in counters for subject in _drawn_on(counter, latest)]
    usages = await catalogue.usages(tenant, sorted({subject for _, subject in counted}))
    return sorted((_use(counter, subject, policy, usages, now) for counter, subject in counted), key=_fullest_first)


async def quota_lines(
    catalogue: Catalogue, policy: Policy, tenant: str, likely: Iterable[str], limit: int, now: int
) -> tuple[Sequence[QuotaLine], int]:
    """The first quotas of the policy, and how many it has.

    Who has used the most of each is found among the `likely` subjects, and the first of all others.
    """
    counters = _all_counters(policy)
    pers = sorted({counter.quota.per for counter in counters[:limit]})
    only = (subject for counter in counters[:limit] if (subject := counter.only) is not None)
    named, *found = await asyncio.gather(
        catalogue.usages(tenant, sorted({*likely, *only})), *(catalogue.usages_per(tenant, per, LOOKED_AT) for per in pers)
    )
    of_kinds = dict(zip(pers, found, strict=True))
    cut = frozenset(per for per, usages in of_kinds.items() if len(usages) == LOOKED_AT)
    lines = [_line(counter, policy, {**of_kinds[counter.quota.per], **named}, cut, now) for counter in counters[:limit]]
    return lines, len(counters)


def _counters(tripwires: Iterable[Tripwire], agent: str | None) -> Sequence[_Counter]:
    return [_Counter(tripwire, tripwire.rule, agent) for tripwire in tripwires if isinstance(tripwire.rule, Quota)]


def _all_counters(policy: Policy) -> Sequence[_Counter]:
    """Those of everybody, then those that single agents have instead of them or besides."""
    tripwires = policy.tripwires
    own = [
        counter
        for agent_id in sorted(tripwires.of_agents)
        for counter in _counters(tripwires.of(agent_id), agent_id)
        if counter.tripwire not in tripwires.of_everyone
    ]
    return [*_counters(tripwires.of_everyone, None), *own]


def _drawn_on(counter: _Counter, latest: Iterable[Decision]) -> Iterable[str]:
    if counter.only is not None:
        return (counter.only,)
    return {counter.quota.subject(decision.facts) for decision in latest if counter.tripwire.applies.to(decision.facts)}


def _line(counter: _Counter, policy: Policy, usages: Mapping[str, Usage], cut: frozenset[Per], now: int) -> QuotaLine:
    tripwire, quota, agent = counter
    subjects = [counter.only] if counter.only is not None else [subject for subject in usages if _counts_for(counter, policy, subject)]
    uses = sorted((_use(counter, subject, policy, usages, now) for subject in subjects), key=_fullest_first)
    fullest = [use for use in uses if use.used or counter.only is not None][:_SHOWN]
    is_cut = counter.only is None and quota.per in cut
    return QuotaLine(tripwire.name, quota.span.value, quota.max / UNIT, _sums(quota), quota.per, tripwire.mode, agent, fullest, is_cut)


def _counts_for(counter: _Counter, policy: Policy, subject: str) -> bool:
    """Whether a subject is of the kind that the quota counts for, and the policy has no other quota for it."""
    per, _, whom = subject.partition(":")
    if per != counter.quota.per:
        return False
    return per != Per.AGENT or whom not in policy.tripwires.of_agents or counter.tripwire in policy.tripwires.of(whom)


def _use(counter: _Counter, subject: str, policy: Policy, usages: Mapping[str, Usage], now: int) -> QuotaUse:
    (tripwire, quota, _), usage = counter, usages.get(subject) or Usage(subject)
    tally = usage.tally(tripwire.meter, quota.span, now, policy.time_zone)
    used = used_by(tally, now, unit=UNIT if quota.sums is None else None)
    whom = subject.partition(":")[2]
    return QuotaUse(tripwire.name, quota.span.value, used / UNIT, quota.max / UNIT, _sums(quota), quota.per, whom, tripwire.mode)


def _sums(quota: Quota) -> str | None:
    return quota.sums.text if quota.sums is not None else None


def _fullest_first(use: QuotaUse) -> tuple[float, str, str]:
    return -use.share, use.name, use.whom
