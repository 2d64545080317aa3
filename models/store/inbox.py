"""Queries on the inbox: storing what Stripe sent, and what the operator asks about it.

`insert_events` is the hot path of the endpoint, so it is driver-level SQL (58 us a row against 287 with the ORM, STACK.md).
Claiming and marking belong to the workers and stand in `claims.py`.
"""

from collections.abc import Collection, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, update

from models.store.bulk import array, run, unnest
from models.tables.inbox import InboxEvent

MAX_ROWS = 500  # of one statement; SQLite takes 32,766 variables, PostgreSQL 65,535
RETRYABLE = ("dead", "quarantined")


class NewEvent(NamedTuple):
    """One row to store, its fields in the order of the statement. `status` is pending, ignored or quarantined (`error` says
    why); `status_ms` is when it got its status. Times: `created` unix seconds (Stripe's), the others milliseconds."""

    connection_id: int
    event_id: str
    type: str
    api_version: str | None
    livemode: bool | None
    created: int
    object_type: str | None
    object_id: str | None
    customer_id: str | None
    partition: int
    received_ms: int
    status_ms: int
    body: bytes
    status: str = "pending"
    error: str | None = None
    attempts: int = 0
    next_attempt_ms: int = 0


class EventLine(NamedTuple):
    """What the lists show of one event; never its body. `created` unix seconds, `received_ms` milliseconds."""

    seq: int
    connection_id: int
    event_id: str
    type: str
    status: str
    created: int
    received_ms: int
    attempts: int
    next_attempt_ms: int
    error: str | None
    object_id: str | None
    customer_id: str | None
    api_version: str | None


_COLUMNS = ", ".join(f'"{name}"' for name in NewEvent._fields)  # "partition" is a word of SQL
_HEAD = f"INSERT INTO inbox ({_COLUMNS}) "  # names of our own columns
_TAIL = " ON CONFLICT (connection_id, event_id) DO NOTHING"
_ROW = "(" + ", ".join("?" * len(NewEvent._fields)) + ")"


@cache
def _sqlite_statement(rows: int) -> str:
    return f"{_HEAD}VALUES {', '.join([_ROW] * rows)}{_TAIL}"


@cache
def _postgres_statement() -> str:
    return f"{_HEAD}SELECT * FROM {unnest('inbox', NewEvent._fields)}{_TAIL}"


def insert_events(connection: Connection, rows: Sequence[NewEvent]) -> None:
    """Store `rows` by one statement (per 500); a row whose event id the connection already has is left alone.

    The caller owns the transaction: nothing may be acknowledged before its COMMIT (FAULTS 1).
    """
    for start in range(0, len(rows), MAX_ROWS):
        part = rows[start : start + MAX_ROWS]
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(_sqlite_statement(len(part)), tuple(chain.from_iterable(part)))
        else:
            run(connection, _postgres_statement(), [array(column) for column in zip(*part, strict=True)])


def count_by_status(connection: Connection) -> dict[str, int]:
    """Events by status; a status that no event has is left out."""
    rows = connection.execute(select(InboxEvent.status, func.count()).group_by(InboxEvent.status))
    return {row[0]: row[1] for row in rows}


def count_pending(connection: Connection) -> int:
    """Events that wait for a worker (by the partial index, so cheap while the inbox is drained)."""
    return connection.execute(select(func.count()).where(InboxEvent.status == "pending")).scalar_one()


def count_dead(connection: Connection) -> int:
    """Events that failed for good and wait for `events retry`."""
    return connection.execute(select(func.count()).where(InboxEvent.status == "dead")).scalar_one()


def count_cut(connection: Connection, status: str, event_ids: Collection[str] | None = None) -> int:
    """Events of this status whose body was cut with age, so that they can't be retried; of these ids, or of all."""
    query = select(func.count()).where(InboxEvent.status == status, InboxEvent.body.is_(None))
    if event_ids is not None:
        query = query.where(InboxEvent.event_id.in_(list(event_ids)))
    return connection.execute(query).scalar_one()


def oldest_pending_ms(connection: Connection) -> int | None:
    """When the oldest pending event was received (ms), or None when nothing is pending. Of each partition the first is looked
    at, along the index of what is pending: a million rows must not keep `/readyz` waiting (F62)."""
    first = select(func.min(InboxEvent.seq)).where(InboxEvent.status == "pending").group_by(InboxEvent.partition)
    oldest: int | None = connection.execute(select(func.min(InboxEvent.received_ms)).where(InboxEvent.seq.in_(first))).scalar()
    return oldest


def list_events(
    connection: Connection,
    *,
    status: str | None = None,
    connection_id: int | None = None,
    before_seq: int | None = None,
    limit: int = 100,
) -> list[EventLine]:
    """Events, newest first, by keyset: the next page is `before_seq` = the last line's `seq`. At most 1,000 a page."""
    columns = [getattr(InboxEvent, name) for name in EventLine._fields]
    query = select(*columns).order_by(InboxEvent.seq.desc()).limit(max(1, min(limit, 1_000)))
    if status is not None:
        query = query.where(InboxEvent.status == status)
    if connection_id is not None:
        query = query.where(InboxEvent.connection_id == connection_id)
    if before_seq is not None:
        query = query.where(InboxEvent.seq < before_seq)
    return [EventLine(*row) for row in connection.execute(query)]


def retry_events(
    connection: Connection,
    *,
    event_ids: Collection[str] | None = None,
    statuses: Collection[str] = ("dead",),
    connection_id: int | None = None,
) -> set[int]:
    """Bring dead (or quarantined) events back to pending with all their attempts; the answer is the partitions to ring.

    `event_ids` None means all of `statuses`. An event in any other state is left alone, and so is one whose body was cut
    (`count_cut`): there is nothing left to apply.
    """
    wanted: list[Any] = [
        InboxEvent.status.in_([status for status in statuses if status in RETRYABLE]), InboxEvent.body.is_not(None),
    ]  # fmt: skip
    if event_ids is not None:
        wanted.append(InboxEvent.event_id.in_(list(event_ids)))
    if connection_id is not None:
        wanted.append(InboxEvent.connection_id == connection_id)
    change = (
        update(InboxEvent)
        .where(*wanted)
        .values(status="pending", attempts=0, next_attempt_ms=0, error=None)
        .returning(InboxEvent.partition)
    )
    return set(connection.execute(change).scalars())
