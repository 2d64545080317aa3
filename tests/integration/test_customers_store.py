"""Importing our customers: which one a row is, and what becomes due."""

from typing import Any

import pytest
from sqlalchemy import Connection

from models.errors import BadInput
from models.store import customers
from models.store.session import Database, session_scope
from tests.support import only_sqlite
from tests.support.environment import NOW


def bring(connection: Connection, name: str, *, moves: bool = True, **cells: Any) -> str:
    return customers.import_customer(connection, {"name": name, **cells}, NOW, moves=moves)


def held(connection: Connection) -> list[tuple[Any, ...]]:
    rows = connection.exec_driver_sql("SELECT name, environment, external_id FROM customers ORDER BY id").all()
    return [tuple(row) for row in rows]


def test_a_known_id_moves_its_customer_unless_the_other_environment_has_its_own(database: Database) -> None:
    with session_scope(database, write=True) as connection:
        bring(connection, "Acme", external_id="1", domain="acme.com")
        assert bring(connection, "Acme", external_id="1", domain="acme.com", environment="staging") == "updated"
        assert held(connection) == [("Acme", "staging", "1")]
        hosts = connection.exec_driver_sql("SELECT environment, host FROM customer_hosts").all()
        assert [tuple(row) for row in hosts] == [("staging", "acme.com")]
        assert bring(connection, "Acme", external_id="1", moves=False) == "created"
        assert bring(connection, "Acme S", external_id="1", environment="staging") == "updated"
        assert held(connection) == [("Acme S", "staging", "1"), ("Acme", "production", "1")]


def test_a_row_with_neither_id_nor_domain_is_known_by_its_name(database: Database) -> None:
    with session_scope(database, write=True) as connection:
        assert bring(connection, "Acme") == "created"
        assert bring(connection, "Acme") == "unchanged"
        assert bring(connection, "Acme", owner="Dana") == "updated"
        assert bring(connection, "Acme", environment="staging") == "created"
        assert bring(connection, "ACME") == "created"
        assert len(held(connection)) == 3


def test_a_new_external_id_makes_due_whom_the_metadata_names(database: Database) -> None:
    with session_scope(database, write=True) as connection:
        bring(connection, "Acme", domain="acme.com", external_id="old")
        before = customers.rules_version(connection)
        assert bring(connection, "Acme", domain="acme.com", owner="Dana") == "updated"
        assert customers.rules_version(connection) == before
        connection.exec_driver_sql("UPDATE customers SET external_id = NULL")
        assert bring(connection, "Acme", domain="acme.com", external_id="new") == "updated"
        assert customers.rules_version(connection) != before


@only_sqlite
@pytest.mark.parametrize("field", ["name", "owner", "external_id"])
def test_a_text_that_is_too_long_is_named(database: Database, field: str) -> None:
    with session_scope(database, write=True) as connection:
        assert customers.import_customer(connection, {"name": "A", field: "x" * 200}, NOW) == "created"
        with pytest.raises(BadInput, match=f"{field}: takes at most 200"):
            customers.import_customer(connection, {"name": "B", field: "x" * 201}, NOW)
        assert len(held(connection)) == 1
