"""What an item's price is, and whether the item is in scope (RULES 4)."""

from collections.abc import Iterable

import msgspec

from models.domain.types import Catalog, Price, Scope, Subscription, SubscriptionItem


def price_of(item: SubscriptionItem, catalog: Catalog) -> Price | None:
    """The price that counts for an item: as last mirrored, else the copy inside the item.

    What only one of the two carries is taken from it: tiers and currency options are never inline in events, and an old
    inline `plan.tiers` may be all there is. None when the item names no price.
    """
    inline = item.price
    if inline is None:
        return None
    mirrored = catalog.prices.get(inline.id)
    if mirrored is None:
        return inline
    if inline.stub or mirrored.stub:
        return inline if mirrored.stub else mirrored
    tiers, options = mirrored.tiers or inline.tiers, mirrored.currency_options or inline.currency_options
    if tiers is mirrored.tiers and options is mirrored.currency_options:
        return mirrored
    return msgspec.structs.replace(mirrored, tiers=tiers, currency_options=options)


def lookup_key_of(item: SubscriptionItem, catalog: Catalog) -> str | None:
    """The lookup key of an item's price; a null key never replaces a known one (`transfer_lookup_key`, RULES 4)."""
    inline = item.price
    if inline is None:
        return None
    mirrored = catalog.prices.get(inline.id)
    if mirrored is None:
        return inline.lookup_key or catalog.kept_lookup_keys.get(inline.id)
    return mirrored.lookup_key or catalog.kept_lookup_keys.get(inline.id) or inline.lookup_key


def product_of(item: SubscriptionItem, catalog: Catalog) -> str | None:
    """The id of the product an item's price belongs to."""
    price = price_of(item, catalog)
    if price is None or item.price is None:
        return None
    return price.product or item.price.product


def item_in_scope(item: SubscriptionItem, scope: Scope, catalog: Catalog) -> bool:
    """Whether an item counts at all. A scope of a kind we don't know holds nothing."""
    if scope.kind == "all":
        return True
    if scope.kind == "products":
        return product_of(item, catalog) in scope.values
    return scope.kind == "lookup_keys" and lookup_key_of(item, catalog) in scope.values


def in_scope(subscription: Subscription, scope: Scope, catalog: Catalog) -> bool:
    """Whether a subscription is in scope: with `all` every one, else when one item is."""
    return scope.kind == "all" or any(item_in_scope(item, scope, catalog) for item in subscription.items)


def has_scope(subscriptions: Iterable[Subscription], scope: Scope, catalog: Catalog) -> bool:
    """Whether a Stripe customer has a subscription in scope, ended ones included (RULES 2, line 1)."""
    return any(in_scope(subscription, scope, catalog) for subscription in subscriptions)


def name_of(item: SubscriptionItem, catalog: Catalog) -> str | None:
    """The product's name, else the price's nickname, else the price's id."""
    price = price_of(item, catalog)
    if price is None:
        return None
    inline = item.price or price
    product = catalog.products.get(product_of(item, catalog) or "")
    name = (product and product.name) or price.product_name or inline.product_name
    return name or price.nickname or inline.nickname or price.id
