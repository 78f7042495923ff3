"""The tests' own PostgreSQL does what the tests rely on."""

from pathlib import Path

import psycopg
import pytest

from tests.postgres import Postgres, PostgresMissing, find_programs, wheel_programs


def _libpq(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def test_every_test_gets_a_database_of_its_own(postgres: Postgres) -> None:
    """A table made in one database is not in the next one."""
    with postgres.database() as first, postgres.database() as second:
        with psycopg.connect(_libpq(postgres.url(first)), autocommit=True) as connection:
            connection.execute("CREATE TABLE only_here (id int)")
        with psycopg.connect(_libpq(postgres.url(second))) as connection:
            found = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'").fetchone()
    assert first != second
    assert found == (0,)


def test_what_was_committed_survives_a_crash(own_postgres: Postgres) -> None:
    """After an immediate stop and a new start, on the same port, a committed row is there."""
    with own_postgres.database() as name:
        url = _libpq(own_postgres.url(name))
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        own_postgres.restart(immediate=True)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
            assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_a_stopped_server_refuses_connections(own_postgres: Postgres) -> None:
    """While the server is stopped nobody connects; stopping twice is harmless."""
    url = _libpq(own_postgres.url("postgres"))
    own_postgres.stop()
    own_postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_without_postgresql_the_tests_fail_with_advice(tmp_path: Path) -> None:
    """A machine without PostgreSQL's programs is told how to get them, and no test is skipped."""
    with pytest.raises(PostgresMissing, match="pip install --require-hashes"):
        find_programs([tmp_path, tmp_path / "none"])


def test_the_wheels_programs_run_a_server() -> None:
    """A machine without a server package runs the same tests with the programs that the development lock brings."""
    server = Postgres(find_programs(wheel_programs()))
    try:
        server.start()
        with psycopg.connect(_libpq(server.url("postgres"))) as connection:
            version = connection.execute("SHOW server_version_num").fetchone()
    finally:
        server.close()
    assert version is not None
    assert int(version[0]) >= 150000
