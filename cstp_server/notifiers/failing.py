"""What operators see of alerts that do not arrive: counts and lines in the log."""

from typing import Protocol

import structlog

from cstp_server.domain.refusals import Refusal
from cstp_server.services.notifying import Parcel

_MOST_NAMED = 20
_log = structlog.get_logger(__name__)


class Tally(Protocol):
    """Who counts what becomes of alerts."""

    def notified(self, channel: str, result: str, alerts: int) -> None:
        """So many alerts were `sent`, `failed` to arrive this time, or were `given_up`."""
        ...

    def notified_after(self, seconds: float) -> None:
        """A message arrived so long after the first of what it tells of."""
        ...


def tell_of_failure(tally: Tally, parcel: Parcel, reason: str, alerts: int, dead: int | Refusal) -> None:
    """Of so many alerts of a parcel that did not arrive, `dead` were given up."""
    given_up = dead if isinstance(dead, int) else 0
    tally.notified(parcel.channel, "failed", alerts - given_up)
    tally.notified(parcel.channel, "given_up", given_up)
    level = _log.error if given_up else _log.warning
    level(
        "notification_given_up" if given_up else "notification_failed",
        channel=parcel.channel,
        attempts=parcel.attempts + 1,
        reason=reason,
        **({"unread": [each.id for each in parcel.unread[-_MOST_NAMED:]]} if parcel.unread else {}),
    )
