"""Changes, their events, and their signed deliveries (STRIPE.md sections 3, 4 and 10)."""

import http.server
import json
import threading

import pytest
import stripe

from tests.fake_stripe import Clock, Deliveries, FakeStripe
from tests.fake_stripe.records import Subscription

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe(clock=Clock(1_790_000_000))


@pytest.fixture
def sold(fake: FakeStripe) -> Subscription:
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900, lookup_key="growth_monthly")
    return fake.change.subscribe(fake.change.create_customer("ann@acme.com", "Acme"), price, 2)


def events(fake: FakeStripe, since: int = 0) -> list[dict]:
    return [json.loads(next(iter(e.bodies.values()))) for e in fake.state.of("event")][since:]


def after(fake: FakeStripe, change: str, *args: object, **how: object) -> list[dict]:
    known = len(fake.state.of("event"))
    getattr(fake.change, change)(*args, **how)
    return events(fake, known)


def test_a_failed_renewal_makes_the_events_stripe_makes(fake: FakeStripe, sold: Subscription) -> None:
    fake.clock.advance(86_400)
    made = after(fake, "fail_payment", sold)
    types = [e["type"] for e in made]
    assert types.index("invoice.payment_failed") > types.index("invoice.finalized") > types.index("invoice.created")
    failed = next(e for e in made if e["type"] == "invoice.payment_failed")["data"]["object"]
    assert (failed["status"], failed["attempted"], failed["attempt_count"]) == ("open", True, 1)
    assert failed["next_payment_attempt"] == fake.clock.now() + 3 * 86_400
    assert "payments" not in failed
    past_due = [e for e in made if e["type"] == "customer.subscription.updated"][-1]["data"]
    assert past_due["object"]["status"] == "past_due"
    assert past_due["previous_attributes"] == {"status": "active"}
    intent = fake.get(f"/v1/invoices/{failed['id']}", {"expand": ["payments.data.payment.payment_intent"]})
    assert intent["payments"]["data"][0]["payment"]["payment_intent"]["last_payment_error"]["code"] == "card_declined"


def test_recovery_pays_the_invoice_and_brings_the_subscription_back(fake: FakeStripe, sold: Subscription) -> None:
    fake.change.fail_payment(sold)
    types = [e["type"] for e in after(fake, "recover", sold)]
    assert {"invoice.paid", "invoice_payment.paid", "customer.subscription.updated", "customer.updated"} <= set(types)
    assert fake.get(f"/v1/subscriptions/{sold.id}")["status"] == "active"


def test_previous_attributes_hold_the_whole_array_of_items(fake: FakeStripe, sold: Subscription) -> None:
    [event] = after(fake, "change_quantity", sold, 7)
    assert event["data"]["previous_attributes"]["items"]["data"][0]["quantity"] == 2
    assert event["data"]["previous_attributes"]["items"]["data"][0]["id"] == sold.items[0].id


def test_every_updated_event_and_no_other_carries_previous_attributes(fake: FakeStripe, sold: Subscription) -> None:
    fake.change.attach_coupon(sold, fake.change.create_coupon(percent_off=10))
    fake.change.remove_discount(sold)
    fake.change.pause_collection(sold)
    fake.change.cancel_at_period_end(sold)
    fake.change.rename_product(fake.state.of("product").order[0][2], "Growth 2")
    for event in events(fake):
        assert ("previous_attributes" in event["data"]) == event["type"].endswith(".updated"), event["type"]
        assert event["data"].get("previous_attributes") != {}, event["type"]


def test_deleting_a_customer_cancels_its_subscriptions_first(fake: FakeStripe, sold: Subscription) -> None:
    types = [e["type"] for e in after(fake, "delete_customer", sold.customer)]
    assert types == ["customer.subscription.deleted", "customer.deleted"]


def test_a_transferred_lookup_key_leaves_null_behind(fake: FakeStripe, sold: Subscription) -> None:
    old = fake.change.price("growth_monthly")
    new = fake.change.create_price(old.product, 12_900)
    made = after(fake, "transfer_lookup_key", old, new)
    assert [(e["data"]["object"]["id"], e["data"]["object"]["lookup_key"]) for e in made] == [
        (old.id, None),
        (new.id, "growth_monthly"),
    ]
    assert [e["type"] for e in made] == ["price.updated", "price.updated"]


def test_silent_changes_make_no_event_and_doubled_ones_two_ids(fake: FakeStripe, sold: Subscription) -> None:
    with fake.change.silently():
        assert after(fake, "change_quantity", sold, 5) == []
    assert fake.get(f"/v1/subscriptions/{sold.id}")["items"]["data"][0]["quantity"] == 5
    with fake.change.doubled():
        first, second = after(fake, "change_quantity", sold, 6)
    assert first["id"] != second["id"]
    assert first["data"] == second["data"]


def test_changes_of_one_second_share_created(fake: FakeStripe, sold: Subscription) -> None:
    fake.change.change_quantity(sold, 3)
    fake.change.change_quantity(sold, 4)
    assert len({e["created"] for e in events(fake)}) == 1


@pytest.mark.parametrize(
    ("change", "how", "type_", "status"),
    [
        ("void", {}, "invoice.voided", "void"),
        ("mark_uncollectible", {}, "invoice.marked_uncollectible", "uncollectible"),
        ("pay", {"out_of_band": True}, "invoice.paid", "paid"),
    ],
)
def test_ways_in_which_an_open_invoice_ends(
    fake: FakeStripe, sold: Subscription, change: str, how: dict, type_: str, status: str
) -> None:
    fake.change.fail_payment(sold)
    types = [e["type"] for e in after(fake, change, sold.latest_invoice, **how)]
    assert type_ in types
    invoice = fake.get(f"/v1/invoices/{sold.latest_invoice}")
    assert invoice["status"] == status
    assert fake.get(f"/v1/subscriptions/{sold.id}")["status"] == "active"


def test_a_draft_can_be_deleted_and_is_gone(fake: FakeStripe, sold: Subscription) -> None:
    draft = fake.change.create_invoice(sold.customer, 5000, finalize=False)
    assert [e["type"] for e in after(fake, "delete_draft", draft)] == ["invoice.deleted"]
    assert fake.request(f"/v1/invoices/{draft.id}").status == 404


def test_a_trial_starts_with_an_invoice_of_zero_and_ends_with_a_real_one(fake: FakeStripe) -> None:
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    subscription = fake.change.subscribe(fake.change.create_customer("a@acme.com"), price, trial_days=14)
    assert fake.get(f"/v1/invoices/{subscription.latest_invoice}")["total"] == 0
    assert fake.get(f"/v1/invoices/{subscription.latest_invoice}")["status"] == "paid"
    fake.clock.advance(14 * 86_400)
    fake.change.end_trial(subscription)
    assert fake.get(f"/v1/invoices/{subscription.latest_invoice}")["total"] == 9900
    assert subscription.status == "active"


def take(fake: FakeStripe, **how: object) -> tuple[Deliveries, list[tuple[bytes, dict]], list[int]]:
    got: list[tuple[bytes, dict]] = []
    answers: list[int] = []

    def send(body: bytes, headers: dict[str, str]) -> int:
        got.append((body, headers))
        return answers.pop(0) if answers else 200

    return fake.deliver_to(send, auto=False, **how), got, answers


def test_deliveries_pass_the_sdks_verifier(fake: FakeStripe) -> None:
    deliveries, got, _ = take(fake)
    fake.change.create_customer("ann@acme.com")
    assert deliveries.deliver_due() == 1
    body, headers = got[0]
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], fake.webhook_secret)
    assert (event.type, event.data.object.email) == ("customer.created", "ann@acme.com")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, headers["Stripe-Signature"], "whsec_other")


def test_during_a_roll_both_secrets_sign_and_the_old_one_dies_after_24_hours(fake: FakeStripe) -> None:
    """[verify] that `v0` is for tests only."""
    deliveries, got, _ = take(fake)
    deliveries.endpoint.roll("whsec_new", fake.clock.time())
    deliveries.disturb.noise = 1.0
    fake.change.create_customer("ann@acme.com")
    deliveries.deliver_due()
    body, headers = got[0]
    assert headers["Stripe-Signature"].count("v1=") == 2
    assert headers["Stripe-Signature"].count("v0=") == 1
    for secret in (fake.webhook_secret, "whsec_new"):
        assert stripe.Webhook.construct_event(body, headers["Stripe-Signature"], secret).type == "customer.created"
    fake.clock.advance(86_400)
    fake.change.create_customer("bob@acme.com")
    deliveries.deliver_due()
    assert got[1][1]["Stripe-Signature"].count("v1=") == 1


def test_only_the_types_asked_for_are_delivered_and_never_invoice_created(fake: FakeStripe) -> None:
    deliveries, got, _ = take(fake)
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    fake.change.subscribe(fake.change.create_customer("a@acme.com"), price)
    deliveries.deliver_due()
    types = {json.loads(body)["type"] for body, _ in got}
    assert {"customer.subscription.created", "invoice.paid"} <= types
    assert not {"invoice.created", "price.created"} & types


def test_an_endpoints_version_shapes_its_events_for_ever(fake: FakeStripe) -> None:
    deliveries, got, _ = take(fake, version="2020-08-27")
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    subscription = fake.change.subscribe(fake.change.create_customer("a@acme.com"), price)
    deliveries.deliver_due()
    by_type = {json.loads(body)["type"]: json.loads(body) for body, _ in got}
    made = by_type["customer.subscription.created"]
    assert made["api_version"] == "2020-08-27"
    assert made["data"]["object"]["current_period_end"] == subscription.items[0].period_end
    assert by_type["invoice.paid"]["data"]["object"]["subscription"] == subscription.id
    listed = fake.get("/v1/events", {"type": "customer.subscription.created"})["data"][0]
    assert listed["api_version"] == "2020-08-27"
    assert listed["data"] == made["data"]


def test_failures_are_retried_with_backoff_on_the_virtual_clock_until_given_up(fake: FakeStripe) -> None:
    """[verify] the intervals: only "up to 3 days" is known."""
    deliveries, got, answers = take(fake)
    answers[:] = [500, 302, 0] + [503] * 50
    fake.change.create_customer("ann@acme.com")
    assert deliveries.deliver_due() == 1
    assert deliveries.deliver_due() == 0
    fake.clock.advance(10)
    assert deliveries.deliver_due() == 1
    assert fake.get("/v1/events", {"delivery_success": False})["data"][0]["type"] == "customer.created"
    fake.clock.advance(60)
    deliveries.deliver_due()
    while deliveries.pending():
        fake.clock.advance(3600)
        deliveries.deliver_due()
    assert len(deliveries.given_up) == 1
    assert fake.clock.now() - 1_790_000_000 <= 3 * 86_400
    assert len(got) == len(deliveries.backoff) + 1


def test_a_success_ends_the_retries(fake: FakeStripe) -> None:
    deliveries, _, answers = take(fake)
    answers[:] = [503]
    fake.change.create_customer("ann@acme.com")
    deliveries.deliver_due()
    fake.clock.advance(10)
    deliveries.deliver_due()
    assert deliveries.pending() == []
    assert len(deliveries.acked) == 1
    assert fake.get("/v1/events", {"delivery_success": False})["data"] == []


def test_duplicates_losses_and_any_order_can_be_had(fake: FakeStripe) -> None:
    deliveries, got, _ = take(fake)
    deliveries.disturb.duplicate = 1.0
    fake.change.create_customer("ann@acme.com")
    fake.change.create_customer("bob@acme.com")
    assert len(deliveries.pending()) == 4
    while deliveries.pending():
        deliveries.step(-1)
    assert [json.loads(b)["data"]["object"]["email"][:3] for b, _ in got] == ["bob", "bob", "ann", "ann"]
    deliveries.disturb.drop = 1.0
    fake.change.create_customer("eve@acme.com")
    assert deliveries.pending() == []
    assert len(deliveries.dropped) == 1


def test_threads_deliver_over_http_with_kept_alive_connections(fake: FakeStripe) -> None:
    got: list[str] = []

    class Endpoint(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(stripe.Webhook.construct_event(body, self.headers["Stripe-Signature"], fake.webhook_secret).id)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    deliveries = fake.deliver_to(f"http://127.0.0.1:{server.server_port}/webhooks/stripe/x")
    for n in range(30):
        fake.change.create_customer(f"billing@company{n}.com")
    assert deliveries.wait_idle(20)
    fake.stop()
    server.shutdown()
    server.server_close()
    assert sorted(got) == sorted(e.id for e in fake.state.of("event"))
