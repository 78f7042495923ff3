"""How the receiver of a channel does, as far as the attempts of this process tell."""

from cstp_server.domain.values import dataclass

TOO_MANY_FAILURES = 3
_OUTAGE_SECONDS = 60.0
_FIRST_REST_SECONDS = 600.0
_LONGEST_REST_SECONDS = 4_800.0
"""Longer than any alert waits for its next attempt."""
_CALM_SECONDS = 9_600.0


@dataclass(slots=True)
class Receiving:
    """Outlives whatever serves the channel, as long as the channel is set up as it was. Times are seconds of the monotonic clock.

    `failures` is how many attempts in a row have failed by now, `down_since` when the first of them did and `quiet_until` until when the
    receiver wants to be left alone. `is_news`: it works again, or is another one, which whatever failed before is to be told. That is told
    seldom: a receiver that takes one subject and never another one looks as if it worked again each time.
    """

    is_news: bool = False
    failures: int = 0
    down_since: float = 0.0
    quiet_until: float = float("-inf")
    told_at: float = float("-inf")
    rest: float = _FIRST_REST_SECONDS

    @property
    def is_down(self) -> bool:
        """Whether too much has failed to try any more of it now."""
        return self.failures >= TOO_MANY_FAILURES

    def failed(self, now: float, wanted_ms: int | None) -> None:
        """An attempt has failed; the receiver may want a pause."""
        if not self.failures:
            self.down_since = now
        self.failures += 1
        if wanted_ms is not None:
            self.quiet_until = now + wanted_ms / 1000

    def worked(self, now: float) -> None:
        """An attempt has succeeded; after an outage that is news for all that failed meanwhile."""
        if self.is_down and now - self.down_since >= _OUTAGE_SECONDS:
            self.is_news = True
        self.failures = 0

    def may_tell(self, now: float) -> bool:
        """Whether all that failed may be tried at once: the longer between two times, the more of them there are."""
        return self.is_news and not self.failures and now - self.told_at >= self.rest

    def told(self, now: float) -> None:
        """All that failed is tried at once."""
        is_calm = now - self.told_at >= _CALM_SECONDS
        self.rest = _FIRST_REST_SECONDS if is_calm else min(2 * self.rest, _LONGEST_REST_SECONDS)
        self.told_at, self.is_news = now, False
