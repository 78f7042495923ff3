"""The schema: from nothing to head and back, the same as the tables say, whoever else is at it."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.engine import URL

from cstp_server.domain.anchors import AuditKeys
from cstp_server.services.auditing import verify
from cstp_server.storage.auditing import reading_record
from cstp_server.storage.engine import database_url as url_of
from cstp_server.storage.engine import passing_engine, reading_engine
from cstp_server.storage.migrating import _UPGRADE_LOCK, current, head, upgrade
from cstp_server.storage.tables import metadata
from tests.conftest import ROOT


def differences(url: URL) -> list[object]:
    with passing_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))


def tables_of(url: URL) -> set[str]:
    with passing_engine(url).connect() as connection:
        return set(inspect(connection).get_table_names())


def downgrade(url: URL) -> None:
    migrate(command.downgrade, "base", url)


def to(revision: str, url: URL) -> None:
    migrate(command.upgrade, revision, url)


def migrate(move: Callable[[Config, str], None], revision: str, url: URL) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    with passing_engine(url).connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        move(config, revision)


def test_the_schema_at_head_is_what_the_tables_say(database_url: str) -> None:
    """From nothing to head, without a difference, and told so."""
    url = url_of(database_url)
    assert current(url) is None
    assert upgrade(url) == head() == current(url)
    assert differences(url) == []
    assert set(metadata.tables) < tables_of(url)


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    """The second finds all done."""
    url = url_of(database_url)
    upgrade(url)
    assert upgrade(url) == head()
    assert differences(url) == []


def test_the_way_back_and_forth_again_leads_to_the_same(database_url: str) -> None:
    """Down to nothing and up again."""
    url = url_of(database_url)
    upgrade(url)
    downgrade(url)
    assert not set(metadata.tables) & tables_of(url)
    assert current(url) is None
    upgrade(url)
    assert differences(url) == []


_UPGRADE = """
import sys
from cstp_server.storage.engine import database_url
from cstp_server.storage.migrating import upgrade
print("ready", flush=True)
sys.stdin.readline()
print(upgrade(database_url(sys.argv[1])))
"""


def at_once(processes: Iterable["subprocess.Popen[str]"]) -> list[tuple[int, str]]:
    processes = list(processes)
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60) for process in processes]
    return [(process.returncode, output[0] + output[1]) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.parametrize("attempt", range(2))
def test_processes_that_upgrade_at_once_all_find_the_schema_at_head(database_url: str, attempt: int) -> None:
    """Four at a time on an empty database: one does it, the others wait for it, nobody fails."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _UPGRADE, database_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    results = at_once(started)
    assert [code for code, _ in results] == [0] * 4, results
    assert differences(url_of(database_url)) == []


_SLOW_INDEXES = """
CREATE FUNCTION tarry() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); END';
CREATE EVENT TRIGGER slow_indexes ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION tarry();
"""
_UPGRADES_WAIT = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements, and waits for locks, are given up after 0.2 s."""
    monkeypatch.setattr("cstp_server.storage.engine._STATEMENT_TIMEOUT_MS", 200)
    monkeypatch.setattr("cstp_server.storage.engine._IDLE_TIMEOUT_MS", 200)


@pytest.mark.usefixtures("hasty")
def test_an_upgrade_takes_as_long_as_it_takes(postgres_url: str) -> None:
    """However long an index takes to build, it is not given up, as a call would be."""
    url = url_of(postgres_url)
    to("0010", url)
    with passing_engine(url).connect() as connection, connection.begin():
        connection.execute(sa.text(_SLOW_INDEXES))
        with pytest.raises(sa.exc.OperationalError, match="statement timeout"), connection.begin_nested():
            connection.execute(sa.text("CREATE INDEX slow ON events (actor)"))
    assert upgrade(url) == head()
    assert differences(url) == []


@pytest.mark.usefixtures("hasty")
def test_an_upgrade_waits_for_another_as_long_as_that_takes(postgres_url: str) -> None:
    """And then finds all done, or does it; for locks on tables it waits no longer than others, since others wait for it."""
    url = url_of(postgres_url)
    to("0010", url)
    with ThreadPoolExecutor(1) as pool, sa.create_engine(url, poolclass=sa.NullPool).connect() as other:
        with other.begin():
            other.execute(sa.text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            waiting = pool.submit(upgrade, url)
            while not other.execute(_UPGRADES_WAIT).scalar_one():
                assert not waiting.done(), waiting.result()
            wait([waiting], timeout=0.6)
        assert waiting.result(timeout=20) == head()
        migrate(command.downgrade, "0010", url)
        with other.begin():
            other.execute(sa.text("LOCK TABLE events IN ROW EXCLUSIVE MODE"))
            with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
                upgrade(url)


def test_indexes_that_were_built_beforehand_are_left_as_they_are(postgres_url: str) -> None:
    """As the manual has it; one that was not finished is built anew."""
    url = url_of(postgres_url)
    to("0010", url)
    built = re.findall(r"^CREATE INDEX CONCURRENTLY .*?;", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(built) == 2
    engine = reading_engine(url, 1)
    with engine.connect() as connection:
        for statement in built:
            connection.execute(sa.text(statement))
        connection.execute(sa.text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_decisions_waiting'::regclass"))
        names = sa.text("SELECT relname, oid, indisvalid FROM pg_class JOIN pg_index ON oid = indexrelid WHERE relname IN :names")
        names = names.bindparams(sa.bindparam("names", ["ix_decisions_waiting", "ix_events_told_at"], expanding=True))
        before = {name: oid for name, oid, _ in connection.execute(names)}
        upgrade(url)
        after = {name: (oid, valid) for name, oid, valid in connection.execute(names)}
    engine.dispose()
    assert after["ix_events_told_at"] == (before["ix_events_told_at"], True)
    assert after["ix_decisions_waiting"][0] != before["ix_decisions_waiting"]
    assert after["ix_decisions_waiting"][1]
    assert differences(url) == []


def test_events_from_before_the_chains_get_one(database_url: str) -> None:
    """In the order of their ids, and anchored: verification finds nothing wrong, and then whatever is changed."""
    url = url_of(database_url)
    to("0002", url)
    names = ("id", "at", "tenant", "type", "subject", "actor", "policy_version", "data")
    with passing_engine(url).connect() as connection, connection.begin():
        table = sa.table("events", *[sa.column(name) for name in names])
        for number in range(3):
            values = (f"evt_{number}", number, "default", "token.created", f'büro "{number}"', "cli", "", "{}")
            connection.execute(table.insert().values(dict(zip(names, values, strict=True))))
    upgrade(url)
    with reading_record(url) as record:
        report = verify(record, AuditKeys(), lambda _events: None)
    assert (report.problems, report.events, report.chains, report.unanchored) == ([], 3, 1, 0)
    with passing_engine(url).connect() as connection, connection.begin():
        connection.execute(sa.text("UPDATE events SET actor = 'nobody' WHERE id = 'evt_1'"))
    with reading_record(url) as record:
        assert not verify(record, AuditKeys(), lambda _events: None).is_whole
