"""Which lists of Stripe's a full sync walks, with what expanded (STRIPE 2.4, 5.4)."""

from typing import Any, NamedTuple

RECENT_S = 35 * 86400
FIRST_STRIPE_SECOND = 1_293_840_000
"""2011-01-01: nothing of Stripe's is older. Only used to guess where to cut; the oldest window has no lower end."""


class Walk(NamedTuple):
    """One list. `first`: walks that must be complete before. `windows`: it can be filtered by `created`. `in_memory`: what it
    shows isn't stored, so a run that is taken up reads it again while a walk still waits for it."""

    name: str
    path: str
    params: dict[str, Any]
    object_type: str
    first: tuple[str, ...] = ()
    windows: bool = False
    essential: bool = False
    in_memory: bool = False


CATALOG = ("prices_active", "prices_inactive", "products", "coupons")


def walks_of(start: int) -> dict[str, Walk]:
    """The lists of a run that began at `start` (s, Stripe's clock), in the order in which they are taken up."""
    unpaid = ("open_payments",)
    found = (
        Walk("open_payments", "/v1/invoice_payments", {"status": "open", "expand": ["data.payment.payment_intent"]}, "payment",
             in_memory=True),
        Walk("prices_active", "/v1/prices", {"active": True, "expand": ["data.tiers", "data.currency_options"]}, "price"),
        Walk("prices_inactive", "/v1/prices", {"active": False, "expand": ["data.tiers", "data.currency_options"]}, "price"),
        Walk("products", "/v1/products", {}, "product"),
        Walk("coupons", "/v1/coupons", {"expand": ["data.applies_to", "data.currency_options"]}, "coupon"),
        Walk("customers", "/v1/customers", {"expand": ["data.discount.source.coupon"]}, "customer", ("coupons",), True, True),
        Walk("subscriptions", "/v1/subscriptions",
             {"status": "all", "expand": ["data.latest_invoice", "data.discounts.source.coupon", "data.items.data.discounts"]},
             "subscription", (*CATALOG, *unpaid), True, True),
        Walk("invoices_open", "/v1/invoices", {"status": "open"}, "invoice", unpaid, True),
        Walk("invoices_uncollectible", "/v1/invoices", {"status": "uncollectible"}, "invoice", unpaid, True),
        Walk("invoices_recent", "/v1/invoices", {"created": {"gte": start - RECENT_S}}, "invoice", unpaid, True),
        Walk("invoices_older", "/v1/invoices", {"status": "paid", "created": {"lt": start - RECENT_S}}, "invoice", (), True),
    )  # fmt: skip
    return {walk.name: walk for walk in found}


ALWAYS = tuple(name for name in walks_of(0) if name != "invoices_older")
