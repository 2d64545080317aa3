"""One item, per its own period, and the way from there to a month (RULES 5.2, 5.3)."""

from decimal import Decimal
from fractions import Fraction

import msgspec

from models.domain.types import CurrencyOption, Price, Tier

_ZERO = Fraction(0)
_PER_MONTH = {"month": Fraction(1), "year": Fraction(1, 12), "week": Fraction(52, 12), "day": Fraction(365, 12)}


class Priced(msgspec.Struct, frozen=True):
    """What an item costs per its own period (minor units). `amount` None: it can't be priced, for `reason`.

    `kind`: `recurring`, `one_time` or `metered`. `unit`: the amount of one unit, where there is one."""

    amount: Fraction | None
    kind: str = "recurring"
    reason: str | None = None
    unit: Decimal | None = None
    tax_inclusive: bool = False


_ONE_TIME = Priced(_ZERO, kind="one_time")
_METERED = Priced(_ZERO, kind="metered")
_NO_AMOUNT = Priced(None, reason="missing_amount")


def price_item(price: Price | None, quantity: int | None, currency: str) -> Priced:
    """The amount of one item in `currency`, the subscription's (RULES 5.2, lines 1 to 4). Never an error."""
    if price is None or price.stub:
        return _NO_AMOUNT
    if price.type == "one_time" or price.usage_type == "metered":
        return _ONE_TIME if price.type == "one_time" else _METERED
    option = _in_currency(price, currency)
    inclusive = (option.tax_behavior if option and option.tax_behavior else price.tax_behavior) == "inclusive"
    units = 1 if quantity is None else quantity
    if units == 0:
        return Priced(_ZERO, unit=option.unit_amount if option else None, tax_inclusive=inclusive)
    if option is None:
        reason = "missing_currency_option" if price.currency else "missing_amount"
        return Priced(None, reason=reason, tax_inclusive=inclusive)
    amount = _amount(price, option, units)
    if isinstance(amount, str):
        return Priced(None, reason=amount, unit=option.unit_amount, tax_inclusive=inclusive)
    return Priced(amount, unit=option.unit_amount, tax_inclusive=inclusive)


def monthly_factor(price: Price) -> Fraction | None:
    """What one period's amount is multiplied by to make a month; None for an interval we don't know (RULES 5.3)."""
    count = 1 if price.interval_count is None else price.interval_count
    per_month = _PER_MONTH.get(price.interval or "")
    if per_month is None or count < 1:
        return None
    return per_month if count == 1 else per_month / count


def _in_currency(price: Price, currency: str) -> CurrencyOption | None:
    """What the price costs in the subscription's currency (RULES 5.2.4); None: no such option."""
    if currency == price.currency:
        return CurrencyOption(price.unit_amount, price.tiers, price.tax_behavior)
    return (price.currency_options or {}).get(currency)


def _amount(price: Price, option: CurrencyOption, units: int) -> Fraction | str:
    """The amount for one period, or the word of why it is unknown."""
    if monthly_factor(price) is None:
        return "unknown_scheme"
    quantity = _transformed(price, units)
    if quantity is None:
        return "unknown_scheme"
    if price.billing_scheme == "per_unit":
        return "missing_amount" if option.unit_amount is None else Fraction(option.unit_amount) * quantity
    if price.billing_scheme == "tiered":
        return _tiered(price.tiers_mode, option.tiers, quantity)
    return "unknown_scheme"


def _transformed(price: Price, units: int) -> int | None:
    """`transform_quantity`: divided first and rounded as it says; None where it says nothing we know."""
    if price.divide_by is None:
        return units
    if price.divide_by < 1 or price.divide_round not in ("up", "down"):
        return None
    return -(-units // price.divide_by) if price.divide_round == "up" else units // price.divide_by


def _tiered(mode: str | None, tiers: tuple[Tier, ...] | None, quantity: int) -> Fraction | str:
    """RULES 5.2.3. Tiers that don't reach the quantity are missing tiers."""
    if not tiers:
        return "missing_tiers"
    if mode not in ("volume", "graduated"):
        return "unknown_scheme"
    if any(tier.unit_amount is None and tier.flat_amount is None for tier in tiers):
        return "missing_amount"
    ordered = sorted(tiers, key=lambda tier: (tier.up_to is None, tier.up_to or 0))
    if ordered[-1].up_to is not None and ordered[-1].up_to < quantity:
        return "missing_tiers"
    return _volume(ordered, quantity) if mode == "volume" else _graduated(ordered, quantity)


def _volume(tiers: list[Tier], quantity: int) -> Fraction:
    """The one tier that holds the quantity: units x unit amount + flat amount."""
    holding = next(tier for tier in tiers if tier.up_to is None or quantity <= tier.up_to)
    return _of_tier(holding, quantity)


def _graduated(tiers: list[Tier], quantity: int) -> Fraction:
    """Every tier entered: its units x unit amount + its flat amount."""
    total, below = _ZERO, 0
    for tier in tiers:
        if quantity <= below:
            break
        top = quantity if tier.up_to is None else min(quantity, tier.up_to)
        total += _of_tier(tier, top - below)
        below = top
    return total


def _of_tier(tier: Tier, units: int) -> Fraction:
    return Fraction(tier.unit_amount or 0) * units + Fraction(tier.flat_amount or 0)
