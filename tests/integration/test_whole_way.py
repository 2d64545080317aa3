"""Events of a faithful fake Stripe through inbox, drain and read model, on both databases."""

import random
from collections.abc import Iterator

import pytest

from models.settings import AppSettings
from models.store.connections import load_connection
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from models.store.snapshots import load_computed, load_matches
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.pipeline import Pipeline

START = 1_790_000_000


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        yield fake


@pytest.fixture
def pipeline(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, settings, keyring, fake)
    yield line
    line.close()


def bodies(fake: FakeStripe, since: int = 0) -> list[bytes]:
    """Every event made so far, as the endpoint would receive it."""
    deliveries = fake.deliveries[0]
    return [deliveries.signed(waiting.event_id)[0] for waiting in deliveries.pending()[since:]]


def test_a_signup_becomes_plan_mrr_and_paid(pipeline: Pipeline, fake: FakeStripe) -> None:
    fake.deliver_to(lambda body, headers: 200, auto=False)
    ids = pipeline.add_customers("acme.com", "globex.com")
    change = fake.change
    price = change.create_price(change.create_product("Growth"), 140000, lookup_key="growth_monthly")
    fake.clock.advance(10)
    customer = change.create_customer("ap@acme.com", "Acme")
    fake.clock.advance(10)
    change.subscribe(customer, price)
    pipeline.receive(bodies(fake))
    pipeline.drain_all()
    assert pipeline.stored()[str(ids["acme.com"])]["headline"] == "Plan: Growth, MRR $1,400, paid"
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F01")
@pytest.mark.fault("F03")
@pytest.mark.parametrize("seed", range(6))
def test_shuffled_doubled_events_converge_on_stripe(pipeline: Pipeline, fake: FakeStripe, seed: int) -> None:
    fake.deliver_to(lambda body, headers: 200, auto=False)
    rng = random.Random(seed)
    pipeline.add_customers("a.com", "b.com", "c.com", "moved.com")
    change = fake.change
    plans = [
        change.create_price(change.create_product(n), a, lookup_key=k)
        for n, a, k in (("Starter", 2900, None), ("Growth", 9900, "growth_monthly"), ("Scale", 49900, "scale_monthly"))
    ]
    coupon = change.create_coupon(percent_off=20, duration="forever")
    subscriptions = []
    for domain in ("a.com", "a.com", "b.com", "c.com", "gmail.com"):
        fake.clock.advance(rng.choice([0, 0, 1, 5]))
        customer = change.create_customer(f"ap@{domain}")
        subscriptions.append(change.subscribe(customer, rng.choice(plans)))
    for _ in range(25):
        fake.clock.advance(rng.choice([0, 0, 0, 1, 3, 30]))
        subscription = rng.choice(subscriptions)
        act = rng.choice(["quantity", "price", "fail", "recover", "cancel", "coupon", "move", "pause", "rename"])
        if subscription.status in ("canceled", "incomplete_expired") and act not in ("move", "rename"):
            continue
        if act == "quantity":
            change.change_quantity(subscription, rng.randint(1, 9))
        elif act == "price":
            change.change_price(subscription, rng.choice(plans))
        elif act == "fail":
            change.fail_payment(subscription)
        elif act == "recover" and subscription.status == "past_due":
            change.recover(subscription)
        elif act == "cancel" and rng.random() < 0.3:
            change.cancel(subscription)
        elif act == "coupon":
            change.attach_coupon(subscription, coupon)
        elif act == "move":
            change.move_domain(subscription.customer, "moved.com")
        elif act == "pause":
            change.pause_collection(subscription)
        elif act == "rename":
            change.rename_product(plans[0].product, f"Starter {rng.randint(1, 9)}")
    sent = bodies(fake)
    sent += rng.choices(sent, k=len(sent) // 3)
    rng.shuffle(sent)
    fake.clock.advance(5)
    for start in range(0, len(sent), 7):
        pipeline.receive(sent[start : start + 7])
        if rng.random() < 0.7:
            pipeline.drain()
    pipeline.drain_all()
    assert pipeline.stored() == pipeline.expected()
    counts = pipeline.counts()
    assert counts.get("dead", 0) == 0, pipeline.problems()


@pytest.mark.fault("F67")
def test_a_disconnected_account_is_not_called_and_its_events_are_still_applied(pipeline: Pipeline, fake: FakeStripe) -> None:
    fake.deliver_to(lambda body, headers: 200, auto=False)
    ids = pipeline.add_customers("acme.com")
    change = fake.change
    price = change.create_price(change.create_product("Growth"), 140000, lookup_key="growth_monthly")
    customer = change.create_customer("ap@acme.com", "Acme")
    fake.clock.advance(10)
    subscription = change.subscribe(customer, price)
    fake.clock.advance(10)
    change.fail_payment(subscription)
    fake.keys.revoke(fake.api_key)
    pipeline.receive(bodies(fake))
    pipeline.drain()
    assert pipeline.stored()[str(ids["acme.com"])]["headline"] == "Plan: Growth, MRR $1,400, payment failing"
    with session_scope(pipeline.database) as connection:
        assert load_connection(connection, pipeline.record.id).state == "disconnected"
    asked = len(fake.reads.requests)
    fake.clock.advance(400)
    pipeline.drain()
    assert len(fake.reads.requests) == asked
    assert {row[1] for row in pipeline.problems()} == {"pending"}


def test_an_unmatched_stripe_customer_shows_what_it_would_bring(pipeline: Pipeline, fake: FakeStripe) -> None:
    fake.deliver_to(lambda body, headers: 200, auto=False)
    price = fake.change.create_price(fake.change.create_product("Growth"), 140000, lookup_key="growth_monthly")
    fake.clock.advance(10)
    customer = fake.change.create_customer("ap@nobody.com", "Nobody")
    fake.clock.advance(10)
    fake.change.subscribe(customer, price)
    pipeline.receive(bodies(fake))
    pipeline.drain_all()
    with session_scope(pipeline.database) as connection:
        found = load_matches(connection, pipeline.record.id, [customer.id])[customer.id]
    assert (found.outcome, found.reason, found.mrr, found.plan) == (
        "unmatched", "no_customer_with_domain", 140000, "growth_monthly",
    )  # fmt: skip


def test_renewals_met_one_event_at_a_time_cost_no_read(pipeline: Pipeline, fake: FakeStripe) -> None:
    fake.deliver_to(lambda body, headers: 200, auto=False)
    fake.change.step_seconds = 2
    pipeline.add_customers("acme.com")
    price = fake.change.create_price(fake.change.create_product("Growth"), 140000, lookup_key="growth_monthly")
    subscription = fake.change.subscribe(fake.change.create_customer("ap@acme.com"), price)
    pipeline.receive(bodies(fake))
    pipeline.drain_all()
    before, reads = len(fake.deliveries[0].pending()), fake.reads.total
    for _ in range(3):
        fake.clock.advance(40)
        fake.change.renew(subscription)
    for body in bodies(fake, before):
        pipeline.receive([body])
        pipeline.drain()
    assert pipeline.counts().get("pending", 0) == 0
    assert fake.reads.total == reads
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F93")
def test_an_event_that_changes_no_fact_recomputes_nobody_and_makes_the_evidence_younger(
    pipeline: Pipeline, fake: FakeStripe
) -> None:
    fake.deliver_to(lambda body, headers: 200, auto=False)
    change, ids = fake.change, pipeline.add_customers("acme.com")
    customer = change.create_customer("ap@acme.com", "Acme")
    change.subscribe(customer, change.create_price(change.create_product("Growth"), 140000))
    pipeline.receive(bodies(fake))
    pipeline.drain_all()
    seen, before = len(bodies(fake)), pipeline.stored()
    for told in ("first", "second"):
        fake.clock.advance(100)
        change.update_customer(customer, metadata={"crm": told})
    pipeline.receive(bodies(fake, seen))
    report = pipeline.drain_all()
    assert (report.events, report.recomputed, report.reads) == (2, 0, 0)
    assert pipeline.stored() == before
    with session_scope(pipeline.database) as connection:
        assert load_computed(connection, [ids["acme.com"]])[ids["acme.com"]].as_of == fake.clock.now()
    seen = len(bodies(fake))
    fake.clock.advance(100)
    change.update_customer(customer, name="Acme Holding")
    pipeline.receive(bodies(fake, seen))
    assert pipeline.drain_all().recomputed == 1, "the lists show its name"
