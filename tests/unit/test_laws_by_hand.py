"""RULES 5.2 to 5.5 worked out a second time, as one would on paper, and compared over random subscriptions (seeded)."""

import os
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tests.unit.generated import FX
from tests.unit.stripe_json import NOW, coupon, customer, discount, document, item, price, subscription
from webhook_app.explain import explain

Json = dict[str, Any]
_FACTORS = {"month": Fraction(1), "year": Fraction(1, 12), "week": Fraction(52, 12), "day": Fraction(365, 12)}
_RATES = {"usd": Fraction(1), "eur": Fraction(110, 100), "jpy": Fraction(65, 10_000) * 100, "kwd": Fraction(0)}


def _for_its_period(entry: Json) -> Fraction:
    of = entry["price"]
    units = 1 if entry["quantity"] is None else entry["quantity"]
    if of["recurring"]["usage_type"] == "metered" or units == 0:
        return Fraction(0)
    package = of["transform_quantity"]
    if package:
        down, rest = divmod(units, package["divide_by"])
        units = down + (1 if rest and package["round"] == "up" else 0)
    if of["billing_scheme"] == "per_unit":
        return Fraction(of["unit_amount_decimal"]) * units
    total, below = 0, 0
    for tier in of["tiers"]:
        top = 10**9 if tier["up_to"] is None else tier["up_to"]
        inside = min(units, top) - below
        if of["tiers_mode"] == "volume" and below < units <= top:
            return Fraction(units * tier["unit_amount"] + (tier["flat_amount"] or 0))
        if inside > 0:
            total += inside * tier["unit_amount"] + (tier["flat_amount"] or 0)
        below = top
    return Fraction(total)


def _take(found: Json, amounts: dict[int, Fraction], products: list[str], subtracting: set[str]) -> None:
    coupon = found["coupon"]
    applies = (coupon.get("applies_to") or {}).get("products")
    touched = [at for at in amounts if applies is None or products[at] in applies]
    whole = sum(amounts[at] for at in touched)
    if coupon["duration"] not in subtracting or not whole:
        return
    percent = coupon["percent_off"]
    left = 1 - Fraction(percent, 100) if percent else max(Fraction(0), 1 - Fraction(coupon["amount_off"]) / whole)
    for at in touched:
        amounts[at] *= left


def _runs(found: Json) -> bool:
    return found["end"] is None or found["end"] > NOW


def _by_hand(of: Json, theirs: Json | None, scope: set[str], subtracting: set[str]) -> int:
    items = of["items"]["data"]
    products = [entry["price"]["product"] for entry in items]
    amounts = {at: _for_its_period(entry) for at, entry in enumerate(items)}
    for at, entry in enumerate(items):
        for found in filter(_runs, entry["discounts"]):
            alone = {at: amounts[at]}
            _take(found, alone, products, subtracting)
            amounts |= alone
    own = [found for found in of["discounts"] if _runs(found)]
    for found in own or ([theirs] if theirs and _runs(theirs) else []):
        _take(found, amounts, products, subtracting)
    month = Fraction(0)
    for at, entry in enumerate(items):
        recurring = entry["price"]["recurring"]
        if products[at] in scope:
            month += amounts[at] * _FACTORS[recurring["interval"]] / recurring["interval_count"]
    return round(month * _RATES[of["currency"]])


def _price(rng: random.Random, number: int, currency: str) -> Json:
    amount = rng.choice([rng.randrange(20_000), rng.randrange(10**7), f"{rng.randrange(10**9) / 1000:.3f}"])
    interval, usage = rng.choice(["month", "month", "year", "week", "day"]), rng.choice(["licensed"] * 7 + ["metered"])
    of = price(
        f"price_{number}", amount, currency=currency, interval=interval, count=rng.randint(1, 4), usage=usage,
        product=f"prod_{rng.randint(1, 3)}",
    )  # fmt: skip
    kind = rng.choice(["plain"] * 4 + ["package", "volume", "graduated"])
    if kind == "package":
        return of | {"transform_quantity": {"divide_by": rng.randint(1, 7), "round": rng.choice(["up", "down"])}}
    if kind == "plain":
        return of
    tops = [*sorted(rng.sample(range(1, 10), rng.randrange(3))), None]
    tiers = [{"up_to": top, "unit_amount": rng.randrange(5000), "flat_amount": rng.choice([None, 700])} for top in tops]
    return of | {
        "billing_scheme": "tiered",
        "tiers_mode": kind,
        "unit_amount": None,
        "unit_amount_decimal": None,
        "tiers": tiers,
    }


def _discounts(rng: random.Random, number: int, currency: str, most: int) -> list[Json]:
    found = []
    for position in range(rng.randint(0, most)):
        off = {"amount_off": rng.choice([rng.randrange(5000), rng.randrange(10**6)]), "currency": currency}
        terms = rng.choice([{"percent_off": rng.randint(1, 100)}, off])
        limited = {"applies_to": {"products": rng.sample(["prod_1", "prod_2", "prod_3"], rng.randint(1, 2))}}
        duration = rng.choice(["forever"] * 4 + ["once", "repeating"])
        of = coupon(f"C{number}{position}", duration=duration, **terms, **rng.choice([{}, {}, limited]))
        found.append(discount(of, f"di_{number}{position}", end=rng.choice([None, None, NOW + 9, NOW, NOW - 9])))
    return found


def _subscription(rng: random.Random) -> Json:
    currency = rng.choice(["usd", "usd", "eur", "jpy", "kwd"])
    items = [
        item(_price(rng, at, currency), rng.choice([None, *range(10)]), f"si_{at}", discounts=_discounts(rng, at, currency, 1))
        for at in range(rng.randint(1, 3))
    ]
    own = _discounts(rng, 5, currency, 3)
    return subscription(*items, currency=currency, discounts=own, status=rng.choice(["active", "past_due"]))


def test_the_mrr_is_what_one_works_out_by_hand(record_property: Callable[[str, object], None]) -> None:
    first = random.randrange(10**6) if os.environ.get("SEED") == "random" else 1
    for seed in range(first, first + 2000):
        rng = random.Random(seed)
        of, scope = _subscription(rng), {"prod_1", *rng.sample(["prod_2", "prod_3"], rng.randrange(3))}
        theirs = next(iter(_discounts(rng, 7, of["currency"], 1)), None)
        subtracting = {"forever", *rng.sample(["once", "repeating"], rng.randrange(3))}
        settings = {
            "scope": {"kind": "products", "values": sorted(scope)},
            "subtract_once_discounts": "once" in subtracting,
            "subtract_repeating_discounts": "repeating" in subtracting,
        }
        found: Any = explain(document(of, customers=[customer(discount=theirs)], fx=FX, settings=settings))
        matched = found["matches"][0]["outcome"] == "matched"  # else nothing of it is in scope
        assert found["customers"][0]["mrr"] == (_by_hand(of, theirs, scope, subtracting) if matched else 0), f"seed {seed}"
    record_property("said", f"MRR worked out by hand: 2000 subscriptions from seed {first}")
