"""A backfill that doesn't come to its end leaves nothing behind that is wrong (found by random histories)."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from models.errors import Conflict
from models.settings import AppSettings
from models.store.keys import Keyring
from models.store.session import Database
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.generate import Shape
from tests.fake_stripe.server import FakeStripe
from tests.support.backfilled import START, Killed, backfill, dies_at, fill, lifted, on_first
from tests.support.pipeline import Pipeline
from workers import backfill_stages, recompute

TINY = Shape(ours=12, unmatched=2, personal=2, no_email=1, collisions=2, subdomains=2)


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        fake.deliver_to(lambda _body, _headers: 200, auto=False)
        yield fake


@pytest.fixture
def pipeline(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, lifted(settings), keyring, fake)
    yield line
    line.close()


def told(fake: FakeStripe) -> list[bytes]:
    deliveries = fake.deliveries[0]
    return [deliveries.signed(deliveries.take().event_id)[0] for _ in deliveries.pending()]


@pytest.mark.fault("F55", "F73", "F74")
def test_what_a_killed_backfill_wrote_reaches_the_figures_without_being_taken_up(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pages supersede the events that tell of the same change, so nobody else would recompute that customer."""
    ids = pipeline.add_customers("acme.com")
    change = fake.change
    price = change.create_price(change.create_product("Growth"), 10_000, lookup_key="growth")
    subscription = change.subscribe(change.create_customer("ap@acme.com"), price)
    pipeline.receive(told(fake))
    assert backfill(pipeline).state == "complete"  # the price is known in full: it makes nobody due below
    pipeline.drain_all()
    fake.clock.advance(10)
    change.change_quantity(subscription, 5)
    pipeline.receive(told(fake))
    with dies_at(monkeypatch, "backfill_recompute", 1), pytest.raises(Killed):
        backfill(pipeline)
    pipeline.drain_all()
    assert pipeline.stored()[str(ids["acme.com"])]["mrr"] == 50_000
    assert pipeline.stored() == pipeline.expected()


class Contended:
    """Others change our customers sooner than more than `most` Stripe customers at once are recomputed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.most, self.sizes = most, list[int]()
        self._save = recompute.save
        monkeypatch.setattr(backfill_stages.recompute, "save", self.save)

    def save(self, connection: Connection, done: recompute.Recomputed, **more: Any) -> None:
        self.sizes.append(len(done.loaded.touched))
        if len(done.loaded.touched) > self.most:
            raise Conflict("somebody was faster")
        self._save(connection, done, **more)


@pytest.mark.fault("F73")
def test_customers_that_change_all_the_time_are_recomputed_in_ever_smaller_parts(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(fake, pipeline, TINY)
    contended = Contended(monkeypatch, most=3)
    assert backfill(pipeline).state == "complete"
    assert max(contended.sizes) > 10
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F73", "F92")
def test_a_run_that_others_were_always_faster_than_is_taken_up_by_the_next_start(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(fake, pipeline, TINY)
    with monkeypatch.context() as patch:
        Contended(patch, most=0)
        result = backfill(pipeline)
    assert (result.state, result.exit_code) == ("failed", 1)
    assert "changed again and again" in (result.error or "")
    result = backfill(pipeline)
    assert (result.state, result.resumed, result.run_id) == ("complete", True, 1)


@pytest.mark.fault("F55", "F73")
def test_an_event_of_a_sibling_does_not_settle_who_has_moved_to_another_customer(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who moved is due since the killed backfill wrote it, and is matched anew by whoever computes it for itself."""
    ids = pipeline.add_customers("acme.com", "globex.com")
    change = fake.change
    price = change.create_price(change.create_product("Growth"), 10_000, lookup_key="growth")
    stays, moves = (change.subscribe(change.create_customer(f"{name}@acme.com"), price) for name in ("a", "b"))
    pipeline.receive(told(fake))
    pipeline.drain_all()
    fake.clock.advance(10)
    change.move_domain(moves.customer, "globex.com")
    pipeline.receive(told(fake))
    with dies_at(monkeypatch, "backfill_recompute", 1), pytest.raises(Killed):
        backfill(pipeline)
    fake.clock.advance(10)
    change.change_quantity(stays, 3)
    pipeline.receive(told(fake))
    pipeline.drain_all()
    stored = pipeline.stored()
    assert [stored[str(ids[domain])]["mrr"] for domain in ("acme.com", "globex.com")] == [30_000, 10_000]
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F57", "F92")
def test_a_run_whose_lease_ran_out_as_it_stopped_says_so(pipeline: Pipeline, fake: FakeStripe) -> None:
    fake.change.create_customer("ap@acme.com")
    stop = threading.Event()

    def overslept() -> None:
        stop.set()
        fake.clock.advance(61)

    result = backfill(pipeline, stop=stop, progress=on_first(overslept, "reading"))
    assert (result.state, result.exit_code) == ("failed", 1)
    assert "taken this run over" in (result.error or "")
    fake.clock.advance(61)
    assert backfill(pipeline).state == "complete"
