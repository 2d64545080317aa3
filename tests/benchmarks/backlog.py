"""A backlog of a million pending events (F62): does the endpoint notice, is the oldest one's age told, is the claim quick?"""

import statistics
import time
from typing import Any

from models.store import bulk, claims
from models.store.session import Database, session_scope
from tests.benchmarks.events import EventMaker
from tests.benchmarks.installation import SECRET, Installation
from tests.benchmarks.load import send

FAULTS = ("F62",)
STEP = 5_000


def backlog(installed: Installation, maker: EventMaker, *, rows: int, count: int) -> dict[str, Any]:
    """Bursts before and beside a backlog of `rows`, which no worker may take yet (its next attempt lies ahead)."""
    before = send(installed.webhook, SECRET, maker.make(count), 32)
    installed.wait_drained()
    database = Database(installed.database_url())
    try:
        _fill(database, installed.connection_id, rows)
        beside = send(installed.webhook, SECRET, maker.make(count), 32)
        claimed = [_claim(database) for _ in range(20)]
        health = installed.get("/readyz")
        _clear(database)
    finally:
        database.dispose()
    return {"measure": "burst beside a backlog", "backlog": rows, "per_second_before": round(before.per_second),
            "per_second": round(beside.per_second), "p99_ms": round(beside.percentile(0.99), 1),
            "p99_ms_before": round(before.percentile(0.99), 1), "claim_ms": round(statistics.median(claimed), 1),
            "pending_told": health["pending"], "oldest_told_s": round(health["oldest_pending_s"])}  # fmt: skip


def _fill(database: Database, connection_id: int, rows: int) -> None:
    now_ms = time.time_ns() // 1_000_000
    sql = (
        'INSERT INTO inbox (connection_id, event_id, type, created, "partition", received_ms, status_ms, body, status,'
        " attempts, next_attempt_ms) VALUES (?, ?, 'customer.updated', 1, 0, ?, ?, ?, 'pending', 0, ?)"
    )
    for start in range(0, rows, STEP):
        later = now_ms + 3_600_000
        lines = [
            (connection_id, f"evt_backlog{n}", now_ms, now_ms, b"{}", later) for n in range(start, min(start + STEP, rows))
        ]
        with session_scope(database, write=True) as connection:
            connection.exec_driver_sql(sql.replace("?", bulk.mark(connection)), lines)


def _claim(database: Database) -> float:
    """Milliseconds of one claim while all of the backlog is due."""
    began = time.perf_counter()
    with session_scope(database) as connection:
        found = claims.load_pending(connection, {0}, time.time_ns() // 1_000_000 + 7_200_000)
    assert len(found) == 300
    return (time.perf_counter() - began) * 1000


def _clear(database: Database) -> None:
    with session_scope(database, write=True) as connection:
        bulk.run(connection, "DELETE FROM inbox WHERE event_id LIKE ?", ["evt_backlog%"])
