"""Customers and subscriptions of any API version from 2019 on (STRIPE 2.2, 2.3): plain dict in, value out.

Every `read_*` raises only `Unreadable`: no id, an id that is no text, or a number the rules need that is no number.
"""

from models.domain.types import StripeCustomer, Subscription, SubscriptionItem
from models.errors import Unreadable
from models.stripe_reader.discounts import read_coupon, read_discount, read_discounts
from models.stripe_reader.fields import MOST_ITEMS, OBJECT, Fields, bounded, fields_of, listed, named, truncated
from models.stripe_reader.invoices import read_invoice, read_invoice_payment, read_payment_intent
from models.stripe_reader.prices import read_item_price, read_price, read_product

_LONGEST_METADATA = 500  # characters

__all__ = [
    "read_coupon",
    "read_customer",
    "read_discount",
    "read_invoice",
    "read_invoice_payment",
    "read_payment_intent",
    "read_price",
    "read_product",
    "read_subscription",
]


def read_customer(data: object) -> StripeCustomer:
    """A Stripe customer, or the stub `{id, deleted: true}` that stands for a deleted one."""
    fields = fields_of(data, "customer")
    try:
        discounts = read_discounts(fields)
    except Unreadable as error:
        raise named(fields.owner, error) from None
    return StripeCustomer(
        id=fields.owner,
        email=fields.text("email"),
        name=fields.text("name"),
        created=fields.moment_or_none("created"),
        currency=fields.lower("currency"),
        metadata=_metadata(fields),
        discount=discounts[0] if discounts else None,
        deleted=fields.flag("deleted"),
    )


def read_subscription(data: object) -> Subscription:
    """A subscription with its items, whatever its API version.

    `customer` is null beside `customer_account` for Accounts v2. A subscription whose status or items can't be seen is
    `Unreadable`: it must not pass for one that brings nothing.
    """
    fields = fields_of(data, "subscription")
    status = fields.text("status")
    if status is None:
        raise Unreadable(fields.owner, "subscription has no status")
    try:
        return _subscription(fields, status, _items(fields))
    except Unreadable as error:
        raise named(fields.owner, error) from None


def _subscription(fields: Fields, status: str, items: tuple[SubscriptionItem, ...]) -> Subscription:
    return Subscription(
        id=fields.owner,
        customer=fields.reference("customer") or fields.key("customer_account"),
        status=status,
        currency=fields.lower("currency"),
        created=fields.moment_or_none("created"),
        start_date=_start_date(fields),
        items=items,
        items_truncated=truncated(fields.data.get("items")),
        discounts=read_discounts(fields),
        cancel_at=fields.moment_or_none("cancel_at"),
        cancel_at_period_end=fields.flag("cancel_at_period_end"),
        canceled_at=fields.moment_or_none("canceled_at"),
        ended_at=fields.moment_or_none("ended_at"),
        collection_paused=bool(fields.part("pause_collection")),
        current_period_end=_period_end(fields, items),
        trial_end=fields.moment_or_none("trial_end"),
        collection_method=fields.text("collection_method") or fields.text("billing"),
        latest_invoice=fields.reference("latest_invoice"),
    )


def _start_date(fields: Fields) -> int | None:
    """`start_date`; before it existed the earlier of `created` and `start`, which moved with every change."""
    start = fields.moment_or_none("start_date")
    if start is not None:
        return start
    known = [at for at in (fields.moment_or_none("created"), fields.moment_or_none("start")) if at is not None]
    return min(known, default=None)


def _period_end(fields: Fields, items: tuple[SubscriptionItem, ...]) -> int | None:
    """The subscription's own, else (since basil) the earliest of its items, as Stripe's list filters take it."""
    ends = [item.current_period_end for item in items if item.current_period_end is not None]
    own = fields.moment_or_none("current_period_end")
    return min(ends, default=None) if own is None else own


def _items(fields: Fields) -> tuple[SubscriptionItem, ...]:
    """The items; the oldest shape has one `plan` and `quantity` on the subscription itself."""
    entries = listed(fields.data.get("items"))
    if entries is not None:
        until = fields.moment_or_none("current_period_end")
        bounded(entries, MOST_ITEMS, fields.owner, "items")
        return tuple(_read_item(entry, fields.owner, until) for entry in entries)
    if fields.data.get("items") is not None or fields.data.get("plan") is None:
        raise Unreadable(fields.owner, "subscription has no list of items")
    return (SubscriptionItem(id="", price=read_item_price(fields), quantity=fields.whole("quantity")),)


def _read_item(data: object, owner: str, until: int | None) -> SubscriptionItem:
    """One item; `until` is the end of the subscription's period, which items had no own of before basil."""
    if not isinstance(data, OBJECT):
        raise Unreadable(owner, "an item is no object")
    fields = Fields(data, owner)
    end = fields.moment_or_none("current_period_end")
    return SubscriptionItem(
        id=fields.reference("id") or "",
        price=read_item_price(fields),
        quantity=fields.whole("quantity"),
        discounts=read_discounts(fields),
        current_period_end=until if end is None else end,
    )


def _metadata(fields: Fields) -> dict[str, str]:
    """Metadata as text to text; what isn't text, no database stores (NUL) or is longer than Stripe allows is left out."""
    metadata = fields.part("metadata") or {}
    return {
        key: value
        for key, value in metadata.items()
        if isinstance(value, str) and len(value) <= _LONGEST_METADATA and "\x00" not in key + value
    }
