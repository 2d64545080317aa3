"""What a value lacks before RULES can be carried out on it: the worker then reads it from Stripe (FAULTS 4.2 "usable").

Pure questions about one value and what the mirror already holds.
"""

from collections.abc import Collection, Mapping

from models.domain.types import Invoice, Price, Product, StripeCustomer, Subscription, SubscriptionItem
from models.stripe_reader.fields import Data, truncated
from models.stripe_reader.references import discounts_in


def has_truncated_list(data: Data) -> bool:
    """Whether a list the rules read holds only its first page: items of a subscription, payments of an invoice."""
    return truncated(data.get("items")) or truncated(data.get("payments"))


def unresolved_discounts(value: StripeCustomer | Subscription, known: Collection[str] = ()) -> tuple[str, ...]:
    """Ids of discounts that came bare and that the mirror (`known`) doesn't hold: only their owner, read again with
    `discounts` expanded, tells their coupon. Discounts can't be fetched by id (STRIPE 2.4)."""
    bare = (discount.id for discount in discounts_in(value) if discount.coupon_id is None)
    return tuple(sorted({name for name in bare if name not in known}))


def coupons_needed(value: StripeCustomer | Subscription, known: Collection[str] = ()) -> tuple[str, ...]:
    """Ids of coupons to read: those the mirror (`known`) doesn't hold. A copy inside a discount isn't enough, as
    `applies_to` and `currency_options` come only where they are expanded."""
    named = {
        discount.coupon_id
        for discount in discounts_in(value)
        if discount.coupon is None or not discount.coupon.applies_to_known
    }
    return tuple(sorted(name for name in named if name and name not in known))


def needs_payment_state(invoice: Invoice) -> bool:
    """Whether only the payment can tell a failure from a bank debit under way: open, tried, money remaining, and the
    payment's state not in what we read. True also after `invoice.payment_failed`, then for the reason."""
    tried = invoice.failed or invoice.attempted or invoice.attempt_count > 0
    remaining = invoice.amount_remaining is None or invoice.amount_remaining > 0
    return invoice.status == "open" and not invoice.paid and tried and remaining and not invoice.payments_known


def prices_lacking(subscription: Subscription, known: Mapping[str, Price] = {}) -> tuple[str, ...]:
    """Ids of prices to read in full: no tiers, no option for the subscription's currency, or no price beside the plan
    (a plan copy knows no lookup key)."""
    lacking = {
        item.price.id
        for item in subscription.items
        if item.price is not None and _lacks(item.price, known.get(item.price.id), subscription.currency)
    }
    return tuple(sorted(lacking))


def products_needed(
    subscription: Subscription,
    prices: Mapping[str, Price] = {},
    products: Collection[str] | Mapping[str, Product] = (),
    kept_lookup_keys: Mapping[str, str] = {},
) -> tuple[str, ...]:
    """Ids of products whose name the plan falls back to: no lookup key is known for the item's price (RULES 4)."""
    needed = {_product_of(item, prices, kept_lookup_keys) for item in subscription.items}
    return tuple(sorted(name for name in needed if name and name not in products))


def _lacks(inline: Price, mirrored: Price | None, currency: str | None) -> bool:
    price = mirrored or inline
    if mirrored is None and (inline.from_plan or inline.stub):
        return True
    if currency is not None and currency != price.currency:
        option = (price.currency_options or inline.currency_options or {}).get(currency)
        return option is None or (price.billing_scheme == "tiered" and not option.tiers)
    return price.billing_scheme == "tiered" and price.usage_type != "metered" and not (price.tiers or inline.tiers)


def _product_of(item: SubscriptionItem, prices: Mapping[str, Price], kept: Mapping[str, str]) -> str | None:
    """The product to name the plan by, or None when a key or a name is known."""
    inline = item.price
    if inline is None:
        return None
    mirrored = prices.get(inline.id, inline)
    if mirrored.lookup_key or inline.lookup_key or kept.get(inline.id) or inline.product_name:
        return None
    return mirrored.product or inline.product
