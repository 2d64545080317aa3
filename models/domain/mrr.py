"""Monthly recurring revenue of one subscription and of one Stripe customer, with its derivation (RULES 5)."""

from fractions import Fraction

import msgspec

from models.domain import fx as rates
from models.domain.discounts import Line, apply, unexpired
from models.domain.money import divisor, shown
from models.domain.pricing import Priced, monthly_factor, price_item
from models.domain.scope import in_scope, item_in_scope, lookup_key_of, name_of, price_of, product_of
from models.domain.types import Catalog, Discount, FxTable, Price, Settings, Subscription, SubscriptionItem

COUNTING = frozenset({"active", "past_due"})
KNOWN_STATUSES = COUNTING | {"trialing", "incomplete", "incomplete_expired", "unpaid", "canceled", "paused"}
_ZERO = Fraction(0)


class Rules(msgspec.Struct, frozen=True):
    """Everything beside the facts that a figure depends on."""

    settings: Settings
    catalog: Catalog
    fx: FxTable
    now: int


class SubscriptionMrr(msgspec.Struct, frozen=True):
    """What one subscription brings.

    `counts`: it counts for MRR. `native`: exact minor units of `currency` a month, None when unknown or not counting.
    `usd`: exact US cents, None when unknown or without a rate. `unknown`: the words of why.
    """

    subscription: Subscription
    in_scope: bool
    counts: bool
    currency: str
    native: Fraction | None
    usd: Fraction | None
    unknown: tuple[str, ...]
    flags: tuple[str, ...]
    derivation: dict[str, object]


class _Item(msgspec.Struct):
    """One item on its way: its price, what it costs, and the line its discounts work on."""

    item: SubscriptionItem
    price: Price | None
    priced: Priced
    line: Line
    full: Fraction | None
    discounts: list[dict[str, object]]
    lookup_key: str | None
    name: str | None


def is_cancelling(subscription: Subscription) -> bool:
    """Whether a cancellation lies ahead of a counting subscription (RULES 5.1)."""
    ahead = subscription.cancel_at_period_end or subscription.cancel_at is not None
    return ahead and subscription.status in COUNTING


def subscription_mrr(subscription: Subscription, customer_discount: Discount | None, rules: Rules) -> SubscriptionMrr:
    """The MRR of one subscription with the steps that made it (RULES 5.1 to 5.6). Never an error."""
    reached = in_scope(subscription, rules.settings.scope, rules.catalog)
    left_out = _left_out(subscription, reached, rules.settings)
    flags = _status_flags(subscription) if reached else ()
    currency = _currency(subscription, rules.catalog)
    if left_out:
        derivation = _head(subscription, currency, left_out)
        return SubscriptionMrr(subscription, reached, False, currency, None, None, (), flags, derivation)
    items = _items(subscription, currency, rules)
    steps, unknown = _discounted(subscription, items, customer_discount, currency, rules)
    if subscription.items_truncated:
        unknown.add("missing_amount")
    native = None if unknown else _monthly(items)
    usd = None if native is None else rates.usd_cents(native, currency, rules.fx)
    derivation = _head(subscription, currency, None)
    derivation |= {"items": [_item_figures(entry) for entry in items], "discounts": steps, "unknown": sorted(unknown)}
    derivation |= _figures(native, usd, currency, rules.fx)
    flags += _item_flags(items)
    return SubscriptionMrr(subscription, True, True, currency, native, usd, tuple(sorted(unknown)), flags, derivation)


def _left_out(subscription: Subscription, reached: bool, settings: Settings) -> str | None:
    """Why a subscription doesn't count, or None when it does (RULES 4, 5.1)."""
    if not reached:
        return "out_of_scope"
    if subscription.status not in COUNTING:
        return f"status_{subscription.status}" if subscription.status in KNOWN_STATUSES else "unknown_status"
    if not settings.count_cancelling and is_cancelling(subscription):
        return "cancelling"
    return None


def _status_flags(subscription: Subscription) -> tuple[str, ...]:
    """Flags of the subscription itself; statuses that don't count give only the one for an unknown word."""
    if subscription.status not in KNOWN_STATUSES:
        return (f"unknown_subscription_status:{subscription.status}",)
    if subscription.status not in COUNTING:
        return ()
    cancelling = ("cancelling",) if is_cancelling(subscription) else ()
    return (*cancelling, "collection_paused") if subscription.collection_paused else cancelling


def _item_flags(items: list[_Item]) -> tuple[str, ...]:
    counted = [entry.priced for entry in items if entry.line.in_scope]
    usage = ("usage_based",) if any(priced.kind == "metered" for priced in counted) else ()
    return (*usage, "tax_inclusive") if any(priced.tax_inclusive for priced in counted) else usage


def _currency(subscription: Subscription, catalog: Catalog) -> str:
    """The subscription's currency; before versions said it, that of its first price that says one. With none anywhere no
    price has an amount, and no figure is made of the word."""
    if subscription.currency:
        return subscription.currency
    prices = (price_of(item, catalog) for item in subscription.items)
    return next((price.currency for price in prices if price is not None and price.currency and not price.stub), "usd")


def _items(subscription: Subscription, currency: str, rules: Rules) -> list[_Item]:
    found = []
    for item in subscription.items:
        price = price_of(item, rules.catalog)
        priced = price_item(price, item.quantity, currency)
        counted = item_in_scope(item, rules.settings.scope, rules.catalog)
        line = Line(priced.amount, product_of(item, rules.catalog), counted, priced.reason)
        names = lookup_key_of(item, rules.catalog), name_of(item, rules.catalog)
        found.append(_Item(item, price, priced, line, priced.amount, [], *names))
    return found


def _discounted(
    subscription: Subscription, items: list[_Item], customer_discount: Discount | None, currency: str, rules: Rules
) -> tuple[list[dict[str, object]], set[str]]:
    """Take the discounts off the items: theirs first, then the subscription's, else the customer's (RULES 5.4)."""
    unknown = {entry.line.reason for entry in items if entry.line.in_scope and entry.line.reason}
    for entry in items:
        for discount in unexpired(entry.item.discounts, rules.catalog, rules.now):
            applied = apply(discount, [entry.line], currency, rules.catalog, rules.settings)
            entry.discounts.append(applied.step)
            unknown.update(applied.unknown)
    own = unexpired(subscription.discounts, rules.catalog, rules.now)
    source = "subscription" if own else "customer"
    if not own and customer_discount is not None:
        own = unexpired((customer_discount,), rules.catalog, rules.now)
    steps = []
    lines = [entry.line for entry in items]
    for discount in own:
        applied = apply(discount, lines, currency, rules.catalog, rules.settings)
        steps.append({"of": source, **applied.step})
        unknown.update(applied.unknown)
    return steps, unknown


def _monthly(items: list[_Item]) -> Fraction:
    """The sum over the items in scope, each by its own interval (RULES 5.3)."""
    return sum((monthly for entry in items if (monthly := _item_monthly(entry)) is not None), _ZERO)


def _item_monthly(entry: _Item) -> Fraction | None:
    """One item's part of the month; 0 for what has no interval, None when unknown or out of scope."""
    if not entry.line.in_scope or entry.line.amount is None:
        return None
    if not entry.line.amount or entry.price is None:
        return _ZERO
    factor = monthly_factor(entry.price)
    return None if factor is None else entry.line.amount * factor


def _head(subscription: Subscription, currency: str, left_out: str | None) -> dict[str, object]:
    return {
        "subscription": subscription.id,
        "status": subscription.status,
        "currency": currency,
        "counts": left_out is None,
        "left_out": left_out,
    }


def _figures(native: Fraction | None, usd: Fraction | None, currency: str, fx: FxTable) -> dict[str, object]:
    """The figures of one counting subscription and how they became USD, as plain JSON values (RULES 5.6)."""
    rate = rates.rate(fx, currency)
    return {
        "native_monthly": None if native is None else shown(native),
        "minor_units": divisor(currency),
        "rate": None if rate is None else str(rate),
        "rate_date": None if currency == "usd" or rate is None else fx.date,
        "rate_source": fx.sources.get(currency.upper()),
        "usd_cents": None if usd is None else shown(usd),
        "usd_left_out": "no_usd_rate" if native is not None and usd is None else None,
    }


def _item_figures(entry: _Item) -> dict[str, object]:
    price = entry.price
    factor = monthly_factor(price) if price and entry.priced.kind == "recurring" else None
    monthly = _item_monthly(entry)
    return {
        "item": entry.item.id,
        "price": price.id if price else None,
        "lookup_key": entry.lookup_key,
        "name": entry.name,
        "kind": entry.priced.kind,
        "in_scope": entry.line.in_scope,
        "quantity": entry.item.quantity,
        "unit_amount": None if entry.priced.unit is None else f"{entry.priced.unit:f}",
        "amount": None if entry.full is None else shown(entry.full),
        "interval": price.interval if price else None,
        "interval_count": price.interval_count if price else None,
        "monthly_factor": None if factor is None else str(factor),
        "discounts": entry.discounts,
        "after_discounts": None if entry.line.amount is None else shown(entry.line.amount),
        "monthly": None if monthly is None else shown(monthly),
        "unknown": entry.priced.reason,
    }
