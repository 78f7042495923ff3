"""How a migration reaches the database: over the connection that it is given, else over the one of the settings."""

from alembic import context
from sqlalchemy import Connection

from cstp_server.settings import Settings
from cstp_server.storage.engine import database_url, is_sqlite, passing_engine, take_time
from cstp_server.storage.tables import metadata


def migrate(connection: Connection) -> None:
    """Run what is asked for, in the transaction that is open."""
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=is_sqlite(connection), compare_type=True)
    context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with passing_engine(database_url(Settings().database_url)).connect() as own, own.begin():
        take_time(own)
        migrate(own)
