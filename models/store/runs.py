"""Runs of a backfill: one at a time per connection, resumable, and what each of them found (FAULTS F74, F75, F86, F92)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from models.errors import Refused
from models.store import bulk, claims
from models.store.failpoints import fp
from models.store.outcomes import count_ambiguous, count_outcomes
from models.tables import Connection as ConnectionTable
from models.tables import SyncLog, SyncRun

LEASE_MS: Final = 60_000
RESUMABLE_MS: Final = 24 * 3600_000
"""An unfinished run older than this isn't taken up again: what it saw is too old to be worth its cursor."""
AGAIN_MS: Final = 5 * 60_000
LOG_LIMIT: Final = 1_000
_DECODER = msgspec.json.Decoder(dict[str, Any])


@dataclass(slots=True)
class Run:
    """A row of `sync_runs`. `cursor` says where it stands, `counts` what came out; `resumed`: it was begun before by somebody
    else. Times in milliseconds."""

    id: int
    connection_id: int
    state: str
    started_ms: int
    phase: str | None = None
    cursor: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    calls: int = 0
    objects: int = 0
    expected_objects: int | None = None
    finished_ms: int | None = None
    resumed: bool = False


def lease_name(connection_id: int) -> str:
    """The lease that one backfill of a connection holds at a time."""
    return f"backfill:{connection_id}"


def begin_run(connection: Connection, connection_id: int, token: str, now_ms: int) -> Run:
    """Take the lease and begin a run, or take up the last one where it was left: killed, stopped, or failed by trouble that
    passes, within 24 h. Lease and run are one transaction.

    Raises:
        Refused: a backfill of this connection is running.
    """
    if not claims.acquire_lease(connection, lease_name(connection_id), token, now_ms, LEASE_MS):
        last = latest_run(connection, connection_id)
        which = f"run {last.id}, started {_utc(last.started_ms)}" if last else "just begun"
        raise Refused(f"a backfill of this connection is running ({which})")
    last = latest_run(connection, connection_id)
    if last is not None and _can_be_taken_up(last, now_ms):
        last.state, last.error, last.finished_ms, last.resumed = "running", None, None, True
        save_run(connection, last, now_ms)
        return last
    if last is not None and last.state == "running":
        end_run(connection, last, "failed", "given up: it was cut short", now_ms)
    bulk.run(
        connection, "DELETE FROM sync_seen WHERE run_id IN (SELECT id FROM sync_runs WHERE connection_id = ?)", [connection_id]
    )
    values = {
        "connection_id": connection_id,
        "kind": "backfill",
        "state": "running",
        "started_ms": now_ms,
        "updated_ms": now_ms,
    }
    key = connection.execute(insert(SyncRun).values(values).returning(SyncRun.id)).scalar_one()
    return Run(key, connection_id, "running", now_ms)


def _can_be_taken_up(run: Run, now_ms: int) -> bool:
    return _is_unfinished(run, now_ms) and bool(run.cursor.get("start"))


def _is_unfinished(run: Run, now_ms: int) -> bool:
    cut_short = run.state in {"running", "stopped"} or (run.state == "failed" and run.cursor.get("passing") is True)
    return cut_short and now_ms - run.started_ms < RESUMABLE_MS


def left_off(connection: Connection, now_ms: int) -> list[int]:
    """Connections whose last backfill was cut short and nobody carries on: killed, stopped with its process, or failed five
    minutes ago by trouble that passes. Starting it takes it up (F92)."""
    keys = connection.execute(select(func.max(SyncRun.id)).where(SyncRun.kind == "backfill").group_by(SyncRun.connection_id))
    found = []
    for (key,) in keys.all():
        run = load_run(connection, key)
        if run is None or not _is_unfinished(run, now_ms) or state_of(connection, run.connection_id) != "active":
            continue
        held = claims.lease_until(connection, lease_name(run.connection_id)) > now_ms
        if not held and (run.state != "failed" or (run.finished_ms or 0) < now_ms - AGAIN_MS):
            found.append(run.connection_id)
    return found


def latest_run(connection: Connection, connection_id: int) -> Run | None:
    """The newest backfill of a connection, whatever its state."""
    query = select(SyncRun.id).where(SyncRun.connection_id == connection_id, SyncRun.kind == "backfill")
    key = connection.execute(query.order_by(SyncRun.id.desc()).limit(1)).scalar()
    return load_run(connection, key) if key is not None else None


def last_complete_run(connection: Connection, connection_id: int) -> Run | None:
    """The newest backfill of a connection that came to its end."""
    query = select(SyncRun.id).where(
        SyncRun.connection_id == connection_id, SyncRun.kind == "backfill", SyncRun.state == "complete"
    )
    key = connection.execute(query.order_by(SyncRun.id.desc()).limit(1)).scalar()
    return load_run(connection, key) if key is not None else None


def load_run(connection: Connection, run_id: int) -> Run | None:
    """One run."""
    row = (
        connection.execute(select(*(getattr(SyncRun, name) for name in _COLUMNS)).where(SyncRun.id == run_id))
        .mappings()
        .first()
    )
    if row is None:
        return None
    values = {name: row[name] for name in _COLUMNS}
    return Run(**{**values, "cursor": _DECODER.decode(row["cursor"]), "counts": _DECODER.decode(row["counts"])})


_COLUMNS = ("id", "connection_id", "state", "started_ms", "phase", "cursor", "counts", "error", "calls", "objects",
            "expected_objects", "finished_ms")  # fmt: skip


def save_run(connection: Connection, run: Run, now_ms: int) -> None:
    """Write where a run stands, in the transaction that writes what it read."""
    fp("before_cursor")
    bulk.run(
        connection,
        "UPDATE sync_runs SET state = ?, phase = ?, cursor = ?, counts = ?, error = ?, calls = ?, objects = ?,"
        " expected_objects = ?, updated_ms = ?, finished_ms = ? WHERE id = ?",
        [run.state, run.phase, msgspec.json.encode(run.cursor).decode(), msgspec.json.encode(run.counts).decode(), run.error,
         run.calls, run.objects, run.expected_objects, now_ms, run.finished_ms, run.id],
    )  # fmt: skip


def end_run(connection: Connection, run: Run, state: str, error: str | None, now_ms: int) -> None:
    """End a run: complete, failed (with the reason) or stopped. What it was shown is forgotten unless it may be taken up."""
    run.state, run.error, run.finished_ms = state, error, now_ms
    save_run(connection, run, now_ms)
    if not _can_be_taken_up(run, now_ms):
        bulk.run(connection, "DELETE FROM sync_seen WHERE run_id = ?", [run.id])


def log_problems(connection: Connection, run: Run, problems: Mapping[Any, str], now_ms: int, level: str = "warning") -> None:
    """Note problems by Stripe id (None: of the run itself); at most 1,000 lines a run, then only counted."""
    logged = int(run.counts.get("problems", 0))
    rows = [
        {"connection_id": run.connection_id, "run_id": run.id, "at_ms": now_ms, "level": level, "stripe_id": stripe_id,
         "problem": problem}
        for stripe_id, problem in problems.items()
    ]  # fmt: skip
    run.counts["problems"] = logged + len(rows)
    if kept := rows[: max(LOG_LIMIT - logged, 0)]:
        connection.execute(insert(SyncLog), kept)


def load_problems(connection: Connection, run_id: int, limit: int) -> list[tuple[str | None, str]]:
    """The first problems noted by a run: the Stripe id (None: the run itself) and what was wrong."""
    query = select(SyncLog.stripe_id, SyncLog.problem).where(SyncLog.run_id == run_id).order_by(SyncLog.id).limit(limit)
    return [(row.stripe_id, row.problem) for row in connection.execute(query)]


def note_backfilled(connection: Connection, connection_id: int, start: int) -> None:
    """A complete walk began at `start` (s, Stripe's clock): everything older is in the mirror."""
    connection.execute(update(ConnectionTable).where(ConnectionTable.id == connection_id).values(backfilled_at=start))
    connection.execute(
        update(ConnectionTable)
        .where(ConnectionTable.id == connection_id)
        .where(ConnectionTable.caught_up_to.is_(None) | (ConnectionTable.caught_up_to < start))
        .values(caught_up_to=start)
    )


def note_reconnected(connection: Connection, connection_id: int) -> None:
    """Stripe answered this connection's key again."""
    connection.execute(
        update(ConnectionTable)
        .where(ConnectionTable.id == connection_id, ConnectionTable.state == "disconnected")
        .values(state="active", state_reason=None)
    )


def state_of(connection: Connection, connection_id: int) -> str | None:
    """The connection's state now; None when it is gone."""
    state: str | None = bulk.run(connection, "SELECT state FROM connections WHERE id = ?", [connection_id]).scalar()
    return state


def count_result(connection: Connection, connection_id: int, mode: str) -> dict[str, Any]:
    """What the matching made of every Stripe customer walked (RULES 2): matched + unmatched + skipped = `stripe_customers`.

    Deleted ones aren't in any list of Stripe's, so they aren't counted; `ambiguous` counts customers of ours.
    """
    found = count_outcomes(connection, connection_id)
    found.pop(("skipped", "deleted"), None)
    counts: dict[str, Any] = {"stripe_customers": sum(found.values()), "matched": 0, "unmatched": 0, "skipped": 0}
    reasons: dict[str, dict[str, int]] = {"matched": {}, "unmatched": {}, "skipped": {}}
    for (outcome, reason), number in found.items():
        counts[outcome] += number
        reasons[outcome][reason] = number
    counts["ambiguous"] = count_ambiguous(connection, "production" if mode == "live" else "staging")
    return {**counts, "reasons": reasons}


def _utc(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(milliseconds // 1000))
