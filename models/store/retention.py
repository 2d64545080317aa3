"""What is kept how long: bodies 35 days (Stripe keeps events 30), problems 30 (DESIGN 3, FAULTS S57)."""

from sqlalchemy import Connection

from models.store import bulk


def redact_bodies(connection: Connection, before_ms: int, *, limit: int) -> int:
    """Cut the bodies of ended events received before then; their ids stay, so that a late copy is still a duplicate."""
    result = bulk.run(
        connection,
        "UPDATE inbox SET body = NULL WHERE seq IN (SELECT seq FROM inbox WHERE received_ms < ? AND body IS NOT NULL"
        " AND status <> 'pending' ORDER BY seq LIMIT ?)",
        [before_ms, limit],
    )
    return int(result.rowcount)


def drop_problems(connection: Connection, before_ms: int) -> None:
    """Forget old lines of the sync log."""
    bulk.run(connection, "DELETE FROM sync_log WHERE at_ms < ?", [before_ms])


def drop_sessions(connection: Connection, before: int) -> None:
    """Forget login sessions that ended or were left long ago."""
    bulk.run(connection, "DELETE FROM sessions WHERE active_at < ?", [before])
