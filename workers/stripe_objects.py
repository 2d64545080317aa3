"""What is asked of Stripe for each kind of object, and the shape of what comes back (STRIPE 2.4, 5.3). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

PURPOSES = ("backfill", "refetch", "failure_reason", "reference", "probe", "census")
PAGE = 100

# object type -> (resource, what the rules need expanded: at most four properties deep)
OBJECTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "customer": ("customers", ("discount.source.coupon",)),
    "subscription": ("subscriptions", ("discounts.source.coupon", "items.data.discounts", "items.data.price.tiers",
                                       "items.data.price.currency_options")),
    "invoice": ("invoices", ("payments.data.payment.payment_intent",)),
    "price": ("prices", ("tiers", "currency_options")),
    "plan": ("prices", ("tiers", "currency_options")),
    "product": ("products", ()),
    "coupon": ("coupons", ("applies_to", "currency_options")),
}  # fmt: skip
# object type -> (the embedded list that the rules need whole, where it is paged, expansions there)
EMBEDDED: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "subscription": ("items", "/v1/subscription_items", ("data.discounts", "data.price.tiers", "data.price.currency_options")),
    "invoice": ("payments", "/v1/invoice_payments", ("data.payment.payment_intent",)),
}
# permission -> words of the expansions that need it: without it they are left out and the rest is read (F68)
_NEEDS = {
    "rak_coupon_read": ("coupon", "applies_to"),
    "rak_plan_read": ("tiers", "currency_options"),
    "rak_product_read": ("product",),
    "rak_payment_intent_read": ("payment_intent",),
    "rak_invoice_read": ("latest_invoice",),
}
# what is still worth expanding when the whole may not be: the discount with its coupon's id, the payments with their ids
_LESS = {
    "discounts.source.coupon": "discounts",
    "data.discounts.source.coupon": "data.discounts",
    "payments.data.payment.payment_intent": "payments",
}


@dataclass(frozen=True)
class Patience:
    """How long one read is tried again: at most `attempts` failures and `seconds` of trouble; 429s only `throttled_s`."""

    attempts: int = 4
    seconds: float = 15.0
    throttled_s: float = 20.0


PATIENT = Patience(attempts=8, seconds=60.0, throttled_s=90.0)
"""For a backfill: hundreds of pages, each of which must come through."""


class Read(NamedTuple):
    """One read: plain JSON, and the milliseconds on Stripe's clock between which it was true (FAULTS 4.1); None and None when
    the answer had no `Date`: nothing is known of its time."""

    data: dict[str, Any]
    lo_ms: int | None
    hi_ms: int | None

    @property
    def has_date(self) -> bool:
        """Whether the bounds are known."""
        return self.lo_ms is not None


class Cursor(NamedTuple):
    """Where a list goes on: after this id; `created` (s) finds the place again when that object was deleted meanwhile."""

    after: str
    created: int | None = None


def rows_of(page: Read) -> list[dict[str, Any]]:
    """The objects of a list page."""
    rows = page.data.get("data")
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)] if isinstance(rows, list) else []


def drop_lines(page: Read) -> None:
    """Forget the lines of invoices: no rule reads them, and they are more than half of a page."""
    for row in rows_of(page):
        row.pop("lines", None)
        nested = row.get("latest_invoice")
        if isinstance(nested, dict):
            nested.pop("lines", None)


def next_cursor(page: Read) -> Cursor | None:
    """Where the list goes on after this page; None when it was the last."""
    rows = rows_of(page)
    if not rows or page.data.get("has_more") is not True:
        return None
    created = rows[-1].get("created")
    return Cursor(rows[-1]["id"], created if isinstance(created, int) else None)


def less_expanded(expand: list[str], permission: str | None) -> dict[str, str | None]:
    """The expansions that go away with a permission (all when Stripe didn't name it) and what may stand in their place."""
    words = _NEEDS.get(permission, ()) if permission else ("",)
    return {name: _LESS.get(name) for name in expand if any(word in name for word in words)}


def still_expanded(name: str, less: Mapping[str, str | None]) -> str | None:
    """What is left of an expansion once `less` (from `less_expanded`) holds; None: nothing."""
    left: str | None = name
    while left is not None and left in less:
        left = less[left]
    return left


def is_truncated(page_or_object: dict[str, Any], name: str) -> bool:
    """Whether the embedded list `name` has more than it shows."""
    embedded = page_or_object.get(name)
    return isinstance(embedded, dict) and embedded.get("has_more") is True
