"""When the store is in trouble the service says no, in time, and goes on by itself once the trouble is over."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, StartServer
from tests.server import RpcError, RunningServer
from tests.story.test_the_loop import wait_for

DEADLINE_MS = 400
ENOUGH_SECONDS = 20


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the service keeps its data."""
    return tmp_path / "store" / "cstp.db"


@pytest.fixture
def server(start_server: StartServer, database: Path) -> RunningServer:
    """The service with a short deadline and a short queue."""
    env = {"CSTP_DEADLINE_MS": str(DEADLINE_MS), "CSTP_QUEUE_LIMIT": "20"}
    return start_server(config=ROOT / "config", database_url=f"sqlite:///{database}", env=env)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody else holds the write lock, as a backup or a stuck tool would."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def check(server: RunningServer, decision_id: str) -> Any:
    """One harmless check."""
    return server.call("cstp.checkGuardrails", {"action": {"description": "tidy the workshop"}, "decisionId": decision_id})


def code_of(server: RunningServer, number: int) -> tuple[int, int]:
    """The error code and the HTTP status that a check gets on a connection of its own; zeros when it is answered."""
    params = {"action": {"description": "tidy the workshop"}, "decisionId": f"dec_{number}"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "cstp.checkGuardrails", "params": params}
    response = httpx.post(f"{server.url}/cstp", json=body, timeout=30, trust_env=False)
    error = response.json().get("error")
    return (error["code"], response.status_code) if error is not None else (0, response.status_code)


def test_a_call_that_cannot_be_stored_in_time_is_refused_and_a_retry_goes_through(server: RunningServer, database: Path) -> None:
    """A stuck store never means an allow: the answer is a refusal with HTTP 503, and the same decision id works afterwards."""
    with locked(database), pytest.raises(RpcError) as refused:
        check(server, "dec_stuck")
    assert (refused.value.code, refused.value.status) in {(-32012, 503), (-32013, 503)}
    wait_for(lambda: code_of(server, 0) == (0, httpx.codes.OK), ENOUGH_SECONDS)
    assert check(server, "dec_stuck")["allowed"]


def test_more_calls_than_may_wait_are_refused_at_once(server: RunningServer, database: Path) -> None:
    """With room for twenty, sixty callers of a stuck store all get an answer, and those turned away get -32013."""
    with locked(database), ThreadPoolExecutor(60) as callers:
        codes = list(callers.map(lambda number: code_of(server, number), range(60)))
    assert set(codes) <= {(-32012, 503), (-32013, 503)}
    assert codes.count((-32013, 503)) >= 40


def test_reads_go_on_while_nobody_can_write(server: RunningServer, database: Path) -> None:
    """Looking at a circuit and at a decision waits for no writer."""
    assert check(server, "dec_before")["allowed"]
    with locked(database):
        assert server.call("cstp.getCircuitState", {"scope": "category:tooling"})["state"] == "closed"
        assert server.call("cstp.getDecision", {"id": "dec_before"})["found"]
        assert server.http.get("/health").status_code == httpx.codes.OK
