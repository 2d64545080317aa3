"""What is due without an event stays due until it was computed, whatever fails, and keeps nobody from his turn (I3)."""

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from models.settings import AppSettings
from models.store import bulk
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.pipeline import Pipeline
from workers import due, recompute
from workers.due import LONGEST_MS, PutOff

DOMAINS = ("acme.com", "globex.com", "initech.com", "hooli.com")


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(1_790_000_000)) as fake:
        fake.deliver_to(lambda body, headers: 200, auto=False)
        yield fake


@pytest.fixture
def line(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, settings, keyring, fake)
    line.add_customers(*DOMAINS)
    yield line
    line.close()


def told(line: Pipeline, fake: FakeStripe) -> None:
    """Everything that happened reaches us and is worked off."""
    deliveries = fake.deliveries[0]
    bodies = []
    while deliveries.pending():
        bodies.append(deliveries.signed(deliveries.take().event_id)[0])
    line.receive(bodies)
    line.drain_all()


def rename(line: Pipeline, fake: FakeStripe) -> list[Any]:
    """Four customers whose figures are due because their product got another name; their subscriptions."""
    product = fake.change.create_product("Growth")
    price = fake.change.create_price(product, 1000)
    made = []
    for domain in DOMAINS:
        fake.clock.advance(5)
        made.append(fake.change.subscribe(fake.change.create_customer(f"ap@{domain}"), price))
    fake.clock.advance(5)
    told(line, fake)
    fake.change.rename_product(product, "Scale")
    fake.clock.advance(5)
    return made


class Failing:
    """A recompute of these Stripe customers fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ids: Collection[str]) -> None:
        self.ids, self.count = set(ids), 0
        self._load = recompute.load
        monkeypatch.setattr(due.recompute, "load", self.load)

    def load(self, connection: Any, record: Any, ids: Collection[str], **more: Any) -> recompute.Loaded:
        if self.ids & set(ids):
            self.count += 1
            raise ArithmeticError
        return self._load(connection, record, ids, **more)


@pytest.mark.fault("I3", "F59")
def test_what_is_due_and_fails_stays_due_and_is_right_in_the_end(
    line: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rename(line, fake)
    failing = Failing(monkeypatch, {made[0].customer})
    told(line, fake)
    wrong = {key for key, right in line.expected().items() if line.stored()[key] != right}
    assert len(wrong) == 1, "its neighbours are through"
    tried = failing.count
    line.drain()
    assert failing.count == tried, "it is left alone for a while"
    failing.ids.clear()
    fake.clock.advance(3)
    line.drain()
    assert line.stored() == line.expected()


@pytest.mark.fault("I3", "F59")
def test_however_many_fail_the_others_have_their_turn(
    line: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rename(line, fake)
    monkeypatch.setattr(due, "CHUNK", 1)
    last = max(made, key=lambda subscription: subscription.customer)
    Failing(monkeypatch, {one.customer for one in made if one is not last})
    told(line, fake)
    for _ in made:
        line.drain()
    with session_scope(line.database) as connection:
        waiting = set(bulk.run(connection, "SELECT stripe_customer_id FROM matches WHERE due").scalars())
    assert waiting == {one.customer for one in made} - {last.customer}


@pytest.mark.fault("F78")
def test_a_date_that_changes_figures_is_not_forgotten_when_computing_fails(
    line: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename(line, fake)
    told(line, fake)
    fake.clock.advance(40)
    with session_scope(line.database, write=True) as connection:
        bulk.run(connection, "UPDATE customers SET next_change_at = ?", [fake.clock.now() - 10])
    with monkeypatch.context() as patch:
        patch.setattr(due.recompute, "save", lambda *_args, **_more: 1 / 0)
        line.drain()
    with session_scope(line.database) as connection:
        dates = bulk.run(connection, "SELECT next_change_at FROM customers").scalars().all()
    assert dates == [fake.clock.now() - 10] * 4
    fake.clock.advance(3)
    line.drain()
    with session_scope(line.database) as connection:
        assert set(bulk.run(connection, "SELECT next_change_at FROM customers").scalars()) == {None}


def test_what_fails_is_put_off_ever_longer_and_forgotten_once_it_worked() -> None:
    put_off = PutOff()
    waits = []
    for _ in range(10):
        put_off.failed([(1, "cus_1"), 7], 0)
        waits.append(next(ms for ms in range(0, LONGEST_MS + 1, 1000) if not put_off.at(ms)))
    assert waits == [2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, LONGEST_MS, LONGEST_MS]
    put_off.worked([7])
    assert put_off.at(0) == {(1, "cus_1")}
