"""What has been used of quotas and budgets: exact tallies in rolling windows, in calendar days, and for ever (SPEC 7).

A tally is claimed before the action goes on, settled when its real cost is known, and given back when it never happened. How much a
claim costs does not depend on how many came before: a rolling tally subtracts what leaves its window, once for each claim.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import tzinfo
from enum import StrEnum
from typing import NamedTuple

from cstp_server.domain.days import day_end
from cstp_server.domain.values import dataclass


class Span(StrEnum):
    """How long a claim counts: in a rolling window, on the calendar day, or for ever."""

    rolling_ms: int | None
    """The length of a rolling window; none for what is no rolling window."""

    def __new__(cls, value: str, rolling_ms: int | None = None) -> "Span":
        """A span of that name."""
        span = str.__new__(cls, value)
        span._value_ = value
        span.rolling_ms = rolling_ms
        return span

    SECOND = ("second", 1_000)
    MINUTE = ("minute", 60_000)
    HOUR = ("hour", 3_600_000)
    ROLLING_DAY = ("rolling_day", 86_400_000)
    DAY = ("day", None)
    TOTAL = ("total", None)


class Tally(NamedTuple):
    """How much of one quota is used, in billionths.

    `oldest_at` and `newest_at` are the times of the oldest claim in a rolling window that counts for something, and of the newest one,
    `seq` the number of the latest. `oldest_gone`: the oldest one was given back, and which is the oldest now is not known before the
    store is read again (`left`). A calendar day's tally has counted since `oldest_at`, and starts again at nothing at `ends_at`.
    """

    span: Span
    used: int = 0
    seq: int = 0
    oldest_at: int | None = None
    newest_at: int | None = None
    ends_at: int | None = None
    oldest_gone: bool = False


class Claim(NamedTuple):
    """What one decision has of one quota.

    `amount` is what counts now, `reserved` what was asked for at first; both in billionths. `at` and `seq` find it in a rolling
    window. `settles` says that the action's actual cost takes the place of what was reserved, `returns` that it comes back when an
    action that had been allowed was abandoned.
    """

    subject: str
    meter: str
    span: Span
    amount: int
    reserved: int
    at: int
    seq: int = 0
    settles: bool = False
    returns: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """All tallies of one subject: `agent:<id>`, `user:<id>`, `category:<name>` or `global`."""

    subject: str
    tallies: Mapping[str, Tally] = field(default_factory=dict)

    def tally(self, meter: str, span: Span, now: int, zone: tzinfo) -> Tally:
        """One tally as of `now`; an unused one before its first claim. What leaves a rolling window has left it already (`left`)."""
        tally = self.tallies.get(meter)
        if span is Span.DAY:
            return _of_today(tally, now, zone)
        return tally if tally is not None else Tally(span)

    def with_tally(self, meter: str, tally: Tally) -> "Usage":
        """With one tally in the place of what it was."""
        return Usage(self.subject, {**self.tallies, meter: tally})


def _of_today(tally: Tally | None, now: int, zone: tzinfo) -> Tally:
    """A tally is today's if something was claimed today, as the zone now in force has it: a change of zone gives nothing of today back."""
    ends_at = day_end(now, zone)
    if tally is None or tally.newest_at is None or day_end(tally.newest_at, zone) < ends_at:
        return Tally(Span.DAY, oldest_at=now, ends_at=ends_at)
    return tally if tally.ends_at == ends_at else tally._replace(ends_at=ends_at)


def is_spent(tally: Tally, now: int) -> bool:
    """Whether nothing is left of a tally that anybody could still count or give back."""
    if tally.span is Span.TOTAL:
        return tally.used == 0
    if tally.span is Span.DAY:
        return tally.ends_at is not None and tally.ends_at <= now
    return tally.newest_at is None


def free_at(tally: Tally, *, one_is_enough: bool) -> int | None:
    """When time alone gives enough back, in ms since the epoch; none when it never does.

    Where `one_is_enough`, there is room as soon as the oldest claim leaves; otherwise there is sure to be when the newest has left.
    """
    window = tally.span.rolling_ms
    if window is None:
        return tally.ends_at
    leaving = tally.oldest_at if one_is_enough and not tally.oldest_gone else tally.newest_at
    return leaving + window if leaving is not None else None


def used_by(tally: Tally, now: int, *, unit: int | None) -> int:
    """What is used at `now`, which may be yet to come: what will have left a rolling window then, as far as that is known.

    `unit` is what every claim takes, where they all take the same.
    """
    window = tally.span.rolling_ms
    if window is None or tally.oldest_at is None or tally.oldest_at > now - window:
        return tally.used
    if tally.newest_at is not None and tally.newest_at <= now - window:
        return 0
    return tally.used - unit if unit is not None and not tally.oldest_gone else tally.used


def left(tally: Tally, amounts: Iterable[int], oldest_at: int | None) -> Tally:
    """A rolling tally without the claims that have left its window; `oldest_at` is the time of the oldest that has not, and counts."""
    if oldest_at is None:
        return tally._replace(used=0, oldest_at=None, newest_at=None, oldest_gone=False)
    return tally._replace(used=tally.used - sum(amounts), oldest_at=oldest_at, oldest_gone=False)


def claimed(tally: Tally, amount: int, now: int) -> Tally:
    """The tally with one more claim."""
    seq = tally.seq + 1 if tally.span.rolling_ms is not None else 0
    oldest_at, newest_at = _times_with(tally, now)
    return Tally(tally.span, tally.used + amount, seq, oldest_at, newest_at, tally.ends_at, tally.oldest_gone)


def _times_with(tally: Tally, at: int) -> tuple[int, int]:
    """The tally's times reaching to a claim made at that time, be it that the clock was set back meanwhile."""
    oldest_at = at if tally.oldest_at is None else min(tally.oldest_at, at)
    newest_at = at if tally.newest_at is None else max(tally.newest_at, at)
    return oldest_at, newest_at


def is_counted(claim: Claim, tally: Tally | None, now: int) -> bool:
    """Whether the claim is part of the tally: its window has not passed it, the tally has not started again since."""
    if tally is None:
        return False
    window = claim.span.rolling_ms
    if window is not None:
        return claim.at > now - window
    return claim.span is Span.TOTAL or (tally.oldest_at is not None and claim.at >= tally.oldest_at)


def adjusted(tally: Tally, claim: Claim, amount: int) -> Tally:
    """The tally after a claim that it counts has come to count for `amount`."""
    after = tally._replace(used=tally.used + amount - claim.amount)
    if tally.span.rolling_ms is None:
        return after
    if not claim.amount:
        oldest_at, newest_at = _times_with(after, claim.at)
        return after._replace(oldest_at=oldest_at, newest_at=newest_at)
    return after if amount or claim.at != tally.oldest_at else after._replace(oldest_gone=True)
