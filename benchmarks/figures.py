"""Figures, with what they should reach."""

import operator
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Sense = Literal["at least", "at most"]
_MEETS = {"at least": operator.ge, "at most": operator.le}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `spread` are the rounds it is the median of."""

    name: str
    value: float
    unit: str = ""
    sense: Sense | None = None
    target: float | None = None
    spread: tuple[float, ...] = ()
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; none when there is none."""
        if self.sense is None or self.target is None:
            return None
        return bool(_MEETS[self.sense](self.value, self.target))


def median_of(
    name: str,
    rounds: Iterable[float],
    unit: str = "",
    sense: Sense | None = None,
    target: float | None = None,
    note: str = "",
) -> Figure:
    """The median of several rounds as a figure."""
    spread = tuple(rounds)
    return Figure(name, statistics.median(spread), unit, sense, target, spread, note)


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print figures as a table."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column, justify in (
        ("what", "left"),
        ("figure", "right"),
        ("rounds", "right"),
        ("target", "right"),
        ("", "left"),
        ("note", "left"),
    ):
        table.add_column(column, justify="right" if justify == "right" else "left")
    for figure in figures:
        table.add_row(figure.name, _text(figure.value, figure.unit), _spread(figure), _target(figure), _verdict(figure), figure.note)
    Console(width=150).print(table)


def as_json(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """Figures as plain values."""
    return [asdict(figure) | {"met": figure.met} for figure in figures]


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _text(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".strip()


def _spread(figure: Figure) -> str:
    return f"{_number(min(figure.spread))} … {_number(max(figure.spread))}" if len(figure.spread) > 1 else ""


def _target(figure: Figure) -> str:
    return f"{figure.sense} {_number(figure.target)}" if figure.target is not None else ""


def _verdict(figure: Figure) -> str:
    return {True: "met", False: "not met", None: ""}[figure.met]
