"""Small builders of Stripe JSON and of explain documents: only what a case is about, everything else plain."""

from typing import Any

NOW = 1_795_000_000
DAY = 86_400
Json = dict[str, Any]


def price(price_id: str = "price_1", amount: Any = 10_000, **fields: Any) -> Json:
    """A monthly licensed price; `interval`, `count`, `usage` go into `recurring`."""
    recurring = {
        "interval": fields.pop("interval", "month"),
        "interval_count": fields.pop("count", 1),
        "usage_type": fields.pop("usage", "licensed"),
    }
    whole = amount if isinstance(amount, int) else None
    return {
        "id": price_id, "object": "price", "active": True, "billing_scheme": "per_unit", "currency": "usd",
        "lookup_key": None, "nickname": None, "product": "prod_1", "recurring": recurring, "tax_behavior": "exclusive",
        "tiers_mode": None, "transform_quantity": None, "type": "recurring", "unit_amount": whole,
        "unit_amount_decimal": None if amount is None else str(amount), **fields,
    }  # fmt: skip


def item(of: Json | None = None, quantity: int | None = 1, item_id: str = "si_1", **fields: Any) -> Json:
    return {
        "id": item_id, "object": "subscription_item", "price": price() if of is None else of, "quantity": quantity,
        "discounts": [], "current_period_end": NOW + 10 * DAY, **fields,
    }  # fmt: skip


def subscription(*items: Json, subscription_id: str = "sub_1", **fields: Any) -> Json:
    return {
        "id": subscription_id, "object": "subscription", "customer": "cus_1", "status": "active", "currency": "usd",
        "created": NOW - 300 * DAY, "start_date": NOW - 300 * DAY, "cancel_at": None, "cancel_at_period_end": False,
        "collection_method": "charge_automatically", "pause_collection": None, "discounts": [], "trial_end": None,
        "items": {"object": "list", "data": list(items) or [item()], "has_more": False}, **fields,
    }  # fmt: skip


def invoice(invoice_id: str = "in_1", **fields: Any) -> Json:
    return {
        "id": invoice_id, "object": "invoice", "customer": "cus_1", "status": "open", "currency": "usd",
        "created": NOW - 5 * DAY, "number": "A-0001", "amount_due": 10_000, "amount_paid": 0, "amount_remaining": 10_000,
        "attempted": False, "attempt_count": 0, "next_payment_attempt": None, "due_date": None,
        "collection_method": "charge_automatically",
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}}, **fields,
    }  # fmt: skip


def paid(invoice_id: str = "in_paid", **fields: Any) -> Json:
    return invoice(invoice_id, **{"status": "paid", "amount_remaining": 0, "attempted": True, "attempt_count": 1, **fields})


def failing(invoice_id: str = "in_failing", **fields: Any) -> Json:
    return invoice(invoice_id, **{"attempted": True, "attempt_count": 1, "next_payment_attempt": NOW + DAY, **fields})


def payments(status: str, error: Json | None = None, **fields: Any) -> Json:
    """`payments` since basil: one default payment whose intent is expanded."""
    intent = {"id": "pi_1", "object": "payment_intent", "status": status, "last_payment_error": error}
    entry = {
        "id": "inpay_1",
        "is_default": True,
        "created": NOW,
        "payment": {"type": "payment_intent", "payment_intent": intent},
    }
    return {"object": "list", "data": [{**entry, **fields}], "has_more": False}


def coupon(coupon_id: str = "C", **fields: Any) -> Json:
    return {
        "id": coupon_id,
        "object": "coupon",
        "percent_off": None,
        "amount_off": None,
        "currency": None,
        "duration": "forever",
        **fields,
    }


def discount(of: Json | str, discount_id: str = "di_1", **fields: Any) -> Json:
    """A discount: a coupon object stands inside as before clover, an id as `source.coupon` since then."""
    inside = {"coupon": of} if isinstance(of, dict) else {"source": {"type": "coupon", "coupon": of}}
    return {"id": discount_id, "object": "discount", "start": NOW - DAY, "end": None, **inside, **fields}


def customer(customer_id: str = "cus_1", **fields: Any) -> Json:
    return {
        "id": customer_id, "object": "customer", "email": "billing@acme.com", "created": NOW - 400 * DAY, "discount": None,
        "metadata": {}, **fields,
    }  # fmt: skip


def document(*subscriptions: Json, **keys: Any) -> Json:
    """An explain document about one Stripe customer of Acme's, unless `keys` say otherwise."""
    return {
        "now": NOW,
        "our_customers": [{"id": "c1", "name": "Acme", "domain": "acme.com"}],
        "customers": [customer()],
        "subscriptions": list(subscriptions),
        "fx": {"date": "2026-11-01", "usd_per": {"EUR": "1.10", "JPY": "0.0065"}},
        **keys,
    }
