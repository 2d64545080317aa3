"""Which discounts bear on a subscription, which of them subtract, and how much they take (RULES 5.4)."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import msgspec

from models.domain.money import shown
from models.domain.types import Catalog, Coupon, Discount, Settings

_ZERO = Fraction(0)


class Line(msgspec.Struct):
    """One item while its discounts are taken off: the amount for its own period (None: unknown, for `reason`)."""

    amount: Fraction | None
    product: str | None
    in_scope: bool
    reason: str | None = None


class Applied(msgspec.Struct, frozen=True):
    """What became of one discount. `unknown`: the word that makes the MRR unknown. `step`: its line in the derivation."""

    step: dict[str, object]
    unknown: tuple[str, ...] = ()


def unexpired(discounts: Iterable[Discount], catalog: Catalog, now: int) -> list[Discount]:
    """The discounts that still run (`end` after now), bare ids resolved by the mirror where it holds them."""
    resolved = [_resolved(discount, catalog) for discount in discounts]
    return [discount for discount in resolved if discount.end is None or discount.end > now]


def ends_after(discounts: Iterable[Discount], catalog: Catalog, now: int) -> list[int]:
    """When running discounts end: moments at which the result may change (RULES 6)."""
    return [discount.end for discount in unexpired(discounts, catalog, now) if discount.end is not None]


def apply(discount: Discount, lines: list[Line], currency: str, catalog: Catalog, settings: Settings) -> Applied:
    """Take one running discount off `lines`, in place: off those out of scope too, as they bear their share of a later one.

    A discount that can't be read makes every line it could touch unknown, and the result if one of them is in scope; one
    whose duration doesn't subtract by the settings takes nothing.
    """
    coupon = _coupon(discount, catalog)
    if coupon is None or (coupon.percent_off is None and coupon.amount_off is None):
        word = "missing_discount" if discount.coupon_id is None else "missing_coupon"
        return Applied(_step(discount, None, word, None), _spoilt(lines, (word,)))
    if not _subtracts(coupon.duration, settings):
        return Applied(_step(discount, coupon, "duration_not_subtracted", None))
    targets = [line for line in lines if _applies(coupon, line)]
    before = _in_scope_sum(targets)
    unknown = _take(coupon, targets, currency)
    spoilt = _spoilt(targets, unknown)
    if not any(line.in_scope for line in targets):
        return Applied(_step(discount, coupon, "applies_to_no_item", None))
    if spoilt:
        return Applied(_step(discount, coupon, spoilt[0], None), spoilt)
    return Applied(_step(discount, coupon, "subtracted", before - _in_scope_sum(targets)))


def _resolved(discount: Discount, catalog: Catalog) -> Discount:
    if discount.coupon_id is not None:
        return discount
    return catalog.discounts.get(discount.id, discount)


def _coupon(discount: Discount, catalog: Catalog) -> Coupon | None:
    """The coupon with what only the mirror's copy carries. The copy inside the discount wins: a coupon's id can be made
    again with other terms, while running discounts keep the old ones (FAULTS F83)."""
    inline = discount.coupon
    mirrored = catalog.coupons.get(discount.coupon_id) if discount.coupon_id else None
    if inline is None or mirrored is None:
        return inline or mirrored
    if (inline.percent_off, inline.amount_off, inline.currency) != (
        mirrored.percent_off,
        mirrored.amount_off,
        mirrored.currency,
    ):
        return inline
    own = inline if inline.applies_to_known else mirrored
    return msgspec.structs.replace(
        inline,
        currency_amounts=inline.currency_amounts or mirrored.currency_amounts,
        duration=inline.duration or mirrored.duration,
        applies_to=own.applies_to,
        applies_to_known=own.applies_to_known,
    )


def _subtracts(duration: str | None, settings: Settings) -> bool:
    """`forever` always, the others by setting; a duration we don't know isn't recurring (STRIPE 7.1)."""
    if duration == "repeating":
        return settings.subtract_repeating_discounts
    if duration == "once":
        return settings.subtract_once_discounts
    return duration == "forever"


def _applies(coupon: Coupon, line: Line) -> bool:
    return coupon.applies_to is None or line.product in coupon.applies_to


def _spoilt(lines: list[Line], words: tuple[str, ...]) -> tuple[str, ...]:
    """Nobody knows any more what `lines` cost, for `words`; those words, if that concerns a line in scope."""
    for line in lines if words else ():
        line.amount, line.reason = None, line.reason or words[0]
    return words if any(line.in_scope for line in lines) else ()


def _in_scope_sum(lines: list[Line]) -> Fraction:
    return sum((line.amount for line in lines if line.in_scope and line.amount is not None), _ZERO)


def _take(coupon: Coupon, targets: list[Line], currency: str) -> tuple[str, ...]:
    """Subtract from the lines; the words of why the result is unknown, if it is."""
    if coupon.percent_off is not None:
        share = 1 - Fraction(min(max(coupon.percent_off, Decimal(0)), Decimal(100))) / 100
        for line in targets:
            # A line below zero is no reason to owe less for it.
            if line.amount is not None and line.amount > 0:
                line.amount *= share
        return ()
    off = _amount_off(coupon, currency)
    if off is None:
        return ("missing_currency_option",)
    unknown = {line.reason for line in targets if line.amount is None and line.reason}
    if unknown:
        return tuple(sorted(unknown))
    _spread(Fraction(max(off, Decimal(0))), [line for line in targets if line.amount is not None and line.amount > 0])
    return ()


def _amount_off(coupon: Coupon, currency: str) -> Decimal | None:
    """What the coupon takes in the subscription's currency; None: it has no such option."""
    if coupon.currency is None or coupon.currency == currency:
        return coupon.amount_off
    return (coupon.currency_amounts or {}).get(currency)


def _spread(off: Fraction, lines: list[Line]) -> None:
    """`amount_off` is per invoice: each line bears its share by its amount for its own period, never below 0."""
    total = sum((line.amount for line in lines if line.amount is not None), _ZERO)
    if not total:
        return
    left = max(total - off, _ZERO) / total
    for line in lines:
        if line.amount is not None:
            line.amount *= left


def _step(discount: Discount, coupon: Coupon | None, outcome: str, taken: Fraction | None) -> dict[str, object]:
    return {
        "discount": discount.id or None,
        "coupon": discount.coupon_id,
        "percent_off": None if coupon is None or coupon.percent_off is None else f"{coupon.percent_off.normalize():f}",
        "amount_off": None if coupon is None or coupon.amount_off is None else f"{coupon.amount_off:f}",
        "duration": coupon.duration if coupon else None,
        "end": discount.end,
        "outcome": outcome,
        "taken": None if taken is None else shown(taken),
    }
