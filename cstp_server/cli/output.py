"""What a command prints: results on standard output, everything else on standard error.

At a terminal tables wrap to its width; piped, every row is one line, without colours, and nothing is cut off.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 100_000
_WHOLE = 40
"""Names in a first column are kept on one line up to this length, at the cost of the columns after it."""

Cell = str | int | float | bool | datetime | Sequence[str] | None
STYLES: Mapping[str, str] = {
    "allow": "green",
    "allowed": "green",
    "approved": "green",
    "success": "green",
    "closed": "green",
    "warn": "yellow",
    "half_open": "yellow",
    "pending": "yellow",
    "partial": "yellow",
    "built_in": "green",
    "rejected": "red",
    "open": "bold red",
    "block": "bold red",
    "blocked": "bold red",
    "human_decides": "yellow",
    "full_autonomy": "green",
    "reduced_autonomy": "bold red",
    "halt": "bold red",
    "failure": "red",
    "denied": "red",
    "cancelled": "red",
    "expired": "red",
}


def say(text: str) -> None:
    """A line for people, on standard error."""
    typer.echo(plain(text), err=True)


def print_json(value: Any) -> None:
    """A value as JSON on standard output."""
    _write(json.dumps(value, ensure_ascii=False, indent=2))


def print_line(text: str, style: str | None = None) -> None:
    """A line on standard output."""
    _print(Text(plain(text), style=style or ""))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str) -> None:
    """Rows under headings; `empty` is what is said when there are none."""
    cells = [[show(cell) for cell in row] for row in rows]
    if not cells:
        say(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column(columns[0], overflow="fold", no_wrap=max(len(row[0]) for row in cells) <= _WHOLE)
    for column in columns[1:]:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    _print(table)


def print_record(fields: Iterable[tuple[str, Cell]]) -> None:
    """One thing, a line for each of its fields that has a value."""
    table = Table(box=None, pad_edge=False, show_header=False, show_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value is not None and value not in ("", ()):
            text = show(value)
            table.add_row(Text(name), Text(text, style=STYLES.get(text, "")))
    _print(table)


def show(value: Cell) -> str:
    """A value as a cell shows it.

    >>> show(2.0), show(None), show(True)
    ('2', '-', 'yes')
    """
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return plain(value)
    return (", ".join(plain(item) for item in value) or "-") if isinstance(value, Sequence) else str(value)


def plain(text: str) -> str:
    """The text with everything that a terminal might obey made visible: what agents write is shown, and does nothing.

    >>> plain("ok" + chr(27) + "[2J")
    'ok\\\\x1b[2J'
    """
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def _print(what: Table | Text) -> None:
    terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout, width=None if terminal else _UNBOUNDED, no_color=not terminal, highlight=False, markup=False, emoji=False
    )
    if terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    for line in captured.get().splitlines():
        _write(line.rstrip())


def _write(text: str) -> None:
    """A line on standard output. Where nobody reads on (`| head -1`), the command goes on without it, to the exit code that it has."""
    try:
        typer.echo(text)
    except BrokenPipeError:
        _let_go_of_output()


def write_bytes(data: bytes) -> None:
    """Bytes on standard output, as they are; where nobody reads on, the command goes on without it."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _let_go_of_output()


def _let_go_of_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
