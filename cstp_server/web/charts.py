"""Charts as plain numbers, which the templates draw as SVG: places and sizes in the units of the picture."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cstp_server.domain.circuit_state import Entry, State
from cstp_server.domain.values import dataclass
from cstp_server.services.catalogue import Seen
from cstp_server.services.requests import HistoryEntry
from cstp_server.web.words import many

_SPARK_BARS = 32
_SPARK_STEP = 4
_SPARK_HEIGHT = 18
_BUCKETS = 60
_ALLOWING = frozenset({"allow", "warn"})
_REFUSING = frozenset({"block", "halt"})


class Bar(NamedTuple):
    """A rectangle and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Spark:
    """The latest outcomes of a circuit, the newest on the right, and what they are in words."""

    bars: Sequence[Bar]
    text: str
    width: int = _SPARK_BARS * _SPARK_STEP
    height: int = _SPARK_HEIGHT


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis, at a time or at a value."""

    place: float
    at: float


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars over time, with the most that one of them is, a band of states below, and marks of both axes."""

    bars: Sequence[Bar]
    band: Sequence[Bar]
    most: int
    ticks: Sequence[Tick]
    levels: Sequence[Tick]
    text: str
    width: int
    height: int


class Counted(NamedTuple):
    """How many things of one kind there were at a moment."""

    at: int
    kind: str


def spark(outcomes: Sequence[Entry]) -> Spark:
    """The latest outcomes as bars: a failure is tall, whatever its colour, all else is short."""
    latest = outcomes[-_SPARK_BARS:]
    start = _SPARK_BARS - len(latest)
    bars = [_spark_bar(start + place, entry) for place, entry in enumerate(latest)]
    failed = sum(entry.failed for entry in latest)
    return Spark(bars, f"{failed} of the last {many(len(latest), 'outcome')} failed" if latest else "no outcomes yet")


def _spark_bar(place: int, entry: Entry) -> Bar:
    height = _SPARK_HEIGHT if entry.failed else _SPARK_HEIGHT // 3
    return Bar(place * _SPARK_STEP, _SPARK_HEIGHT - height, _SPARK_STEP - 1, height, "failed" if entry.failed else "fine")


def activity(seen: Iterable[Seen], since: int, now: int) -> Plot:
    """What decisions came to, minute by minute."""
    counted = [Counted(each.at, _kind_of(each.intervention)) for each in seen]
    return plot(counted, ("refused", "held", "fine"), since, now, 720, 120, "decisions of the last hour by minute")


def _kind_of(intervention: str) -> str:
    if intervention in _ALLOWING:
        return "fine"
    return "refused" if intervention in _REFUSING else "held"


def history(entries: Sequence[Entry], moves: Sequence[HistoryEntry], since: int, now: int) -> Plot:
    """The outcomes of a circuit over time, above the states that it was in. `moves` come newest first."""
    counted = [Counted(entry.at, "failed" if entry.failed else "fine") for entry in entries]
    drawn = plot(counted, ("failed", "fine"), since, now, 720, 150, "outcomes over time")
    return Plot(
        drawn.bars,
        _band(moves, since, now, 720),
        drawn.most,
        drawn.ticks,
        drawn.levels,
        f"{_told(entries)}; {_states_told(moves, since)}",
        720,
        150,
    )


def drawable_since(since: int, entries: Sequence[Entry], moves: Sequence[HistoryEntry], *, lacks_entries: bool, lacks_moves: bool) -> int:
    """From when on a circuit's history can be drawn whole: where older outcomes or moves were left out, from the oldest that is there.

    Outcomes come oldest first, moves newest first.
    """
    oldest_entry = [entries[0].at] if lacks_entries and entries else []
    oldest_move = [moves[-1].at] if lacks_moves and moves else []
    return max([since, *oldest_entry, *oldest_move])


def _told(entries: Sequence[Entry]) -> str:
    failed = sum(entry.failed for entry in entries)
    return f"{many(len(entries), 'outcome')}, {many(failed, 'failure')}"


def _states_told(moves: Sequence[HistoryEntry], since: int) -> str:
    opened = sum(move.at >= since and move.state == State.OPEN.value and move.previous_state != move.state for move in moves)
    return f"opened {many(opened, 'time')}"


def plot(counted: Sequence[Counted], kinds: Sequence[str], since: int, now: int, width: int, height: int, text: str) -> Plot:
    """Stacked bars of equal stretches of time, the first kind at the bottom."""
    span = max(now - since, 1)
    sums: dict[tuple[int, str], int] = {}
    for each in counted:
        if since <= each.at <= now:
            bucket = min((each.at - since) * _BUCKETS // span, _BUCKETS - 1)
            sums[bucket, each.kind] = sums.get((bucket, each.kind), 0) + 1
    most = _rounded(max((sum(sums.get((bucket, kind), 0) for kind in kinds) for bucket in range(_BUCKETS)), default=0))
    step = width / _BUCKETS
    bars: list[Bar] = []
    for bucket in range(_BUCKETS):
        top = float(height)
        for kind in kinds:
            share = sums.get((bucket, kind), 0) / most * height
            if share:
                top -= share
                bars.append(Bar(round(bucket * step + 1, 2), round(top, 2), round(step - 2, 2), round(share, 2), kind))
    ticks = [Tick(round(width * part / 4, 2), since + span * part / 4) for part in range(5)]
    levels = [Tick(round(height - height * part / 2, 2), most * part / 2) for part in range(3)]
    return Plot(bars, (), most, ticks, levels, text, width, height)


def _band(moves: Sequence[HistoryEntry], since: int, now: int, width: int) -> Sequence[Bar]:
    """The states of a circuit over time."""
    span = max(now - since, 1)
    oldest_first = list(reversed(moves))
    state = oldest_first[0].previous_state if oldest_first else State.CLOSED.value
    began, bars = since, list[Bar]()
    for move in oldest_first:
        if move.at <= since:
            state = move.state
            continue
        if move.state != state:
            bars.append(_stretch(began, move.at, state, since, span, width))
            began, state = move.at, move.state
    bars.append(_stretch(began, now, state, since, span, width))
    return bars


def _stretch(start: int, end: int, state: str, since: int, span: int, width: int) -> Bar:
    x = (start - since) / span * width
    return Bar(round(x, 2), 0, round(max((end - start) / span * width, 1), 2), 10, state, state)


def _rounded(most: int) -> int:
    """A number that halves well, no smaller."""
    for step in (2, 4, 6, 10, 20, 40, 60, 100, 200, 400, 600, 1000, 2000, 5000):
        if most <= step:
            return step
    return most + most % 2
