"""The fake's shapes against the SDK's own types, and its events against Stripe's recordings (STRIPE.md 10, the proof)."""

import json
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe

from tests.fake_stripe import Clock, FakeStripe
from tests.fake_stripe.records import Subscription

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "events"
SKIPPED = (".payment_method_options", ".settings", ".business_profile", ".metadata",  # shapes that nobody reads
           ".currency_options")  # by currency: asked for below  # fmt: skip
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def served() -> Iterator[FakeStripe]:
    with FakeStripe(clock=Clock(1_790_000_000)) as fake:
        sell(fake)
        yield fake


def sell(fake: FakeStripe) -> Subscription:
    """One of everything."""
    do = fake.change
    product = do.create_product("Growth")
    tiered = do.create_price(product, None, tiers=[(10, 500, None), (None, 400, 100)], currency_options={"eur": {}})
    coupon = do.create_coupon(amount_off=500, applies_to=[product.id], currency_options={"eur": {"amount_off": 400}})
    owner = do.create_customer("ann@acme.com", "Acme")
    sold = do.subscribe(owner, [(tiered, 12), (do.create_price(product, 900), 1)], coupon=coupon)
    do.attach_coupon(sold.items[0], do.create_coupon(percent_off=5))
    do.attach_coupon(owner, do.create_coupon(percent_off=10))
    do.renew(sold, pays=False)
    do.update_later(sold, tiered, 3)
    fake.deliver_to(lambda body, headers: 200, auto=False)
    fake.keys.add("sk_live_all")
    return sold


def lacking(cls: type, shown: dict, where: str) -> list[str]:
    """Keys that the SDK's type doesn't know, and keys that it has on every object and ours lacks."""
    declared = {name: kind for name, kind in cls.__annotations__.items() if name != "OBJECT_NAME"}
    found = [f"{where}.{name} is unknown" for name in shown if name not in declared]
    found += [f"{where}.{name} is missing" for name, kind in declared.items() if name not in shown and not optional(kind)]
    inner = getattr(cls, "_inner_class_types", {})
    for name, value in shown.items():
        below = f"{where}.{name}"
        if name not in inner or below.endswith(SKIPPED):
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                found += lacking(inner[name], one, below)
    return found


def optional(kind: object) -> bool:
    return type(None) in typing.get_args(kind)


def everything(fake: FakeStripe) -> Iterator[tuple[type, dict, str]]:
    """One object of each kind, with what can be expanded."""

    def first(path: str, *expand: str) -> dict:
        return fake.get(f"/v1/{path}", {"limit": 1, "expand": [f"data.{one}" for one in expand]}, key="sk_live_all")["data"][0]

    subscription = first("subscriptions", "discounts.source.coupon", "items.data.discounts")
    item = subscription["items"]["data"][0]
    invoice = first("invoices", "payments")
    yield stripe.Subscription, subscription, "subscription"
    yield stripe.SubscriptionItem, item, "item"
    yield stripe.Price, item["price"], "item.price"
    yield stripe.Plan, item["plan"], "item.plan"
    yield stripe.Discount, item["discounts"][0], "item.discount"
    yield stripe.Discount, subscription["discounts"][0], "discount"
    yield stripe.Invoice, invoice, "invoice"
    yield stripe.InvoiceLineItem, invoice["lines"]["data"][0], "line"
    yield stripe.InvoicePayment, invoice["payments"]["data"][0], "invoice_payment"
    yield stripe.Customer, first("customers", "discount.source.coupon"), "customer"
    yield stripe.PaymentIntent, first("payment_intents"), "payment_intent"
    price = fake.get("/v1/prices", {"limit": 2, "expand": ["data.tiers", "data.currency_options"]})["data"][1]
    yield stripe.Price, price, "price"
    yield stripe.Price.CurrencyOptions, price["currency_options"]["usd"], "price.currency_options"
    yield stripe.Product, first("products"), "product"
    yield stripe.Coupon, fake.get("/v1/coupons", {"limit": 3, "expand": ["data.applies_to"]})["data"][2], "coupon"
    yield stripe.Event, first("events"), "event"
    yield stripe.WebhookEndpoint, first("webhook_endpoints"), "webhook_endpoint"
    yield stripe.Account, fake.get("/v1/account"), "account"


def test_the_newest_shapes_have_the_keys_of_the_sdks_types_and_no_others(served: FakeStripe) -> None:
    """The SDK is pinned to the version that is asked for here."""
    assert stripe.api_version == served.version
    found = [one for cls, shown, where in everything(served) for one in lacking(cls, shown, where)]
    assert found == []


def test_every_object_loads_as_the_sdks_type_and_nested_ones_too(served: FakeStripe) -> None:
    for cls, shown, where in everything(served):
        built = cls.construct_from(shown, "rk")
        assert isinstance(built, cls), where
        assert built.to_dict(for_json=True) == shown, where


def test_the_sdk_pages_through_the_lists_that_are_parts_of_others(served: FakeStripe) -> None:
    client = stripe.StripeClient(served.api_key, base_addresses={"api": served.url}, stripe_version=served.version)
    served.api.sizes.items = served.api.sizes.lines = 1
    try:
        [subscription] = client.v1.subscriptions.list({"status": "all"}).auto_paging_iter()
        assert subscription["items"].has_more
        items = list(client.v1.subscription_items.list({"subscription": subscription.id, "limit": 1}).auto_paging_iter())
        assert [type(item) for item in items] == [stripe.SubscriptionItem] * 2
        lines = list(client.v1.invoices.line_items.list(subscription.latest_invoice, {"limit": 1}).auto_paging_iter())
        assert [type(line) for line in lines] == [stripe.InvoiceLineItem] * 2
        assert [c.id for c in client.v1.coupons.list({"limit": 1}).auto_paging_iter()] == [
            c.id for c in list(served.state.of("coupon"))[::-1]
        ]
    finally:
        served.api.sizes.items, served.api.sizes.lines = 20, 10


def test_the_sdk_walks_backwards_and_keeps_its_options(served: FakeStripe) -> None:
    client = stripe.StripeClient(served.api_key, base_addresses={"api": served.url})
    ids = [e.id for e in served.state.of("event")]
    seen = [e.id for e in client.v1.events.list({"ending_before": ids[0], "limit": 3}).auto_paging_iter()]
    assert seen == ids[1:]
    assert client.v1.accounts.retrieve_current().id == served.account_id
    deleted = served.change.create_customer("gone@acme.com")
    served.change.delete_customer(deleted)
    assert client.v1.customers.retrieve(deleted.id).deleted is True


def recordings() -> list:
    if not SAMPLES.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the recordings (../shared/samples) are not here"))]
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(SAMPLES.glob("*/*.json"))]


def told(version: str, type_: str) -> dict:
    """An event of that type as our fake makes it for an endpoint of that version."""
    fake = FakeStripe(clock=Clock(1_790_000_000))
    got: dict[str, dict] = {}
    fake.deliver_to(lambda body, headers: got.update({json.loads(body)["type"]: json.loads(body)}) or 200, auto=False,
                    version=version, types=None)  # fmt: skip
    sold = sell(fake)
    do = fake.change
    do.pay(sold.latest_invoice)
    do.void(do.create_invoice(sold.customer, 500))
    do.delete_draft(do.create_invoice(sold.customer, 500, finalize=False))
    do.update_price(sold.items[0].price, nickname="Seats")
    do.rename_product(next(iter(fake.state.of("product"))), "Growth 2")
    do.delete_price(do.create_price(next(iter(fake.state.of("product"))), 100))
    do.update_customer(sold.customer, name="Acme Inc.")
    do.delete_customer(sold.customer, told_as_stub=version < "2020-08-27")
    do.delete_product(next(iter(fake.state.of("product"))))
    fake.deliveries[0].deliver_due()
    return got[type_]


@pytest.mark.parametrize("path", recordings())
def test_our_event_has_every_key_of_the_recording_of_its_type_and_version(path: Path) -> None:
    theirs = json.loads(path.read_text())
    ours = told(path.parent.name, theirs["type"])
    assert set(theirs) == set(ours)
    assert ours["api_version"] == path.parent.name
    assert set(ours["request"]) == set(theirs["request"])
    assert ("previous_attributes" in ours["data"]) == ("previous_attributes" in theirs["data"])
    assert ours["data"]["object"]["object"] == theirs["data"]["object"]["object"]
    missing = sorted(set(theirs["data"]["object"]) - set(ours["data"]["object"]))
    assert missing == []
