"""What can be asked, with which parameters, under which permission, and which objects answer (STRIPE 5.3)."""

import operator
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.fake_stripe.collection import StatusIn, Test
from tests.fake_stripe.errors import ApiError
from tests.fake_stripe.params import MAX_TYPES, Params

COMMON = ("limit", "starting_after", "ending_before", "expand")
SUBSCRIPTION_STATUSES = frozenset({"active", "past_due", "unpaid", "canceled", "incomplete", "incomplete_expired", "trialing",
                                   "paused", "all", "ended"})  # fmt: skip
INVOICE_STATUSES = frozenset({"draft", "open", "paid", "uncollectible", "void"})
PERMISSION = {"customer": "rak_customer_read", "subscription": "rak_subscription_read",
              "subscription_item": "rak_subscription_read",
              "invoice": "rak_invoice_read", "line_item": "rak_invoice_read", "payment_intent": "rak_payment_intent_read",
              "price": "rak_plan_read", "product": "rak_product_read", "coupon": "rak_coupon_read", "event": "rak_event_read",
              "account": "rak_account_read",
              "webhook_endpoint": "rak_webhook_read",  # [verify] its name
              "invoice_payment": "rak_invoice_read"}  # [verify] which permission covers it is unknown (STRIPE 6.1)  # fmt: skip
COMPARE = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
ENDED = frozenset({"canceled", "incomplete_expired"})


class Route(NamedTuple):
    """`label` is the endpoint that Stripe rations: all ids share one."""

    label: str
    pattern: re.Pattern[str]
    kind: str
    params: frozenset[str]
    what: str  # list, one, items, lines, account
    filters: Callable[[Params], Iterable[Test]] | None = None


def _route(
    label: str, kind: str, what: str, params: Iterable[str], filters: Callable[[Params], Iterable[Test]] | None = None
) -> Route:
    allowed = ("expand",) if what in {"one", "account"} else COMMON
    return Route(label, re.compile(label.replace(":id", "([^/]+)")), kind, frozenset((*allowed, *params)), what, filters)


def _equals(params: Params, *names: str) -> Iterable[Test]:
    for name in names:
        value = params.get(name)
        if value is not None:
            yield lambda record, name=name, value=value: getattr(record, name) == value


def inside(value: int, limits: dict[str, int]) -> bool:
    """Within bounds named as Stripe names them."""
    return all(COMPARE[name](value, limit) for name, limit in limits.items())


def _customers(params: Params) -> Iterable[Test]:
    return _equals(params, "email")  # exact and case-sensitive


def _subscriptions(params: Params) -> Iterable[Test]:
    status = params.word("status", SUBSCRIPTION_STATUSES)
    if status in {"ended", None}:  # [doc] "canceled" is left out by default; `incomplete_expired` likewise
        yield StatusIn(ENDED, wanted=status is not None)
    elif status != "all":
        yield StatusIn(frozenset({status}))
    yield from _equals(params, "collection_method")
    if (price := params.get("price") or params.get("plan")) is not None:
        yield lambda s: any(item.price == price for item in s.items)
    for name, part in (("current_period_start", "period_start"), ("current_period_end", "period_end")):
        if limits := params.bounds.get(name):  # [doc] the earliest of the items' since basil
            yield lambda s, part=part, limits=limits: bool(s.items) and inside(min(getattr(i, part) for i in s.items), limits)


def _invoices(params: Params) -> Iterable[Test]:
    status = params.word("status", INVOICE_STATUSES)
    if status is not None:
        yield StatusIn(frozenset({status}))
    yield from _equals(params, "subscription", "collection_method")
    if limits := params.bounds.get("due_date"):
        yield lambda v: v.due_date is not None and inside(v.due_date, limits)


def _payments(params: Params) -> Iterable[Test]:
    status = params.word("status", frozenset({"open", "paid", "canceled"}))
    if status is not None:
        yield StatusIn(frozenset({status}))
    yield from _equals(params, "invoice")
    intent = params.get("payment[payment_intent]")
    if intent is not None:
        yield lambda p: p.payment_intent == intent


def _prices(params: Params) -> Iterable[Test]:
    active = params.flag("active") is not False
    yield lambda p: p.active == active and not p.inline
    yield from _equals(params, "product", "currency", "type")


def _products(params: Params) -> Iterable[Test]:
    active = params.flag("active")
    if active is not None:
        yield lambda p: p.active == active


def _events(params: Params) -> Iterable[Test]:
    wanted = params.lists.get("types", [])
    if len(wanted) > MAX_TYPES:
        raise ApiError(400, f"You may pass up to {MAX_TYPES} event types.", param="types")
    one = params.get("type")
    if one is not None and wanted:
        raise ApiError(400, "You may only specify one of these parameters: type, types.", param="type")
    if one is not None:
        matches = re.compile(re.escape(one).replace(r"\*", ".*"))
        yield lambda e: matches.fullmatch(e.type) is not None
    elif wanted:
        chosen = frozenset(wanted)
        yield lambda e: e.type in chosen
    success = params.flag("delivery_success")
    if success is not None:
        yield lambda e: (e.pending_webhooks == 0) == success


ROUTES = (
    _route("/v1/customers", "customer", "list", ("created", "email", "test_clock"), _customers),
    _route("/v1/customers/:id", "customer", "one", ()),
    _route(
        "/v1/subscriptions",
        "subscription",
        "list",
        (
            "created",
            "customer",
            "customer_account",
            "status",
            "price",
            "plan",
            "collection_method",
            "test_clock",
            "current_period_start",
            "current_period_end",
        ),
        _subscriptions,
    ),
    _route("/v1/subscriptions/:id", "subscription", "one", ()),
    _route("/v1/subscription_items", "subscription_item", "items", ("subscription",)),
    _route("/v1/subscription_items/:id", "subscription_item", "one", ()),
    _route(
        "/v1/invoices",
        "invoice",
        "list",
        ("created", "customer", "customer_account", "status", "subscription", "collection_method", "due_date"),
        _invoices,
    ),
    _route("/v1/invoices/:id", "invoice", "one", ()),
    _route("/v1/invoices/:id/lines", "line_item", "lines", ()),
    _route(
        "/v1/invoice_payments",
        "invoice_payment",
        "list",
        ("created", "status", "invoice", "payment[type]", "payment[payment_intent]"),
        _payments,
    ),
    _route("/v1/invoice_payments/:id", "invoice_payment", "one", ()),
    _route("/v1/payment_intents", "payment_intent", "list", ("created", "customer")),
    _route("/v1/payment_intents/:id", "payment_intent", "one", ("client_secret",)),
    _route("/v1/prices", "price", "list", ("active", "created", "product", "currency", "type"), _prices),
    _route("/v1/prices/:id", "price", "one", ()),
    _route("/v1/products", "product", "list", ("active", "created"), _products),
    _route("/v1/products/:id", "product", "one", ()),
    _route("/v1/coupons", "coupon", "list", ("created",)),
    _route("/v1/coupons/:id", "coupon", "one", ()),
    _route("/v1/events", "event", "list", ("created", "type", "types", "delivery_success"), _events),
    _route("/v1/events/:id", "event", "one", ()),
    _route("/v1/webhook_endpoints", "webhook_endpoint", "list", ()),
    _route("/v1/webhook_endpoints/:id", "webhook_endpoint", "one", ()),
    _route("/v1/account", "account", "account", ()),
)
_BY_DEPTH: dict[int, tuple[Route, ...]] = {
    depth: tuple(r for r in ROUTES if r.label.count("/") == depth) for depth in {r.label.count("/") for r in ROUTES}
}


def find(path: str) -> tuple[Route, str | None] | None:
    """The route of a path, and the id in it."""
    for route in _BY_DEPTH.get(path.count("/"), ()):
        match = route.pattern.fullmatch(path)
        if match is not None:
            return route, (match[1] if route.pattern.groups else None)
    return None
