"""From a native amount to US cents, never 1:1 and never 0 (RULES 5.5)."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from models.domain.money import divisor
from models.domain.types import FxTable


def rate(fx: FxTable, currency: str) -> Decimal | None:
    """USD for one unit of `currency`; None when the table has none. A dollar is a dollar."""
    if currency == "usd":
        return Decimal(1)
    found = fx.usd_per.get(currency.upper())
    return found if found is not None and found > 0 else None


def usd_cents(amount: Fraction, currency: str, fx: FxTable) -> Fraction | None:
    """`amount` minor units of `currency` in exact US cents; None without a rate."""
    if currency == "usd":
        return amount
    per_unit = rate(fx, currency)
    return None if per_unit is None else amount * _cents_per_minor_unit(per_unit, currency)


def stale_at(fx: FxTable, days: int) -> int | None:
    """The moment (unix seconds) from which the table counts as stale: 00:00 UTC of the day after `days` days.

    None when the table has no date that can be read: then its age is unknown and it isn't called stale.
    """
    day = _day(fx.date)
    if day is None:
        return None
    try:
        first = day + timedelta(days=days + 1)
    except OverflowError:
        return None
    return int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())


@lru_cache(maxsize=512)
def _cents_per_minor_unit(per_unit: Decimal, currency: str) -> Fraction:
    return Fraction(per_unit) * 100 / divisor(currency)


@lru_cache(maxsize=64)
def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
