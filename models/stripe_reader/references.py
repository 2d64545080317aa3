"""Which other objects a value names: prices, products, coupons and the lookup keys worth keeping (RULES 4)."""

from collections.abc import Iterator

from models.domain.types import Discount, Price, StripeCustomer, Subscription


def kept_keys_in(value: object) -> Iterator[tuple[str, str]]:
    """Every (price id, lookup key) that isn't null, in a price or in the copies inside a subscription's items.

    For the mirror's kept keys, with the second at which the snapshot was true.
    """
    for price in _prices_in(value):
        if price.lookup_key:
            yield price.id, price.lookup_key


def discounts_in(value: object) -> Iterator[Discount]:
    """Every discount of a customer, or of a subscription and its items."""
    if isinstance(value, StripeCustomer) and value.discount is not None:
        yield value.discount
    if isinstance(value, Subscription):
        yield from value.discounts
        for item in value.items:
            yield from item.discounts


def references_of(value: object) -> set[str]:
    """The ids of all prices, products and coupons that a customer or a subscription names."""
    names = {discount.coupon_id for discount in discounts_in(value)}
    for price in _prices_in(value):
        names |= {price.id, price.product}
    return {name for name in names if name}


def _prices_in(value: object) -> Iterator[Price]:
    if isinstance(value, Price):
        yield value
    if isinstance(value, Subscription):
        yield from (item.price for item in value.items if item.price is not None)
