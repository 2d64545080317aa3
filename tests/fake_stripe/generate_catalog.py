"""What the invented company sells: flat plans, seats in tiers, storage by volume, metered calls, and a few coupons."""

from typing import Any

import msgspec

from tests.fake_stripe.change_catalog import tier
from tests.fake_stripe.records import KIND, Coupon, Price, Product
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
    maker = _Maker(state, created)
    maker.flat_plans()
    maker.tiered("seats_monthly", "Seats", "graduated", [tier(5, 1500), tier(25, 1200), tier(None, 900, 2000)])
    maker.tiered("storage_monthly", "Storage", "volume", [tier(100, "12.5"), tier(1000, "9.75"), tier(None, 7)])
    maker.metered()
    loyal = {currency: {"amount_off": _in(currency, 500)} for currency in RATES}
    maker.coupon("LAUNCH20", name="Launch", percent_off=20.0)
    maker.coupon("LOYAL500", name="Loyal", amount_off=500, currency="usd", currency_options=loyal)
    maker.coupon("FRIENDS10", name="Friends", percent_off=10.0, duration="repeating", duration_in_months=6)
    maker.coupon("NONPROFIT15", name="Nonprofit", percent_off=15.0)
    maker.coupon("ONCE50", name="First month", percent_off=50.0, duration="once")
    return maker.catalog


class _Maker:
    def __init__(self, state: State, created: int) -> None:
        self.state, self.created, self.catalog = state, created, Catalog()

    def flat_plans(self) -> None:
        for name, (label, cents) in FLAT.items():
            product = self.product(label)
            for every, (interval, count, times) in EVERY.items():
                self.price(product, f"{name}_{every}", unit_amount=cents * times, interval=interval, interval_count=count,
                           nickname=f"{label} {every}", currency_options=_options(cents * times))  # fmt: skip
            euro = _in("eur", cents)
            self.price(product, f"{name}_monthly_eur", unit_amount=euro, currency="eur", nickname=f"{label} (EUR)")

    def tiered(self, key: str, label: str, mode: str, tiers: list[dict]) -> None:
        product = self.product(label, unit_label=label.lower())
        how = {"billing_scheme": "tiered", "tiers_mode": mode}
        self.price(product, key, tiers=tiers, nickname=label, **how)
        for currency in RATES:
            own = [_tier_in(one, currency) for one in tiers]
            nickname = f"{label} ({currency.upper()})"
            self.price(product, f"{key}_{currency}", tiers=own, currency=currency, nickname=nickname, **how)

    def metered(self) -> None:
        product = self.product("API calls")
        for currency in ("usd", *RATES):
            key = "api_usage" if currency == "usd" else f"api_usage_{currency}"
            self.price(product, key, unit_amount_decimal="0.5", usage_type="metered", meter="mtr_calls", nickname="API calls",
                       currency=currency)  # fmt: skip

    def product(self, name: str, **fields: Any) -> Product:
        id_ = self.state.new_id("product")
        return self._put(Product(id=id_, created=self.created, updated=self.created, name=name, **fields))

    def price(self, product: Product, key: str, **fields: Any) -> None:
        id_ = self.state.new_id("price")
        self.catalog.prices[key] = self._put(Price(id=id_, created=self.created, product=product.id, lookup_key=key, **fields))

    def coupon(self, code: str, **fields: Any) -> None:
        self._put(Coupon(id=code, created=self.created, **fields))
        self.catalog.coupons[code] = code

    def _put(self, record: Any) -> Any:
        record.seq = self.state.next_seq()
        self.state.of(KIND[type(record)]).add(record)
        return record


def _tier_in(one: dict, currency: str) -> dict:
    unit = max(1, _in(currency, int(float(one["unit_amount_decimal"]) * 10)) // 10)
    flat = one["flat_amount"]
    return tier(one["up_to"], unit, None if flat is None else _in(currency, flat))
