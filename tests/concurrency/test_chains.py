"""The record of events under load: exact with many processes at it, and after a kill (SPEC 11)."""

import asyncio
import threading
from pathlib import Path

import pytest

from tests.concurrency.crowd import Load, at_once, check, review
from tests.concurrency.store import watching
from tests.concurrency.test_crashes import under_load
from tests.conftest import StartServer
from tests.services.world import AUDIT_KEY

SIGNING = {"CSTP_AUDIT_KEY": AUDIT_KEY.decode(), "CSTP_AUDIT_ANCHOR_INTERVAL_MS": "200"}


def test_processes_that_write_at_once_each_have_an_exact_chain(start_server: StartServer, server_url: str, policy_file: Path) -> None:
    """Three at work, a command that makes a token, and verification meanwhile: whole at every moment, and all sealed at the end."""
    servers = [
        start_server(name, database_url=server_url, config=policy_file, workers=workers, env=SIGNING)
        for name, workers in (("one", 2), ("two", 1))
    ]
    urls = [server.url for server in servers]
    with watching(server_url, policy_file) as world:
        load = Load("load")
        thread = threading.Thread(target=lambda: asyncio.run(load.run(urls[0], 8)))
        thread.start()
        try:
            for turn in range(3):
                at_once(urls, [check(f"{turn}-{number}") for number in range(40)])
                at_once(urls, [review(f"{turn}-{number}", "failure") for number in range(40)])
                report = world.audit()
                assert report.problems == []
        finally:
            load.stopping = True
            thread.join(60)
        for server in servers:
            server.terminate()
        done = servers[0].cli("tokens", "create", "bot", "--role", "ci")
        assert done.returncode == 0, done.stderr
        report = world.audit()
        assert (report.problems, report.unanchored, report.adopted) == ([], 0, 0)
        assert report.chains >= 4
        assert report.events >= 240 + load.told


@pytest.mark.parametrize(("kind", "rounds"), [("sqlite", 5), ("postgresql", 2)])
def test_the_record_is_whole_after_a_kill(
    start_server: StartServer, request: pytest.FixtureRequest, policy_file: Path, kind: str, rounds: int
) -> None:
    """Killed in the middle of its work, again and again: what was told is in the record, and nothing is wrong with it."""
    url: str = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "ready_postgres_url")
    server = start_server(database_url=url, config=policy_file, env=SIGNING)
    told = 0
    with watching(url, policy_file) as world:
        for number in range(rounds):
            told += under_load(server, f"round{number}", lambda _load: server.kill()).told
            report = world.audit()
            assert report.problems == []
            assert report.events >= told
            server.start()
        assert world.audit().chains >= rounds
