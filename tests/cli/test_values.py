"""What people type: times and durations."""

import pytest
import typer

from cstp_server.cli.values import in_words, parse_duration, parse_since
from tests.client.conftest import Sleeper


@pytest.mark.parametrize(
    ("text", "ms"), [("1s", 1_000), ("90m", 5_400_000), ("12h", 43_200_000), ("30d", 2_592_000_000), ("2W", 1_209_600_000)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, ms: int) -> None:
    """Seconds to weeks, without regard to case."""
    assert parse_duration(text, "--expires") == ms


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "0h", "1.5h", "1y", "٣d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """The message shows a good one."""
    with pytest.raises(typer.BadParameter, match="such as `30d`"):
        parse_duration(text, "--expires")


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("2h", "2026-02-02T00:40:00Z"),
        ("2026-02-11", "2026-02-11T00:00:00Z"),
        ("2026-02-11T13:30:00Z", "2026-02-11T13:30:00Z"),
        ("2026-02-11T13:30:00+01:00", "2026-02-11T12:30:00Z"),
        ("2026-02-11 13:30", "2026-02-11T13:30:00Z"),
    ],
)
def test_since_is_how_long_ago_a_date_or_a_time(text: str, since: str) -> None:
    """A time without a zone is UTC."""
    assert parse_since(text, "--since", Sleeper()) == since


@pytest.mark.parametrize(("ms", "words"), [(0, "0s"), (1, "1s"), (90_000, "1m 30s"), (1_800_000, "30m"), (90_061_000, "1d 1h")])
def test_durations_are_shown_in_their_largest_units(ms: int, words: str) -> None:
    """Two units are enough, rounded up to the second."""
    assert in_words(ms) == words
