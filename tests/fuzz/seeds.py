"""What mutations start from, built at run time: the payloads of nine API versions, small objects of every shape the rules know,
and the golden cases (which aren't ours to keep: what is made from them never enters the corpus)."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzz.spans import Template
from tests.unit import stripe_json as build
from tests.unit.stripe_json import DAY, NOW, Json

_TESTS = Path(__file__).parents[1]
_PAYLOADS = _TESTS / "payloads"
_TIERS = [{"up_to": 10, "unit_amount": 900, "flat_amount": 500}, {"up_to": None, "unit_amount": 500, "flat_amount": None}]


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(path: Path) -> Any:
    return json.loads(path.read_text())


@cache
def payloads() -> tuple[tuple[str, str, Json], ...]:
    """(API version, name, object) of our payloads."""
    found = []
    for directory in sorted(_PAYLOADS.iterdir()):
        if directory.is_dir() and directory.name != "shared":
            found += [(directory.name, path.stem, _load(path)) for path in sorted(directory.glob("*.json"))]
    shared = [entry for path in sorted((_PAYLOADS / "shared").glob("*.json")) for entry in _load(path)]
    return (*found, *(("2026-10-28.endive", entry["object"], entry) for entry in shared))


def _prices() -> Iterator[Json]:
    yield build.price(lookup_key="growth_monthly")
    yield build.price("price_2", "1250.5", interval="year", currency="jpy", tax_behavior="inclusive", nickname="Gold")
    yield build.price("price_3", None, billing_scheme="tiered", tiers_mode="graduated", tiers=_TIERS)
    yield build.price("price_4", None, billing_scheme="tiered", tiers_mode="volume", tiers=_TIERS, interval="week", count=2)
    yield build.price("price_5", usage="metered", interval="day", count=10)
    yield build.price("price_6", 300, transform_quantity={"divide_by": 5, "round": "up"})
    yield build.price("price_7", 700, currency_options={"eur": {"unit_amount": 650, "tax_behavior": "inclusive"}})
    yield build.price("price_8", recurring=None, type="one_time")
    yield {
        "id": "plan_1", "object": "plan", "amount": 4900, "amount_decimal": "4900", "currency": "usd", "interval": "month",
        "interval_count": 1, "usage_type": "licensed", "billing_scheme": "per_unit", "nickname": "Old", "product": "prod_1",
        "transform_usage": None, "active": True,
    }  # fmt: skip


def _discounts() -> list[Any]:
    off = build.coupon("D", amount_off=500, currency="usd", currency_options={"eur": {"amount_off": 450}})
    return [
        build.discount(build.coupon(percent_off=20, applies_to={"products": ["prod_1"]}), end=NOW + 30 * DAY),
        build.discount(off, "di_2"),
        build.discount("C", "di_3"),
        build.discount(build.coupon("E", percent_off="33.33", duration="repeating"), "di_4", end=NOW - DAY),
        "di_5",
    ]


def _subscriptions() -> Iterator[Json]:
    yield build.subscription()
    for number, price in enumerate(_prices()):
        item = build.item(price, 3)
        if price["object"] == "plan":
            item["plan"] = item.pop("price")
        discounts = _discounts()[number % 5 :][:2]
        yield build.subscription(
            item, build.item(quantity=2, item_id="si_2", discounts=discounts[:1]),
            discounts=discounts, currency="eur" if number == 6 else "usd",
            status=("active", "past_due", "trialing", "paused")[number % 4], trial_end=NOW + DAY if number % 4 == 2 else None,
            cancel_at=NOW + 9 * DAY if number == 1 else None, pause_collection={"behavior": "void"} if number == 5 else None,
        )  # fmt: skip
    old = {
        "id": "sub_old", "object": "subscription", "customer": {"id": "cus_1"}, "status": "active", "start": NOW - 9 * DAY,
        "plan": "plan_1", "quantity": 4, "discount": _discounts()[0], "created": NOW - 9 * DAY, "billing": "send_invoice",
    }  # fmt: skip
    yield old
    yield {**old, "plan": list(_prices())[-1], "customer": None, "customer_account": "cus_1"}


def _invoices() -> Iterator[Json]:
    yield build.invoice()
    yield build.paid()
    declined = {"code": "card_declined", "decline_code": "lost_card"}
    yield build.failing(payments=build.payments("requires_payment_method", declined))
    yield build.invoice("in_2", due_date=NOW - DAY, collection_method="send_invoice", subscription="sub_1", currency="jpy")
    yield build.invoice("in_3", status="uncollectible", status_details={"uncollectible": {"reason": "max_payment_attempts"}})
    yield build.invoice("in_4", payment_intent={"id": "pi_1", "status": "requires_action"}, attempted=True, attempt_count=2)
    yield build.failing("in_5", charge={"id": "ch_1", "status": "pending", "failure_code": "x"})
    yield {"id": "in_6", "object": "invoice", "customer": "cus_1", "date": NOW - 9 * DAY, "forgiven": True, "paid": False,
           "amount_due": 5, "amount_paid": 2}  # fmt: skip


def objects() -> list[Json]:
    """Stripe objects of every kind and shape the reader knows."""
    small: list[Json] = [
        build.customer(discount=_discounts()[0], metadata={"domain": "acme.com"}), build.customer("cus_2", deleted=True),
        *_prices(), *_subscriptions(), *_invoices(),
        {"id": "prod_1", "object": "product", "name": "Growth"},
        build.coupon(percent_off=20, applies_to={"products": ["prod_1"]}), build.coupon("D", amount_off=500, currency="usd"),
        *(discount for discount in _discounts() if isinstance(discount, dict)),
        {"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "status": "paid", "is_default": True, "created": NOW,
         "payment": {"type": "payment_intent", "payment_intent": {"id": "pi_1", "status": "succeeded"}}},
        {"id": "pi_1", "object": "payment_intent", "status": "processing", "last_payment_error": {"type": "card_error"}},
    ]  # fmt: skip
    return small + [entry for _, _, entry in payloads()]


def events() -> list[Json]:
    """Events about these objects, and a thin one."""
    verbs = {"customer": "customer.updated", "subscription": "customer.subscription.updated", "plan": "price.updated"}
    found = []
    for number, (version, data) in enumerate(_versioned()):
        kind = verbs.get(data["object"]) or f"{data['object']}.{'paid' if data['object'] == 'invoice_payment' else 'updated'}"
        found.append({
            "id": f"evt_{number}", "object": "event", "type": kind, "api_version": version, "created": NOW, "livemode": True,
            "pending_webhooks": 1, "data": {"object": data, "previous_attributes": {"status": "active"}},
        })  # fmt: skip
    thin = {"id": "evt_thin", "object": "v2.core.event", "type": "v1.customer.updated", "created": "2026-11-18T11:06:40.5Z",
            "livemode": True, "related_object": {"id": "cus_5", "type": "customer", "url": "/v1/customers/cus_5"}}  # fmt: skip
    return [*found, thin, {**found[0], "account": "acct_1", "data": {"object": {"object": "invoice", "customer": "cus_1"}}}]


def _versioned() -> list[tuple[str, Json]]:
    ours = len(payloads())
    plain = objects()[:-ours]
    return [("2026-10-28.endive", data) for data in plain] + [(version, data) for version, _, data in payloads()]


def families() -> list[list[Json]]:
    """Objects that belong together: a Stripe customer with what is its own, and what that names."""
    catalog = [*_prices(), {"id": "prod_1", "object": "product", "name": "Growth"}, build.coupon(percent_off=20)]
    found = [[build.customer(discount=_discounts()[0]), one, build.failing()] for one in _subscriptions()]
    found += [[build.customer(), one] for one in _invoices()]
    found += [[next(_subscriptions()), entry, build.customer(metadata={"domain": "acme.com"})] for entry in catalog]
    found += [[story["customers"][0], *story["subscriptions"], *story["invoices"], *story["prices"]] for story in _stories()]
    return found


def documents() -> list[Json]:
    """`explain` documents: each kind of subscription, invoice, setting, decision and match; whole stories of each version."""
    rates = {"date": "2026-11-01", "usd_per": {"EUR": "1.10", "JPY": "0.0065", "KWD": "3.25", "ISK": 0.0072, "MGA": "0.00022"}}
    found = [build.document(one, fx=rates) for one in _subscriptions()]
    coupons = [build.coupon(percent_off=20)]
    catalog = {"prices": list(_prices()), "products": [{"id": "prod_1", "name": "Growth"}], "coupons": coupons}
    two = [build.customer(), build.customer("cus_2", email="x@mail.acme.com", created=NOW - DAY)]
    one = next(_subscriptions())
    other = {**one, "id": "sub_2", "customer": "cus_2"}
    found += [
        build.document(one, invoices=list(_invoices()), **catalog),
        build.document(one, invoices=list(_invoices())[:3], settings={"scope": {"kind": "products", "values": ["prod_1"]}}),
        build.document(one, other, customers=two, decisions=[{"customer_id": "c1", "kind": "merge"}]),
        build.document(
            one, other, customers=two,
            decisions=[
                {"customer_id": "c1", "kind": "winner", "stripe_customer_id": "cus_2", "stripe_customer_ids": ["cus_2"]}
            ],
        ),
        build.document(
            one, customers=[build.customer(email="a@gmail.com", metadata={"k": "c1"})],
            settings={"metadata_key": "k", "livemode": True, "match_personal_emails": True, "own_domains": ["us.com"],
                      "personal_domains_allow": ["gmail.com"], "personal_domains_deny": ["acme.com"], "fx_stale_days": 3,
                      "subtract_once_discounts": True, "subtract_repeating_discounts": True, "count_cancelling": False},
            links=[{"stripe_customer_id": "cus_1", "customer_id": "c1"}], kept_lookup_keys={"price_1": "growth_monthly"},
            our_customers=[{"id": "c1", "name": "Acme", "domain": "acme.com", "aliases": ["gmail.com", "x@gmail.com"]},
                           {"id": "c2", "name": "", "domain": None, "environment": "staging", "external_id": "7"}],
        ),
        build.document(one, settings={"scope": {"kind": "lookup_keys", "values": ["growth_monthly"]}}, **catalog),
    ]  # fmt: skip
    return found + _stories()


def _stories() -> list[Json]:
    by_version: dict[str, dict[str, Any]] = {}
    shared: dict[str, list[Json]] = {"price": [], "coupon": []}
    for version, name, data in payloads():
        if name in shared:
            shared[name].append(data)
        else:
            by_version.setdefault(version, {})[name] = data
    return [
        {"now": NOW, "our_customers": [{"id": "c1", "domain": "northwind.example"}], "customers": [one["customer"]],
         "subscriptions": [one["subscription"]], "invoices": [one["invoice_paid"], one["invoice_failing"]],
         "prices": shared["price"], "coupons": shared["coupon"]}
        for one in by_version.values()
    ]  # fmt: skip


def golden() -> list[Template]:
    """The inputs of the golden cases."""
    paths = sorted((_TESTS / "golden").glob("*.json"))
    return [Template(compact(_load(path)["input"]), borrowed=True) for path in paths]


def templates(values: list[Json]) -> list[Template]:
    return [Template(compact(value)) for value in values]
