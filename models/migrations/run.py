"""Running the migrations: from anywhere, offline, one runner at a time, all pending ones or none (FAULTS F50, F90)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from models.errors import DatabaseAway
from models.migrations.state import SchemaState, schema_is_current, schema_state
from models.settings import AppSettings
from models.store.failpoints import fp
from models.store.keys import make_missing_keys, prepare_data_dir
from models.store.session import Database, WriteLock

LOCK_ID = 0x5069766F74616C  # "Pivotal": the advisory lock of every runner
LOCK_TIMEOUT_MS = 5_000  # a waiting ALTER TABLE blocks all traffic behind it: give up and try again instead


def migrate(database: Database) -> SchemaState:
    """Bring the schema up to date. Killed half-way, nothing has happened; run twice, the second finds nothing to do.

    Raises:
        DatabaseAway: the database can't be reached, or a table was locked by others for too long.
    """
    try:
        with _alone_sqlite(database) if database.on_sqlite else _alone_postgres(database) as connection:
            fp("before_migration")
            upgrade(connection)
            fp("before_migration_commit")
        fp("after_migration_commit")
    except OperationalError as error:
        raise DatabaseAway(f"database: {type(error.orig).__name__} while migrating") from error
    except DatabaseAway as error:
        if database.on_sqlite:
            raise
        url = database.url  # without its user and password
        raise DatabaseAway(f"{error} while migrating (PostgreSQL at {url.host or 'its socket'}:{url.port or 5432})") from error
    return schema_state(database)


def set_up(settings: AppSettings, database: Database) -> SchemaState:
    """First run and every release: the data directory, the schema, the keys (DESIGN 4). Doing it again changes nothing."""
    prepare_data_dir(settings)
    state = migrate(database)
    make_missing_keys(settings, database)
    return state


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the pending migrations inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    event.listen(connection, "before_cursor_execute", lambda *_: fp("between_migration_statements"))
    command.upgrade(config, revision)


@contextmanager
def _alone_postgres(database: Database) -> Iterator[Connection]:
    with database.writing() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_ID})")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        yield connection


@contextmanager
def _alone_sqlite(database: Database) -> Iterator[Connection]:
    path = Path(str(database.url.database))
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # the WAL and its index take the mode of this file
    with WriteLock(Path(f"{path}.lock")).held(), database.engine.connect() as connection:
        # Batch mode moves a table by making it anew; with foreign keys on that would delete what refers to it, and the
        # pragma does nothing inside a transaction.
        raw = connection.connection.dbapi_connection
        assert raw is not None  # noqa: S101  # just connected
        raw.execute("PRAGMA foreign_keys=OFF").close()
        try:
            with connection.begin():
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if broken is not None:
                    raise DatabaseAway(f"database: a migration left {broken[0]} with a reference to nothing; rolled back")
        finally:
            raw.execute("PRAGMA foreign_keys=ON").close()


__all__ = ["migrate", "schema_is_current", "schema_state", "set_up", "upgrade"]
