"""Stores that have seen a lot: circuits and decisions written in bulk, as rows such as the service writes."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, insert

from benchmarks.fleet import CALLER, fleet_facts
from cstp_server.domain.circuit_settings import MICRO
from cstp_server.domain.circuit_state import Circuit, Window
from cstp_server.domain.decisions import Answer, Decision, Source, Status
from cstp_server.domain.findings import Intervention, Verdict
from cstp_server.storage import migrating, tables
from cstp_server.storage.circuits import circuit_row
from cstp_server.storage.decisions import decision_row
from cstp_server.storage.engine import database_url

_CHUNK = 10_000
_PATTERNS = 200
_START = 1_760_000_000_000
_BETWEEN_MS = 20


def new_store(path: Path) -> str:
    """An empty store at `path`; its URL."""
    url = f"sqlite:///{path}"
    migrating.upgrade(database_url(url))
    return url


def fill_circuits(path: Path, count: int) -> None:
    """Circuits of so many agents, `agent-0` and up, each with a failure in its window."""
    rows = (circuit_row(CALLER.tenant, _circuit(number)) for number in range(count))
    _fill(path, {tables.circuits: rows})


def fill_decisions(path: Path, count: int) -> None:
    """So many decisions on record, and the event of each."""
    patterns = [decision_row(_decision(facts_number)) for facts_number in range(_PATTERNS)]
    _fill(path, {tables.decisions: _decision_rows(patterns, count), tables.events: _event_rows(patterns, count)})


def _fill(path: Path, rows: Mapping[Table, Iterator[dict[str, Any]]]) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        for pragma in ("synchronous=OFF", "cache_size=-262144"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.commit()
        with connection.begin():
            for table, each in rows.items():
                _insert(connection, table, each)
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()


def _insert(connection: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    while chunk := list(itertools.islice(rows, _CHUNK)):
        connection.execute(insert(table), chunk)


def _decision_rows(patterns: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {**patterns[number % _PATTERNS], "id": _id("dec", number), "at": _START + number * _BETWEEN_MS}


def _event_rows(patterns: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    common = {
        "tenant": CALLER.tenant,
        "type": "decision.checked",
        "actor": CALLER.principal,
        "policy_version": patterns[0]["policy_version"],
        "data": '{"intervention":"allow","agent":"agent-17","findings":[]}',
    }
    for number in range(count):
        yield {**common, "id": _id("evt", number), "at": _START + number * _BETWEEN_MS, "subject": _id("dec", number)}


def _id(prefix: str, number: int) -> str:
    """An id of the length of the service's own, which sorts by its number and before any that is made today."""
    return f"{prefix}_0{number:025d}"


def _circuit(number: int) -> Circuit:
    agent = f"agent-{number}"
    window = Window(1, 0, 1, MICRO, 12, 1, 11, _START, {agent: 1})
    return Circuit(f"agent:{agent}", since=_START, seq=12, logged_at=_START, recent=((_id("dec", number), _START),), window=window)


def _decision(number: int) -> Decision:
    facts = replace(fleet_facts(number, 1)[0], details={"agent": {"url": "https://agents.example/fleet"}})
    version = "sha256:" + "0" * 64
    answer = Answer(_id("dec", number), Verdict(Intervention.ALLOW), "supervised", 17, _START, version)
    return Decision(
        CALLER.tenant,
        answer.decision_id,
        _START,
        Status.ALLOWED,
        Source.CHECKED,
        facts,
        Intervention.ALLOW,
        version,
        CALLER.principal,
        "0" * 64,
        answer,
    )
