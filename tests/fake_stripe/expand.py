"""Which properties can be expanded, into what, from which version to which, and the tree of an `expand[]` parameter."""

from typing import NamedTuple

from tests.fake_stripe.errors import ApiError
from tests.fake_stripe.versions import BASIL, BY_EXPAND_ONLY, CLOVER, LATEST_CHARGE, TIERS_BY_EXPAND

MAX_DEPTH = 4
Tree = dict[str, "Tree"]


class Field(NamedTuple):
    """`how`: ref (an id that becomes an object), inline (always an object: on the way to more), list (inline list of
    objects), include (absent unless asked for), include_list (absent unless asked for, a list of objects)."""

    how: str
    kind: str | None = None
    since: str = ""
    until: str = "9999"


_DISCOUNTS = Field("ref", "discount")
FIELDS: dict[str, dict[str, Field]] = {
    "customer": {
        "discount": Field("inline", "discount"),
        "default_source": Field("ref", "none"),
        "tax": Field("include"),
        "test_clock": Field("ref", "none"),
        "invoice_credit_balance": Field("include"),
        "subscriptions": Field("include_list", "subscription"),
        "sources": Field("include_list", "none"),
        "tax_ids": Field("include_list", "none"),
        "cash_balance": Field("include"),
        "invoice_settings": Field("inline", "invoice_settings"),
    },
    "invoice_settings": {"default_payment_method": Field("ref", "none")},
    "subscription": {
        "customer": Field("ref", "customer"),
        "latest_invoice": Field("ref", "invoice"),
        "discounts": _DISCOUNTS,
        "discount": Field("inline", "discount", until=BASIL),
        "items": Field("list", "subscription_item"),
        "default_payment_method": Field("ref", "none"),
        "default_source": Field("ref", "none"),
        "pending_setup_intent": Field("ref", "none"),
        "schedule": Field("ref", "none"),
        "test_clock": Field("ref", "none"),
        "plan": Field("inline", "plan", until="2026-09-30"),
        "application": Field("ref", "none"),
        "on_behalf_of": Field("ref", "none"),
    },
    "subscription_item": {
        "price": Field("inline", "price"),
        "plan": Field("inline", "plan"),
        "discounts": _DISCOUNTS,
        "billed_until": Field("include", since=BY_EXPAND_ONLY),
    },
    "price": {
        "product": Field("ref", "product"),
        "tiers": Field("include", since=TIERS_BY_EXPAND),
        "currency_options": Field("include"),
    },
    "plan": {"product": Field("ref", "product"), "tiers": Field("include", since=TIERS_BY_EXPAND)},
    "product": {"default_price": Field("ref", "price"), "tax_code": Field("ref", "none")},
    "coupon": {"applies_to": Field("include"), "currency_options": Field("include")},
    "discount": {
        "coupon": Field("inline", "coupon", until=CLOVER),
        "source": Field("inline", "discount_source", since=CLOVER),
        "customer": Field("ref", "customer"),
        "promotion_code": Field("ref", "none"),
    },
    "discount_source": {"coupon": Field("ref", "coupon", since=CLOVER)},
    "invoice": {
        "customer": Field("ref", "customer"),
        "subscription": Field("ref", "subscription", until=BASIL),
        "payment_intent": Field("ref", "payment_intent", until=BASIL),
        "charge": Field("ref", "none", until=BASIL),
        "payments": Field("include_list", "invoice_payment", since=BASIL),
        "discounts": _DISCOUNTS,
        "discount": Field("inline", "discount", until=BASIL),
        "lines": Field("list", "line_item"),
        "parent": Field("inline", "invoice_parent", since=BASIL),
        "default_payment_method": Field("ref", "none"),
        "confirmation_secret": Field("include", since=BASIL),
        "amount_paid_off_stripe": Field("include", since=BY_EXPAND_ONLY),
        "latest_revision": Field("ref", "none"),
        "test_clock": Field("ref", "none"),
        "from_invoice": Field("ref", "none"),
    },
    "invoice_parent": {"subscription_details": Field("inline", "invoice_subscription_details", since=BASIL)},
    "invoice_subscription_details": {"subscription": Field("ref", "subscription", since=BASIL)},
    "line_item": {
        "discounts": _DISCOUNTS,
        "price": Field("inline", "price", until=BASIL),
        "plan": Field("inline", "plan", until=BASIL),
        "pricing": Field("inline", "line_pricing", since=BASIL),
    },
    "line_pricing": {"price_details": Field("inline", "line_price_details", since=BASIL)},
    "line_price_details": {"price": Field("ref", "price", since=BASIL)},
    "invoice_payment": {"invoice": Field("ref", "invoice"), "payment": Field("inline", "invoice_payment_payment")},
    "invoice_payment_payment": {
        "payment_intent": Field("ref", "payment_intent"),
        "charge": Field("ref", "none"),
        "payment_record": Field("ref", "none"),
    },
    "payment_intent": {
        "customer": Field("ref", "customer"),
        "invoice": Field("ref", "invoice", until=BASIL),
        "payment_method": Field("ref", "none"),
        "latest_charge": Field("ref", "none", since=LATEST_CHARGE),
        "review": Field("ref", "none"),
        "source": Field("ref", "none"),
    },
    "event": {},
    "webhook_endpoint": {},
    "account": {},
    "none": {},
}


def read_tree(paths: list[str], kind: str, version: str, *, is_list: bool) -> Tree:
    """The tree of properties to expand on each object.

    Raises:
        ApiError: 400 for a path deeper than four properties (`data` counts) or one that can't be expanded.
    """
    tree: Tree = {}
    for path in paths:
        parts = path.split(".")
        if len(parts) > MAX_DEPTH:
            raise ApiError(
                400, f"You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}", param="expand"
            )
        if is_list:
            if parts[0] != "data" or len(parts) == 1:
                raise _cannot(path)
            parts = parts[1:]
        _check(parts, kind, version, path)
        node = tree
        for part in parts:
            node = node.setdefault(part, {})
    return tree


def kinds_in(tree: Tree, kind: str) -> set[str]:
    """The kinds of objects that the tree reads beside the one it starts at (each needs its permission)."""
    found: set[str] = set()
    for name, below in tree.items():
        if name == "data":
            found |= kinds_in(below, kind)
            continue
        field = FIELDS[kind][name]
        if field.how in {"ref", "include_list"} and field.kind is not None:
            found.add(field.kind)
        if field.kind is not None:
            found |= kinds_in(below, field.kind)
    return found


def _check(parts: list[str], kind: str, version: str, path: str) -> None:
    while parts:
        field = FIELDS[kind].get(parts[0])
        if field is None or not field.since <= version < field.until:
            raise _cannot(path)
        parts = parts[1:]
        if field.how in {"list", "include_list"}:
            if parts and parts[0] != "data":
                raise _cannot(path)
            parts = parts[1:]
        if not parts and field.how in {"inline", "list"}:
            raise _cannot(path)
        kind = field.kind or "none"


def _cannot(path: str) -> ApiError:
    return ApiError(400, f"This property cannot be expanded ({path}).", param="expand")
