"""Generated Stripe objects and explain documents for the laws: what a company may have, odd corners included.

The same examples in every run; `SEED=random` draws others, and hypothesis prints what failed.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.unit.stripe_json import DAY, NOW, coupon, customer, discount, document, invoice, item, payments, price, subscription

Json = dict[str, Any]
FX = {"date": "2026-10-05", "usd_per": {"EUR": "1.10", "JPY": "0.0065"}}  # stale within the year; none for KWD
_HOSTS = ["acme.com", "eu.acme.com", "globex.com", "gmail.com", "nowhere.org"]
_NAMES = {"c1": "acme.com", "c2": "globex.com", "c3": "globex.org"}

_decimals = st.decimals(0, 1000, places=6).map(lambda amount: f"{amount:f}")
amounts = st.integers(0, 20_000) | st.integers(0, 10**7) | _decimals
_ends = st.sampled_from([None, None, None, NOW - 1, NOW, NOW + DAY])
_intervals = st.sampled_from(["month", "month", "year", "week", "day"])


def examples(count: int) -> settings:
    """Settings for a law: how many examples, and the same ones each time."""
    fixed = os.environ.get("SEED") != "random"
    return settings(max_examples=count, deadline=None, derandomize=fixed, suppress_health_check=list(HealthCheck))


@st.composite
def per_unit_prices(draw: Any, number: int, currency: str = "usd") -> Json:
    """A price per unit without `transform_quantity`, licensed or metered."""
    return price(
        f"price_{number}",
        draw(amounts),
        currency=currency,
        interval=draw(_intervals),
        count=draw(st.integers(1, 5)),
        usage=draw(st.sampled_from(["licensed", "licensed", "licensed", "metered"])),
        product=f"prod_{draw(st.integers(1, 3))}",
        lookup_key=draw(st.sampled_from([None, f"key{number}_monthly"])),
        tax_behavior=draw(st.sampled_from(["exclusive", "exclusive", "inclusive"])),
    )


@st.composite
def _tiers(draw: Any) -> list[Json]:
    tops = [*sorted(draw(st.sets(st.integers(1, 60), max_size=2))), None]
    return [
        {"up_to": top, "unit_amount": draw(st.integers(0, 5000)), "flat_amount": draw(st.none() | st.integers(0, 5000))}
        for top in tops
    ]


@st.composite
def prices(draw: Any, number: int, currency: str = "usd") -> Json:
    """Any price: per unit, per package of units, or tiered."""
    of: Json = draw(per_unit_prices(number, currency))
    kind = draw(st.sampled_from(["plain", "plain", "plain", "package", "volume", "graduated"]))
    if kind == "package":
        of["transform_quantity"] = {"divide_by": draw(st.integers(1, 7)), "round": draw(st.sampled_from(["up", "down"]))}
    elif kind != "plain":
        of |= {"billing_scheme": "tiered", "tiers_mode": kind, "unit_amount": None, "unit_amount_decimal": None}
        of["tiers"] = draw(_tiers())
    return of


@st.composite
def discounts(draw: Any, number: int, currency: str = "usd", durations: tuple[str, ...] = ("forever",) * 2) -> Json:
    """A discount with its coupon inside: of any kind, duration and end, on everything or on some products."""
    terms: Json = (
        {"percent_off": draw(st.integers(1, 100))}
        if draw(st.booleans())
        else {"amount_off": draw(st.integers(1, 5000) | st.integers(1, 10**6)), "currency": currency}
    )
    products = draw(st.none() | st.lists(st.sampled_from(["prod_1", "prod_2"]), min_size=1, unique=True))
    applies = {} if products is None else {"applies_to": {"products": products}}
    duration = draw(st.sampled_from([*durations, "repeating", "once"]))
    return discount(coupon(f"C{number}", duration=duration, **terms, **applies), f"di_{number}", end=draw(_ends))


@st.composite
def subscriptions(draw: Any, number: int, owners: int = 2, of: Any = prices) -> Json:
    """A subscription in one of four currencies with up to three items, and discounts on it and on its items."""
    currency = draw(st.sampled_from(["usd", "usd", "usd", "eur", "jpy", "kwd"]))
    items = [
        item(
            draw(of(number * 10 + position, currency)),
            draw(st.none() | st.integers(0, 50)),
            f"si_{number}_{position}",
            discounts=[draw(discounts(number * 100 + position, currency))] if draw(st.integers(0, 3)) == 0 else [],
        )
        for position in range(draw(st.integers(1, 3)))
    ]
    statuses = ["active", "active", "active", "past_due", "trialing", "canceled", "incomplete", "paused", "dreaming"]
    return subscription(
        *items,
        subscription_id=f"sub_{number}",
        customer=f"cus_{draw(st.integers(1, owners))}",
        currency=currency,
        status=draw(st.sampled_from(statuses)),
        start_date=NOW - draw(st.integers(0, 5)) * DAY,
        cancel_at_period_end=draw(st.booleans()),
        discounts=[draw(discounts(number * 10 + position, currency)) for position in range(draw(st.integers(0, 2)))],
    )


@st.composite
def invoices(draw: Any, number: int) -> Json:
    """An invoice of any status, in the shape since basil."""
    status = draw(st.sampled_from(["draft", "open", "open", "paid", "void", "uncollectible"]))
    return invoice(
        f"in_{number}",
        customer=f"cus_{draw(st.integers(1, 3))}",
        status=status,
        created=NOW - draw(st.integers(0, 3)) * DAY,
        currency=draw(st.sampled_from(["usd", "eur"])),
        attempted=draw(st.booleans()),
        attempt_count=draw(st.integers(0, 2)),
        amount_remaining=0 if status == "paid" else 10_000,
        due_date=draw(st.sampled_from([None, NOW - DAY, NOW, NOW + DAY])),
        collection_method=draw(st.sampled_from(["charge_automatically", "send_invoice"])),
        payments=draw(st.none() | st.sampled_from(["processing", "requires_action", "succeeded"]).map(payments)),
    )


@st.composite
def documents(draw: Any) -> Json:
    """Three customers of ours, three Stripe customers that may be the same ones, with settings, links and decisions."""
    numbers = range(1, draw(st.integers(1, 4)) + 1)
    theirs = [
        customer(
            f"cus_{number}",
            email=f"billing@{draw(st.sampled_from(['acme.com', *_HOSTS]))}",
            created=NOW - draw(st.integers(0, 2)) * DAY,
            discount=draw(discounts(9000 + number)) if draw(st.integers(0, 3)) == 0 else None,
        )
        for number in (1, 2, 3)
    ]
    about = draw(st.sampled_from([{}, {"stripe_customer_ids": ["cus_1", "cus_2"]}]))
    decision = draw(st.sampled_from([None, {"kind": "merge"}, {"kind": "winner", "stripe_customer_id": "cus_2"}]))
    links = [{"stripe_customer_id": "cus_3", "customer_id": draw(st.sampled_from(["c1", "c2", "c3"]))}]
    scopes = [{"kind": "all"}, {"kind": "all"}, {"kind": "products", "values": ["prod_1", "prod_3"]}]
    return document(
        *[draw(subscriptions(number, 3)) for number in numbers],
        our_customers=[
            {"id": name, "domain": domain, "environment": "staging" if name == "c3" else "production"}
            for name, domain in _NAMES.items()
        ],
        customers=theirs,
        invoices=[draw(invoices(number)) for number in range(draw(st.integers(0, 4)))],
        products=[{"id": f"prod_{number}", "name": f"Product {number}"} for number in (1, 2, 3)],
        prices=[draw(prices(number * 10)) for number in numbers if draw(st.integers(0, 3)) == 0],
        decisions=[{"customer_id": "c1", **decision, **about}] if decision else [],
        links=links if draw(st.booleans()) else [],
        fx=FX,
        settings={
            "scope": draw(st.sampled_from(scopes)),
            "count_cancelling": draw(st.booleans()),
            "subtract_repeating_discounts": draw(st.booleans()),
            "subtract_once_discounts": draw(st.booleans()),
        },
    )
