"""The queries on the inbox, on both databases."""

import pytest
from sqlalchemy import text

from models.store.connections import ConnectionRecord
from models.store.inbox import (
    MAX_ROWS,
    NewEvent,
    count_by_status,
    count_dead,
    count_pending,
    insert_events,
    list_events,
    oldest_pending_ms,
    retry_events,
)
from models.store.session import Database, session_scope


def row(record: ConnectionRecord, number: int, status: str = "pending", partition: int = 0) -> NewEvent:
    return NewEvent(
        connection_id=record.id, event_id=f"evt_{number}", type="customer.updated", api_version=None, livemode=True,
        created=1_780_000_000 + number, object_type="customer", object_id="cus_1", customer_id="cus_1", partition=partition,
        received_ms=1_780_000_000_000 + number, status_ms=1_780_000_000_000 + number, body=b'{"n": %d}\x00' % number,
        status=status,
    )  # fmt: skip


@pytest.fixture
def filled(database: Database, connection_record: ConnectionRecord) -> Database:
    statuses = ["applied", "pending", "dead", "quarantined", "ignored", "pending", "superseded", "dead"]
    with session_scope(database, write=True) as connection:
        insert_events(connection, [row(connection_record, n, status, n % 3) for n, status in enumerate(statuses)])
    return database


@pytest.mark.fault("F02")
def test_rows_already_there_and_doubles_in_one_statement_are_left_alone(
    database: Database, connection_record: ConnectionRecord
) -> None:
    first = row(connection_record, 1)
    with session_scope(database, write=True) as connection:
        insert_events(connection, [first, row(connection_record, 2), first._replace(body=b"another")])
        insert_events(connection, [first._replace(status="dead"), row(connection_record, 3)])
        insert_events(connection, [])
    with session_scope(database) as connection:
        found = connection.execute(text("SELECT event_id, status, body FROM inbox ORDER BY event_id")).all()
    assert [(event_id, status) for event_id, status, _ in found] == [(f"evt_{n}", "pending") for n in (1, 2, 3)]
    assert bytes(found[0][2]) in (first.body, b"another")


def test_more_rows_than_a_statement_takes_are_all_stored(database: Database, connection_record: ConnectionRecord) -> None:
    with session_scope(database, write=True) as connection:
        insert_events(connection, [row(connection_record, n) for n in range(MAX_ROWS + 1)])
    with session_scope(database) as connection:
        assert count_by_status(connection) == {"pending": MAX_ROWS + 1}


def test_the_counts_and_the_oldest_pending_event(filled: Database) -> None:
    with session_scope(filled) as connection:
        assert count_by_status(connection) == {
            "applied": 1, "pending": 2, "dead": 2, "quarantined": 1, "ignored": 1, "superseded": 1,
        }  # fmt: skip
        assert (count_pending(connection), count_dead(connection)) == (2, 2)
        assert oldest_pending_ms(connection) == 1_780_000_000_001


def test_nothing_pending_has_no_age(database: Database) -> None:
    with session_scope(database) as connection:
        assert oldest_pending_ms(connection) is None
        assert count_by_status(connection) == {}


def test_lists_go_from_the_newest_by_pages_and_show_no_body(filled: Database) -> None:
    with session_scope(filled) as connection:
        first = list_events(connection, limit=3)
        second = list_events(connection, limit=3, before_seq=first[-1].seq)
        dead = list_events(connection, status="dead")
        assert not list_events(connection, connection_id=999)
    assert [line.event_id for line in first + second] == ["evt_7", "evt_6", "evt_5", "evt_4", "evt_3", "evt_2"]
    assert [line.event_id for line in dead] == ["evt_7", "evt_2"]
    assert "body" not in first[0]._fields


@pytest.mark.fault("F59")
def test_dead_events_come_back_with_all_their_attempts_and_others_stay(filled: Database) -> None:
    with session_scope(filled, write=True) as connection:
        connection.execute(text("UPDATE inbox SET attempts = 8, error = 'x' WHERE status = 'dead'"))
        assert retry_events(connection, event_ids=["evt_2", "evt_0", "evt_4"]) == {2}
        assert retry_events(connection) == {1}
        assert retry_events(connection, statuses=["applied", "ignored"]) == set()
        assert retry_events(connection, statuses=["quarantined"]) == {0}
    with session_scope(filled) as connection:
        assert count_by_status(connection) == {"applied": 1, "pending": 5, "ignored": 1, "superseded": 1}
        kept = connection.execute(text("SELECT attempts, error FROM inbox WHERE event_id = 'evt_2'")).one()
    assert tuple(kept) == (0, None)
