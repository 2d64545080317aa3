"""What `apply` must know of each kind of object: how to read it, whose it is, and what a poorer snapshot must not erase."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from models.domain.types import Coupon, Discount, Price, StripeCustomer, Subscription
from models.stripe_reader.discounts import read_coupon
from models.stripe_reader.invoices import read_invoice
from models.stripe_reader.objects import read_customer, read_subscription
from models.stripe_reader.prices import read_price, read_product

READERS: dict[str, Callable[[Any], Any]] = {
    "customer": read_customer,
    "subscription": read_subscription,
    "invoice": read_invoice,
    "price": read_price,
    "product": read_product,
    "coupon": read_coupon,
}

CUSTOMER_OF: dict[str, Callable[[Any], str | None]] = {
    "customer": lambda value: value.id,
    "subscription": lambda value: value.customer,
    "invoice": lambda value: value.customer,
    "price": lambda value: None,
    "product": lambda value: None,
    "coupon": lambda value: None,
}


def status_of(value: Any) -> str | None:
    """The status of a subscription or invoice; None for other objects."""
    status = getattr(value, "status", None)
    return status if isinstance(status, str) else None


def carry_over(object_type: str, value: Any, held: Any | None, *, event_type: str | None) -> Any:
    """`value` with what its kind of snapshot never carries taken from `held`: a field that isn't there is not null (FAULTS
    4.4).

    Tiers, currency options and `applies_to` come only expanded; a coupon's are fixed for ever, a price's tiers too. A payment
    that failed is told by its event at once (`event_type`), before anybody read the reason.
    """
    if object_type == "price" and isinstance(held, Price):
        return _carry_price(value, held)
    if object_type == "coupon" and isinstance(held, Coupon):
        return _carry_coupon(value, held)
    if object_type == "invoice" and event_type == "invoice.payment_failed" and not value.payments_known:
        return msgspec.structs.replace(value, failed=True)
    return value


def _carry_price(value: Price, held: Price) -> Price:
    options = value.currency_options
    if options is None and held.currency_options is not None:
        options = held.currency_options
    return msgspec.structs.replace(value, tiers=value.tiers or held.tiers, currency_options=options)


def _carry_coupon(value: Coupon, held: Coupon) -> Coupon:
    known = value.applies_to_known
    return msgspec.structs.replace(
        value,
        applies_to=value.applies_to if known else held.applies_to,
        applies_to_known=known or held.applies_to_known,
        currency_amounts=value.currency_amounts or held.currency_amounts,
    )


def options_may_have_changed(value: Any, held: Any | None, previous: Mapping[str, Any] | None) -> bool:
    """Whether a `price.updated` may stand for new currency options, which its payload never shows (it must be read then)."""
    if not isinstance(value, Price) or not isinstance(held, Price) or value.currency_options is not None:
        return False
    several = len(held.currency_options or {}) > 1
    return several and (not previous or "currency_options" in previous)


def resolve_discounts(value: Any, known: Mapping[str, Discount]) -> Any:
    """`value` with bare discount ids replaced by the discounts the mirror holds; unknown ones stay bare. A discount that no
    longer shows its coupon (it was deleted) keeps the terms that the mirror holds of it: it runs on with them (F83)."""
    if isinstance(value, StripeCustomer):
        if value.discount is None:
            return value
        return msgspec.structs.replace(value, discount=_resolved((value.discount,), known)[0])
    if not isinstance(value, Subscription):
        return value
    discounts = _resolved(value.discounts, known)
    items = tuple(
        msgspec.structs.replace(item, discounts=_resolved(item.discounts, known)) if item.discounts else item
        for item in value.items
    )
    return msgspec.structs.replace(value, discounts=discounts, items=items)


def _resolved(discounts: tuple[Discount, ...], known: Mapping[str, Discount]) -> tuple[Discount, ...]:
    return tuple(_whole(discount, known.get(discount.id)) for discount in discounts)


def _whole(discount: Discount, held: Discount | None) -> Discount:
    if held is None or (discount.coupon is not None and discount.coupon_id):
        return discount
    if discount.coupon_id is None:
        return held
    return msgspec.structs.replace(discount, coupon=held.coupon) if held.coupon_id == discount.coupon_id else discount


def discounts_of(value: Any) -> list[Discount]:
    """All discounts that stand on a customer, a subscription or its items."""
    if isinstance(value, StripeCustomer):
        return [value.discount] if value.discount else []
    if isinstance(value, Subscription):
        return [*value.discounts, *(discount for item in value.items for discount in item.discounts)]
    return []


def whole_discounts(values: Mapping[tuple[str, str], Any]) -> dict[str, tuple[str, str | None, Discount]]:
    """The whole discounts in these values, by id: (owner's id, Stripe customer, discount)."""
    found: dict[str, tuple[str, str | None, Discount]] = {}
    for (object_type, object_id), value in values.items():
        for discount in discounts_of(value):
            if discount.coupon_id:
                found[discount.id] = (object_id, CUSTOMER_OF[object_type](value), discount)
    return found
