"""Prices, the plans they were called before, and products (STRIPE 2.2, 2.3)."""

from decimal import Decimal

import msgspec

from models.domain.types import CurrencyOption, Price, Product, Tier
from models.stripe_reader.fields import MOST_TIERS, OBJECT, Fields, bounded, fields_of, listed, reference


def read_price(data: object) -> Price:
    """A price, or a plan read as one (`from_plan`: a plan has no lookup key, so None means unknown).

    What stands for a deleted one (`{id, deleted: true}`) is a stub: it never replaces a copy that says more.
    Raises `Unreadable` without an id, or where an amount or count is no number.
    """
    fields = fields_of(data, "price")
    if fields.flag("deleted") and fields.data.get("currency") is None:
        return Price(id=fields.owner, stub=True, deleted=True)
    if _is_plan(fields):
        return _read_plan(fields)
    recurring = Fields(fields.part("recurring") or {}, fields.owner)
    transform = Fields(fields.part("transform_quantity") or {}, fields.owner)
    return Price(
        id=fields.owner,
        type=_type(fields),
        currency=fields.lower("currency"),
        unit_amount=_first(fields, "unit_amount_decimal", "unit_amount"),
        billing_scheme=fields.word("billing_scheme", "per_unit"),
        tiers_mode=fields.text("tiers_mode"),
        tiers=_tiers(fields),
        interval=recurring.text("interval"),
        interval_count=recurring.whole("interval_count"),
        usage_type=recurring.text("usage_type"),
        divide_by=transform.whole("divide_by"),
        divide_round=transform.text("round"),
        product=fields.reference("product"),
        product_name=_product_name(fields),
        lookup_key=fields.key("lookup_key"),
        nickname=fields.name("nickname"),
        tax_behavior=fields.text("tax_behavior"),
        currency_options=_currency_options(fields),
        active=fields.data.get("active") is not False,
        deleted=fields.flag("deleted"),
    )


def read_item_price(item: Fields) -> Price | None:
    """The price copy of a subscription item: `price`, else the legacy `plan`; where both are bare ids a stub. None: neither."""
    for key in ("price", "plan"):
        value = item.data.get(key)
        if isinstance(value, OBJECT) and reference(value):
            return _with_tiers_of_plan(read_price(value), item)
    bare = item.text("price") or item.text("plan")
    return Price(id=bare, stub=True, from_plan=item.text("price") is None) if bare else None


def read_product(data: object) -> Product:
    """A product. Raises `Unreadable` without an id."""
    fields = fields_of(data, "product")
    return Product(id=fields.owner, name=fields.name("name"), deleted=fields.flag("deleted"))


def _is_plan(fields: Fields) -> bool:
    """Whether this is a legacy plan: by its word, or by `interval` beside the amount where `object` is missing."""
    kind = fields.data.get("object")
    if kind is not None:
        return kind == "plan"
    return "interval" in fields.data and "recurring" not in fields.data


def _read_plan(fields: Fields) -> Price:
    """A plan: recurring by nature, the interval beside the amount."""
    transform = Fields(fields.part("transform_usage") or {}, fields.owner)
    return Price(
        id=fields.owner,
        currency=fields.lower("currency"),
        unit_amount=_first(fields, "amount_decimal", "amount"),
        billing_scheme=fields.word("billing_scheme", "per_unit"),
        tiers_mode=fields.text("tiers_mode"),
        tiers=_tiers(fields),
        interval=fields.text("interval"),
        interval_count=fields.whole("interval_count"),
        usage_type=fields.text("usage_type"),
        divide_by=transform.whole("divide_by"),
        divide_round=transform.text("round"),
        product=fields.reference("product"),
        product_name=_product_name(fields),
        nickname=fields.name("nickname") or fields.name("name"),
        active=fields.data.get("active") is not False,
        from_plan=True,
        deleted=fields.flag("deleted"),
    )


def _with_tiers_of_plan(price: Price, item: Fields) -> Price:
    """A tiered price whose copy has no tiers takes those of the plan beside it (old endpoints send them inline)."""
    plan = item.part("plan")
    if price.tiers or price.billing_scheme != "tiered" or plan is None or price.from_plan:
        return price
    return msgspec.structs.replace(price, tiers=_tiers(Fields(plan, item.owner)))


def _type(fields: Fields) -> str:
    """`one_time` where Stripe says so or `recurring` is null (RULES 5.2.1); other words are kept."""
    if fields.part("recurring") is None and "recurring" in fields.data:
        return "one_time"
    return fields.word("type", "recurring")


def _first(fields: Fields, decimal_key: str, key: str) -> Decimal | None:
    """The exact amount with its fractions, else the whole one (RULES 5.2)."""
    amount = fields.decimal(decimal_key)
    return fields.decimal(key) if amount is None else amount


def _product_name(fields: Fields) -> str | None:
    """The name inside an expanded product."""
    product = fields.part("product")
    return Fields(product, fields.owner).name("name") if product else None


def _tiers(fields: Fields) -> tuple[Tier, ...] | None:
    entries = listed(fields.data.get("tiers"))
    if not entries:
        return None
    bounded(entries, MOST_TIERS, fields.owner, "tiers")
    return tuple(_tier(Fields(entry, fields.owner)) for entry in entries if isinstance(entry, OBJECT))


def _tier(fields: Fields) -> Tier:
    return Tier(
        up_to=None if fields.data.get("up_to") == "inf" else fields.whole("up_to"),
        unit_amount=_first(fields, "unit_amount_decimal", "unit_amount"),
        flat_amount=_first(fields, "flat_amount_decimal", "flat_amount"),
    )


def _currency_options(fields: Fields) -> dict[str, CurrencyOption] | None:
    options = fields.part("currency_options")
    if options is None:
        return None
    return {
        currency.lower(): _currency_option(Fields(option, fields.owner))
        for currency, option in options.items()
        if isinstance(option, OBJECT)
    }


def _currency_option(fields: Fields) -> CurrencyOption:
    return CurrencyOption(
        unit_amount=_first(fields, "unit_amount_decimal", "unit_amount"),
        tiers=_tiers(fields),
        tax_behavior=fields.text("tax_behavior"),
    )
