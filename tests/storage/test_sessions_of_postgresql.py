"""What the service asks of PostgreSQL for its own transactions, however the server is set up."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.engine import URL

from cstp_server.domain.anchors import AnchorKind, AuditKeys, genesis
from cstp_server.storage import tables
from cstp_server.storage.anchors import append
from cstp_server.storage.auditing import reading_record
from cstp_server.storage.engine import database_url, passing_engine, reading_engine, writing_engine

MakeEngine = Callable[[URL], Engine]


@pytest.fixture
def url(ready_postgres_url: str) -> URL:
    """A database with the schema at head."""
    return database_url(ready_postgres_url)


def set_default(url: URL, name: str, value: str) -> None:
    with passing_engine(url).connect() as connection, connection.begin():
        connection.execute(text(f"ALTER DATABASE {url.database} SET {name} = '{value}'"))


def anchor(connection: Connection, chain: str) -> int:
    return append(connection, AuditKeys(), AnchorKind.START, chain, 0, genesis(chain), writer="wrt", at=1).number


@pytest.mark.parametrize("engine_of", [writing_engine, passing_engine])
@pytest.mark.parametrize("default", ["repeatable read", "serializable"])
def test_who_has_waited_sees_what_was_committed_meanwhile(url: URL, engine_of: MakeEngine, default: str) -> None:
    """Whatever isolation the database has by default: the ledger has no number twice, and no transaction fails for it."""
    set_default(url, "default_transaction_isolation", default)
    one, other = engine_of(url), engine_of(url)
    with one.connect() as connection, connection.begin():
        connection.execute(select(tables.events)).all()
        with other.connect() as another, another.begin():
            assert anchor(another, "chn_1") == 1
        assert anchor(connection, "chn_2") == 2
    one.dispose()
    other.dispose()


@pytest.mark.parametrize("engine_of", [writing_engine, passing_engine, lambda url: reading_engine(url, 1)])
def test_a_process_that_is_frozen_in_a_transaction_keeps_its_locks_for_half_a_minute(url: URL, engine_of: MakeEngine) -> None:
    """Then the server ends the transaction, so that others can go on."""
    set_default(url, "idle_in_transaction_session_timeout", "0")
    engine = engine_of(url)
    with engine.connect() as connection:
        assert connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar() == "30s"
    engine.dispose()


def test_whoever_takes_the_record_elsewhere_may_be_slow(url: URL) -> None:
    """Only there: it is one transaction, and what it is written to may stand still."""
    with reading_record(url) as record:
        for name in ("idle_in_transaction_session_timeout", "statement_timeout"):
            assert record._connection.execute(text(f"SHOW {name}")).scalar() == "0"
