"""The fake Stripe as the SDK sees it, over HTTP."""

from collections.abc import Iterator

import pytest
import stripe

from tests.fake_stripe import Clock, FakeStripe

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def served() -> Iterator[FakeStripe]:
    with FakeStripe(clock=Clock(1_790_000_000)) as fake:
        yield fake


def sell(fake: FakeStripe, customers: int) -> None:
    price = fake.change.create_price(fake.change.create_product("Growth"), 9900, lookup_key="growth_monthly")
    for n in range(customers):
        fake.change.subscribe(fake.change.create_customer(f"billing@company{n}.com"), price, 2)
        fake.clock.advance(1)


def test_walking_events_backwards_from_the_last_seen_yields_oldest_to_newest(served: FakeStripe) -> None:
    sell(served, 3)
    client = stripe.StripeClient(served.api_key, base_addresses={"api": served.url})
    ids = [e.id for e in served.state.of("event")]
    walked = [e.id for e in client.v1.events.list({"ending_before": ids[4], "limit": 5}).auto_paging_iter()]
    assert walked == ids[5:]


def test_the_sdk_walks_every_list_and_reads_every_object_as_its_type(served: FakeStripe) -> None:
    sell(served, 15)
    client = stripe.StripeClient(served.api_key, base_addresses={"api": served.url}, stripe_version=served.version)
    subscriptions = list(
        client.v1.subscriptions.list(
            {"status": "all", "limit": 4, "expand": ["data.latest_invoice.payments"]}
        ).auto_paging_iter()
    )
    assert len(subscriptions) == 15
    assert isinstance(subscriptions[0], stripe.Subscription)
    assert isinstance(subscriptions[0].latest_invoice, stripe.Invoice)
    assert subscriptions[0].latest_invoice.payments.data[0].status == "paid"
    for service, kind in (
        (client.v1.customers, stripe.Customer),
        (client.v1.invoices, stripe.Invoice),
        (client.v1.prices, stripe.Price),
        (client.v1.products, stripe.Product),
        (client.v1.invoice_payments, stripe.InvoicePayment),
        (client.v1.payment_intents, stripe.PaymentIntent),
        (client.v1.events, stripe.Event),
    ):
        found = list(service.list({"limit": 7}).auto_paging_iter())
        assert found
        assert all(isinstance(thing, kind) for thing in found)


def test_the_sdk_sees_stripes_errors(served: FakeStripe) -> None:
    client = stripe.StripeClient(served.api_key, base_addresses={"api": served.url})
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.customers.retrieve("cus_nobody")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    served.faults.order("rate_limit", reason="global-concurrency")
    with pytest.raises(stripe.RateLimitError) as limited:
        client.v1.customers.list()
    assert limited.value.headers["Stripe-Rate-Limited-Reason"] == "global-concurrency"
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient("rk_live_wrong", base_addresses={"api": served.url}).v1.customers.list()


@pytest.mark.parametrize("kind", ["reset", "truncate", "hang"])
def test_broken_answers_reach_the_sdk_as_connection_errors(served: FakeStripe, kind: str) -> None:
    client = stripe.StripeClient(served.api_key, base_addresses={"api": served.url})
    served.faults.order(kind, seconds=0.05)
    with pytest.raises(stripe.APIConnectionError):
        client.v1.customers.list()
    assert client.v1.customers.list().data == []
