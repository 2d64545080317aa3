"""A vast account, made when it is asked for, is an account like any other (STRIPE.md 10.1): 250,000 objects, quick to start,
bounded in memory, the same for a seed."""

import json
import tracemalloc
from collections import Counter

import pytest
import stripe

from tests.fake_stripe import Clock, FakeStripe
from tests.fake_stripe.expand import read_tree
from tests.fake_stripe.life import Life
from tests.fake_stripe.names import company
from tests.fake_stripe.render import render
from tests.fake_stripe.vast import KEPT, Vast, large
from tests.fake_stripe.vast_plan import NAMES
from tests.fake_stripe.versions import RENDERED, day
from webhook_app.explain import explain

START = 1_790_000_000
KINDS = ("customer", "subscription", "invoice", "invoice_payment", "payment_intent")
EXPANDED = {
    "subscription": [
        "data.latest_invoice.payments",
        "data.discounts.source.coupon",
        "data.items.data.discounts",
        "data.customer",
    ],
    "invoice": ["data.payments", "data.customer", "data.parent.subscription_details.subscription"],
    "invoice_payment": ["data.payment.payment_intent", "data.invoice"],
    "customer": ["data.discount.source.coupon"],
    "payment_intent": ["data.customer"],
}
pytestmark = pytest.mark.timeout(60)


def made(objects: int = 1000, seed: int = 1) -> tuple[FakeStripe, Vast]:
    fake = FakeStripe(clock=Clock(START))
    return fake, large(fake.state, objects, seed=seed)


@pytest.fixture
def fake() -> FakeStripe:
    return made()[0]


@pytest.fixture
def vast(fake: FakeStripe) -> Vast:
    return fake.state._vast


def walk(fake: FakeStripe, kind: str, **params: object) -> list[dict]:
    """All rows of a list, by pages of 100."""
    rows: list[dict] = []
    asked = {"limit": 100} | ({"status": "all"} if kind == "subscription" else {}) | params
    while True:
        page = fake.get(f"/v1/{kind}s", asked | ({"starting_after": rows[-1]["id"]} if rows else {}))
        rows += page["data"]
        if not page["has_more"]:
            return rows


SHAPES = [(kind, version) for kind in KINDS for version in (RENDERED if kind in {"subscription", "invoice"} else RENDERED[::6])]


@pytest.mark.parametrize(("kind", "version"), SHAPES)
def test_what_is_cast_from_a_mould_is_what_rendering_gives(fake: FakeStripe, vast: Vast, kind: str, version: str) -> None:
    paths = [[]] + ([EXPANDED[kind]] if version == fake.version else [])
    profiles = Counter()
    for expand in paths:
        tree = read_tree(expand, kind, day(version), is_list=True)
        ctx = fake.api.context(version)
        cast = vast.caster(kind, ctx, tree)
        for record in fake.state.of(kind):
            expected = json.loads(json.dumps(render(ctx, record, tree)))
            assert json.loads(cast(record.seq)) == expected
            profiles[NAMES[vast.plan.profiles[record.seq // 4]]] += 1
    assert len(profiles) >= len(NAMES) - 3, profiles  # trials and who bought nothing have no payments


def test_lists_hold_every_object_once_newest_first_and_each_can_be_read_alone(fake: FakeStripe) -> None:
    for kind in KINDS:
        rows = walk(fake, kind)
        assert len({row["id"] for row in rows}) == len(rows) == len(fake.state.of(kind)), kind
        created = [row["created"] for row in rows]
        assert created == sorted(created, reverse=True)
        assert max(created) <= START
        for row in rows[::23]:
            assert fake.get(f"/v1/{kind}s/{row['id']}") == row
    assert fake.request("/v1/customers/cus_NffrFeUfNV2Hib").status == 404


def test_windows_and_filters_say_what_a_look_at_everything_says(fake: FakeStripe) -> None:
    invoices, subscriptions = walk(fake, "invoice"), walk(fake, "subscription")
    for status in ("open", "paid", "uncollectible", "void"):
        expected = [row["id"] for row in invoices if row["status"] == status]
        assert [row["id"] for row in walk(fake, "invoice", status=status)] == expected
    for status in ("active", "past_due", "trialing", "canceled"):
        expected = [row["id"] for row in subscriptions if row["status"] == status]
        assert [row["id"] for row in walk(fake, "subscription", status=status)] == expected
    middle = invoices[len(invoices) // 2]["created"]
    newer = [row["id"] for row in invoices if row["created"] >= middle]
    assert [row["id"] for row in walk(fake, "invoice", created={"gte": middle})] == newer
    assert [row["id"] for row in walk(fake, "invoice", created={"lt": middle})] == [row["id"] for row in invoices][len(newer) :]
    for one in subscriptions[::40]:
        mine = [row["id"] for row in invoices if row["customer"] == one["customer"]]
        assert [row["id"] for row in walk(fake, "invoice", customer=one["customer"])] == mine
        assert [row["id"] for row in walk(fake, "invoice", subscription=one["id"])] == mine
        assert fake.get("/v1/subscription_items", {"subscription": one["id"]})["data"] == one["items"]["data"]
        item = one["items"]["data"][0]
        assert fake.get(f"/v1/subscription_items/{item['id']}") == item
    open_payments = [row["id"] for row in walk(fake, "invoice_payment") if row["status"] == "open"]
    assert [row["id"] for row in walk(fake, "invoice_payment", status="open")] == open_payments != []
    paid = next(row for row in walk(fake, "invoice_payment"))
    assert walk(fake, "invoice_payment", invoice=paid["invoice"]) == [paid]
    for kind in ("customer", "invoice"):
        rows = [row["id"] for row in walk(fake, kind)]
        page = fake.get(f"/v1/{kind}s", {"limit": 5, "ending_before": rows[50]})
        assert [row["id"] for row in page["data"]] == rows[45:50]


def test_what_changes_is_kept_and_its_neighbours_are_not_touched(fake: FakeStripe, vast: Vast) -> None:
    deliveries = fake.deliver_to(lambda body, headers: 200, auto=False)
    before = {row["id"]: row for kind in KINDS for row in walk(fake, kind)}
    one, two, three, *_ = [s for s in fake.state.of("subscription") if s.status == "active"]
    fake.change.change_quantity(one, 77)
    fake.change.fail_payment(two)
    fake.change.delete_customer(three.customer)
    late = fake.change.subscribe(fake.change.create_customer("new@late.com"), one.items[0].price)
    for k in range(vast.plan.accounts):  # so many that nothing of before is remembered
        vast.bundle(k)
    after = {row["id"]: row for kind in KINDS for row in walk(fake, kind)}
    assert after[one.id]["items"]["data"][0]["quantity"] == 77
    assert after[two.id]["status"] == "past_due"
    assert after[two.latest_invoice]["status"] == "open"
    assert after[three.id]["status"] == "canceled"
    assert three.customer not in after
    assert fake.get(f"/v1/customers/{three.customer}")["deleted"] is True
    assert walk(fake, "subscription")[0]["id"] == late.id
    touched = {one.customer, two.customer, three.customer, late.customer}
    same = [name for name, row in before.items() if name in after and row.get("customer", name) not in touched]
    assert all(after[name] == before[name] for name in same if before[name]["object"] != "invoice_payment")
    assert len(same) > 700
    assert deliveries.deliver_due() > 5
    gone = fake.get("/v1/invoices", {"customer": two.customer, "status": "open"})["data"]
    assert [row["id"] for row in gone] == [two.latest_invoice]
    fake.faults.stale_rate, fake.faults.stale_seconds = 1.0, 60
    assert fake.get(f"/v1/subscriptions/{two.id}")["status"] == "active"
    assert late.id not in {row["id"] for row in walk(fake, "subscription")}


def test_a_changed_price_shows_everywhere_at_once(fake: FakeStripe, vast: Vast) -> None:
    assert "Renamed" not in json.dumps(walk(fake, "subscription"))
    price = vast.catalog.prices["growth_monthly"]
    fake.change.update_price(price, nickname="Renamed")
    rows = [row for row in walk(fake, "subscription") if row["items"]["data"][0]["price"]["id"] == price.id]
    assert {row["items"]["data"][0]["price"]["nickname"] for row in rows} == {"Renamed"}


def test_it_is_the_same_for_a_seed_and_means_something_to_the_rules() -> None:
    (one, vast), (two, _), (other, _) = made(600), made(600), made(600, seed=2)
    assert one.current_objects() == two.current_objects()
    assert one.current_objects() != other.current_objects()
    ours = [{"id": f"c{n}", "name": c.name, "domain": c.domain} for n, c in enumerate(vast.companies)]
    fx = {"date": "2026-09-20", "usd_per": {"EUR": "1.1", "GBP": "1.3", "JPY": "0.0066"}}
    told = explain({"now": START, "our_customers": ours, "fx": fx, **one.current_objects()})
    assert told["flags"] == []
    assert {c["payment_status"] for c in told["customers"]} >= {"paid", "failing", "none"}
    assert not [flag for c in told["customers"] for flag in c["flags"] if flag.startswith("mrr_unknown")]


def test_a_life_is_lived_in_it(fake: FakeStripe, vast: Vast) -> None:
    life = Life(fake, vast, [company(5_000 + n, vast.rng) for n in range(20)], seed=4)
    told = {life.tick().split(" ")[-1] for _ in range(60)}
    assert len(told) > 5
    assert 10 < len(vast.touched) < 100
    assert fake.month_start(5, seconds=1) == 5


def test_a_quarter_of_a_million_objects_start_with_a_few_megabytes_and_keep_no_more_than_they_must() -> None:
    tracemalloc.start()
    try:
        fake, vast = made(250_000)
        for kind in ("customer", "subscription", "invoice"):
            for cursor in (None, "starting_after"):
                last = fake.get(f"/v1/{kind}s", {"limit": 1})["data"][0]["id"]
                fake.get(f"/v1/{kind}s", {"limit": 100} | ({cursor: last} if cursor else {}))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counts = fake.state.counts()
    assert 245_000 < sum(counts[kind] for kind in ("customer", "subscription", "invoice")) < 255_000
    assert counts["invoice_payment"] == counts["payment_intent"] > 100_000
    assert most < 64 << 20, most
    for k in range(KEPT + 100):
        vast.bundle(k)
    assert len(vast._bundles) == KEPT
    assert vast.touched == set()


def test_the_sdk_walks_it_over_http() -> None:
    fake, _ = made(400)
    with fake:
        client = stripe.StripeClient(fake.api_key, base_addresses={"api": fake.url}, stripe_version=fake.version)
        found = list(client.v1.subscriptions.list({"status": "all", "expand": ["data.latest_invoice"]}).auto_paging_iter())
    assert len(found) == len(fake.state.of("subscription"))
    assert isinstance(found[0].latest_invoice, stripe.Invoice)
