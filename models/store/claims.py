"""Leases, and the claims on pending inbox rows: who may work on what now, and what became of it (DESIGN 1)."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from models.errors import LostLease
from models.store import bulk
from models.store.failpoints import fp
from models.store.holders import is_gone

MOST_BYTES = 16 * 1024 * 1024
"""Bodies claimed at once: 300 of the largest would be 300 MB (I10)."""


class Pending(NamedTuple):
    """A pending inbox row as the drain needs it."""

    seq: int
    connection_id: int
    event_id: str
    type: str
    created: int
    body: bytes
    attempts: int
    received_ms: int
    missing_since_ms: int | None


class Outcome(NamedTuple):
    """What became of a row. `next_attempt_ms` only while it stays pending."""

    seq: int
    status: str
    attempts: int = 0
    next_attempt_ms: int = 0
    error: str | None = None
    missing_since_ms: int | None = None


def leases_to_take(connection: Connection, names: Collection[str], token: str, now_ms: int) -> set[str]:
    """Those of `names` that `acquire_lease` can take: nobody living holds them. To be asked before, by reading: even where it
    fails it locks the row, and waits for the holder's transaction."""
    rows = bulk.select_in(connection, "SELECT name, token, until_ms FROM leases WHERE name IN (*)", names)
    held = {name for name, holder, until_ms in rows if until_ms > now_ms and holder != token and not is_gone(holder)}
    return set(names) - held


def acquire_lease(connection: Connection, name: str, token: str, now_ms: int, lasts_ms: int) -> bool:
    """Take the lease unless somebody else holds it still; a holder whose process is gone holds nothing. Check and act are one
    statement (S68)."""
    result = bulk.run(
        connection,
        "INSERT INTO leases AS old (name, token, until_ms) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
        " SET token = excluded.token, until_ms = excluded.until_ms WHERE old.until_ms <= ? OR old.token = excluded.token",
        [name, token, now_ms + lasts_ms, now_ms],
    )
    if int(result.rowcount) != 1:
        held = bulk.run(connection, "SELECT token FROM leases WHERE name = ?", [name]).scalar()
        if held is None or not is_gone(held):
            return False
        taken = bulk.run(
            connection,
            "UPDATE leases SET token = ?, until_ms = ? WHERE name = ? AND token = ?",
            [token, now_ms + lasts_ms, name, held],
        )
        if int(taken.rowcount) != 1:
            return False
    fp("lease_taken")
    return True


def renew_leases(connection: Connection, names: Collection[str], token: str, now_ms: int, lasts_ms: int) -> None:
    """Prove inside a write transaction that we still hold these leases, and prolong them.

    Raises:
        LostLease: one of them expired or is somebody else's; nothing of this transaction may be kept (F57).
    """
    marks = ", ".join("?" * len(names))
    result = bulk.run(
        connection,
        f"UPDATE leases SET until_ms = ? WHERE name IN ({marks}) AND token = ? AND until_ms > ?",
        [now_ms + lasts_ms, *sorted(names), token, now_ms],
    )
    if result.rowcount != len(names):
        raise LostLease(f"the lease on {', '.join(sorted(names))} went to somebody else")


def lease_until(connection: Connection, name: str) -> int:
    """Until when somebody holds this lease (ms); 0 when nobody does."""
    return int(bulk.run(connection, "SELECT until_ms FROM leases WHERE name = ?", [name]).scalar() or 0)


def release_leases(connection: Connection, names: Collection[str], token: str) -> None:
    """Give leases back; quiet where they are somebody else's by now."""
    fp("before_lease_release")
    marks = ", ".join("?" * len(names))
    bulk.run(connection, f"DELETE FROM leases WHERE name IN ({marks}) AND token = ?", [*sorted(names), token])


def load_pending(
    connection: Connection, partitions: Collection[int], now_ms: int, *, floor: int = 0, limit: int = 300
) -> list[Pending]:
    """The oldest pending rows of these partitions that are due, above `floor` (a `seq`): at most `limit`, and no more than
    `MOST_BYTES` of bodies (but one row in any case)."""
    marks = ", ".join("?" * len(partitions))
    where = f"status = 'pending' AND \"partition\" IN ({marks}) AND seq > ? AND next_attempt_ms <= ?"
    values = [*sorted(partitions), floor, now_ms]
    sizes = bulk.run(connection, f"SELECT seq, length(body) FROM inbox WHERE {where} ORDER BY seq LIMIT ?", [*values, limit])
    last, total = 0, 0
    for seq, size in sizes.fetchall():
        total += size or 0
        if last and total > MOST_BYTES:
            break
        last = seq
    if not last:
        return []
    rows = bulk.run(
        connection,
        "SELECT seq, connection_id, event_id, type, created, body, attempts, received_ms, missing_since_ms FROM inbox"
        f" WHERE {where} AND seq <= ? ORDER BY seq LIMIT ?",
        [*values, last, limit],
    )
    return [Pending(*row) for row in rows]


def mark_rows(connection: Connection, outcomes: Sequence[Outcome], now_ms: int) -> None:
    """Write what became of rows; one statement for each kind of plain end."""
    plain: dict[str, list[int]] = {}
    other: list[tuple[object, ...]] = []
    for outcome in outcomes:
        if outcome.status in {"applied", "superseded", "ignored"}:
            plain.setdefault(outcome.status, []).append(outcome.seq)
        else:
            other.append((outcome.status, outcome.attempts, outcome.next_attempt_ms, outcome.error,
                          outcome.missing_since_ms, now_ms, outcome.seq))  # fmt: skip
    for status in sorted(plain):
        for part in bulk.chunks(sorted(plain[status])):
            marks = ", ".join("?" * len(part))
            sql = f"UPDATE inbox SET status = ?, error = NULL, status_ms = ? WHERE status = 'pending' AND seq IN ({marks})"
            bulk.run(connection, sql, [status, now_ms, *part])
    if other:
        sql = (
            "UPDATE inbox SET status = ?, attempts = ?, next_attempt_ms = ?, error = ?, missing_since_ms = ?, status_ms = ?"
            " WHERE status = 'pending' AND seq = ?"
        )
        mark = bulk.mark(connection)
        connection.exec_driver_sql(sql.replace("?", mark), other)
    fp("rows_marked")


def partitions_waiting(connection: Connection, now_ms: int, *, older_than_ms: int = 0) -> set[int]:
    """Partitions with due pending rows received at least `older_than_ms` ago, found by status and never by a cursor (F48)."""
    rows = bulk.run(
        connection,
        "SELECT DISTINCT \"partition\" FROM inbox WHERE status = 'pending' AND next_attempt_ms <= ? AND received_ms <= ?",
        [now_ms, now_ms - older_than_ms],
    )
    return {row[0] for row in rows}


def current_cover(connection: Connection) -> int:
    """The highest inbox `seq` now. Take it before the request is sent (FAULTS 4.1)."""
    return int(bulk.run(connection, "SELECT coalesce(max(seq), 0) FROM inbox").scalar())


def add_counts(connection: Connection, counts: Iterable[tuple[str, int]], day: str) -> None:
    """Add to the counters of a day (ISO date, UTC)."""
    for name, number in sorted(counts):
        bulk.run(
            connection,
            "INSERT INTO counters AS old (name, day, n) VALUES (?, ?, ?)"
            " ON CONFLICT (name, day) DO UPDATE SET n = old.n + excluded.n",
            [name, day, number],
        )
