"""Which schema the database has, read without Alembic: light enough for every readiness check."""

from dataclasses import dataclass

from sqlalchemy import inspect

from models.migrations import HEAD
from models.store.session import Database, session_scope

MIGRATE = "run `python -m webhook_app migrate`"


@dataclass(frozen=True)
class SchemaState:
    """The migration the database is at (`found`, None: never migrated) and the one this code needs (`wanted`)."""

    found: str | None
    wanted: str = HEAD

    @property
    def is_current(self) -> bool:
        """Whether this code may work on the database. A newer schema is accepted: names are dated, and a migration only adds
        until the release after (expand, migrate, contract; FAULTS F49), so that two releases run side by side."""
        return self.found is not None and self.found >= self.wanted

    @property
    def problem(self) -> str | None:
        """One line for people, None when all is well."""
        if self.is_current:
            return None
        if self.found is None:
            return f"the database is not migrated: {MIGRATE}"
        return f"the database is at migration {self.found}, this version needs {self.wanted}: {MIGRATE}"


def schema_state(database: Database) -> SchemaState:
    """What the database says about itself.

    Raises:
        DatabaseAway: it can't be reached.
    """
    with session_scope(database) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return SchemaState(found=None)
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return SchemaState(found=str(found) if found else None)


def schema_is_current(database: Database) -> bool:
    """Whether this code may work on the database (FAULTS F89)."""
    return schema_state(database).is_current
