"""The fake's deliveries: signed, retried, to endpoints of every kind (STRIPE.md 3.3, 4, 9, 10.15, 10.16, 10.18 and 10.19)."""

import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

import pytest
import stripe
import time_machine

from models.stripe_reader.event_types import HANDLED_TYPES
from tests.fake_stripe import Clock, FakeStripe
from tests.fake_stripe.endpoint import RECOMMENDED, TEST_BACKOFF
from tests.fake_stripe.listening import DAY, START, customers, emails, listen, passes

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fake() -> FakeStripe:
    return FakeStripe(clock=Clock(START))


# --- signatures and retries ---------------------------------------------------------------------------


def test_every_try_is_signed_anew_with_the_time_of_the_wall_clock(fake: FakeStripe) -> None:
    with time_machine.travel(START, tick=False) as wall:
        deliveries, got = listen(fake, [500, 500])
        customers(fake, "a")
        for seconds in (0, 10, 60):
            fake.clock.advance(seconds)
            wall.shift(seconds)
            assert deliveries.deliver_due() == 1
        times = [int(headers["Stripe-Signature"].split(",")[0][2:]) for _, headers in got]
    assert times == [START, START + 10, START + 70]
    assert len({headers["Stripe-Signature"] for _, headers in got}) == 3
    assert [body for body, _ in got] == [got[0][0]] * 3


def test_what_is_signed_with_a_wrong_secret_passes_nobodys_check_and_is_sent_again(fake: FakeStripe) -> None:
    deliveries, got = listen(fake, [400, 200])
    deliveries.order("wrong_secret", "customer.created")
    customers(fake, "ab")
    deliveries.deliver_due()
    fake.clock.advance(10)
    deliveries.deliver_due()
    checked = []
    for body, headers in got:
        try:
            stripe.WebhookSignature.verify_header(json.dumps(body, indent=2), headers["Stripe-Signature"], fake.webhook_secret)
        except stripe.SignatureVerificationError:
            checked.append((body["data"]["object"]["email"][0], False))
        else:
            checked.append((body["data"]["object"]["email"][0], True))
    assert checked == [("a", False), ("b", True), ("a", True)]


def test_in_test_mode_three_tries_are_all() -> None:
    """[verify] the intervals: only "over a few hours" is known."""
    fake = FakeStripe(clock=Clock(START), livemode=False)
    deliveries, got = listen(fake, [500] * 9)
    customers(fake, "a")
    while deliveries.pending():
        deliveries.deliver_due()
        fake.clock.advance(60)
    assert (len(got), len(TEST_BACKOFF), len(deliveries.given_up)) == (3, 2, 1)
    assert fake.clock.now() - START <= 6 * 3600


def test_a_resend_by_hand_doesnt_end_the_automatic_retries(fake: FakeStripe) -> None:
    deliveries, got = listen(fake, [500, 200, 200])
    customers(fake, "a")
    deliveries.deliver_due()
    deliveries.resend(got[0][0]["id"])
    deliveries.deliver_due()
    assert len(deliveries.acked) == 1
    assert len(deliveries.pending()) == 1
    fake.clock.advance(10)
    deliveries.deliver_due()
    assert [one.tries for one in deliveries.attempts] == [1, 1, 2]


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers late, elsewhere, or not at all, as its path says."""

    protocol_version = "HTTP/1.1"
    released = threading.Event()
    paths: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        self.paths[self.path] += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            self.released.wait(20)
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    Slow.released.clear()
    Slow.paths.clear()
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    Slow.released.set()
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.mark.parametrize(("path", "status"), [("/slow", 0), ("/moved", 302), ("/taken", 200)])
def test_no_answer_in_time_and_a_redirect_are_failures(fake: FakeStripe, server: str, path: str, status: int) -> None:
    """[verify] how long Stripe waits."""
    deliveries = fake.deliver_to(server + path, auto=False, timeout=0.3 if path == "/slow" else 10)
    customers(fake, "a")
    deliveries.deliver_due()
    assert [one.status for one in deliveries.attempts] == [status]
    assert Slow.paths == {path: 1}  # nobody follows it
    assert len(deliveries.pending()) == (status != 200)
    deliveries.endpoint.send.close()


# --- endpoints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_an_endpoint_that_is_switched_off_gets_neither_new_events_nor_retries(fake: FakeStripe, how: str) -> None:
    deliveries, got = listen(fake, [500])
    customers(fake, "a")
    deliveries.deliver_due()
    if how == "deleted":
        fake.delete_endpoint(deliveries)
    deliveries.endpoint.disabled = True
    fake.clock.advance(3 * DAY)
    customers(fake, "b")
    deliveries.deliver_due()
    assert emails(got) == ["a"]
    assert deliveries.pending() == []
    deliveries.endpoint.disabled = False
    customers(fake, "c")
    deliveries.deliver_due()
    assert emails(got) == (["a", "c"] if how == "disabled" else ["a"])


def test_a_changed_choice_of_types_and_another_version_count_from_then_on(fake: FakeStripe) -> None:
    deliveries, got = listen(fake, version="2020-08-27", types=frozenset({"customer.created"}))
    customers(fake, "a")
    deliveries.endpoint.types, deliveries.endpoint.version = frozenset({"customer.updated"}), "2026-03-25.dahlia"
    customers(fake, "b")
    fake.change.update_customer(next(iter(fake.state.of("customer"))), name="Acme")
    deliveries.deliver_due()
    assert [(body["type"], body["api_version"]) for body, _ in got] == [
        ("customer.created", "2020-08-27"),
        ("customer.updated", "2026-03-25.dahlia"),
    ]


def test_pending_webhooks_counts_the_endpoints_that_have_not_taken_the_event(fake: FakeStripe) -> None:
    one, got = listen(fake)
    two, _ = listen(fake, [500])
    listen(fake, types=frozenset({"invoice.paid"}))
    lost, _ = listen(fake)
    lost.order("drop")
    one.order("duplicate")
    customers(fake, "a")
    one.deliver_due()
    two.deliver_due()
    assert [body["pending_webhooks"] for body, _ in got] == [2, 1]
    assert fake.get("/v1/events")["data"][0]["pending_webhooks"] == 1
    fake.clock.advance(10)
    two.deliver_due()
    assert fake.get("/v1/events")["data"][0]["pending_webhooks"] == 0


def test_a_connect_endpoint_gets_live_and_test_events_mixed_each_naming_the_account(fake: FakeStripe) -> None:
    test = fake.other_mode()
    live_side, got = listen(fake, connect=True)
    test_side = test.deliver_to(live_side.endpoint.send, fake.webhook_secret, auto=False, connect=True)
    own, other = listen(fake)
    for n in range(3):
        (test if n % 2 else fake).change.create_customer(f"{n}@acme.com")
        live_side.deliver_due()
        test_side.deliver_due()
    own.deliver_due()
    assert [(body["livemode"], body["account"]) for body, _ in got] == [
        (True, fake.account_id),
        (False, fake.account_id),
        (True, fake.account_id),
    ]
    assert all(passes(fake, body, headers) for body, headers in got)
    assert all("account" not in body for body, _ in other)


def test_thin_events_come_beside_snapshots_and_the_sdk_reads_them(fake: FakeStripe) -> None:
    """[verify] that their ids differ, and how `changes` looks."""
    snapshots, got = listen(fake)
    thin, notices = listen(fake, thin=True)
    owner = fake.change.create_customer("a@acme.com")
    fake.change.update_customer(owner, email="b@acme.com")
    for deliveries in (snapshots, thin):
        deliveries.deliver_due()
    client = stripe.StripeClient(fake.api_key)
    for (snapshot, _), (notice, headers) in zip(got, notices, strict=True):
        read = client.parse_event_notification(json.dumps(notice, indent=2), headers["Stripe-Signature"], fake.webhook_secret)
        assert (read.id, read.type) == (notice["id"], "v1." + snapshot["type"])
        assert (read.related_object.id, read.livemode) == (owner.id, True)
        whole = fake.get(f"/v2/core/events/{notice['id']}")
        assert whole["snapshot_event"] == snapshot["id"] != notice["id"]
        assert (whole["changes"] or {}).get("before") == snapshot["data"].get("previous_attributes")
    assert fake.request("/v2/core/events/evt_2nobody").status == 404


def test_our_endpoint_asks_only_for_types_that_we_handle_and_never_for_drafts() -> None:
    assert RECOMMENDED <= HANDLED_TYPES
    assert not {"invoice.created", "*"} & RECOMMENDED


@pytest.mark.parametrize(
    ("types", "status", "hours"),
    [
        (frozenset({"invoice.paid"}), 200, 1.0),
        (None, 200, 1.5),
        (frozenset({"invoice.created"}), 500, 72.0),
        (RECOMMENDED, 500, 1.0),
    ],
)
def test_only_who_asks_for_drafts_holds_them_back_and_we_never_do(
    fake: FakeStripe, types: frozenset | None, status: int, hours: float
) -> None:
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900)
    subscription = fake.change.subscribe(fake.change.create_customer("a@acme.com"), price)
    deliveries, _ = listen(fake, [status] * 500, types=types)
    draft = fake.change.leave_draft(subscription)
    fake.clock.advance(1800)
    deliveries.deliver_due()  # answered half an hour late: an hour counts from then
    fake.clock.advance(hours * 3600 - 1801)
    assert fake.pass_time() == 0
    assert draft.status == "draft"
    fake.clock.advance(1)
    assert fake.pass_time() == 1
    assert (draft.status, subscription.latest_invoice) == ("paid", draft.id)
