"""The judge: what a client was promised and what Stripe says now, against what is stored (FAULTS 1; I1, I2, I3)."""

from collections.abc import Collection
from typing import Any, NamedTuple

from models.store import bulk, inbox
from models.store.session import Database, session_scope
from tests.fake_stripe.server import FakeStripe
from tests.support.pipeline import expected_figures, stored_figures


class Verdict(NamedTuple):
    """`lost`: acknowledged events that aren't stored. `dead`: events that nobody tries any more. `different`: customers whose
    stored figures aren't those of Stripe's current objects, with both. `untold`: changes whose rows don't join, or MRR
    movements that don't add up to the figure."""

    lost: list[str]
    dead: int
    different: dict[str, tuple[Any, Any]]
    untold: list[str]

    @property
    def good(self) -> bool:
        return not (self.lost or self.dead or self.different or self.untold)


def verdict(database: Database, fake: FakeStripe, acked: Collection[str], now: int) -> Verdict:
    """What is wrong, once nothing waits any more. The figures are computed from scratch: `explain` over Stripe's current
    objects, with the lookup keys that the mirror kept."""
    with session_scope(database) as connection:
        stored = set(bulk.run(connection, "SELECT event_id FROM inbox").scalars())
        counts = inbox.count_by_status(connection)
    right, ours = expected_figures(database, fake, now), stored_figures(database)
    different = {key: (ours.get(key), right.get(key)) for key in right.keys() | ours.keys() if ours.get(key) != right.get(key)}
    return Verdict(sorted(set(acked) - stored), counts.get("dead", 0), different, _untold(database))


def _untold(database: Database) -> list[str]:
    """I2: every change is told once: a field's rows join one another, and MRR's movements add up to what is stored."""
    with session_scope(database) as connection:
        sql = "SELECT customer_id, field, before, after, amount FROM customer_changes ORDER BY id"
        rows = bulk.run(connection, sql).fetchall()
        stored = {row[0]: row[1] or 0 for row in bulk.run(connection, "SELECT id, mrr FROM customers")}
    found = []
    ends: dict[tuple[int, str], str | None] = {}
    sums = dict.fromkeys(stored, 0)
    for customer, field, before, after, amount in rows:
        if field != "details" and ends.get((customer, field), before) != before:  # details name other fields each time
            found.append(f"{field} of customer {customer} went to {before} untold")
        ends[customer, field] = after
        sums[customer] += amount or 0
    return found + [
        f"MRR of customer {key}: movements {sums[key]}, stored {stored[key]}" for key in stored if sums[key] != stored[key]
    ]
