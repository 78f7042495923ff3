"""What agents send stays out of messages about the database."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from cstp_server.storage.engine import database_url as url_of
from cstp_server.storage.engine import passing_engine, reading_engine, writing_engine


@pytest.mark.parametrize("engine_of", [writing_engine, passing_engine, lambda url: reading_engine(url, 1)])
def test_an_error_of_the_database_does_not_show_the_parameters(engine_of: object, database_url: str) -> None:
    """A statement that fails is named, what it was executed with is not."""
    assert callable(engine_of)
    engine = engine_of(url_of(database_url))
    with engine.connect() as connection, pytest.raises(SQLAlchemyError) as failed:
        connection.execute(text("SELECT * FROM no_such_table WHERE secret = :secret"), {"secret": "hunter2"})
    engine.dispose()
    assert "no_such_table" in str(failed.value)
    assert "hunter2" not in str(failed.value)
