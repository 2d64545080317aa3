"""Single faults of FAULTS 5 on the way from event to mirror, on both databases."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from models.settings import AppSettings
from models.store import bulk
from models.store.keys import Keyring
from models.store.mirror import decode
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.backfilled import START, lifted, rows
from tests.support.pipeline import Pipeline
from workers import absorb


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        fake.deliver_to(lambda _body, _headers: 200, auto=False)
        yield fake


@pytest.fixture
def line(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, lifted(settings), keyring, fake)
    yield line
    line.close()


def told(fake: FakeStripe) -> list[bytes]:
    """The events since last time; the clock then moves past everything that a read could be confused with."""
    deliveries = fake.deliveries[0]
    bodies = [deliveries.signed(deliveries.take().event_id)[0] for _ in deliveries.pending()]
    fake.clock.advance(10)
    return bodies


def pointer(body: bytes, event_id: str) -> bytes:
    """The same news in a version from the future: its object must be read."""
    return json.dumps(json.loads(body) | {"id": event_id, "api_version": "2031-01-01.hyssop"}).encode()


def subscribed(line: Pipeline, fake: FakeStripe, seats: int = 1, **price: Any) -> Any:
    """A subscription of acme.com in the mirror."""
    line.add_customers("acme.com")
    plan = fake.change.create_price(fake.change.create_product("Growth"), price.pop("amount", 10_000), **price)
    subscription = fake.change.subscribe(fake.change.create_customer("ap@acme.com"), plan, seats)
    line.receive(told(fake))
    line.drain_all()
    return subscription


def held(line: Pipeline, kind: str, object_id: str) -> Any:
    """The value that the mirror holds."""
    with session_scope(line.database) as connection:
        facts = bulk.run(connection, f"SELECT facts FROM stripe_{kind}s WHERE id = ?", [object_id]).scalar()
    return decode(kind, facts)


@pytest.mark.fault("F82", "F24")
def test_an_older_or_truncated_event_takes_no_item_away(line: Pipeline, fake: FakeStripe) -> None:
    fake.api.sizes.items = 10
    subscription = subscribed(line, fake)
    fake.clock.advance(10)
    fake.change.change_quantity(subscription, 2)
    late = told(fake)
    for n in range(14):
        fake.change.add_item(subscription, fake.change.create_price(next(iter(fake.state.of("product"))), 100 + n))
    line.receive(told(fake)[-1:])
    line.drain_all()
    count = "SELECT count(*) FROM stripe_subscription_items"
    assert rows(line, count) == [(15,)]
    line.receive(late)
    line.drain_all()
    assert rows(line, count) == [(15,)]
    assert len(held(line, "subscription", subscription.id).items) == 15
    assert line.stored() == line.expected()


@pytest.mark.fault("F84", "F06")
def test_a_deleted_draft_invoice_stays_deleted_whatever_comes_after(line: Pipeline, fake: FakeStripe) -> None:
    line.add_customers("acme.com")
    customer = fake.change.create_customer("ap@acme.com")
    invoice = fake.change.create_invoice(customer, 5000, finalize=False)
    told(fake)
    with fake.recorder.changing(invoice, "invoice.updated"):
        invoice.auto_advance = False
    update = told(fake)
    fake.change.delete_draft(invoice)
    line.receive(told(fake))
    line.drain_all()
    line.receive(update)
    line.drain_all()
    assert rows(line, "SELECT kind, final FROM stripe_invoices") == [("tombstone", 1)]
    assert line.stored() == line.expected()


@pytest.mark.fault("F09")
def test_an_old_event_whose_row_was_pruned_changes_nothing(line: Pipeline, fake: FakeStripe) -> None:
    subscription = subscribed(line, fake)
    fake.change.change_quantity(subscription, 2)
    old = told(fake)
    line.receive(old)
    line.drain_all()
    fake.change.change_quantity(subscription, 7)
    line.receive(told(fake))
    line.drain_all()
    with session_scope(line.database, write=True) as connection:
        bulk.run(connection, "DELETE FROM inbox")
    fake.clock.advance(25 * 86_400)
    line.receive(old)
    line.drain_all()
    assert [row[0] for row in rows(line, "SELECT status FROM inbox")] == ["superseded"]
    assert held(line, "subscription", subscription.id).items[0].quantity == 7


@pytest.mark.fault("F69")
def test_a_key_of_the_wrong_mode_deletes_no_row(line: Pipeline, fake: FakeStripe) -> None:
    subscription = subscribed(line, fake)
    fake.change.change_quantity(subscription, 2)
    fake.keys._keys[fake.api_key].livemode = False  # every read is a 404 now, and the account looks empty
    line.receive([pointer(told(fake)[0], "evt_future")])
    for _ in range(4):
        line.drain()
        fake.clock.advance(65)
    assert held(line, "subscription", subscription.id).status == "active"
    assert [row[1] for row in line.problems()] == ["pending"]
    fake.keys._keys[fake.api_key].livemode = True
    line.drain_all()
    assert line.stored() == line.expected()


@pytest.mark.fault("F69")
def test_a_404_alone_is_no_deletion_and_a_second_one_a_minute_later_is(line: Pipeline, fake: FakeStripe) -> None:
    subscription = subscribed(line, fake)
    fake.change.change_quantity(subscription, 2)
    body = pointer(told(fake)[0], "evt_future")
    with fake.state.lock:
        fake.state.remove(subscription)
    line.receive([body])
    line.drain()
    assert held(line, "subscription", subscription.id).status == "active"
    assert [row[1] for row in line.problems()] == ["pending"]
    fake.clock.advance(65)
    line.drain()
    assert held(line, "subscription", subscription.id).status == "canceled"
    assert line.problems() == []


@pytest.mark.fault("F70")
def test_a_stale_read_does_not_undo_an_end_and_is_made_again(line: Pipeline, fake: FakeStripe) -> None:
    subscription = subscribed(line, fake)
    fake.change.cancel(subscription)
    (ended,) = told(fake)
    line.receive([ended])
    line.drain_all()
    fake.faults.stale_rate, fake.faults.stale_seconds = 1.0, 15.0
    later = json.loads(ended) | {"created": fake.clock.now()}
    line.receive([pointer(json.dumps(later).encode(), "evt_future")])
    line.drain()
    assert held(line, "subscription", subscription.id).status == "canceled"
    assert [row[1] for row in line.problems()] == ["pending"]
    fake.faults.clear()
    fake.clock.advance(6)
    line.drain()
    assert line.problems() == []
    assert line.stored() == line.expected()


@pytest.mark.fault("F23")
def test_what_a_payload_never_carries_is_not_lost_by_it(line: Pipeline, fake: FakeStripe) -> None:
    """Tiers and currency options come only where they are expanded, never in an event."""
    tiers = [(10, 500, None), (None, 300, 1000)]
    subscription = subscribed(line, fake, seats=20, amount=None, tiers=tiers)
    before = line.stored()
    assert next(iter(before.values()))["mrr"] == 10 * 500 + 10 * 300 + 1000
    fake.clock.advance(10)  # clearly after the read that brought the tiers, so that the event itself counts
    fake.change.update_price(subscription.items[0].price, nickname="Volume")
    line.receive(told(fake))
    assert line.drain_all().reads == 0
    assert held(line, "price", subscription.items[0].price).nickname == "Volume"
    assert held(line, "price", subscription.items[0].price).tiers
    assert line.stored() == before == line.expected()


@pytest.mark.fault("F59")
def test_an_answer_that_breaks_our_code_fails_its_own_events_alone(
    line: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = subscribed(line, fake)
    fake.change.change_quantity(subscription, 2)
    (body,) = told(fake)
    fake.change.move_domain(subscription.customer, "globex.com")
    moved = told(fake)

    def fp(name: str) -> None:
        if name == "before_refetch_write":
            raise ArithmeticError

    with monkeypatch.context() as patch:
        patch.setattr(absorb, "fp", fp)
        line.receive([pointer(body, "evt_future"), *moved])
        line.drain()
    assert [row[1:] for row in line.problems()] == [("pending", 1, "ArithmeticError")]
    assert held(line, "customer", subscription.customer).email == "ap@globex.com"
    line.drain_all()
    assert line.stored() == line.expected()
