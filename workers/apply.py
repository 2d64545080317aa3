"""Apply: the one place where a Stripe object becomes ours, whichever door it came through (DESIGN 1, FAULTS 4.2).

`Draft` collects what a batch of events or a page of reads will write; nothing here touches RQ, Redis, the SDK or Flask.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from sqlalchemy import Connection

from models.domain.types import Discount, Invoice, StripeCustomer, Subscription
from models.errors import Unreadable
from models.store import claims, customers, mirror
from models.store.connections import ConnectionRecord
from models.store.failpoints import fp
from models.store.mirror import Key, MirrorRow
from models.stripe_reader import completeness
from models.stripe_reader.fields import reference
from models.stripe_reader.references import kept_keys_in
from workers import ordering
from workers.objects import CUSTOMER_OF, READERS, carry_over, discounts_of, resolve_discounts, whole_discounts
from workers.ordering import Known, ReadBounds, Verdict
from workers.recompute import Overlay

current_cover = claims.current_cover
DISCOUNTED = (StripeCustomer, Subscription)
STUBS: dict[str, type[Subscription | Invoice]] = {"subscription": Subscription, "invoice": Invoice}


@dataclass(slots=True)
class Applied:
    """What came of a page of reads. `touched`: Stripe customers to recompute; `refetch`: objects a list can't decide."""

    touched: set[str] = field(default_factory=set)
    refetch: set[Key] = field(default_factory=set)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    written: int = 0


@dataclass(slots=True)
class Draft:
    """What will be written: `held` is the mirror as read, `rows` and `values` what replaces it.

    `second`: the Stripe second that dates a value, for `as_of`. `fanout`: prices, products and coupons that changed.
    `touched`: Stripe customers whose figures may change; `dated`: those of which only the evidence is younger, with its second.
    """

    record: ConnectionRecord
    held: dict[Key, MirrorRow]
    discounts: dict[str, Discount] = field(default_factory=dict)
    held_keys: dict[str, str] = field(default_factory=dict)
    rows: dict[Key, MirrorRow] = field(default_factory=dict)
    values: dict[Key, Any] = field(default_factory=dict)
    second: dict[Key, int | None] = field(default_factory=dict)
    kept: dict[str, tuple[int, str]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    dated: dict[str, int] = field(default_factory=dict)
    fanout: set[Key] = field(default_factory=set)
    _before: dict[Key, Any] = field(default_factory=dict)

    def known(self, key: Key) -> Known | None:
        """What is known of an object, the draft's own changes included."""
        row = self.rows.get(key) or self.held.get(key)
        if row is None:
            return None
        return Known(row.kind, row.final, row.ev_id, row.ev_sec, row.ev_seq, row.read_lo_ms, row.read_hi_ms,
                     row.cover_seq, row.version)  # fmt: skip

    def value(self, key: Key) -> Any | None:
        """The object as it stands, the draft's own changes included."""
        return self.values[key] if key in self.values else self.before(key)

    def before(self, key: Key) -> Any | None:
        """The object as the mirror holds it."""
        if key not in self._before:
            row = self.held.get(key)
            self._before[key] = row.value if row else None
        return self._before[key]

    def put(self, key: Key, value: Any, known: Known, second: int | None) -> None:
        """Let `value` be what the mirror holds of `key`."""
        held = self.held.get(key)
        version = held.version + 1 if held else 1  # however often the draft changes its mind, one row is written
        facts = mirror.encode(value)
        changed = held is None or held.facts != facts
        if changed:
            self._touch(key, value)
        self.rows[key] = MirrorRow(*key, known.kind, known.final, known.ev_id, known.ev_sec, known.ev_seq,
                                   known.read_lo_ms, known.read_hi_ms, known.cover_seq, version, facts)  # fmt: skip
        self.values[key] = value
        self.second[key] = second
        if customer := CUSTOMER_OF[key[0]](value):
            if changed and self._moves_figures(key, value):
                self.touched.add(customer)
            else:
                self.dated[customer] = max(self.dated.get(customer, 0), second or 0)

    def _moves_figures(self, key: Key, value: Any) -> bool:
        """Whether changed facts can change anything that is shown: of a Stripe customer's metadata only the key that the
        connection matches by can."""
        before = self.before(key)
        if not isinstance(value, StripeCustomer) or not isinstance(before, StripeCustomer):
            return True
        name = self.record.settings.metadata_key
        if name is not None and value.metadata.get(name) != before.metadata.get(name):
            return True
        return msgspec.structs.replace(value, metadata=before.metadata) != before

    def _touch(self, key: Key, value: Any) -> None:
        if key[0] in {"price", "product", "coupon"}:
            self.fanout.add(key)
        elif key[0] == "subscription":  # its old customer too, should an object ever move
            before = self.before(key)
            if before is not None and before.customer and before.customer != value.customer:
                self.touched.add(before.customer)

    def keep(self, price_id: str, lookup_key: str, seen: int) -> None:
        """Remember a lookup key, also of a snapshot that is superseded (RULES 4)."""
        self.kept[price_id] = max(self.kept.get(price_id, (seen, lookup_key)), (seen, lookup_key))
        if self.held_keys.get(price_id) != lookup_key:
            self.fanout.add(("price", price_id))

    def overlay(self) -> Overlay:
        """The draft as a recompute sees it before it is written."""
        return Overlay(self.values, self.second, {price: key for price, (_, key) in self.kept.items()}, self.dated)

    def write(self, connection: Connection) -> None:
        """Write the mirror rows with their indexes; `fan_out` goes with it.

        Raises:
            Conflict: one of the objects changed since it was read; nothing of this transaction may be kept.
        """
        record = self.record
        if self.fanout:  # before anything else: who computed with the old ones must compute again
            customers.bump_rules(connection)
        mirror.write_rows(connection, record.id, list(self.rows.values()), self.values)
        subscriptions = [value for key, value in self.values.items() if key[0] == "subscription"]
        if subscriptions:
            mirror.replace_items(connection, record.id, subscriptions)
        mirror.save_discounts(connection, record.id, whole_discounts(self.values))
        mirror.keep_lookup_keys(connection, record.id, self.kept)

    def fan_out(self, connection: Connection, computed: Collection[str] = ()) -> None:
        """Make due whom a changed price, product or coupon concerns; after the figures of this transaction were saved.

        `computed`: Stripe customers whose figures were computed with the change already.
        """
        record = self.record
        if self.fanout:
            fp("before_fan_out")
        for object_type, object_id in sorted(self.fanout):
            using = mirror.customers_using(connection, record.id, object_type, object_id)
            customers.make_due(connection, record.id, using - self.touched - set(computed), "facts")


def open_draft(connection: Connection, record: ConnectionRecord, parsed: Iterable[tuple[Key, Any]]) -> Draft:
    """A draft over what the mirror holds of these objects; `parsed` are (key, value or None)."""
    pairs = list(parsed)
    held = mirror.load_known(connection, record.id, {key for key, _ in pairs})
    draft = Draft(record, held)
    bare = {one.id for _, value in pairs if value is not None for one in discounts_of(value) if one.coupon is None}
    draft.discounts = mirror.load_discounts(connection, record.id, bare) if bare else {}
    prices = {item.price.id for _, value in pairs if isinstance(value, Subscription) for item in value.items if item.price}
    prices |= {key[1] for key, _ in pairs if key[0] == "price"}
    draft.held_keys = mirror.load_kept_keys(connection, record.id, prices) if prices else {}
    return draft


def _bare_discounts(value: Any) -> tuple[str, ...]:
    return completeness.unresolved_discounts(value) if isinstance(value, DISCOUNTED) else ()


def read_object(data: Mapping[str, Any]) -> tuple[Key, Any]:
    """(key, value) of one Stripe object of a type we mirror. A subscription or invoice of which only the owner can be read
    becomes a stub, so that its customer is flagged instead of counted too low (RULES 8).

    Raises:
        Unreadable: it isn't one, or it can't be read.
    """
    kind = data.get("object")
    object_id = reference(data)
    if kind == "plan":
        kind = "price"
    if not isinstance(kind, str) or kind not in READERS or object_id is None:
        raise Unreadable(object_id or "object", "an object of a kind that isn't mirrored, or without an id")
    try:
        return (kind, object_id), READERS[kind](data)
    except Unreadable:
        owner = reference(data.get("customer"))
        if kind not in STUBS or owner is None:
            raise
        return (kind, object_id), STUBS[kind](id=object_id, customer=owner, unreadable=True)


def apply_reads(
    connection: Connection,
    record: ConnectionRecord,
    objects: Sequence[Mapping[str, Any]],
    bounds: ReadBounds,
    *,
    listed: bool,
) -> Applied:
    """Apply what Stripe's API answered, inside the caller's write transaction.

    `listed`: rows of a list page, which never overwrite newer knowledge; else the answer of a refetch.

    Raises:
        Conflict: PostgreSQL only: one of the objects changed while this ran; begin again.
    """
    done = Applied()
    parsed: dict[Key, Any] = {}
    for data in [*objects, *_embedded(objects)]:
        try:
            key, value = read_object(data)
        except Unreadable as error:
            done.unreadable.append((error.object_id, error.problem))
            continue
        parsed.setdefault(key, value)
    draft = open_draft(connection, record, parsed.items())
    for key, value in parsed.items():
        apply_read(draft, key, value, bounds, listed=listed, refetch=done.refetch)
    draft.write(connection)
    draft.fan_out(connection)
    done.touched = draft.touched
    done.written = len(draft.rows)
    return done


def _embedded(objects: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Invoices that came expanded inside subscriptions (`latest_invoice`): reads of the same bounds."""
    nested = (data.get("latest_invoice") for data in objects if data.get("object") == "subscription")
    return [data for data in nested if isinstance(data, Mapping) and isinstance(data.get("id"), str)]


def apply_read(draft: Draft, key: Key, value: Any, bounds: ReadBounds, *, listed: bool, refetch: set[Key]) -> Verdict:
    """Decide on one read and, if it counts, put it into the draft."""
    known = draft.known(key)
    value = resolve_discounts(value, draft.discounts)
    note_keys(draft, value, max(bounds.low // 1000, 0))
    if listed:
        value = carry_over(key[0], value, draft.value(key), event_type=None)
        same = known is not None and draft.held.get(key) is not None and draft.held[key].facts == mirror.encode(value)
        verdict = ordering.decide_listed(known, bounds, same=same)
        if verdict is Verdict.APPLY and not is_complete(value):
            verdict = Verdict.REFETCH
    else:
        verdict = ordering.decide_refetched(known, bounds)
    if verdict is Verdict.REFETCH:
        refetch.add(key)
    elif verdict is Verdict.APPLY:
        after = ordering.after_read(known, bounds)
        if getattr(value, "deleted", False):
            final = key[0] in {"customer", "invoice"}
            after = replace(after, kind="tombstone", final=final)
            value = buried(key, draft.value(key), value)
        draft.put(key, value, after, bounds.lo_ms // 1000 if bounds.lo_ms is not None else None)
    return verdict


def buried(key: Key, held: Any | None, value: Any) -> Any:
    """The last copy of an object that is gone, marked; a subscription is canceled by it."""
    copy = held if held is not None else value
    if key[0] == "subscription":
        return msgspec.structs.replace(copy, status="canceled")
    return msgspec.structs.replace(copy, deleted=True)


def note_keys(draft: Draft, value: Any, seen: int) -> None:
    """Keep the lookup keys a snapshot carries."""
    for price_id, lookup_key in kept_keys_in(value):
        draft.keep(price_id, lookup_key, seen)


def is_complete(value: Any) -> bool:
    """Whether a snapshot holds what RULES needs of it: whole lists, whole discounts, the payment of a failed invoice."""
    if isinstance(value, Invoice):
        return not completeness.needs_payment_state(value)
    return not (getattr(value, "items_truncated", False) or _bare_discounts(value))
