"""Tallies of quotas and budgets: exact, against a list of all claims that is summed anew each time (SPEC 7)."""

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstp_server.domain.amounts import UNIT
from cstp_server.domain.usage import Claim, Span, Tally, Usage, adjusted, claimed, free_at, is_counted, left, used_by

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3_600_000
DAY = 24 * HOUR


@dataclass
class Ledger:
    """A rolling tally as the store keeps it, beside all of its claims."""

    span: Span
    now: int = 1_000_000
    claims: list[Claim] = field(default_factory=list)
    tally: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.tally = Tally(self.span)

    @property
    def window(self) -> int:
        """The length of the window, in ms."""
        assert self.span.rolling_ms is not None
        return self.span.rolling_ms

    def counted(self, now: int) -> list[Claim]:
        """The claims in the window as of `now`."""
        return [claim for claim in self.claims if claim.at > now - self.window]

    def sweep(self) -> None:
        """What the store does before it looks: take out what has left."""
        cutoff, tally = self.now - self.window, self.tally
        if tally.oldest_at is None or (tally.oldest_at > cutoff and not tally.oldest_gone):
            return
        leaving = [claim.amount for claim in self.claims if claim.at <= cutoff]
        staying = [claim.at for claim in self.counted(self.now) if claim.amount]
        self.claims = self.counted(self.now)
        self.tally = left(tally, leaving, min(staying) if staying else None)

    def claim(self, amount: int) -> None:
        """One more."""
        self.tally = claimed(self.tally, amount, self.now)
        self.claims.append(Claim("agent:a", "m", self.span, amount, amount, self.now, self.tally.seq))

    def settle(self, index: int, amount: int) -> None:
        """One of those that count becomes another amount."""
        counted = [claim for claim in self.claims if is_counted(claim, self.tally, self.now)]
        if counted:
            claim = counted[index % len(counted)]
            self.tally = adjusted(self.tally, claim, amount)
            self.claims[self.claims.index(claim)] = claim._replace(amount=amount)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 90_000)),
        st.tuples(st.just("claim"), st.integers(0, 3).map(lambda tenths: tenths * UNIT // 10)),
        st.tuples(st.integers(0, 9), st.integers(0, 3).map(lambda tenths: tenths * UNIT // 10)),
    ),
    max_size=40,
)


@given(_STEPS)
def test_a_rolling_tally_is_the_sum_of_what_is_in_its_window(steps: list[tuple[str | int, int]]) -> None:
    """After every claim, settlement, return and passing of time; and what is foreseen is never too little."""
    ledger = Ledger(Span.MINUTE)
    for what, value in steps:
        if what == "wait":
            ledger.now += value
        elif what == "claim":
            ledger.claim(value)
        else:
            ledger.settle(int(what), value)
        ledger.sweep()
        assert ledger.tally.used == sum(claim.amount for claim in ledger.counted(ledger.now))
        _foresees(ledger)


def _foresees(ledger: Ledger) -> None:
    for later in (1, 30_000, 60_000, 90_000):
        foreseen = used_by(ledger.tally, ledger.now + later, unit=None)
        assert sum(claim.amount for claim in ledger.counted(ledger.now + later)) <= foreseen <= ledger.tally.used
    empty = free_at(ledger.tally, one_is_enough=False)
    if empty is not None:
        assert sum(claim.amount for claim in ledger.counted(empty)) == 0


@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=30), st.integers(1, 5))
def test_never_more_than_the_limit_in_any_window(waits: list[int], limit: int) -> None:
    """A count that is claimed only while there is room holds in every window, and gives room back at the moment it names."""
    ledger = Ledger(Span.MINUTE)
    taken: list[int] = []
    for wait in waits:
        ledger.now += wait
        ledger.sweep()
        if used_by(ledger.tally, ledger.now, unit=UNIT) + UNIT <= limit * UNIT:
            ledger.claim(UNIT)
            taken.append(ledger.now)
            continue
        free = free_at(ledger.tally, one_is_enough=True)
        assert free is not None
        assert used_by(ledger.tally, free, unit=UNIT) + UNIT <= limit * UNIT
        assert used_by(ledger.tally, free - 1, unit=UNIT) + UNIT > limit * UNIT
    assert all(sum(end - 60_000 < at <= end for at in taken) <= limit for end in taken)


def test_ten_tenths_are_one() -> None:
    """A budget of one has room for them, and for nothing more."""
    tally = Tally(Span.TOTAL)
    for _ in range(10):
        tally = claimed(tally, UNIT // 10, 5)
    assert tally.used == UNIT
    assert free_at(tally, one_is_enough=False) is None


def day_of(now: int, usage: Usage, zone: ZoneInfo = UTC) -> Tally:
    """The tally of the day that `now` falls into."""
    return usage.tally("m", Span.DAY, now, zone)


def test_a_day_starts_again_at_midnight() -> None:
    """Not a moment earlier, and 24 hours have nothing to do with it."""
    evening = 10 * DAY - 1_000
    usage = Usage("agent:a").with_tally("m", claimed(day_of(evening, Usage("agent:a")), UNIT, evening))
    assert day_of(10 * DAY - 1, usage).used == UNIT
    assert day_of(10 * DAY, usage).used == 0
    assert free_at(day_of(evening, usage), one_is_enough=True) == 10 * DAY


@pytest.mark.parametrize("zones", [(UTC, BERLIN), (BERLIN, UTC)], ids=["east", "west"])
def test_a_change_of_zone_gives_nothing_of_today_back(zones: tuple[ZoneInfo, ZoneInfo]) -> None:
    """What was claimed a moment ago still counts, and until the day of the new zone is over."""
    noon = 10 * DAY + 12 * HOUR
    before, after = zones
    usage = Usage("agent:a").with_tally("m", claimed(day_of(noon, Usage("agent:a"), before), UNIT, noon))
    seen = day_of(noon + 1, usage, after)
    assert (seen.used, seen.ends_at) == (UNIT, day_of(noon, Usage("agent:b"), after).ends_at)


def test_a_claim_of_yesterday_is_no_part_of_today() -> None:
    """To give it back gives nothing of today back."""
    evening, morning = 10 * DAY - 1_000, 10 * DAY + 1_000
    first = claimed(day_of(evening, Usage("agent:a")), UNIT, evening)
    claim = Claim("agent:a", "m", Span.DAY, UNIT, UNIT, evening)
    assert is_counted(claim, first, evening + 1)
    usage = Usage("agent:a").with_tally("m", first)
    today = claimed(day_of(morning, usage), UNIT, morning)
    assert not is_counted(claim, today, morning)
    assert is_counted(claim._replace(at=morning), today, morning)


@pytest.mark.parametrize("span", [Span.MINUTE, Span.HOUR])
def test_a_claim_leaves_its_window_on_time(span: Span) -> None:
    """It counts for less than the window's length."""
    assert span.rolling_ms is not None
    claim, tally = Claim("agent:a", "m", span, UNIT, UNIT, 5), claimed(Tally(span), UNIT, 5)
    assert is_counted(claim, tally, 5 + span.rolling_ms - 1)
    assert not is_counted(claim, tally, 5 + span.rolling_ms)


def test_a_total_never_forgets() -> None:
    """And what nobody has claimed of is counted nowhere."""
    claim = Claim("agent:a", "m", Span.TOTAL, UNIT, UNIT, 5)
    assert is_counted(claim, claimed(Tally(Span.TOTAL), UNIT, 5), 10**15)
    assert not is_counted(claim, None, 5)


def test_meters_of_one_subject_are_apart() -> None:
    """One more of the one leaves the other alone."""
    usage = Usage("agent:a").with_tally("m", claimed(Tally(Span.TOTAL), UNIT, 5))
    assert usage.tally("other", Span.TOTAL, 5, UTC) == Tally(Span.TOTAL)
    assert usage.with_tally("other", Tally(Span.TOTAL)).tally("m", Span.TOTAL, 5, UTC).used == UNIT


@given(st.lists(st.tuples(st.integers(0, UNIT), st.integers(0, UNIT)), max_size=20))
def test_what_is_settled_takes_the_place_of_what_was_reserved(costs: list[tuple[int, int]]) -> None:
    """In the end only the actual costs are used."""
    tally, claims = Tally(Span.TOTAL), []
    for reserved, _ in costs:
        tally = claimed(tally, reserved, 5)
        claims.append(Claim("agent:a", "m", Span.TOTAL, reserved, reserved, 5))
    for claim, (_, actual) in zip(claims, costs, strict=True):
        tally = adjusted(tally, claim, actual)
    assert tally.used == sum(actual for _, actual in costs)
