"""The migrations: complete, alone, all or none, offline."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, inspect

from models.migrations import HEAD
from models.migrations.generate import initial_migration
from models.migrations.run import migrate, schema_state
from models.migrations.state import SchemaState, schema_is_current
from models.settings import AppSettings
from models.store.session import Database, session_scope
from models.tables import Base
from tests.support import only_postgres, only_sqlite
from tests.support.environment import environment

FOLDER = Path(__file__).parents[2] / "models/migrations"


def test_the_migrated_schema_is_the_one_the_tables_describe(database: Database) -> None:
    with session_scope(database) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_indexes_and_constraints_are_the_ones_the_tables_describe(database: Database) -> None:
    with session_scope(database) as connection:
        found = inspect(connection)
        for table in Base.metadata.sorted_tables:
            indexes = {index["name"] for index in found.get_indexes(table.name) if not index.get("duplicates_constraint")}
            assert indexes == {index.name for index in table.indexes}, table.name
            checks = {check["name"] for check in found.get_check_constraints(table.name)}
            named = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
            assert checks == named, table.name


def test_the_initial_migration_is_the_generated_one() -> None:
    """Until the first release: `make migration` writes it anew."""
    written = (FOLDER / "versions" / f"{HEAD}.py").read_text()
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "-"], input=initial_migration(), capture_output=True, text=True, check=True
    ).stdout
    assert written == formatted, "run `make migration`"


def test_head_names_the_newest_migration_and_names_are_dated() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert scripts[0].revision == HEAD
    assert all(script.revision[:4].isdigit() and Path(script.path).stem == script.revision for script in scripts)
    assert [s.revision for s in scripts] == sorted((s.revision for s in scripts), reverse=True)


def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert migrate(database) == SchemaState(found=HEAD)
    assert schema_is_current(database)


@pytest.mark.fault("F89")
def test_an_unmigrated_database_is_not_ready_and_says_what_to_do(tmp_path: Path) -> None:
    state = schema_state(Database(f"sqlite:///{tmp_path / 'empty.db'}"))
    assert not state.is_current
    assert "not migrated: run `python -m webhook_app migrate`" in (state.problem or "")


@pytest.mark.fault("F89")
def test_an_older_schema_is_not_ready_and_a_newer_one_is(database: Database) -> None:
    for found, ready in (("2020_01_01_old", False), ("2999_01_01_newer", True)):
        with session_scope(database, write=True) as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{found}'")
        state = schema_state(database)
        assert state.is_current is ready
        assert ready or HEAD in (state.problem or "")


def _empty(database: Database) -> None:
    with session_scope(database, write=True) as connection:
        if database.on_sqlite:
            connection.exec_driver_sql("DROP TABLE alembic_version")
            for table in reversed(Base.metadata.sorted_tables):
                connection.exec_driver_sql(f'DROP TABLE "{table.name}"')
        else:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")


def _migrate_in_a_process(url: str) -> None:
    migrate(Database(url))


@pytest.mark.fault("F50")
def test_migrations_started_at_the_same_time_wait_for_each_other(database: Database) -> None:
    _empty(database)
    database.dispose()
    url = database.url.render_as_string(hide_password=False)
    spawned = multiprocessing.get_context("spawn")
    processes = [spawned.Process(target=_migrate_in_a_process, args=(url,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert schema_is_current(database)


KILLED = """
import os, sys
from sqlalchemy import event
from models.migrations.run import migrate
from models.store.session import Database
database = Database(sys.argv[1])
seen = 0
@event.listens_for(database.engine, "before_cursor_execute")
def die(conn, cursor, statement, *rest):
    global seen
    seen += statement.lstrip().startswith("CREATE")
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
migrate(database)
"""


@pytest.mark.fault("F50")
@pytest.mark.parametrize("at", [1, 2, 20, 40])
def test_a_migration_killed_half_way_leaves_nothing_and_runs_again(database: Database, settings: AppSettings, at: int) -> None:
    _empty(database)
    database.dispose()
    command = [sys.executable, "-c", KILLED, database.url.render_as_string(hide_password=False), str(at)]
    assert subprocess.run(command, env=environment(settings), check=False).returncode == -9
    with session_scope(database) as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    assert migrate(database).is_current


@pytest.mark.fault("F90")
@only_sqlite
def test_it_migrates_from_any_directory_without_a_network(
    sqlite_database: Database, settings: AppSettings, tmp_path: Path
) -> None:
    _empty(sqlite_database)
    program = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('the network was used')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from models.migrations.run import migrate\nfrom models.store.session import Database\n"
        "migrate(Database(sys.argv[1]))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(sqlite_database.url)]
    done = subprocess.run(command, env=environment(settings), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert schema_is_current(sqlite_database)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@only_postgres
def test_a_migration_does_not_wait_for_ever_behind_a_locked_table(database: Database) -> None:
    """It would block all traffic behind itself: the runner sets a lock time-out."""
    from models.migrations import run

    seen = []
    with run._alone_postgres(database) as connection:
        seen.append(connection.exec_driver_sql("SHOW lock_timeout").scalar())
    assert seen == ["5s"]
