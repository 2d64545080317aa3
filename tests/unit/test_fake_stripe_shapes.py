"""Each version's shapes carry at least the keys of Stripe's own recordings of that version, and what STRIPE.md 2.2 says
moved."""

import json
from pathlib import Path

import pytest

from tests.fake_stripe import Clock, FakeStripe
from tests.fake_stripe.generate import Shape, generate
from tests.fake_stripe.vast import large

SAMPLES = Path(__file__).parents[3] / "shared" / "samples" / "objects"
VERSIONS = (
    "2020-08-27",
    "2024-06-20",
    "2025-03-31.basil",
    "2025-09-30.clover",
    "2026-03-25.dahlia",
    "2026-09-30.endive",
    "2026-10-28.endive",
)
REDACTED = ("client_", "confirmation_<", "confirmation_secret", "client_secret")  # the recordings hide secrets by their names
ASKED_FOR = {
    "customer": ["tax", "invoice_credit_balance"],
    "invoice": [],
    "subscription": [],
    "payment_intent": [],
    "invoice_payment": [],
}
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def fake() -> FakeStripe:
    fake = FakeStripe(clock=Clock(1_790_000_000))
    generate(fake.state, Shape(ours=60))
    return fake


def first(fake: FakeStripe, kind: str, version: str, expand: list[str] | None = None) -> dict:
    params = {"limit": 1, "expand": [f"data.{path}" for path in expand or ()]}
    status = {"subscription": {"status": "all"}, "invoice": {"status": "paid"}}.get(kind, {})
    return fake.get(f"/v1/{kind}s", params | status, version=version)["data"][0]


def recordings() -> list:
    if not SAMPLES.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the recordings (../shared/samples) are not here"))]
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(SAMPLES.glob("*/*.json"))]


def lacking(theirs: object, ours: object, where: str) -> list[str]:
    """Keys of the recording that our object lacks, at any depth that both have."""
    if isinstance(theirs, list) and isinstance(ours, list) and theirs and ours:
        return lacking(theirs[0], ours[0], where + "[0]")
    if not isinstance(theirs, dict) or not isinstance(ours, dict) or where.endswith("metadata"):
        return []
    found = [f"{where}.{key}" for key in theirs if key not in ours and not key.startswith(REDACTED)]
    for key in theirs:
        if key in ours and "payment_method_options" not in key:
            found += lacking(theirs[key], ours[key], f"{where}.{key}")
    return found


@pytest.mark.parametrize("path", recordings())
def test_our_object_has_every_key_of_the_recording_of_its_version(fake: FakeStripe, path: Path) -> None:
    theirs = json.loads(path.read_text())
    kind, version = theirs["object"], path.parent.name
    if theirs.get("billing_reason") == "manual":
        one_off = fake.change.create_invoice(fake.state.of("customer").order[0][2], 5000)
        ours = fake.get(f"/v1/invoices/{one_off.id}", version=version)
    else:
        ours = first(fake, kind, version, ASKED_FOR[kind])
    skipped = (".charges", ".next_action")  # what became of one payment, not the shape of an object
    assert [key for key in lacking(theirs, ours, kind) if not any(part in key for part in skipped)] == []


def test_basil_moves_the_subscription_of_an_invoice_and_its_payments(fake: FakeStripe) -> None:
    for version in VERSIONS:
        invoice = first(fake, "invoice", version)
        line = invoice["lines"]["data"][0]
        old = version < "2025-03-31"
        assert ("subscription" in invoice, "paid" in invoice, "payment_intent" in invoice) == (old, old, old), version
        assert ("price" in line, "plan" in line) == (old, old)
        if not old:
            assert invoice["parent"]["subscription_details"]["subscription"].startswith("sub_")
            assert line["pricing"]["price_details"]["price"].startswith("price_")
            assert "payments" not in invoice


def test_basil_moves_the_periods_to_the_items(fake: FakeStripe) -> None:
    for version in VERSIONS:
        subscription = first(fake, "subscription", version)
        old = version < "2025-03-31"
        assert ("current_period_end" in subscription) == old
        assert ("current_period_end" in subscription["items"]["data"][0]) == (not old)
        assert ("discount" in subscription) == old
        assert isinstance(subscription["discounts"], list)


def test_endive_drops_the_legacy_mirrors_of_the_price(fake: FakeStripe) -> None:
    for version in VERSIONS:
        subscription = first(fake, "subscription", version)
        assert ("plan" in subscription) == ("quantity" in subscription) == (version < "2026-09-30")
        assert "plan" in subscription["items"]["data"][0]


def test_clover_hides_the_coupon_of_a_discount_behind_its_source() -> None:
    fake = FakeStripe()
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    coupon = fake.change.create_coupon(percent_off=10, applies_to=[price.product])
    subscription = fake.change.subscribe(fake.change.create_customer("a@acme.com"), price, coupon=coupon)
    path = f"/v1/subscriptions/{subscription.id}"
    for version in VERSIONS:
        assert fake.get(path, version=version)["discounts"] == [subscription.discounts[0].id]
        discount = fake.get(path, {"expand": ["discounts"]}, version=version)["discounts"][0]
        if version < "2025-09-30":
            assert discount["coupon"]["percent_off"] == 10
            assert "source" not in discount
        else:
            assert discount["source"] == {"coupon": coupon.id, "type": "coupon"}
            assert "coupon" not in discount
            whole = fake.get(path, {"expand": ["discounts.source.coupon"]}, version=version)["discounts"][0]
            assert whole["source"]["coupon"]["percent_off"] == 10
            assert "applies_to" not in whole["source"]["coupon"]
    assert fake.get(f"/v1/coupons/{coupon.id}", {"expand": ["applies_to"]})["applies_to"] == {"products": [price.product]}


def test_before_2020_08_27_customers_carry_their_subscriptions_and_prices_their_tiers() -> None:
    fake = FakeStripe()
    price = fake.change.create_price(fake.change.create_product("Seats"), None, tiers=[(None, 100, None)])
    subscription = fake.change.subscribe(fake.change.create_customer("a@acme.com"), price)
    old = fake.get(f"/v1/customers/{subscription.customer}", version="2020-03-02")
    assert old["subscriptions"]["data"][0]["id"] == subscription.id
    assert old["subscriptions"]["data"][0]["items"]["data"][0]["plan"]["tiers"][0]["unit_amount"] == 100
    assert "subscriptions" not in fake.get(f"/v1/customers/{subscription.customer}", version="2020-08-27")


def test_a_version_from_the_future_is_refused(fake: FakeStripe) -> None:
    assert fake.request("/v1/customers", version="2031-01-01.oak").status == 400
    assert fake.request("/v1/customers", version="yesterday").status == 400


def test_generated_accounts_are_the_same_for_a_seed_and_hold_what_the_rules_speak_of() -> None:
    one, two, other = (FakeStripe(seed=s, clock=Clock(1_790_000_000)) for s in (1, 1, 2))
    for fake, seed in ((one, 5), (two, 5), (other, 6)):
        generate(fake.state, seed=seed)
    assert one.current_objects() == two.current_objects()
    assert one.current_objects() != other.current_objects()
    objects = one.current_objects()
    assert {s["status"] for s in objects["subscriptions"]} >= {"active", "past_due", "trialing", "canceled"}
    assert {s["currency"] for s in objects["subscriptions"]} == {"usd", "eur", "gbp", "jpy"}
    assert {v["status"] for v in objects["invoices"]} >= {"paid", "open", "uncollectible"}
    assert any(c["discount"] for c in objects["customers"])
    assert any(s["discounts"] for s in objects["subscriptions"])
    assert any(s["cancel_at_period_end"] for s in objects["subscriptions"])
    assert any(c["email"] is None for c in objects["customers"])
    assert {p["billing_scheme"] for p in objects["prices"]} == {"per_unit", "tiered"}
    assert {p["recurring"]["usage_type"] for p in objects["prices"]} == {"licensed", "metered"}


def test_current_objects_are_whole_and_need_nothing_more() -> None:
    fake = FakeStripe()
    product = fake.change.create_product("Many")
    prices = [(fake.change.create_price(product, 100), 1) for _ in range(30)]
    fake.change.subscribe(fake.change.create_customer("a@acme.com"), prices)
    objects = fake.current_objects()
    assert len(objects["subscriptions"][0]["items"]["data"]) == 30
    assert not objects["subscriptions"][0]["items"]["has_more"]
    assert objects["invoices"][0]["payments"]["data"][0]["payment"]["payment_intent"]["status"] == "succeeded"
    assert objects["prices"][0]["currency_options"]["usd"]["unit_amount"] == 100
    assert json.dumps(objects)


def test_a_large_account_walks_completely() -> None:
    fake = FakeStripe(clock=Clock(1_790_000_000))
    large(fake.state, 4000)
    for kind in ("customer", "subscription", "invoice"):
        seen: list[str] = []
        while True:
            page = fake.get(
                f"/v1/{kind}s",
                {"limit": 100}
                | ({"status": "all"} if kind == "subscription" else {})
                | ({"starting_after": seen[-1]} if seen else {}),
            )
            seen += [row["id"] for row in page["data"]]
            if not page["has_more"]:
                break
        assert len(seen) == len(set(seen)) == len(fake.state.of(kind))
        created = [fake.state.get(kind, i).created for i in seen]
        assert created == sorted(created, reverse=True)
