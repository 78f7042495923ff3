"""`python -m benchmarks`: the standard set, with a table of what was reached and what should be, for reading."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import orjson

from benchmarks import audit, constraints, dashboards, decide, http, memory, store
from benchmarks.figures import Figure, as_json, show

_QUICK_CHECKS = 200_000
_ALL_CHECKS = 1_000_000
Part = tuple[str, Callable[[Path], list[Figure]]]


def main() -> None:
    """Run the set and print it."""
    options = _options()
    reached: list[tuple[str, list[Figure]]] = []
    for title, measure in _parts(options):
        with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder:
            figures = measure(Path(folder))
        reached.append((title, figures))
        show(title, figures)
    goals = [figure for _, figures in reached for figure in figures if figure.target is not None]
    show(f"Targets: {sum(figure.met is True for figure in goals)} of {len(goals)} met", goals)
    if options.json is not None:
        options.json.write_bytes(orjson.dumps({title: as_json(figures) for title, figures in reached}, option=orjson.OPT_INDENT_2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="watch the memory over a million checks")
    parser.add_argument("--postgres", metavar="URL", help="measure HTTP on this PostgreSQL database as well")
    parser.add_argument("--rounds", type=int, default=5, help="of which every figure is the median")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    return parser.parse_args()


def _parts(options: argparse.Namespace) -> list[Part]:
    rounds, url = options.rounds, options.postgres
    parts: list[Part] = [
        ("HTTP, SQLite", lambda folder: http.measure(folder, rounds, 1.5)),
        ("Dashboards", lambda folder: dashboards.measure(folder, rounds)),
        ("Deciding alone", lambda folder: decide.measure(folder, rounds)),
        ("Constraints alone", lambda folder: constraints.measure(folder, rounds)),
        ("Circuits in the store", lambda folder: store.measure_circuits(folder, rounds)),
        ("Decisions in the store", lambda folder: store.measure_decisions(folder, rounds)),
        ("Audit", lambda folder: audit.measure(folder, rounds)),
        ("Memory", lambda folder: memory.measure(folder, _ALL_CHECKS if options.full else _QUICK_CHECKS)),
    ]
    if url is not None:
        parts.insert(1, ("HTTP, PostgreSQL", lambda folder: http.measure(folder, rounds, 1.5, url)))
    return parts


if __name__ == "__main__":
    main()
