"""Events to drafts: what each pending event of one connection does to the mirror, and which reads it must wait for.

The set of rows decides, never their order (I2): the events of one object are weighed newest first, so that an older one met
later is superseded without a read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from models.domain.types import Invoice
from models.errors import Unreadable
from models.store.claims import Pending
from models.store.connections import ConnectionRecord
from models.store.failpoints import fp
from models.store.mirror import Key
from models.stripe_reader.event_types import affects
from models.stripe_reader.events import Event, read_event
from models.stripe_reader.versions import is_usable
from workers import ordering
from workers.apply import Draft, buried, is_complete, note_keys, open_draft
from workers.objects import READERS, carry_over, options_may_have_changed, resolve_discounts, status_of
from workers.ordering import Occurrence, Verdict

FINAL_DELETES = {"customer.deleted", "invoice.deleted"}
TOMBSTONES = {"price.deleted", "product.deleted", "coupon.deleted"}


@dataclass(slots=True)
class Item:
    """One pending event with the object it speaks of. `value` None: a pointer, nothing in it can be applied."""

    row: Pending
    event: Event
    key: Key | None = None
    value: Any = None


@dataclass(slots=True)
class Weighed:
    """What a batch does: the draft, and by `seq` how each row ends, waits for reads, or failed.

    `deauthorized`: an event said that the account took our access back.
    """

    draft: Draft
    ends: dict[int, str] = field(default_factory=dict)
    waits: dict[int, set[Key]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    subjects: dict[int, Key] = field(default_factory=dict)
    deauthorized: bool = False


def weigh(connection: Connection, record: ConnectionRecord, rows: Sequence[Pending]) -> Weighed:
    """Weigh the pending events of one connection against the mirror (FAULTS 4.2)."""
    items, ends, failures = _parse(rows)
    by_key: dict[Key, list[Item]] = {}
    for item in items:
        if item.key is not None:
            by_key.setdefault(item.key, []).append(item)
    draft = open_draft(connection, record, ((item.key, item.value) for item in items if item.key is not None))
    weighed = Weighed(draft, ends=ends, failures=failures)
    for key in sorted(by_key):
        for item in sorted(by_key[key], key=_newest_first):
            _weigh_safely(weighed, key, item)
    weighed.deauthorized = any(i.event.type == "account.application.deauthorized" for i in items)
    for item in items:
        if item.key is None:
            weighed.ends[item.row.seq] = "applied" if weighed.deauthorized else "ignored"
    return weighed


def _newest_first(item: Item) -> tuple[bool, int, bool, int]:
    """Of one second, snapshots before pointers: what a pointer would be read for may be in one of them."""
    return (item.event.type not in FINAL_DELETES, -item.row.created, item.value is None, -item.row.seq)


def _parse(rows: Sequence[Pending]) -> tuple[list[Item], dict[int, str], dict[int, str]]:
    items: list[Item] = []
    ends: dict[int, str] = {}
    failures: dict[int, str] = {}
    for row in rows:
        if not affects(row.type):
            ends[row.seq] = "ignored"
            continue
        try:
            items.append(_item(row))
        except Exception as error:  # a poison event must not stop its neighbours (F59)
            failures[row.seq] = _told(error)
    return items, ends, failures


def _told(error: Exception) -> str:
    """An error in words that hold no payload."""
    return str(error) if isinstance(error, Unreadable) else type(error).__name__


def _item(row: Pending) -> Item:
    fp(f"apply_{row.type}")
    event = read_event(row.body, checked=True)  # its type was read at receipt
    key = target(event)
    if key is None or event.thin or event.object is None or key[0] != _kind(event.object_type):
        return Item(row, event, key)
    try:
        value = READERS[key[0]](event.object)
    except Unreadable:
        value = None  # a pointer then: what Stripe answers now may be readable
    return Item(row, event, key, value)


def _kind(object_type: str | None) -> str | None:
    return "price" if object_type == "plan" else object_type


def target(event: Event) -> Key | None:
    """The mirrored object an event speaks of; a discount and an invoice payment point to their owner (STRIPE 3.1)."""
    data: Mapping[str, Any] = event.object or {}
    kind = _kind(event.object_type)
    if kind == "discount":
        if isinstance(data.get("subscription"), str):
            return "subscription", data["subscription"]
        return ("customer", data["customer"]) if isinstance(data.get("customer"), str) else None
    if kind == "invoice_payment":
        return ("invoice", data["invoice"]) if isinstance(data.get("invoice"), str) else None
    if kind in READERS and event.object_id:
        return kind, event.object_id
    return None


def _weigh_safely(weighed: Weighed, key: Key, item: Item) -> None:
    try:
        _weigh(weighed, key, item)
    except Exception as error:  # one object that breaks our code stays pending alone
        weighed.failures[item.row.seq] = _told(error)


def _weigh(weighed: Weighed, key: Key, item: Item) -> None:
    draft, row, event = weighed.draft, item.row, item.event
    weighed.subjects[row.seq] = key
    value = item.value
    if value is not None:
        note_keys(draft, value, row.created)
        value = carry_over(key[0], resolve_discounts(value, draft.discounts), draft.value(key), event_type=row.type)
    usable = value is not None and _usable(draft, key, value, event)
    occurrence = Occurrence(row.event_id, row.seq, row.created, usable, final_delete=row.type in FINAL_DELETES)
    verdict = ordering.decide_event(draft.known(key), occurrence)
    if verdict is Verdict.REFETCH and value is not None and _tied(draft, key, occurrence):
        verdict = _break_tie(draft, key, value, row, usable=usable)
    if row.type == "invoice_payment.paid" and _told_by_invoice(draft.value(key), event.object):
        verdict = Verdict.SUPERSEDED
    if verdict is Verdict.REFETCH:
        weighed.waits.setdefault(row.seq, set()).add(key)
        return
    _put(draft, key, item, value, (occurrence, verdict))
    weighed.ends[row.seq] = "applied" if verdict in {Verdict.APPLY, Verdict.TOMBSTONE} else "superseded"


def _told_by_invoice(held: Invoice | None, payment: Mapping[str, Any]) -> bool:
    """Whether a payment needs no read of its invoice: that is held as paid, or this payment covers what remains, so that
    `invoice.paid` comes beside it. Only a part payment changes the invoice with no other event that says so (STRIPE 3.1)."""
    if held is None or held.status == "paid":
        return held is not None
    amount, remaining = payment.get("amount_paid"), held.amount_remaining
    return held.status == "open" and remaining is not None and type(amount) is int and amount >= remaining


def _usable(draft: Draft, key: Key, value: Any, event: Event) -> bool:
    """FAULTS 4.2, *usable*. A deletion needs no facts; a failed payment is applied at once and read after."""
    if event.type in TOMBSTONES:
        return True
    if not is_usable(event.api_version, draft.record.api_version):
        return False
    if options_may_have_changed(value, draft.value(key), event.previous_attributes):
        return False
    return is_complete(value) or (event.type == "invoice.payment_failed" and isinstance(value, Invoice))


def _tied(draft: Draft, key: Key, occurrence: Occurrence) -> bool:
    """Whether the refetch was asked for by line 6 (an ambiguous order), not because the payload lacks something."""
    known = draft.known(key)
    if known is None:
        return False
    whole = Occurrence(occurrence.event_id, occurrence.seq, occurrence.created, usable=True)
    return ordering.decide_event(known, whole) is Verdict.REFETCH


def _break_tie(draft: Draft, key: Key, value: Any, row: Pending, *, usable: bool) -> Verdict:
    held = draft.value(key)
    verdict = ordering.break_tie(
        key[0], status_of(held), status_of(value),
        same=usable and value == held, first=row.type.endswith(".created"),
    )  # fmt: skip
    return Verdict.REFETCH if verdict is Verdict.APPLY and not usable else verdict


def _put(draft: Draft, key: Key, item: Item, value: Any, decided: tuple[Occurrence, Verdict]) -> None:
    """Write down what a verdict says; a superseded event leaves everything as it is."""
    (occurrence, verdict), row, known = decided, item.row, draft.known(key)
    if verdict is Verdict.APPLY and row.type not in TOMBSTONES:
        draft.put(key, value, ordering.after_event(known, occurrence), row.created)
    elif verdict in {Verdict.APPLY, Verdict.TOMBSTONE}:
        copy = value if value is not None else READERS[key[0]]({"id": key[1], "object": key[0]})
        after = ordering.after_tombstone(known, occurrence, final=verdict is Verdict.TOMBSTONE)
        draft.put(key, buried(key, draft.value(key), copy), after, row.created)
