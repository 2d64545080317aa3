"""The mirror's queries: what is known of Stripe's objects, and the compare-and-set that writes them (FAULTS 4.2)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection

from models.domain.types import (
    Coupon,
    Discount,
    Invoice,
    Price,
    Product,
    StripeCustomer,
    Subscription,
    Value,
)
from models.errors import Conflict
from models.store import bulk

Key = tuple[str, str]
"""(object type, Stripe id)."""

VALUES: dict[str, type[Value]] = {
    "customer": StripeCustomer,
    "subscription": Subscription,
    "invoice": Invoice,
    "price": Price,
    "product": Product,
    "coupon": Coupon,
}
TABLES = {kind: f"stripe_{kind}s" for kind in VALUES}
_DECODERS = {kind: msgspec.json.Decoder(value) for kind, value in VALUES.items()}
_DISCOUNT = msgspec.json.Decoder(Discount)
_STATE = (
    "kind", "final", "ev_id", "ev_sec", "ev_seq", "read_lo_ms", "read_hi_ms", "cover_seq", "version",
)  # fmt: skip


class MirrorRow(NamedTuple):
    """One mirrored object with what is known of its age; `facts` is the stored JSON, `value` reads it."""

    object_type: str
    id: str
    kind: str
    final: bool
    ev_id: str | None
    ev_sec: int | None
    ev_seq: int | None
    read_lo_ms: int | None
    read_hi_ms: int | None
    cover_seq: int
    version: int
    facts: str

    @property
    def value(self) -> Any:
        """The domain value."""
        return decode(self.object_type, self.facts)


def encode(value: Value) -> str:
    """The stored form of a domain value: JSON without defaults; equal values have equal text."""
    return msgspec.json.encode(value, order="sorted").decode()


def decode(object_type: str, facts: str) -> Any:
    """A domain value from its stored form."""
    return _DECODERS[object_type].decode(facts)


def load_known(connection: Connection, connection_id: int, keys: Iterable[Key]) -> dict[Key, MirrorRow]:
    """What the mirror holds of these objects; absent ones are left out."""
    wanted: dict[str, set[str]] = {}
    for object_type, object_id in keys:
        wanted.setdefault(object_type, set()).add(object_id)
    found: dict[Key, MirrorRow] = {}
    for object_type in sorted(wanted):
        sql = f"SELECT id, {', '.join(_STATE)}, facts FROM {TABLES[object_type]} WHERE connection_id = ? AND id IN (*)"
        for row in bulk.select_in(connection, sql, wanted[object_type], [connection_id]):
            found[object_type, row[0]] = MirrorRow(object_type, *row)
    return found


def write_rows(connection: Connection, connection_id: int, rows: Sequence[MirrorRow], values: Mapping[Key, Any]) -> None:
    """Write mirror rows whose `version` is one above the stored one (or 1 for a new row), in one order of keys.

    Raises:
        Conflict: somebody else wrote one of them meanwhile; nothing of this transaction may be kept.
    """
    by_type: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row.object_type, row.id)):
        line: dict[str, Any] = {"connection_id": connection_id, "id": row.id}
        line |= {name: getattr(row, name) for name in _STATE}
        line |= {"facts": row.facts, "uncertain_since_ms": None}
        line |= _indexed(row.object_type, values[row.object_type, row.id])
        by_type.setdefault(row.object_type, []).append(line)
    for object_type, lines in by_type.items():
        written = bulk.upsert(
            connection, TABLES[object_type], lines, key=("connection_id", "id"), guard="old.version = new.version - 1"
        )
        if written != len(lines):
            raise Conflict(f"{len(lines) - written} of {len(lines)} {object_type} rows changed meanwhile")


def _indexed(object_type: str, value: Any) -> dict[str, Any]:
    """The columns beside the facts that queries need."""
    if object_type == "subscription":
        return {"customer_id": value.customer}
    if object_type == "invoice":
        return {"customer_id": value.customer, "status": value.status, "created": value.created}
    if object_type == "price":
        return {"product_id": value.product}
    return {}


def replace_items(connection: Connection, connection_id: int, subscriptions: Collection[Subscription]) -> None:
    """The reverse index of these subscriptions' items, rewritten whole (only ever with their subscription, F82)."""
    ids = {subscription.id for subscription in subscriptions}
    rows = [
        {
            "connection_id": connection_id, "id": item.id, "subscription_id": subscription.id,
            "customer_id": subscription.customer, "price_id": item.price and item.price.id,
            "product_id": item.price and item.price.product,
        }
        for subscription in subscriptions
        for item in subscription.items
    ]  # fmt: skip
    held = {
        (row[0], row[1], row[2], row[3], row[4])
        for row in bulk.select_in(
            connection,
            "SELECT id, subscription_id, customer_id, price_id, product_id FROM stripe_subscription_items"
            " WHERE connection_id = ? AND subscription_id IN (*)",
            ids,
            [connection_id],
        )
    }
    wanted: dict[tuple[Any, ...], dict[str, Any]] = {
        (row["id"], row["subscription_id"], row["customer_id"], row["price_id"], row["product_id"]): row for row in rows
    }
    gone = {line[0] for line in held} - {line[0] for line in wanted}
    for part in bulk.chunks(sorted(gone)):
        marks = ", ".join("?" * len(part))
        bulk.run(
            connection,
            f"DELETE FROM stripe_subscription_items WHERE connection_id = ? AND id IN ({marks})",
            [connection_id, *part],
        )
    fresh = {line[0]: row for line, row in wanted.items() if line not in held}
    bulk.upsert(connection, "stripe_subscription_items", [fresh[key] for key in sorted(fresh)], key=("connection_id", "id"))


def load_discounts(connection: Connection, connection_id: int, ids: Collection[str]) -> dict[str, Discount]:
    """Whole discounts by id, to resolve bare ids in events."""
    sql = "SELECT id, facts FROM stripe_discounts WHERE connection_id = ? AND id IN (*)"
    return {row[0]: _DISCOUNT.decode(row[1]) for row in bulk.select_in(connection, sql, ids, [connection_id])}


def save_discounts(
    connection: Connection, connection_id: int, discounts: Mapping[str, tuple[str, str | None, Discount]]
) -> None:
    """Whole discounts by id: (owner's id, Stripe customer, discount)."""
    rows = [
        {"connection_id": connection_id, "id": key, "owner_id": owner, "customer_id": customer,
         "coupon_id": discount.coupon_id, "facts": encode(discount)}
        for key, (owner, customer, discount) in sorted(discounts.items())
    ]  # fmt: skip
    bulk.upsert(connection, "stripe_discounts", rows, key=("connection_id", "id"), guard="old.facts <> new.facts")


def keep_lookup_keys(connection: Connection, connection_id: int, keys: Mapping[str, tuple[int, str]]) -> None:
    """Lookup keys by price: (second at which it was seen, key). The newest wins; of one second the larger text, so that the
    order of arrival doesn't matter (I2)."""
    rows = [
        {"connection_id": connection_id, "price_id": price, "lookup_key": key, "seen": seen}
        for price, (seen, key) in sorted(keys.items())
    ]
    bulk.upsert(
        connection, "stripe_kept_lookup_keys", rows, key=("connection_id", "price_id"),
        guard="new.seen > old.seen OR (new.seen = old.seen AND new.lookup_key > old.lookup_key)",
    )  # fmt: skip


def load_kept_keys(connection: Connection, connection_id: int, price_ids: Collection[str]) -> dict[str, str]:
    """Kept lookup keys by price id (RULES 4)."""
    sql = "SELECT price_id, lookup_key FROM stripe_kept_lookup_keys WHERE connection_id = ? AND price_id IN (*)"
    return {row[0]: row[1] for row in bulk.select_in(connection, sql, price_ids, [connection_id])}


def load_values(connection: Connection, connection_id: int, object_type: str, ids: Collection[str]) -> dict[str, Any]:
    """Values of one type by id."""
    sql = f"SELECT id, facts FROM {TABLES[object_type]} WHERE connection_id = ? AND id IN (*)"
    decoder = _DECODERS[object_type]
    return {row[0]: decoder.decode(row[1]) for row in bulk.select_in(connection, sql, ids, [connection_id])}


class Owned(NamedTuple):
    """A subscription or invoice with the moments that date it."""

    id: str
    customer_id: str
    value: Any
    evidence: int | None


_EVIDENCE = "ev_sec, read_lo_ms"


def load_owned(connection: Connection, connection_id: int, object_type: str, customers: Collection[str]) -> list[Owned]:
    """All subscriptions or invoices of these Stripe customers."""
    sql = (
        f"SELECT id, customer_id, facts, {_EVIDENCE} FROM {TABLES[object_type]} WHERE connection_id = ? AND customer_id IN (*)"
    )
    decoder = _DECODERS[object_type]
    return [
        Owned(row[0], row[1], decoder.decode(row[2]), evidence(row[3], row[4]))
        for row in bulk.select_in(connection, sql, customers, [connection_id])
    ]


def load_stripe_customers(
    connection: Connection, connection_id: int, ids: Collection[str]
) -> dict[str, tuple[StripeCustomer, int | None]]:
    """Stripe customers by id with their evidence (s)."""
    sql = f"SELECT id, facts, {_EVIDENCE} FROM stripe_customers WHERE connection_id = ? AND id IN (*)"
    decoder = msgspec.json.Decoder(StripeCustomer)
    return {
        row[0]: (decoder.decode(row[1]), evidence(row[2], row[3]))
        for row in bulk.select_in(connection, sql, ids, [connection_id])
    }


def evidence(ev_sec: int | None, read_lo_ms: int | None) -> int | None:
    """The second for which an object is known to have looked so: its last event or read, whichever is later."""
    read = None if read_lo_ms is None or read_lo_ms < 0 else read_lo_ms // 1000
    return max((second for second in (ev_sec, read) if second is not None), default=None)


def customers_using(connection: Connection, connection_id: int, object_type: str, object_id: str) -> set[str]:
    """Stripe customers whose figures a price, product or coupon can change (fan-out)."""
    if object_type == "coupon":
        sql = "SELECT DISTINCT customer_id FROM stripe_discounts WHERE connection_id = ? AND coupon_id = ?"
    else:
        column = {"price": "price_id", "product": "product_id"}[object_type]
        sql = f"SELECT DISTINCT customer_id FROM stripe_subscription_items WHERE connection_id = ? AND {column} = ?"
    return {row[0] for row in bulk.run(connection, sql, [connection_id, object_id]) if row[0]}


def note_uncertain(connection: Connection, connection_id: int, key: Key, now_ms: int) -> None:
    """Remember since when an ambiguous event waits for a read (FAULTS 4.4)."""
    bulk.run(
        connection,
        f"UPDATE {TABLES[key[0]]} SET uncertain_since_ms = coalesce(uncertain_since_ms, ?) WHERE connection_id = ? AND id = ?",
        [now_ms, connection_id, key[1]],
    )


def present(connection: Connection, connection_id: int, object_type: str, ids: Collection[str]) -> set[str]:
    """Which of these ids the mirror holds."""
    sql = f"SELECT id FROM {TABLES[object_type]} WHERE connection_id = ? AND id IN (*)"
    return {row[0] for row in bulk.select_in(connection, sql, ids, [connection_id])}


def read_once(connection: Connection, connection_id: int, object_type: str, ids: Collection[str]) -> set[str]:
    """Which of these objects were read from Stripe (everything expanded) or found absent there, not only told by events."""
    sql = (
        f"SELECT id FROM {TABLES[object_type]}"
        " WHERE (read_lo_ms IS NOT NULL OR kind = 'tombstone') AND connection_id = ? AND id IN (*)"
    )
    return {row[0] for row in bulk.select_in(connection, sql, ids, [connection_id])}
