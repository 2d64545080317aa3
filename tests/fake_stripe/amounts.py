"""What an item costs for its own period and what discounts take off an invoice: the fake's own arithmetic, not the
product's."""

from decimal import ROUND_HALF_UP, Decimal

from tests.fake_stripe.records import Coupon, Customer, Discount, Item, Price, Subscription
from tests.fake_stripe.state import State

SECONDS = {"day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400, "year": 365 * 86_400}


def _money(value: str | int | float | None) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))


def _unit(tier: dict) -> Decimal:
    return _money(tier["unit_amount_decimal"] if tier.get("unit_amount_decimal") is not None else tier.get("unit_amount"))


def _tiered(price: Price, quantity: int) -> Decimal:
    total, below = Decimal(0), 0
    for tier in price.tiers or ():
        upper = tier["up_to"]
        inside = upper is None or quantity <= upper
        if price.tiers_mode == "volume":
            if inside:
                return quantity * _unit(tier) + _money(tier.get("flat_amount"))
            continue
        units = (quantity if inside else upper) - below
        total += units * _unit(tier) + _money(tier.get("flat_amount"))
        below = upper
        if inside:
            break
    return total


def item_amount(price: Price, quantity: int | None, currency: str) -> int:
    """Minor units of one period, before discounts, rounded half up. Metered: 0 (nothing was used)."""
    if price.usage_type == "metered":
        return 0
    units = 1 if quantity is None else quantity
    if price.transform_quantity:
        whole, rest = divmod(units, price.transform_quantity["divide_by"])
        units = whole + (1 if rest and price.transform_quantity["round"] == "up" else 0)
    if price.billing_scheme == "tiered":
        amount = _tiered(price, units)
    else:
        option = price.currency_options.get(currency) if currency != price.currency else None
        source = option or {"unit_amount": price.unit_amount, "unit_amount_decimal": price.unit_amount_decimal}
        amount = units * _unit(source)
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def discount_amounts(state: State, customer: Customer, subscription: Subscription, now: int) -> dict[str, list[dict]]:
    """What each item's line loses: item id -> [{amount, discount}], item discounts first, then the subscription's or, when
    it has none, the customer's."""
    shared = [d for d in subscription.discounts if d.end is None or d.end > now]
    if not shared and customer.discount is not None and (customer.discount.end is None or customer.discount.end > now):
        shared = [customer.discount]
    left = {item.id: _base(state, item, subscription.currency) for item in subscription.items}
    out: dict[str, list[dict]] = {item.id: [] for item in subscription.items}
    for item in subscription.items:
        for discount in item.discounts:
            _take(state, discount, [item], left, out)
    for discount in shared:
        _take(state, discount, subscription.items, left, out)
    return out


def _base(state: State, item: Item, currency: str) -> int:
    return item_amount(state.last_known("price", item.price), item.quantity, currency)


def _take(state: State, discount: Discount, items: list[Item], left: dict[str, int], out: dict[str, list[dict]]) -> None:
    coupon: Coupon = state.last_known("coupon", discount.coupon)
    hit = [i for i in items if coupon.applies_to is None or state.last_known("price", i.price).product in coupon.applies_to]
    remaining = coupon.amount_off or 0
    for item in hit:
        if coupon.percent_off is not None:
            share = (left[item.id] * _money(coupon.percent_off) / 100).quantize(Decimal(1), ROUND_HALF_UP)
            amount = int(share)
        else:
            amount = min(remaining, left[item.id])
            remaining -= amount
        if amount:
            left[item.id] -= amount
            out[item.id].append({"amount": amount, "discount": discount.id})


def period_seconds(price: Price) -> int:
    """One period of a price, with months of 30 days."""
    return SECONDS[price.interval or "month"] * price.interval_count
