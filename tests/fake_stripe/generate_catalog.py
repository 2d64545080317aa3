"""What the invented company sells: flat plans, seats in tiers, storage by volume, metered calls, and a few coupons."""

import msgspec

from tests.fake_stripe.change_catalog import tier
from tests.fake_stripe.records import KIND, Coupon, Price, Product, Record
from tests.fake_stripe.state import State

FLAT = {"starter": ("Starter", 4900), "growth": ("Growth", 19_900), "scale": ("Scale", 79_900)}
RATES = {"eur": 92, "gbp": 79, "jpy": 15_000}  # of a hundred US cents
EVERY = {"monthly": ("month", 1, 1), "quarterly": ("month", 3, 3), "annual": ("year", 1, 10)}


class Catalog(msgspec.Struct):
    """Prices by lookup key, coupon ids by code."""

    prices: dict[str, Price] = {}
    coupons: dict[str, str] = {}

    def price(self, key: str, currency: str) -> Price:
        """The price of a key; some currencies have a price of their own (`growth_monthly_eur`), the others are options."""
        return self.prices.get(f"{key}_{currency}") or self.prices[key]


def _in(currency: str, cents: int) -> int:
    return cents * RATES[currency] // (10_000 if currency == "jpy" else 100)


def _options(cents: int) -> dict[str, dict]:
    return {
        c: {
            "custom_unit_amount": None,
            "tax_behavior": "exclusive",
            "unit_amount": _in(c, cents),
            "unit_amount_decimal": str(_in(c, cents)),
        }
        for c in RATES
    }


def make_catalog(state: State, created: int) -> Catalog:
    """Products, prices and coupons, put into the state."""
    catalog = Catalog()
    new: list[Record] = []
    for name, (label, cents) in FLAT.items():
        product = _product(state, new, label, created)
        for every, (interval, count, times) in EVERY.items():
            key = f"{name}_{every}"
            _price(state, new, catalog, product, key, created, unit_amount=cents * times, interval=interval,
                   interval_count=count,
                   nickname=f"{label} {every}", currency_options=_options(cents * times))  # fmt: skip
        euro = _in("eur", cents)
        _price(state, new, catalog, product, f"{name}_monthly_eur", created, unit_amount=euro, currency="eur",
               nickname=f"{label} (EUR)")  # fmt: skip
    seats = [tier(5, 1500), tier(25, 1200), tier(None, 900, 2000)]
    storage = [tier(100, "12.5"), tier(1000, "9.75"), tier(None, 7)]
    for key, label, tiers, mode in (
        ("seats_monthly", "Seats", seats, "graduated"),
        ("storage_monthly", "Storage", storage, "volume"),
    ):
        product = _product(state, new, label, created, unit_label="seat" if key.startswith("seats") else "GB")
        _price(state, new, catalog, product, key, created, billing_scheme="tiered", tiers_mode=mode, tiers=tiers,
               nickname=label)  # fmt: skip
        for currency in RATES:
            own = [_tier_in(t, currency) for t in tiers]
            _price(state, new, catalog, product, f"{key}_{currency}", created, billing_scheme="tiered", tiers_mode=mode,
                   tiers=own,
                   currency=currency, nickname=f"{label} ({currency.upper()})")  # fmt: skip
    calls = _product(state, new, "API calls", created)
    for currency in ("", *RATES):
        _price(state, new, catalog, calls, "api_usage" + (f"_{currency}" if currency else ""), created,
               unit_amount_decimal="0.5",
               usage_type="metered", meter="mtr_calls", nickname="API calls", currency=currency or "usd")  # fmt: skip
    for coupon in (
        Coupon(id="LAUNCH20", created=created, name="Launch", percent_off=20.0),
        Coupon(
            id="LOYAL500",
            created=created,
            name="Loyal",
            amount_off=500,
            currency="usd",
            currency_options={c: {"amount_off": _in(c, 500)} for c in RATES},
        ),
        Coupon(id="FRIENDS10", created=created, name="Friends", percent_off=10.0, duration="repeating", duration_in_months=6),
        Coupon(id="NONPROFIT15", created=created, name="Nonprofit", percent_off=15.0),
        Coupon(id="ONCE50", created=created, name="First month", percent_off=50.0, duration="once"),
    ):
        catalog.coupons[coupon.id] = coupon.id
        new.append(coupon)
    for record in new:
        record.seq = state.next_seq()
        state.of(KIND[type(record)]).add(record)
    return catalog


def _tier_in(one: dict, currency: str) -> dict:
    unit = max(1, _in(currency, int(float(one["unit_amount_decimal"]) * 10)) // 10)
    flat = one["flat_amount"]
    return tier(one["up_to"], unit, None if flat is None else _in(currency, flat))


def _product(state: State, new: list[Record], name: str, created: int, **fields: str) -> Product:
    product = Product(id=state.new_id("product"), created=created, updated=created, name=name, **fields)
    new.append(product)
    return product


def _price(
    state: State, new: list[Record], catalog: Catalog, product: Product, key: str, created: int, **fields: object
) -> None:
    # type: ignore[arg-type]
    price = Price(id=state.new_id("price"), created=created, product=product.id, lookup_key=key, **fields)
    new.append(price)
    catalog.prices[key] = price
