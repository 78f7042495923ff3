"""How often an agent was let through lately: the service's own count, where a rate limit asks for one (SPEC 9).

The count is the agent's, in a window that rolls, over all its checks that a rate limit of that period bounds. It is claimed as a quota is:
with the decision, in one transaction, and given back when the decision is never let through.
"""

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import NamedTuple

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.usage import Claim, Span, Tally, Usage, claimed, free_at, used_by

SPANS = {"second": Span.SECOND, "minute": Span.MINUTE, "hour": Span.HOUR, "day": Span.ROLLING_DAY}
"""The window of each period of a rate limit; a day is any 24 hours."""


class RateCharge(NamedTuple):
    """One more check of an agent in one window."""

    subject: str
    meter: str
    span: Span

    def tally(self, usage: Usage, now: int, zone: tzinfo) -> Tally:
        """The tally that it would be part of, as of `now`."""
        return usage.tally(self.meter, self.span, now, zone)

    def counted(self, usage: Usage, now: int, zone: tzinfo) -> int:
        """How many checks are in the window at `now`, which may be yet to come."""
        return used_by(self.tally(usage, now, zone), now, unit=UNIT) // UNIT

    def room_at(self, usage: Usage, now: int, zone: tzinfo) -> int | None:
        """When the oldest of them leaves the window, in ms since the epoch."""
        return free_at(self.tally(usage, now, zone), one_is_enough=True)

    def claim(self, tally: Tally, now: int) -> tuple[Tally, Claim]:
        """The tally with this check on it, and what the decision then has."""
        after = claimed(tally, UNIT, now)
        return after, Claim(self.subject, self.meter, self.span, UNIT, UNIT, now, after.seq)


_METERS = {period: (f"rate_limit|{span.value}", span) for period, span in SPANS.items()}


def rate_charges(agent_id: str, periods: Iterable[str]) -> Mapping[str, RateCharge]:
    """What a check of an agent takes in the windows of these periods."""
    subject = f"agent:{agent_id}"
    return {period: RateCharge(subject, *_METERS[period]) for period in periods}
