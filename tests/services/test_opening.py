"""When a time window opens next (SPEC 9)."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from cstp_server.dimensions.time_window import TimeWindow, TimeWindowDimension
from cstp_server.services.opening import opens_at

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]).map(ZoneInfo)
CHANGES = [datetime(2025, 3, 30, 1, tzinfo=UTC), datetime(2025, 10, 26, 1, tzinfo=UTC), datetime(2025, 4, 5, 15, tzinfo=UTC)]
MOMENTS = st.builds(
    lambda change, before: int((change - timedelta(seconds=before)).timestamp() * 1000),
    st.sampled_from(CHANGES),
    st.integers(-90_000, 200_000),
)
TIMES = st.times().map(lambda time: f"{time:%H:%M}")
NIGHT = st.integers(0, 5 * 60).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")


def is_open(window: TimeWindow, moment: int, zone: ZoneInfo) -> bool:
    local = datetime.fromtimestamp(moment / 1000, zone)
    return TimeWindowDimension().check(window, {"current_time": local}).satisfied


@settings(max_examples=400, deadline=None)
@given(TIMES | NIGHT, TIMES | NIGHT, MOMENTS, ZONES)
def test_it_opens_at_the_first_minute_that_is_within_it(opening: str, closing: str, now: int, zone: ZoneInfo) -> None:
    """As looking at every minute finds it, over hours that the clocks skip, and hours that they give twice."""
    window = TimeWindowDimension().parse(f"{opening}-{closing}")
    minutes = range(now // MINUTE_MS * MINUTE_MS + MINUTE_MS, now + 3 * DAY_MS, MINUTE_MS)
    assert opens_at(window, now, zone) == next(moment for moment in minutes if is_open(window, moment, zone))


def test_what_is_never_open_does_not_open() -> None:
    """Windows that have no minute in common."""
    assert opens_at(TimeWindow(0), 1_700_000_000_000, ZoneInfo("UTC")) is None
