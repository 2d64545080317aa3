"""Records in the shape of an API version (STRIPE 2.2): shared parts, customers and the catalogue."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from tests.fake_stripe.expand import Tree
from tests.fake_stripe.records import KIND, Coupon, Customer, Discount, Price, Product, Record, WebhookEndpoint
from tests.fake_stripe.state import State
from tests.fake_stripe.versions import BASIL, CLOVER, DAHLIA, FEATURES_RENAMED, TIERS_BY_EXPAND, day

Json = dict[str, Any]
NONE: Tree = {}
RENDERERS: dict[str, Callable[["Context", Any, Tree], Json]] = {}


class Context:
    """What a rendering may look at: the state (as of a moment, for a stale read), a version, and the sizes of embedded
    lists."""

    def __init__(
        self, state: State, version: str, *, as_of: float | None = None, items: int = 20, lines: int = 10, payments: int = 10
    ) -> None:
        self.state = state
        self.version = version
        self.v = day(version)
        self.as_of = as_of
        self.items, self.lines, self.payments = items, lines, payments
        self.livemode = state.livemode
        self.encoded = False  # what is shared may stand in an answer as JSON already
        self._prices: dict[str, tuple[Json, Json]] = {}
        self._revision = -1

    def get(self, kind: str, id_: str | None) -> Record | None:
        """The object, as this rendering sees it."""
        record = self.state.get(kind, id_)
        if self.as_of is not None and id_ is not None:
            return self.state.as_of(id_, record, self.as_of)
        return record

    def seen(self, record: Record) -> Record | None:
        """The same object as this rendering sees it (None: it wasn't there yet)."""
        return record if self.as_of is None else self.state.as_of(record.id, record, self.as_of)

    def ref(self, kind: str, id_: str | None, x: Tree, name: str) -> Json | str | None:
        """An id, or the object when the property is expanded."""
        if id_ is None or name not in x:
            return id_
        record = self.get(kind, id_)
        if record is None:
            return {"id": id_, "object": kind, "deleted": True} if id_ in self.state.deleted else id_
        return RENDERERS[kind](self, record, x[name])

    def price_and_plan(self, id_: str) -> tuple[Json, Json]:
        """The unexpanded copies that stand inside items and old lines; shared, so never change them."""
        if self._revision != self.state.revision:
            self._prices, self._revision = {}, self.state.revision
        found = self._prices.get(id_)
        if found is None:
            record = self.get("price", id_) or self.state.last_known("price", id_)
            found = (price(self, record, NONE), plan(self, record, NONE))
            if self.encoded:
                found = (msgspec.Raw(msgspec.json.encode(found[0])), msgspec.Raw(msgspec.json.encode(found[1])))
            self._prices[id_] = found
        return found


def render(ctx: Context, record: Record, x: Tree = NONE) -> Json:
    """The object as the API shows it."""
    return RENDERERS[KIND[type(record)]](ctx, record, x)


def embedded(url: str, rows: list[Json], total: int | None) -> Json:
    """A list inside an object, truncated when there is more; `total` None: this list never says how many there are."""
    out: Json = {"object": "list", "data": rows, "has_more": False, "url": url}
    if total is not None:
        out["has_more"] = total > len(rows)
        out["total_count"] = total
    return out


def customer(ctx: Context, c: Customer, x: Tree) -> Json:
    out: Json = {
        "id": c.id, "object": "customer",
        "address": None if c.country is None else {"city": None, "country": c.country, "line1": None, "line2": None,
                                                   "postal_code": None, "state": None},
        "balance": c.balance, "created": c.created, "currency": c.currency, "default_source": None, "delinquent": c.delinquent,
        "description": c.description,
        "discount": None if c.discount is None else discount(ctx, c.discount, x.get("discount", NONE)),
        "email": c.email, "invoice_prefix": c.invoice_prefix,
        "invoice_settings": {"custom_fields": None, "default_payment_method": c.payment_method, "footer": None,
                             "rendering_options": None},
        "livemode": ctx.livemode, "metadata": c.metadata, "name": c.name, "next_invoice_sequence": c.next_sequence,
        "phone": None, "preferred_locales": [], "shipping": None, "tax_exempt": "none", "test_clock": c.test_clock}  # fmt: skip
    if ctx.v >= DAHLIA:
        out["customer_account"] = c.account
    if "tax" in x:
        out["tax"] = {"automatic_tax": "unrecognized_location", "ip_address": None, "location": None, "provider": "stripe"}
    if "invoice_credit_balance" in x:
        out["invoice_credit_balance"] = {}
    _customer_lists(ctx, c, x, out)
    return out


def owned(ctx: Context, out: Json, id_: str | None) -> None:
    """`customer_account` beside `customer`, which is null for an Accounts v2 customer (before dahlia it isn't [verify])."""
    if ctx.v >= DAHLIA:
        owner = ctx.get("customer", id_)
        out["customer_account"] = None if owner is None else owner.account
        if out["customer_account"] is not None:
            out["customer"] = None


def _customer_lists(ctx: Context, c: Customer, x: Tree, out: Json) -> None:
    """`subscriptions`, `sources` and `tax_ids`: always there before 2020-08-27, since then on request."""
    always = ctx.v < TIERS_BY_EXPAND
    for name in ("sources", "tax_ids"):
        if always or name in x:
            out[name] = embedded(f"/v1/customers/{c.id}/{name}", [], 0)
    if always or "subscriptions" in x:
        ids = ctx.state.of("subscription").ids_of(c.id)
        records = [s for s in (ctx.get("subscription", i) for i in reversed(ids)) if s is not None and s.status != "canceled"]
        below = x.get("subscriptions", NONE).get("data", NONE)
        rows = [RENDERERS["subscription"](ctx, s, below) for s in records[:10]]
        out["subscriptions"] = embedded(f"/v1/customers/{c.id}/subscriptions", rows, len(records))


def product(ctx: Context, p: Product, x: Tree) -> Json:
    out: Json = {
        "id": p.id, "object": "product", "active": p.active, "created": p.created, "default_price": None,
        "description": p.description,
        "images": [], "livemode": ctx.livemode, "metadata": p.metadata, "name": p.name, "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None, "tax_code": None, "type": "service", "unit_label": p.unit_label, "updated": p.updated,
        "url": None}  # fmt: skip
    if ctx.v < BASIL:
        out["attributes"] = []
    out["marketing_features"] = []
    if ctx.v < FEATURES_RENAMED:
        out["features"] = []
    return out


def decimal_of(p: Price) -> str | None:
    if p.unit_amount_decimal is not None:
        return p.unit_amount_decimal
    return None if p.unit_amount is None else str(p.unit_amount)


def _recurring(ctx: Context, p: Price) -> Json | None:
    if p.type != "recurring":
        return None
    out: Json = {
        "interval": p.interval,
        "interval_count": p.interval_count,
        "trial_period_days": None,
        "usage_type": p.usage_type,
    }
    out["meter"] = p.meter
    if ctx.v < BASIL:
        out["aggregate_usage"] = "sum" if p.usage_type == "metered" else None
    return out


def price(ctx: Context, p: Price, x: Tree) -> Json:
    out: Json = {
        "id": p.id, "object": "price", "active": p.active, "billing_scheme": p.billing_scheme, "created": p.created,
        "currency": p.currency, "custom_unit_amount": None, "livemode": ctx.livemode, "lookup_key": p.lookup_key,
        "metadata": p.metadata, "nickname": p.nickname, "product": ctx.ref("product", p.product, x, "product"),
        "recurring": _recurring(ctx, p), "tax_behavior": p.tax_behavior, "tiers_mode": p.tiers_mode,
        "transform_quantity": p.transform_quantity, "type": p.type, "unit_amount": p.unit_amount,
        "unit_amount_decimal": decimal_of(p)}  # fmt: skip
    if p.tiers is not None and ("tiers" in x or ctx.v < TIERS_BY_EXPAND):
        out["tiers"] = p.tiers
    if "currency_options" in x:
        own = {
            "custom_unit_amount": None,
            "tax_behavior": p.tax_behavior,
            "unit_amount": p.unit_amount,
            "unit_amount_decimal": decimal_of(p),
        }
        if p.tiers is not None:
            own["tiers"] = p.tiers
        out["currency_options"] = {p.currency: own, **p.currency_options}
    return out


def plan(ctx: Context, p: Price, x: Tree) -> Json:
    """The legacy mirror of a recurring price."""
    out: Json = {
        "id": p.id, "object": "plan", "active": p.active, "amount": p.unit_amount, "amount_decimal": decimal_of(p),
        "billing_scheme": p.billing_scheme, "created": p.created, "currency": p.currency, "interval": p.interval,
        "interval_count": p.interval_count, "livemode": ctx.livemode, "metadata": p.metadata, "meter": p.meter,
        "nickname": p.nickname, "product": ctx.ref("product", p.product, x, "product"), "tiers_mode": p.tiers_mode,
        "transform_usage": p.transform_quantity, "trial_period_days": None, "usage_type": p.usage_type}  # fmt: skip
    if ctx.v < BASIL:
        out["aggregate_usage"] = "sum" if p.usage_type == "metered" else None
    if p.tiers is not None and ("tiers" in x or ctx.v < TIERS_BY_EXPAND):
        out["tiers"] = p.tiers
    return out


def coupon(ctx: Context, c: Coupon, x: Tree) -> Json:
    out: Json = {
        "id": c.id, "object": "coupon", "amount_off": c.amount_off, "created": c.created, "currency": c.currency,
        "duration": c.duration,
        "duration_in_months": c.duration_in_months, "livemode": ctx.livemode, "max_redemptions": None, "metadata": c.metadata,
        "name": c.name, "percent_off": float(Decimal(str(c.percent_off))) if c.percent_off is not None else None,
        "redeem_by": None, "times_redeemed": c.times_redeemed, "valid": not c.deleted}  # fmt: skip
    if "applies_to" in x and c.applies_to is not None:
        out["applies_to"] = {"products": c.applies_to}
    if "currency_options" in x and c.currency is not None:
        out["currency_options"] = {c.currency: {"amount_off": c.amount_off}, **c.currency_options}
    return out


def discount(ctx: Context, d: Discount, x: Tree) -> Json:
    out: Json = {
        "id": d.id, "object": "discount", "checkout_session": None, "customer": ctx.ref("customer", d.customer, x, "customer"),
        "end": d.end, "invoice": None, "invoice_item": None, "promotion_code": None, "start": d.start,
        "subscription": d.subscription, "subscription_item": d.subscription_item}  # fmt: skip
    if ctx.v >= CLOVER:
        out["source"] = {"coupon": ctx.ref("coupon", d.coupon, x.get("source", NONE), "coupon"), "type": "coupon"}
    else:
        record = ctx.get("coupon", d.coupon) or ctx.state.last_known("coupon", d.coupon)
        out["coupon"] = coupon(ctx, record, x.get("coupon", NONE))
    owned(ctx, out, d.customer)
    return out


def webhook_endpoint(ctx: Context, w: WebhookEndpoint, x: Tree) -> Json:
    asked = w.endpoint.types
    return {
        "id": w.id, "object": "webhook_endpoint", "api_version": w.endpoint.version,
        "application": None, "created": w.created, "description": w.description,
        "enabled_events": ["*"] if asked is None else sorted(asked), "livemode": ctx.livemode, "metadata": w.metadata,
        "status": "disabled" if w.endpoint.disabled else "enabled", "url": w.url}  # fmt: skip


def discounts(ctx: Context, found: list[Discount], x: Tree) -> list[Json | str]:
    """Ids unless expanded."""
    if "discounts" not in x:
        return [d.id for d in found]
    return [discount(ctx, d, x["discounts"]) for d in found]


RENDERERS.update({"customer": customer, "product": product, "price": price, "coupon": coupon, "discount": discount,
                  "webhook_endpoint": webhook_endpoint})  # fmt: skip
