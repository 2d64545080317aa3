"""What a walk over Stripe's lists was shown, and what it leaves to be read one by one (STRIPE 5.4, steps 5 to 7)."""

from collections.abc import Collection

from sqlalchemy import Connection

from models.store import bulk
from models.store.mirror import TABLES
from models.store.runs import Run

CHUNK = 300
UNDATED = None
_OLDER = "(t.read_lo_ms IS NULL OR t.read_lo_ms < ?) AND (t.ev_sec IS NULL OR t.ev_sec < ?)"
_UNPAID = " AND t.status IN ('draft', 'open', 'uncollectible')"


def mark_seen(connection: Connection, run: Run, object_type: str, ids: Collection[str], before_ms: int | None) -> None:
    """Note that a list showed these objects. Those with evidence from `before_ms` on (Stripe's clock) need no note; None: the
    list had no date, so all are noted."""
    if before_ms is UNDATED:
        rows = [{"run_id": run.id, "stripe_id": key} for key in sorted(ids)]
        bulk.upsert(connection, "sync_seen", rows, key=("run_id", "stripe_id"))
        return
    for part in bulk.chunks(sorted(ids)):
        marks = ", ".join("?" * len(part))
        bulk.run(
            connection,
            f"INSERT INTO sync_seen (run_id, stripe_id) SELECT CAST(? AS BIGINT), t.id FROM {TABLES[object_type]} AS t"
            f" WHERE t.connection_id = ? AND t.id IN ({marks}) AND {_OLDER} ON CONFLICT DO NOTHING",
            [run.id, run.connection_id, *part, before_ms, before_ms // 1000],
        )


def unlisted(connection: Connection, run: Run, object_type: str, before_ms: int, after: str) -> list[str]:
    """Mirrored customers, or invoices mirrored as draft, open or uncollectible, that nothing has been heard of since
    `before_ms` and that no list of the run showed: deleted, paid or voided meanwhile. By id, behind `after`."""
    rows = bulk.run(
        connection,
        f"SELECT t.id FROM {TABLES[object_type]} AS t WHERE t.connection_id = ? AND t.id > ? AND t.kind <> 'tombstone'"
        f" AND {_OLDER}{_UNPAID if object_type == 'invoice' else ''}"
        " AND NOT EXISTS (SELECT 1 FROM sync_seen AS s WHERE s.run_id = ? AND s.stripe_id = t.id) ORDER BY t.id LIMIT ?",
        [run.connection_id, after, before_ms, before_ms // 1000, run.id, CHUNK],
    )
    return [row[0] for row in rows]


def stripe_customer_ids(connection: Connection, connection_id: int, after: str) -> list[str]:
    """Ids of mirrored Stripe customers behind `after`, deleted ones included."""
    sql = "SELECT id FROM stripe_customers WHERE connection_id = ? AND id > ? ORDER BY id LIMIT ?"
    return [row[0] for row in bulk.run(connection, sql, [connection_id, after, CHUNK])]


def count_mirrored(connection: Connection, connection_id: int, object_type: str) -> int:
    """How many objects of a type the mirror holds, deleted ones left out."""
    sql = f"SELECT count(*) FROM {TABLES[object_type]} WHERE connection_id = ? AND kind <> 'tombstone'"
    return int(bulk.run(connection, sql, [connection_id]).scalar())


def without_paid_invoice(connection: Connection, connection_id: int, after: str) -> list[str]:
    """Stripe customers whose newest known invoice that is owed or paid isn't paid, or who have none: only they can have a paid
    one further back that decides (RULES 6)."""
    rows = bulk.run(
        connection,
        "SELECT c.id FROM stripe_customers AS c WHERE c.connection_id = ? AND c.id > ? AND c.kind <> 'tombstone' AND coalesce(("
        "SELECT i.status FROM stripe_invoices AS i WHERE i.connection_id = c.connection_id AND i.customer_id = c.id"
        " AND i.status IN ('paid', 'open', 'uncollectible') ORDER BY i.created DESC, i.id DESC LIMIT 1), '') <> 'paid'"
        " ORDER BY c.id LIMIT ?",
        [connection_id, after, CHUNK],
    )
    return [row[0] for row in rows]


def owners_unknown(connection: Connection, connection_id: int, after: str) -> list[str]:
    """Stripe customers that mirrored subscriptions or unpaid invoices name and the mirror doesn't hold, by id."""
    rows = bulk.run(
        connection,
        "SELECT DISTINCT o.customer_id FROM ("
        "SELECT customer_id FROM stripe_subscriptions WHERE connection_id = ? AND customer_id > ?"
        " UNION SELECT customer_id FROM stripe_invoices AS t WHERE t.connection_id = ? AND t.customer_id > ?"
        + _UNPAID
        + ") AS o"
        " WHERE NOT EXISTS (SELECT 1 FROM stripe_customers AS c WHERE c.connection_id = ? AND c.id = o.customer_id)"
        " ORDER BY o.customer_id LIMIT ?",
        [connection_id, after, connection_id, after, connection_id, CHUNK],
    )
    return [row[0] for row in rows]
