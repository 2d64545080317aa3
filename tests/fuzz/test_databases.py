"""The targets that need a database, on both: the endpoint, and objects all the way through worker and store."""

from collections.abc import Callable

import pytest
from sqlalchemy.exc import DBAPIError

from models.errors import DatabaseAway
from models.settings import AppSettings
from models.store import bulk
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fuzz.engine import Engine
from tests.fuzz.targets.endpoint import EndpointTarget
from tests.fuzz.targets.stored import StoredTarget
from tests.fuzz.test_pure import TIMES, check, seed
from tests.fuzz.tokens import LONG
from tests.support import only_postgres

ENDPOINT = {"sqlite": 2_000, "postgresql": 800}
STORED = {"sqlite": 80, "postgresql": 40}


@pytest.mark.fault("F19", "F20", "S64", "I9")
def test_whatever_is_posted_no_5xx_comes_back_and_what_is_signed_is_stored(
    database: Database, settings: AppSettings, keyring: Keyring, record_property: Callable[[str, object], None]
) -> None:
    number = seed()
    target = EndpointTarget(settings, keyring, durable=False)
    try:
        check(Engine(target, number), ENDPOINT[database.dialect] * TIMES, number, record_property)
    finally:
        target.close()


@pytest.mark.fault("F19", "F22", "F29")
def test_hostile_objects_can_be_applied_computed_and_read_on_both_databases(
    database: Database, settings: AppSettings, keyring: Keyring, record_property: Callable[[str, object], None]
) -> None:
    number = seed()
    target = StoredTarget(database, settings, keyring)
    try:
        check(Engine(target, number), STORED[database.dialect] * TIMES, number, record_property)
    finally:
        target.close()


@only_postgres
@pytest.mark.fault("F59")
def test_a_key_that_no_index_takes_is_its_rows_fault_and_the_database_is_not_away(database: Database) -> None:
    """psycopg counts it among the operational errors: taken for an outage, one such row stopped every drain for ever."""
    row = {"connection_id": 1, "price_id": LONG, "lookup_key": "x", "seen": 1}

    def write() -> None:
        with session_scope(database, write=True) as connection:
            bulk.upsert(connection, "stripe_kept_lookup_keys", [row], key=("connection_id", "price_id"))

    with pytest.raises(DBAPIError) as raised:
        write()
    assert not isinstance(raised.value, DatabaseAway)
    with session_scope(database) as connection:
        assert bulk.run(connection, "SELECT count(*) FROM stripe_kept_lookup_keys").scalar() == 0
