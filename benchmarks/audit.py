"""What the record of events costs: its chain beside rows without one, and looking through all of it."""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from benchmarks.figures import Figure, median_of, show
from benchmarks.filling import new_store
from benchmarks.fleet import CALLER
from cstp_server.clock import RisingIds, SystemClock
from cstp_server.domain.anchors import AnchorKind, AuditKeys
from cstp_server.domain.events import Event, EventType
from cstp_server.services.auditing import verify
from cstp_server.services.chaining import EVENT_COLUMNS
from cstp_server.storage import tables
from cstp_server.storage.auditing import reading_record
from cstp_server.storage.engine import database_url, writing_engine
from cstp_server.storage.events import event_rows
from cstp_server.storage.inserting import BulkInsert
from cstp_server.storage.journal import NEW_EVENTS, Journal

EVENTS = 300_000
_BATCH = 32
_BATCHES = 200
_AT_ONCE = 5_000
_KEYS = AuditKeys((b"a key of the benchmarks, 32 bytes long",))
_PLAIN = BulkInsert(tables.events, EVENT_COLUMNS)
_DATA = {"intervention": "allow", "agent": "agent-17", "category": "tooling", "stakes": "medium", "findings": []}
_VERSION = "sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class Spent:
    """Microseconds an event: of the process's CPU, and until it was durable."""

    cpu: float
    wall: float


class Writing:
    """A store that events are written to, with their chain or without."""

    def __init__(self, path: Path, *, chained: bool) -> None:
        self.url = database_url(new_store(path))
        self._engine = writing_engine(self.url)
        self._ids = RisingIds(SystemClock())
        self._journal = Journal(_KEYS)
        self._chained = chained
        if not chained:
            with self._engine.connect() as connection, connection.begin():
                connection.exec_driver_sql("DROP INDEX ix_events_chain")

    def write(self, events: Sequence[Event]) -> None:
        """Write the events in one transaction."""
        with self._engine.connect() as connection, connection.begin():
            self._insert(connection, events)
        self._journal.commit()

    def anchor(self) -> None:
        """Anchor what was written."""
        with self._engine.connect() as connection, connection.begin():
            made = self._journal.anchor(connection, SystemClock(), AnchorKind.HEAD)
        if made is not None:
            self._journal.anchored(*made)

    def close(self) -> None:
        """Let go of the store."""
        self._engine.dispose()

    def _insert(self, connection: Connection, events: Sequence[Event]) -> None:
        batch = self._ids.new("evt")
        if self._chained:
            self._journal.begin(connection, SystemClock().now())
            NEW_EVENTS.execute_tuples(connection, self._journal.rows(events, batch))
        else:
            _PLAIN.execute_tuples(connection, event_rows(events, batch))


def measure(folder: Path, rounds: int, events: int = EVENTS) -> list[Figure]:
    """The figures."""
    chained, plain = Writing(folder / "chained.db", chained=True), Writing(folder / "plain.db", chained=False)
    spent: dict[bool, list[Spent]] = {True: [], False: []}
    for number in range(rounds + 1):  # the first one warms up
        for is_chained, writing in ((True, chained), (False, plain)):
            found = _write(writing.write)
            if number:
                spent[is_chained].append(found)
    cpu = [mine.cpu - other.cpu for mine, other in zip(spent[True], spent[False], strict=True)]
    wall = sorted(mine.wall - other.wall for mine, other in zip(spent[True], spent[False], strict=True))[rounds // 2]
    note = f"{wall:.1f} µs until durable, batches of {_BATCH}, beside rows without it"
    figures = [median_of("the chain, an event", cpu, "µs CPU", "at most", 15.0, note=note)]
    chained.close()
    plain.close()
    return [*figures, _verify(folder / "long.db", rounds, events)]


def _write(write: Callable[[Sequence[Event]], None]) -> Spent:
    batches = [_events(number * _BATCH, _BATCH) for number in range(_BATCHES)]
    started, used = time.perf_counter(), time.process_time()
    for batch in batches:
        write(batch)
    count = _BATCH * _BATCHES / 1e6
    return Spent((time.process_time() - used) / count, (time.perf_counter() - started) / count)


def _verify(path: Path, rounds: int, events: int) -> Figure:
    writing = Writing(path, chained=True)
    for first in range(0, events, _AT_ONCE):
        writing.write(_events(first, _AT_ONCE))
        writing.anchor()
    writing.close()
    rates = []
    for _ in range(rounds):
        started = time.perf_counter()
        with reading_record(writing.url) as record:
            report = verify(record, _KEYS, _look_away)
        assert report.is_whole
        assert report.events == events
        rates.append(events / (time.perf_counter() - started))
    return median_of(f"verifying {events:,} events", rates, "/s", "at least", 100_000)


def _events(first: int, count: int) -> list[Event]:
    now, data = SystemClock().now(), dict[str, Any](_DATA)
    names = [f"dec_0{number:025d}" for number in range(first, first + count)]
    return [Event(EventType.DECISION_CHECKED, CALLER.tenant, name, CALLER.principal, now, _VERSION, data) for name in names]


def _look_away(_events: int) -> None:
    """Nobody watches."""


def main() -> None:
    """Print what the record costs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cstp-bench-") as folder:
        show("Audit", measure(Path(folder), options.rounds))


if __name__ == "__main__":
    main()
