"""What the supervisor runs before anything else, in a process of its own (the supervisor stays small): migrations, keys, and a
one-time link for the first admin while nobody can sign in yet (FAULTS S30)."""

import json
import sys
import time

from models.errors import PivotalError
from models.migrations.run import set_up
from models.settings import AppSettings, load_settings
from models.store.access import create_one_time_link, create_user, find_account, has_users
from models.store.keys import load_cookie_key, load_keyring
from models.store.session import Database, check_durability, session_scope
from workers.fx_source import prepare_rates


def prepare(settings: AppSettings) -> str | None:
    """Bring database and keys in order; returns the token of a one-time link, or None when somebody has been invited.

    Raises:
        SettingsError, DatabaseAway: why it can't start.
    """
    database = Database(settings.database, role="migrate")
    try:
        set_up(settings, database)
        check_durability(database)
        prepare_rates(database)
        load_keyring(settings, database)
        load_cookie_key(settings)
        return _first_link(settings, database)
    finally:
        database.dispose()


def _first_link(settings: AppSettings, database: Database) -> str | None:
    now = int(time.time())
    with session_scope(database, write=True) as connection:
        first = find_account(connection, settings.admin_email)
        if first is not None and first.password_hash is None and not first.disabled:
            return create_one_time_link(connection, first.user_id, now)  # the one before was not used: it ends
        if has_users(connection):
            return None
        return create_one_time_link(connection, create_user(connection, settings.admin_email, "admin", now), now)


def main() -> int:
    """Print `{"link": token or null}`; what is wrong as one line on standard error (exit 2)."""
    try:
        sys.stdout.write(json.dumps({"link": prepare(load_settings())}) + "\n")
    except PivotalError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
