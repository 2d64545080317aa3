"""Coupons and discounts of any API version (STRIPE 2.2, 2.3)."""

from decimal import Decimal

from models.domain.types import Coupon, Discount
from models.errors import Unreadable
from models.stripe_reader.fields import MOST_DISCOUNTS, OBJECT, Data, Fields, bounded, fields_of, listed, reference


def read_coupon(data: object) -> Coupon:
    """A coupon. `applies_to` comes only where it was expanded, so its absence means unknown.

    Raises `Unreadable` without an id, or where an amount is no number.
    """
    fields = fields_of(data, "coupon")
    known, products = _applies_to(fields.data)
    return Coupon(
        id=fields.owner,
        percent_off=fields.decimal("percent_off"),
        amount_off=fields.decimal("amount_off"),
        currency=fields.lower("currency"),
        currency_amounts=_currency_amounts(fields),
        duration=fields.text("duration"),
        applies_to=products,
        applies_to_known=known,
        deleted=fields.flag("deleted"),
    )


def read_discount(data: object, owner: str = "discount") -> Discount:
    """A discount: a bare id (unresolved), one with its coupon inside, or one with `source.coupon` (2025-09-30.clover).

    Discounts had no ids before 2020: such a one has the id "". `owner` names the object it stands in.
    Raises `Unreadable` for what is neither text nor object, and for an unreadable coupon or end.
    """
    bare = reference(data) if isinstance(data, str) else None
    if bare:
        return Discount(id=bare)
    if not isinstance(data, OBJECT):
        raise Unreadable(owner, "discount is neither an id nor an object")
    fields = Fields(data, owner)
    coupon = _coupon_of(fields)
    return Discount(
        id=fields.reference("id") or "",
        coupon_id=reference(coupon),
        coupon=read_coupon(coupon) if isinstance(coupon, OBJECT) and reference(coupon) and _has_terms(coupon) else None,
        start=fields.moment_or_none("start"),
        end=fields.moment("end"),
        customer=fields.reference("customer"),
        subscription=fields.reference("subscription"),
        subscription_item=fields.reference("subscription_item"),
    )


def read_discounts(fields: Fields) -> tuple[Discount, ...]:
    """The discounts of a subscription, item or customer, in Stripe's order and each once.

    `discounts` where it holds any, else the legacy `discount`. A bare id in `discounts` takes the object that stands in
    `discount` when both name the same one (versions up to 2024 send both).
    """
    single = fields.data.get("discount")
    many = listed(fields.data.get("discounts")) or ([] if single is None else [single])
    expanded = {reference(single): single} if isinstance(single, OBJECT) else {}
    found: dict[str, Discount] = {}
    for position, entry in enumerate(bounded(many, MOST_DISCOUNTS, fields.owner, "discounts")):
        value = expanded.get(entry, entry) if isinstance(entry, str) else entry
        discount = read_discount(value, fields.owner)
        found.setdefault(discount.id or f"#{position}", discount)
    return tuple(found.values())


def _has_terms(coupon: Data) -> bool:
    """Whether this is a copy: what names a coupon without terms (a deleted one, say) is a reference."""
    return coupon.get("percent_off") is not None or coupon.get("amount_off") is not None


def _coupon_of(fields: Fields) -> object:
    coupon = fields.data.get("coupon")
    if coupon is not None:
        return coupon
    source = fields.part("source")
    return source.get("coupon") if source else None


def _applies_to(data: Data) -> tuple[bool, tuple[str, ...] | None]:
    """Whether `applies_to` was expanded, and the product ids (None: everything)."""
    if "applies_to" not in data:
        return False, None
    applies_to = data["applies_to"]
    products = listed(applies_to.get("products")) if isinstance(applies_to, OBJECT) else None
    if products is None:
        return True, None
    return True, tuple(found for found in map(reference, products) if found)


def _currency_amounts(fields: Fields) -> dict[str, Decimal] | None:
    """`currency_options` as currency -> amount off (minor units)."""
    options = fields.part("currency_options")
    if options is None:
        return None
    amounts: dict[str, Decimal] = {}
    for currency, option in options.items():
        amount = Fields(option, fields.owner).decimal("amount_off") if isinstance(option, OBJECT) else None
        if amount is not None:
            amounts[currency.lower()] = amount
    return amounts
