"""The invariants of FAULTS 2 that can be seen from outside, asked after every step of a history."""

from typing import Any, NamedTuple

from models.store import bulk
from models.store.connections import load_connection
from models.store.mirror import TABLES, decode
from models.store.session import session_scope
from tests.fake_stripe.records import Customer, Invoice, Product, Record, Subscription
from tests.support.world import World
from workers import recompute

Key = tuple[str, str]


class Seen(NamedTuple):
    """A mirror row as it was at the last look."""

    connection_id: int
    version: int
    final: bool
    cover_seq: int
    facts: str


class Invariants:
    """`check` raises AssertionError with the name of what is broken.

    I1, I2: the inbox holds exactly the delivered events, once each. I5: no mirror row goes away, changes without a higher
    version, forgets what it covers, or comes back from its end; and, unless Stripe's reads were stale or torn, none shows a
    state of its object that is older than one it showed before. I6: nothing of ours stands under the other connection.
    """

    def __init__(self, world: World, delivered: set[str]) -> None:
        self._world, self._delivered = world, delivered
        self._seen: dict[Key, Seen] = {}
        self._reached: dict[Key, int] = {}
        self.stale = self.torn = False

    def check(self, trace: list[str]) -> None:
        """Look at everything."""
        world = self._world
        columns = "id, connection_id, version, final, cover_seq, facts"
        mirrored = " UNION ALL ".join(f"SELECT '{kind}', {columns} FROM {table}" for kind, table in TABLES.items())
        with session_scope(world.database) as connection:
            told = "SELECT event_id FROM inbox WHERE connection_id = ?"
            stored = bulk.run(connection, told, [world.record.id]).scalars().all()
            status = "SELECT DISTINCT status FROM inbox WHERE connection_id = ?"
            strange = set(bulk.run(connection, status, [world.other.id]).scalars())
            rows = bulk.run(connection, mirrored).fetchall()
            matched = bulk.run(connection, "SELECT count(*) FROM matches WHERE connection_id = ?", [world.other.id]).scalar()
        assert self._delivered == set(stored), f"I1: {self._delivered ^ set(stored)}"
        assert len(stored) == len(self._delivered), "I2: an event is stored twice"
        assert strange <= {"quarantined"}, f"I6: {strange}"
        assert not matched, "I6: a match under the other connection"
        now = {(row[0], row[1]): Seen(row[2], row[3], bool(row[4]), row[5], row[6]) for row in rows}
        assert now.keys() >= self._seen.keys(), f"I5: gone {self._seen.keys() - now.keys()}"
        for key, row in now.items():
            if row != self._seen.get(key):
                self._compare(key, row, self._seen.get(key))
        self._seen = now

    def check_history(self) -> None:
        """I2: each change is told once: every field's changes join one another and end at what is stored; MRR's add up."""
        with session_scope(self._world.database) as connection:
            sql = "SELECT customer_id, field, before, after, amount FROM customer_changes ORDER BY id"
            changes = bulk.run(connection, sql).fetchall()
            stored = {row[0]: row[1] or 0 for row in bulk.run(connection, "SELECT id, mrr FROM customers")}
        ends: dict[tuple[int, str], str | None] = {}
        sums = dict.fromkeys(stored, 0)
        for customer, name, before, after, amount in changes:
            if name != "details":  # names other fields each time
                assert ends.get((customer, name), before) == before, f"I2: {name} of {customer} went to {before} untold"
            ends[customer, name] = after
            sums[customer] += amount or 0
        assert sums == stored, f"I2: movements add up to {sums}, stored {stored}"

    def check_purity(self) -> None:
        """I4: computing everything anew from what is stored changes nothing."""
        world, now_ms = self._world, self._world.now_ms()
        with session_scope(world.database) as connection:
            ids = bulk.run(connection, "SELECT id FROM customers").scalars().all()
            accounts = bulk.run(connection, "SELECT id FROM stripe_customers").scalars().all()
            record = load_connection(connection, world.record.id)
            loaded = recompute.load(connection, record, accounts, customer_ids=ids)
        done = recompute.compute(loaded, now=now_ms // 1000, now_ms=now_ms, cause="event")
        for result in done.results:
            held = loaded.computed[result.id].stored
            assert held in {None, result.stored}, f"I4: {result.id} was stored as {held}, computed anew {result.stored}"
        assert not done.failed, f"I4: {done.failed}"

    def _compare(self, key: Key, row: Seen, before: Seen | None) -> None:
        assert row.connection_id == self._world.record.id, f"I6: {key}"
        if before is not None:
            assert row.version > before.version, f"I5: {key} changed under version {row.version}"
            assert row.cover_seq >= before.cover_seq, f"I5: {key} forgot what it covers"
            assert row.final or not before.final, f"I5: {key} came back from its end"
        if not self.stale and not self.torn and (before is None or row.facts != before.facts):
            self._not_older(key, decode(key[0], row.facts))

    def _not_older(self, key: Key, value: Any) -> None:
        """The states an object went through at Stripe, in order: a row may only move on in them."""
        told = _shown(key[0], value)
        past = _past(self._world, *key)
        if told is None or past is None:
            return
        reached = self._reached.get(key, 0)
        found = next((at for at in range(reached, len(past)) if past[at] == told), None)
        assert found is not None, f"I5: {key} shows {told}, older than (or not among) what it reached: {past[reached:]}"
        self._reached[key] = found


def _shown(kind: str, value: Any) -> Any:
    """What of a mirrored value is compared with Stripe's past; None: it is gone."""
    if value.deleted if hasattr(value, "deleted") else False:
        return None
    if kind == "subscription":
        items = tuple((item.id, item.price.id if item.price else None, item.quantity) for item in value.items)
        return value.status, value.cancel_at_period_end, value.collection_paused, items
    if kind == "invoice":
        return (value.status,)
    if kind == "customer":
        return value.email, value.name
    return (value.name,) if kind == "product" else None


def _past(world: World, kind: str, id_: str) -> list[Any] | None:
    """What Stripe's object looked like, oldest first, in the words of `_shown`."""
    state = world.fake.state
    current = state.get(kind, id_) or state.deleted.get(id_)
    records = [before for _, before in state.history.get(id_, ()) if before is not None]
    return None if current is None else [_told(record) for record in [*records, current]]


def _told(record: Record) -> Any:
    if isinstance(record, Subscription):
        items = tuple((item.id, item.price, item.quantity) for item in record.items)
        return record.status, record.cancel_at_period_end, record.pause_collection is not None, items
    if isinstance(record, Invoice):
        return (record.status,)
    if isinstance(record, Customer):
        return record.email, record.name
    return (record.name,) if isinstance(record, Product) else None
