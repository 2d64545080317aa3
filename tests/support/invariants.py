"""The invariants of FAULTS 2 that can be seen from outside, asked after every step of a history."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from models.store import bulk, customers
from models.store.connections import load_connection
from models.store.mirror import TABLES, decode
from models.store.session import session_scope
from tests.fake_stripe.records import Customer, Invoice, Price, Product, Record, Subscription
from tests.support.world import World
from workers import recompute

Key = tuple[str, str]
_COLUMNS = "id, connection_id, version, final, cover_seq, facts"
_EVERYTHING = " UNION ALL ".join([
    *(f"SELECT '{kind}' AS kind, {_COLUMNS} FROM {table}" for kind, table in TABLES.items()),
    "SELECT 'event', event_id, connection_id, 0, FALSE, 0, status FROM inbox WHERE connection_id = ?",
    "SELECT 'strange', event_id, connection_id, 0, FALSE, 0, status FROM inbox WHERE connection_id = ?",
    "SELECT 'strange', stripe_customer_id, connection_id, 0, FALSE, 0, outcome FROM matches WHERE connection_id = ?",
    "SELECT 'match', stripe_customer_id, connection_id, version, FALSE, 0, '' FROM matches",
    "SELECT 'kept', price_id, connection_id, 0, FALSE, seen, lookup_key FROM stripe_kept_lookup_keys",
    "SELECT 'customer of ours', headline, id, mirror_version, FALSE, computed_version, '' FROM customers",
])  # fmt: skip


class Seen(NamedTuple):
    """A mirror row as it was at the last look."""

    connection_id: int
    version: int
    final: bool
    cover_seq: int
    facts: str


class Invariants:
    """`check` raises AssertionError with the name of what is broken.

    I1, I2: the inbox holds exactly the delivered events, once each. I4: what is stored of a customer who isn't marked as due is
    what its facts give now. I5: no mirror row goes away, changes without a higher version, forgets what it covers, or comes
    back from its end; no kept key gives way to an older one; and, unless Stripe's reads were stale or torn, no row shows a
    state of its object that is older than one it showed before. I6: nothing of ours stands under the other connection.
    """

    def __init__(self, world: World, delivered: set[str]) -> None:
        self._world, self._delivered = world, delivered
        self._seen: dict[Key, Seen] = {}
        self._reached: dict[Key, int] = {}
        self._figures: set[Any] = set()
        self._kept: dict[str, tuple[int, str]] = {}
        self.stale = self.torn = False

    def check(self, trace: list[str]) -> None:
        """Look at everything; compute anew where something changed."""
        world = self._world
        with session_scope(world.database) as connection:
            rows = bulk.run(connection, _EVERYTHING, [world.record.id, world.other.id, world.other.id]).fetchall()
        stored = [row[1] for row in rows if row[0] == "event"]
        strange = {row[6] for row in rows if row[0] == "strange"}
        assert self._delivered == set(stored), f"I1: {self._delivered ^ set(stored)}"
        assert len(stored) == len(self._delivered), "I2: an event is stored twice"
        assert strange <= {"quarantined"}, f"I6: {strange}"
        now = {(row[0], row[1]): Seen(row[2], row[3], bool(row[4]), row[5], row[6]) for row in rows if row[0] in TABLES}
        figures = {row[1:] for row in rows if row[0] in {"customer of ours", "match"}}
        assert now.keys() >= self._seen.keys(), f"I5: gone {self._seen.keys() - now.keys()}"
        for key, row in now.items():
            if row != self._seen.get(key):
                self._compare(key, row, self._seen.get(key))
        kept = {row[1]: (row[5], row[6]) for row in rows if row[0] == "kept"}
        for price, (seen, _) in self._kept.items():
            assert kept[price] >= self._kept[price], f"I5: the kept key of {price}, seen at {seen}, became {kept[price]}"
        if (now, figures) != (self._seen, self._figures):
            self._check_purity()
        self._seen, self._figures, self._kept = now, figures, kept

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

    def check_mirror(self) -> None:
        """I3: what is mirrored is what Stripe has. A draft says nothing: no list shows that it is gone (STRIPE 5.4)."""
        state = self._world.fake.state
        for (kind, id_), row in self._seen.items():
            shown, record = _shown(kind, decode(kind, row.facts)), state.get(kind, id_)
            told = None if record is None else _told(record)
            if told is None and kind == "invoice" and shown is not None and shown[0] == "draft":
                continue
            assert shown == told, f"I3: {kind} {id_} is {shown}, at Stripe {told}"

    def _check_purity(self) -> None:
        """I4: computing anew from what is stored changes nothing, but for who is marked as due."""
        world, now_ms = self._world, self._world.now_ms()
        with session_scope(world.database) as connection:
            rows = bulk.run(connection, "SELECT stripe_customer_id, base_customer_id, due FROM matches").fetchall()
            due = {*customers.due_ids(connection, now_ms // 1000), *(row[1] for row in rows if row[2])}
            ids = set(bulk.run(connection, "SELECT id FROM customers").scalars()) - due
            record = load_connection(connection, world.record.id)
            loaded = recompute.load(connection, record, {row[0] for row in rows if not row[2]}, customer_ids=ids)
        done = recompute.compute(loaded, now=now_ms // 1000, now_ms=now_ms, cause="event")
        for result in done.results:
            held = loaded.computed[result.id].stored
            moving = any(f'"{key}"' in result.stored for key, _, marked in rows if marked)  # a marked one comes to it later
            same = held in {None, result.stored} or result.id in due or moving
            assert same, f"I4: {result.id} was stored as {held}, computed anew {result.stored}"
        assert not done.failed, f"I4: {done.failed}"

    def _compare(self, key: Key, row: Seen, before: Seen | None) -> None:
        assert row.connection_id == self._world.record.id, f"I6: {key}"
        if before is not None:
            assert row.version > before.version, f"I5: {key} changed under version {row.version}"
            assert row.cover_seq >= before.cover_seq, f"I5: {key} forgot what it covers"
            assert row.final or not before.final, f"I5: {key} came back from its end"
        unsure = self.stale or (self.torn and key[0] == "subscription")  # read in parts between which it changed
        if not unsure and (before is None or row.facts != before.facts):
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
    """What of a mirrored value is compared with Stripe's past; None: it is gone, or nothing is compared."""
    if value.deleted if hasattr(value, "deleted") else False:
        return None
    if kind == "subscription":
        items = tuple((item.id, item.price.id if item.price else None, item.quantity) for item in value.items)
        return value.status, value.cancel_at_period_end, value.collection_paused, items, _ids(value.discounts)
    if kind == "invoice":
        return value.status, value.attempt_count
    if kind == "customer":
        return value.email, value.name, _ids([value.discount] if value.discount else [])
    return (value.lookup_key,) if kind == "price" else (value.name,) if kind == "product" else None


def _past(world: World, kind: str, id_: str) -> list[Any] | None:
    """What Stripe's object looked like, oldest first, in the words of `_shown`."""
    state = world.fake.state
    current = state.get(kind, id_) or state.deleted.get(id_)
    records = [before for _, before in state.history.get(id_, ()) if before is not None]
    return None if current is None else [_told(record) for record in [*records, current]]


def _told(record: Record) -> Any:
    if isinstance(record, Subscription):
        items = tuple((item.id, item.price, item.quantity) for item in record.items)
        paused = record.pause_collection is not None
        return record.status, record.cancel_at_period_end, paused, items, _ids(record.discounts)
    if isinstance(record, Invoice):
        return record.status, record.attempt_count
    if isinstance(record, Customer):
        return record.email, record.name, _ids([record.discount] if record.discount else [])
    return (record.lookup_key,) if isinstance(record, Price) else (record.name,) if isinstance(record, Product) else None


def _ids(discounts: Iterable[Any]) -> tuple[str, ...]:
    return tuple(discount.id for discount in discounts)
