"""The schema: from nothing to head and back, the same as the tables say, whoever else is at it."""

import subprocess
import sys
from collections.abc import Callable, Iterable

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
from cstp_server.storage.engine import passing_engine
from cstp_server.storage.migrating import current, head, upgrade
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
