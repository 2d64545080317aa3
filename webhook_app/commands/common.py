"""What most commands begin with: the settings and a migrated database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from models.errors import DatabaseAway, SettingsError
from models.migrations.state import schema_state
from models.settings import AppSettings, load_settings
from models.store.session import Database


@dataclass(frozen=True)
class Workplace:
    """The settings and the database of one command."""

    settings: AppSettings
    database: Database


@contextmanager
def workplace() -> Iterator[Workplace]:
    """Settings from the environment and a database at the right migration, closed at the end.

    Raises:
        SettingsError: a setting is wrong, or the database isn't migrated.
        DatabaseAway: it can't be reached.
    """
    settings = load_settings()
    if settings.embedded_database and not (settings.data_dir / "pivotal.db").exists():
        raise SettingsError(f"there is no database in {settings.data_dir}: run `python -m webhook_app migrate` or set DATA_DIR")
    database = Database(settings.database, role="command")
    try:
        problem = schema_state(database).problem
        if problem:
            raise SettingsError(problem)
        yield Workplace(settings, database)
    except DatabaseAway as error:
        if database.on_sqlite:
            raise
        url = database.url
        raise DatabaseAway(f"{error} (PostgreSQL at {url.host or 'its socket'}:{url.port or 5432})") from error
    finally:
        database.dispose()


def now() -> int:
    """Unix seconds."""
    return int(time.time())
