"""What the machine itself asks for durability: one row, one commit, nothing else. No durable answer can come sooner."""

import sqlite3
import statistics
import time
from pathlib import Path

_COMMITS = 500
_ROW = "x" * 1200
"""About what a check leaves behind."""


def commit_ms(folder: Path) -> float:
    """The median time of a commit of one row, in ms, with SQLite set up as the service sets it up."""
    connection = sqlite3.connect(folder / "commits.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, data TEXT)")
    spent = []
    for _ in range(_COMMITS):
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (data) VALUES (?)", (_ROW,))
        connection.execute("COMMIT")
        spent.append((time.perf_counter() - started) * 1e3)
    connection.close()
    return statistics.median(spent)
