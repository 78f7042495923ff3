"""All tripwires over one action: what they say at once, and what they would take of quotas."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import NamedTuple

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.expressions import Subject
from cstp_server.domain.facts import Facts
from cstp_server.domain.findings import Finding
from cstp_server.domain.tripwire_rules import Condition, Quota, Secrets, Trip
from cstp_server.domain.tripwires import EVERYWHERE, Tripwire
from cstp_server.domain.usage import Claim, Tally, Usage, claimed, free_at, used_by


class Charge(NamedTuple):
    """What an action would take of one quota, in billionths."""

    tripwire: Tripwire
    quota: Quota
    subject: str
    meter: str
    amount: int

    def tally(self, usage: Usage, now: int, zone: tzinfo) -> Tally:
        """The tally that it would be part of, as of `now`."""
        return usage.tally(self.meter, self.quota.span, now, zone)

    def finding(self, usage: Usage, now: int, zone: tzinfo, acl_tier: int) -> Finding | None:
        """What the tripwire says when the quota has no room for it."""
        quota = self.quota
        tally, counts = self.tally(usage, now, zone), quota.sums is None
        used = used_by(tally, now, unit=UNIT if counts else None)
        if used + self.amount <= quota.max:
            return None
        until = free_at(tally, one_is_enough=counts and used + self.amount - UNIT <= quota.max)
        return self.tripwire.finding(quota.exceeded(self.tripwire.name, used, until), acl_tier)

    def claim(self, tally: Tally, now: int) -> tuple[Tally, Claim]:
        """The tally with this charge on it, and what the decision then has."""
        after = claimed(tally, self.amount, now)
        sums = self.quota.sums is not None
        claim = Claim(
            self.subject,
            self.meter,
            tally.span,
            self.amount,
            self.amount,
            now,
            after.seq,
            settles=sums and self.quota.settles,
            returns=sums,
        )
        return after, claim


class Examined(NamedTuple):
    """The findings of the tripwires that need no count, the charges of those that do, and the facts as they may be recorded.

    `credentials` are the findings of the search for credentials, which are among the `findings`.
    """

    findings: tuple[Finding, ...]
    charges: tuple[Charge, ...]
    recorded: Facts
    credentials: tuple[Finding, ...] = ()


def examine(
    tripwires: Iterable[Tripwire],
    subject: Subject,
    facts: Facts,
    acl_tier: int,
    *,
    is_quiet: bool = False,
    credentials: tuple[Finding, ...] | None = None,
) -> Examined:
    """Look at an action with every tripwire that applies to it.

    `is_quiet` says that no condition holds or fails. Where `credentials` are given, they are not searched for again.
    """
    findings: list[Finding] = list(credentials or ())
    found: list[Finding] = []
    charges: list[Charge] = []
    recorded = facts
    for tripwire in tripwires:
        rule = tripwire.rule
        if (is_quiet and isinstance(rule, Condition)) or (tripwire.applies is not EVERYWHERE and not tripwire.applies.to(facts)):
            continue
        if isinstance(rule, Quota):
            charge = rule.charge(tripwire.name, subject, facts)
            findings += [tripwire.finding(charge, acl_tier)] if isinstance(charge, Trip) else []
            charges += _charged(tripwire, rule, facts, charge)
        elif isinstance(rule, Secrets):
            if credentials is None and (trip := rule.check(tripwire.name, subject, facts)) is not None:
                found.append(tripwire.finding(trip, acl_tier))
                recorded = rule.scanner.redacted(recorded)
        elif (trip := rule.check(tripwire.name, subject, facts)) is not None:
            findings.append(tripwire.finding(trip, acl_tier))
    told = charges if recorded is facts else _recorded(charges, recorded)
    return Examined((*found, *findings), tuple(told), recorded, tuple(found) if credentials is None else credentials)


def _charged(tripwire: Tripwire, quota: Quota, facts: Facts, amount: int | Trip | None) -> Sequence[Charge]:
    return [Charge(tripwire, quota, quota.subject(facts), tripwire.meter, amount)] if isinstance(amount, int) else ()


def _recorded(charges: Iterable[Charge], recorded: Facts) -> Iterable[Charge]:
    """The charges under the names that may be stored: a category may have held a credential."""
    return [charge._replace(subject=charge.quota.subject(recorded)) for charge in charges]
