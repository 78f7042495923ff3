"""Taking of quotas and budgets, settling, and giving back, within one use case."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import Protocol

from cstp_server.domain.budgets import Use, reached_event, threshold
from cstp_server.domain.circuit_events import Attribution
from cstp_server.domain.events import Event
from cstp_server.domain.tripwire_rules import Quota
from cstp_server.domain.tripwires import Tripwire
from cstp_server.domain.usage import Claim, Tally, Usage, adjusted, is_counted
from cstp_server.services.ports import UsageChange, View

Amounts = Callable[[Claim], int]
"""What a claim is to count for from now on, in billionths."""


class Charge(Protocol):
    """What an action would take of one tally."""

    @property
    def subject(self) -> str:
        """Whose tally it is."""
        ...

    @property
    def meter(self) -> str:
        """The name of the tally."""
        ...

    def tally(self, usage: Usage, now: int, zone: tzinfo) -> Tally:
        """The tally that it would be part of, as of `now`."""
        ...

    def claim(self, tally: Tally, now: int) -> tuple[Tally, Claim]:
        """The tally with this charge on it, and what the decision then has."""
        ...


class Ledger:
    """Usage as one use case finds it and changes it; `now` in ms since the epoch, days are those of `zone`."""

    def __init__(self, view: View, now: int, zone: tzinfo) -> None:
        self._view = view
        self._now = now
        self._zone = zone
        self._usage: dict[str, Usage] = {}
        self._made: list[Claim] = []
        self._changed: list[Claim] = []

    def take(self, charges: Iterable[Charge]) -> tuple[Claim, ...]:
        """Claim all of these, whatever room there is: whether there is enough was the guards' question."""
        made = tuple([self._take(charge) for charge in charges])
        self._made.extend(made)
        return made

    def adjust(self, claims: Iterable[Claim], amounts: Amounts) -> tuple[Claim, ...]:
        """The claims with what they are to count for; what counts no more, because its window has passed it, stays as it is."""
        return tuple([self._adjust(claim, amounts(claim)) for claim in claims])

    @property
    def changes(self) -> tuple[UsageChange, ...]:
        """What is different now, by subject."""
        return tuple(
            [
                UsageChange(
                    usage,
                    tuple([claim for claim in self._made if claim.subject == subject]),
                    tuple([claim for claim in self._changed if claim.subject == subject]),
                )
                for subject, usage in self._usage.items()
            ]
        )

    def reached(self, budgets: Mapping[str, Tripwire], agent_id: str, attribution: Attribution) -> tuple[Event, ...]:
        """The events of thresholds of these budgets, by their meters, that an agent's action has reached."""
        if not budgets or not self._usage:
            return ()
        return tuple(self._reached(budgets, agent_id, attribution))

    def _reached(self, budgets: Mapping[str, Tripwire], agent_id: str, attribution: Attribution) -> Iterator[Event]:
        for subject, usage in self._usage.items():
            known = self._view.usage(subject).tallies
            for meter, budget in budgets.items():
                after, before = usage.tallies.get(meter), known.get(meter)
                if after is None or after is before or not isinstance(budget.rule, Quota):
                    continue
                percent = threshold(budget.rule, before, after)
                if percent is not None:
                    yield reached_event(budget, budget.rule, Use(subject, after, agent_id), percent, attribution)

    def of(self, subject: str) -> Usage:
        """What the subject has used, with everything that this ledger has changed."""
        known = self._usage.get(subject)
        return known if known is not None else self._view.usage(subject)

    def _take(self, charge: Charge) -> Claim:
        usage = self.of(charge.subject)
        tally, claim = charge.claim(charge.tally(usage, self._now, self._zone), self._now)
        self._usage[charge.subject] = usage.with_tally(charge.meter, tally)
        return claim

    def _adjust(self, claim: Claim, amount: int) -> Claim:
        usage = self.of(claim.subject)
        tally = usage.tallies.get(claim.meter)
        if tally is None or amount == claim.amount or not is_counted(claim, tally, self._now):
            return claim
        after = claim._replace(amount=amount)
        self._usage[claim.subject] = usage.with_tally(claim.meter, adjusted(tally, claim, amount))
        self._changed.append(after)
        return after


def nothing(_claim: Claim) -> int:
    """A decision that is never let through has nothing of any quota."""
    return 0
