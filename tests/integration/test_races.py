"""Two drains that meet on one customer: what either told is in the figures in the end (I3, F56)."""

from collections.abc import Iterator
from zlib import crc32

import pytest

import workers.drain
from models.errors import Conflict
from models.settings import AppSettings
from models.store import bulk
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.pipeline import Pipeline
from workers import recompute
from workers.drain import Drainer


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(1_790_000_000)) as fake:
        fake.deliver_to(lambda body, headers: 200, auto=False)
        yield fake


@pytest.fixture
def pipeline(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, settings.model_copy(update={"partitions": 8}), keyring, fake)
    line.add_customers("acme.com")
    yield line
    line.close()


def bodies(fake: FakeStripe, since: int = 0) -> list[bytes]:
    deliveries = fake.deliveries[0]
    return [deliveries.signed(waiting.event_id)[0] for waiting in deliveries.pending()[since:]]


def partition(name: str) -> int:
    return crc32(name.encode()) % 8


@pytest.mark.fault("F56")
def test_a_renamed_product_is_not_lost_on_a_customer_being_computed(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = fake.change
    product = next(p for p in iter(lambda: change.create_product("Growth"), None) if partition(p.id) != 0)
    price = change.create_price(product, 1000)
    fake.clock.advance(10)
    customer = next(
        c
        for c in iter(lambda: change.create_customer("ap@acme.com"), None)
        if partition(c.id) not in (0, partition(product.id))
    )
    fake.clock.advance(10)
    subscription = change.subscribe(customer, price)
    pipeline.receive(bodies(fake))
    pipeline.drain_all()
    before = len(bodies(fake))
    fake.clock.advance(10)
    change.change_quantity(subscription, 3)
    fake.clock.advance(10)
    change.rename_product(product, "Growth Plus")
    fake.clock.advance(10)
    pipeline.receive(bodies(fake, before))
    met: list[str] = []

    def rename_meanwhile(name: str) -> None:
        if name == "before_apply" and not met:
            met.append(name)
            Drainer(pipeline.tools).run({partition(product.id)}, company_s=0.0)

    monkeypatch.setattr(workers.drain, "fp", rename_meanwhile)
    Drainer(pipeline.tools).run({partition(customer.id)}, company_s=0.0)
    monkeypatch.undo()
    pipeline.drain_all()
    assert met
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F56", "F73")
def test_an_outcome_computed_earlier_never_replaces_a_later_one(pipeline: Pipeline, fake: FakeStripe) -> None:
    change = fake.change
    price = change.create_price(change.create_product("Growth"), 1000, lookup_key="growth")
    customer = change.create_customer("ap@nobody.com")
    fake.clock.advance(10)
    change.subscribe(customer, price)
    pipeline.receive(bodies(fake))
    pipeline.drain_all()
    before = len(bodies(fake))
    with session_scope(pipeline.database, write=True) as connection:
        bulk.run(connection, "DELETE FROM matches")  # as in a first import, before anybody matched it
    now = fake.clock.now()
    with session_scope(pipeline.database) as connection:
        loaded = recompute.load(connection, pipeline.record, [customer.id])
    early = recompute.compute(loaded, now=now, now_ms=now * 1000, cause="backfill")
    fake.clock.advance(10)
    change.move_domain(customer, "acme.com")
    fake.clock.advance(10)
    pipeline.receive(bodies(fake, before))
    pipeline.drain_all()
    with pytest.raises(Conflict), session_scope(pipeline.database, write=True) as connection:
        recompute.save(connection, early, now_ms=now * 1000)
    assert pipeline.stored() == pipeline.expected()


def test_an_unreadable_subscription_flags_its_customer_and_its_neighbours_count(pipeline: Pipeline, fake: FakeStripe) -> None:
    from workers.apply import apply_reads
    from workers.ordering import ReadBounds

    change = fake.change
    price = change.create_price(change.create_product("Growth"), 1000, lookup_key="growth")
    customer = change.create_customer("ap@acme.com")
    fake.clock.advance(10)
    change.subscribe(customer, price)
    pipeline.receive(bodies(fake))
    pipeline.drain_all()
    broken = {
        "id": "sub_broken",
        "object": "subscription",
        "customer": customer.id,
        "start_date": "soon",
        "items": {"data": []},
    }
    with session_scope(pipeline.database, write=True) as connection:
        done = apply_reads(connection, pipeline.record, [broken], ReadBounds(None, None, 0), listed=True)
        recompute.recompute(connection, pipeline.record, done.touched, now=fake.clock.now(), cause="event")
    (stored,) = pipeline.stored().values()
    assert stored["flags"] == '["unreadable:sub_broken"]'
    assert stored["mrr"] == 1000


def test_events_never_starve_what_is_due_without_one(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        fake.change.create_customer(f"ap@company{number}.com")
        fake.clock.advance(5)
    pipeline.receive(bodies(fake))
    order: list[str] = []
    claim = Drainer._claim

    def claimed(self: Drainer) -> list[object]:
        rows = claim(self)
        order.extend("event" for _ in rows)
        return rows  # type: ignore[return-value]

    monkeypatch.setattr(workers.drain, "BATCH", 1)
    monkeypatch.setattr(workers.drain, "DUE_S", 0.0)
    monkeypatch.setattr(workers.drain, "recompute_due", lambda *_: order.append("due") or 0)
    monkeypatch.setattr(Drainer, "_claim", claimed)
    pipeline.drain()
    assert order.index("due") < len(order) - 1 - order[::-1].index("event")
