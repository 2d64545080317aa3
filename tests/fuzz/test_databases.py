"""The targets that need a database, on both: the endpoint, and objects all the way through worker and store."""

from collections.abc import Callable

import pytest

from models.settings import AppSettings
from models.store.keys import Keyring
from models.store.session import Database
from tests.fuzz.engine import Engine
from tests.fuzz.targets.endpoint import EndpointTarget
from tests.fuzz.targets.stored import StoredTarget
from tests.fuzz.test_pure import TIMES, check, seed

ENDPOINT = {"sqlite": 2_000, "postgresql": 800}
STORED = {"sqlite": 150, "postgresql": 80}


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


@pytest.mark.fault("F19", "F22", "F27", "F29", "F30")
def test_hostile_objects_can_be_applied_computed_and_read_on_both_databases(
    database: Database, settings: AppSettings, keyring: Keyring, record_property: Callable[[str, object], None]
) -> None:
    number = seed()
    check(Engine(StoredTarget(database, settings, keyring), number), STORED[database.dialect] * TIMES, number, record_property)
