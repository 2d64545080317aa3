"""Everything that can happen in the fake's account, and what its events say of it (STRIPE.md 3, 7.1, 8, 10.3 and 10.4)."""

import json

import pytest

from tests.fake_stripe import Clock, Deliveries, FakeStripe
from tests.fake_stripe.change_rare import UPDATE_LIVES
from tests.fake_stripe.endpoint import DEAUTHORIZED, RECOMMENDED
from tests.fake_stripe.generate import Shape, generate
from tests.fake_stripe.life import Life
from tests.fake_stripe.names import company
from tests.fake_stripe.records import Price, Subscription
from tests.fake_stripe.render import render
from tests.fake_stripe.versions import RENDERED

START = 1_790_000_000
DAY = 86_400
KINDS = ("customer", "subscription", "invoice", "price", "product")
SILENT = {"next_invoice_sequence"}  # counts on without an event of its own
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe(clock=Clock(START))


@pytest.fixture
def price(fake: FakeStripe) -> Price:
    return fake.change.create_price(fake.change.create_product("Growth"), 9900, lookup_key="growth_monthly")


@pytest.fixture
def sold(fake: FakeStripe, price: Price) -> Subscription:
    return fake.change.subscribe(fake.change.create_customer("ann@acme.com", "Acme"), price, 2)


def after(fake: FakeStripe, change: str, *args: object, **how: object) -> list[dict]:
    """The events that a change makes."""
    known = len(fake.state.of("event"))
    getattr(fake.change, change)(*args, **how)
    return [json.loads(e.body()) for e in fake.state.of("event")][known:]


def types(events: list[dict]) -> list[str]:
    return [e["type"] for e in events]


def turned_back(shown: dict, previous: dict) -> dict:
    """The object as it was before: `previous_attributes` put over it."""
    back = dict(shown)
    for name, old in previous.items():
        nested = isinstance(old, dict) and isinstance(back.get(name), dict)
        back[name] = turned_back(back[name], old) if nested else old
    return back


@pytest.mark.parametrize("version", ["2020-08-27", "2024-06-20", "2026-10-28.endive"])
def test_previous_attributes_turn_every_update_of_a_long_life_back_into_what_was_known(version: str) -> None:
    fake = FakeStripe(clock=Clock(START))
    generator = generate(fake.state, Shape(ours=25, unmatched=3, personal=3), seed=3)
    life = Life(fake, generator, [company(5_000 + n, generator.rng) for n in range(20)], seed=4)
    fake.deliver_to(lambda body, headers: 200, auto=False, version=version)
    known = {row["id"]: row for kind in KINDS for row in shown(fake, kind, version)}
    seen, told = 0, set()
    for _ in range(250):
        life.tick()
        fake.clock.advance(30)
        for event in list(fake.state.of("event"))[seen:]:
            body = json.loads(event.body(version))
            data = body["data"]
            assert ("previous_attributes" in data) == body["type"].endswith(".updated"), body["type"]
            if body["type"].endswith(".updated"):
                assert data["previous_attributes"], body["type"]
                told |= {(body["type"], name) for name in data["previous_attributes"]}
                before = turned_back(data["object"], data["previous_attributes"])
                assert own(before) == own(known[event.object_id]), (body["type"], data["previous_attributes"])
            if body["type"].endswith((".updated", ".created", ".deleted")):
                known[event.object_id] = data["object"]
        seen = len(fake.state.of("event"))
    assert {kind for kind, _ in told} >= {"customer.updated", "customer.subscription.updated", "invoice.updated"}
    assert len(told) > 15, told


def shown(fake: FakeStripe, kind: str, version: str) -> list[dict]:
    ctx = fake.api.context(version)
    return [json.loads(json.dumps(render(ctx, record))) for record in fake.state.of(kind)]


def own(found: dict) -> dict:
    """Without what changes by itself and what other objects inside it say of themselves."""
    return {name: plain(value) for name, value in found.items() if name not in SILENT}


def plain(value: object) -> object:
    """Objects of the catalogue by their ids."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        if value.get("object") in {"price", "plan", "coupon"}:
            return value["id"]
        return {name: plain(one) for name, one in value.items()}
    return value


def test_every_type_that_our_endpoint_asks_for_can_be_had(fake: FakeStripe, price: Price) -> None:
    do = fake.change
    deliveries = fake.deliver_to(lambda body, headers: 200, auto=False)
    coupon, other = do.create_coupon(percent_off=10), do.create_coupon(percent_off=20)
    owner = do.create_customer("ann@acme.com")
    do.attach_coupon(owner, coupon)
    do.swap_coupon(owner, other)
    do.remove_discount(owner)
    sold = do.subscribe(owner, price)
    more = do.create_price(price.product, 5000)
    for finish in (do.apply_update, do.drop_update):
        do.update_later(sold, more, 2)
        finish(sold)
    do.pause(sold)
    do.resume(sold)
    do.fail_payment(sold, action=True) if sold.status == "past_due" else do.renew(sold, pays=False)
    do.fail(sold.latest_invoice, action=True)
    do.pay(sold.latest_invoice)
    sent = do.create_invoice(owner, 500, days_until_due=1)
    do.ask_for_payment(sent)
    do.overdue(sent)
    do.void(sent)
    do.mark_uncollectible(do.create_invoice(owner, 500))
    draft = do.create_invoice(owner, 500, finalize=False)
    do.fail_finalization(draft)
    do.delete_draft(draft)
    do.update_price(price, nickname="Growth monthly")
    do.rename_product(price.product, "Growth 2")
    do.delete_customer(owner)
    while deliveries.pending():
        deliveries.step()
    assert {one.type for one in deliveries.attempts} == RECOMMENDED - {DEAUTHORIZED}


@pytest.mark.parametrize("silent", [True, False])
def test_a_change_can_be_silent_or_told_twice_under_two_ids(fake: FakeStripe, sold: Subscription, silent: bool) -> None:
    with fake.change.silently() if silent else fake.change.doubled():
        events = after(fake, "fail_payment", sold)
    if silent:
        assert events == []
        assert fake.get(f"/v1/subscriptions/{sold.id}")["status"] == "past_due"
        assert fake.get(f"/v1/invoices/{sold.latest_invoice}")["status"] == "open"
        return
    assert types(events)[::2] == types(events)[1::2]
    assert len({e["id"] for e in events}) == len(events)
    assert [e["data"] for e in events[::2]] == [e["data"] for e in events[1::2]]


def test_changes_share_a_second_or_each_has_its_own(fake: FakeStripe, sold: Subscription) -> None:
    events = after(fake, "fail_payment", sold) + after(fake, "recover", sold)
    assert {e["created"] for e in events} == {START}
    fake.change.step_seconds = 1
    assert len({e["created"] for e in after(fake, "renew", sold)}) == 3


def test_an_invoice_may_be_paid_in_parts_of_three_kinds(fake: FakeStripe) -> None:
    invoice = fake.change.create_invoice(fake.change.create_customer("ann@acme.com"), 1000)
    assert types(after(fake, "pay_part", invoice, 300)) == [
        "payment_intent.succeeded", "invoice_payment.paid", "invoice.updated"]  # fmt: skip
    fake.change.pay_part(invoice, 300, by="charge")
    assert (invoice.status, invoice.amount_remaining) == ("open", 400)
    last = types(after(fake, "pay_part", invoice, 900, by="payment_record"))
    assert {"invoice.paid", "payment_intent.canceled"} <= set(last)
    shown = fake.get(f"/v1/invoices/{invoice.id}", {"expand": ["payments"]})
    assert (shown["status"], shown["amount_paid"], shown["amount_remaining"]) == ("paid", 1000, 0)
    found = [(p["payment"]["type"], p["status"], p["is_default"], p["amount_paid"]) for p in shown["payments"]["data"]]
    assert found == [
        ("payment_intent", "canceled", True, None),
        ("payment_intent", "paid", False, 300),
        ("charge", "paid", False, 300),
        ("payment_record", "paid", False, 400),
    ]
    for payment in shown["payments"]["data"]:
        assert set(payment["payment"]) == {"type", payment["payment"]["type"]}


def test_what_remains_after_a_part_is_paid_by_the_waiting_payment(fake: FakeStripe) -> None:
    invoice = fake.change.create_invoice(fake.change.create_customer("ann@acme.com"), 1000)
    fake.change.pay_part(invoice, 300)
    fake.change.pay(invoice)
    shown = fake.get(f"/v1/invoices/{invoice.id}", {"expand": ["payments.data.payment.payment_intent"]})
    assert [(p["amount_paid"], p["payment"]["payment_intent"]["amount"]) for p in shown["payments"]["data"]] == [
        (700, 700),
        (300, 300),
    ]


def test_an_incomplete_subscription_expires_after_23_hours_and_its_invoice_is_void(fake: FakeStripe, price: Price) -> None:
    subscription = fake.change.subscribe(fake.change.create_customer("ann@acme.com"), price, pays=False)
    assert subscription.status == "incomplete"
    fake.clock.advance(23 * 3600 - 1)
    assert fake.pass_time() == 0
    fake.clock.advance(1)
    assert fake.pass_time() == 1
    shown = fake.get(f"/v1/subscriptions/{subscription.id}", {"expand": ["latest_invoice"]})
    assert (shown["status"], shown["latest_invoice"]["status"]) == ("incomplete_expired", "void")
    assert fake.get("/v1/subscriptions")["data"] == []
    assert len(fake.get("/v1/subscriptions", {"status": "ended"})["data"]) == 1


def test_time_ends_trials_announced_cancellations_pending_updates_and_patience(fake: FakeStripe, price: Price) -> None:
    owner = fake.change.create_customer("ann@acme.com")
    trial = fake.change.subscribe(owner, price, trial_days=3)
    leaving = fake.change.cancel_at_period_end(fake.change.subscribe(owner, price))
    updating = fake.change.update_later(fake.change.subscribe(owner, price), price, 5)
    sent = fake.change.create_invoice(owner, 500, days_until_due=2)
    for seconds, done in ((UPDATE_LIVES, 1), (2 * DAY - UPDATE_LIVES, 0), (1, 1), (DAY, 1), (26 * DAY, 0), (DAY, 1), (DAY, 0)):
        fake.clock.advance(seconds)
        assert fake.pass_time() == done, fake.clock.now() - START
    assert (trial.status, leaving.status, updating.pending_update, sent.status) == ("active", "canceled", None, "open")
    told = {e.type for e in fake.state.of("event")}
    assert {"customer.subscription.pending_update_expired", "invoice.overdue", "customer.subscription.deleted"} <= told


@pytest.mark.parametrize(("end", "status"), [("pause", "paused"), ("cancel", "canceled"), ("create_invoice", "past_due")])
def test_a_trial_without_a_payment_method_ends_as_it_was_told_to(fake: FakeStripe, price: Price, end: str, status: str) -> None:
    """[verify] the word that `status_details` has for a pause at a trial's end."""
    owner = fake.change.create_customer("ann@acme.com")
    trial = fake.change.subscribe(owner, price, trial_days=14, without_method=end)
    made = after(fake, "end_trial_without_method", trial)
    shown = fake.get(f"/v1/subscriptions/{trial.id}")
    assert (shown["status"], shown["trial_settings"]["end_behavior"]["missing_payment_method"]) == (status, end)
    assert ("customer.subscription.paused" in types(made)) == (end == "pause")


def test_the_real_pause_shows_when_it_began_only_in_versions_that_know_it(fake: FakeStripe, sold: Subscription) -> None:
    fake.change.pause(sold)
    path = f"/v1/subscriptions/{sold.id}"
    assert fake.get(path)["status_details"]["paused"]["transitioned_at"] == START
    assert "status_details" not in fake.get(path, version="2026-03-25.dahlia")
    fake.change.resume(sold)
    assert fake.get(path)["status_details"] == {"paused": None}
    fake.change.pause_collection(sold, "mark_uncollectible", START + DAY)
    shown = fake.get(path)
    assert (shown["status"], shown["pause_collection"]) == (
        "active", {"behavior": "mark_uncollectible", "resumes_at": START + DAY})  # fmt: skip


def test_a_discount_that_runs_out_leaves_without_an_event(fake: FakeStripe, price: Price) -> None:
    """[verify] that there is none."""
    coupon = fake.change.create_coupon(percent_off=50, duration="repeating", duration_in_months=1)
    sold = fake.change.subscribe(fake.change.create_customer("ann@acme.com"), price, coupon=coupon)
    first = fake.get(f"/v1/invoices/{sold.latest_invoice}")
    fake.clock.advance(31 * DAY)
    fake.change.renew(sold)
    second = fake.get(f"/v1/invoices/{sold.latest_invoice}")
    assert (first["total"], second["total"]) == (4950, 9900)
    assert types(after(fake, "let_discount_run_out", sold)) == []
    assert fake.get(f"/v1/subscriptions/{sold.id}")["discounts"] == []


def test_a_customer_of_accounts_v2_is_named_by_its_account(fake: FakeStripe, price: Price) -> None:
    """[verify] what versions before dahlia show."""
    owner = fake.change.create_customer("ann@acme.com", account="acct_1v2")
    sold = fake.change.subscribe(owner, price)
    for path in (f"/v1/subscriptions/{sold.id}", f"/v1/invoices/{sold.latest_invoice}"):
        new, old = fake.get(path), fake.get(path, version="2025-09-30.clover")
        assert (new["customer"], new["customer_account"]) == (None, "acct_1v2")
        assert (old["customer"], "customer_account" in old) == (owner.id, False)
    assert fake.get("/v1/subscriptions", {"customer_account": "acct_1v2"})["data"][0]["id"] == sold.id
    assert fake.get("/v1/invoices", {"customer_account": "acct_1other"})["data"] == []


def test_the_billing_mode_is_flexible_unless_it_was_made_classic(fake: FakeStripe, price: Price) -> None:
    owner = fake.change.create_customer("ann@acme.com")
    for mode in ("flexible", "classic"):
        sold = fake.change.subscribe(owner, price, billing_mode=mode)
        assert fake.get(f"/v1/subscriptions/{sold.id}")["billing_mode"]["type"] == mode
        assert "billing_mode" not in fake.get(f"/v1/subscriptions/{sold.id}", version="2025-03-31.basil")


def test_one_subscription_may_mix_intervals_and_each_item_has_its_period(fake: FakeStripe, price: Price) -> None:
    yearly = fake.change.create_price(price.product, 90_000, interval="year")
    sold = fake.change.subscribe(fake.change.create_customer("ann@acme.com"), [(price, 1), (yearly, 1)])
    new = fake.get(f"/v1/subscriptions/{sold.id}")
    ends = [item["current_period_end"] - START for item in new["items"]["data"]]
    assert ends == [30 * DAY, 365 * DAY]
    assert fake.get(f"/v1/subscriptions/{sold.id}", version="2024-06-20")["current_period_end"] == START + 30 * DAY


def test_every_version_of_an_event_tells_the_same_change_in_its_own_words(fake: FakeStripe, sold: Subscription) -> None:
    endpoints: list[Deliveries] = [
        fake.deliver_to(lambda body, headers: 200, auto=False, version=version) for version in RENDERED]  # fmt: skip
    fake.clock.advance(DAY)
    fake.change.renew(sold)
    for deliveries in endpoints:
        version = deliveries.endpoint.version
        bodies = [json.loads(deliveries.signed(one.event_id)[0]) for one in deliveries.pending()]
        assert {body["api_version"] for body in bodies} == {version}
        moved = next(b for b in bodies if b["type"] == "customer.subscription.updated")["data"]["previous_attributes"]
        old = version < "2025-03-31"
        assert ("current_period_end" in moved) == old, version
        assert old or "current_period_end" in moved["items"]["data"][0], version
        assert "latest_invoice" in moved
