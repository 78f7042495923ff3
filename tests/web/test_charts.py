"""What the charts draw, and from when on."""

from cstp_server.domain.circuit_state import Entry, EntryKind
from cstp_server.services.requests import HistoryEntry
from cstp_server.web import charts


def outcome(seq: int, at: int) -> Entry:
    return Entry(seq, at, EntryKind.OUTCOME, "settings")


def move(at: int) -> HistoryEntry:
    return HistoryEntry(at, "circuit.opened", "closed", "open", "threshold_reached", "ci", None)


def test_a_history_that_is_cut_begins_where_it_is_whole() -> None:
    """At the oldest outcome or move that is there, whichever is younger; one that is whole begins where it was asked to."""
    entries, moves = [outcome(501, 4_000), outcome(502, 9_000)], [move(8_000), move(6_000)]
    assert charts.drawable_since(1_000, entries, moves, lacks_entries=False, lacks_moves=False) == 1_000
    assert charts.drawable_since(1_000, entries, moves, lacks_entries=True, lacks_moves=False) == 4_000
    assert charts.drawable_since(1_000, entries, moves, lacks_entries=True, lacks_moves=True) == 6_000
    assert charts.drawable_since(7_000, entries, moves, lacks_entries=True, lacks_moves=True) == 7_000
    assert charts.drawable_since(1_000, [], [], lacks_entries=True, lacks_moves=True) == 1_000


def test_a_history_tells_of_what_it_shows() -> None:
    """Not of what was before it began; and one of a thing is no plural."""
    moves = [move(9_000), move(500)]
    assert charts.history([outcome(1, 4_000)], moves, 1_000, 10_000).text == "1 outcome, 0 failures; opened 1 time"
    assert charts.history([outcome(1, 400), outcome(2, 600)], moves, 100, 10_000).text == "2 outcomes, 0 failures; opened 2 times"
    assert charts.spark([outcome(1, 400)]).text == "0 of the last 1 outcome failed"
