"""What can be counted: calls to Stripe per event, recomputes per burst, reads of a full sync, transactions of a throttled one.
In one process, on the fake's virtual clock: counts, not speeds."""

import contextlib
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import event

from models.migrations.run import migrate
from models.settings import AppSettings
from models.store.keys import Keyring
from models.store.logs import set_up_logs
from models.store.session import Database
from tests.benchmarks.shares import steps_of_a_drain
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.endpoint import RECOMMENDED
from tests.fake_stripe.generate import Generator, Shape
from tests.fake_stripe.life import Life
from tests.fake_stripe.names import company
from tests.fake_stripe.server import FakeStripe
from tests.support.backfilled import START, backfill, fill
from tests.support.environment import COOKIE_KEY, ENCRYPTION_KEY
from tests.support.pipeline import Pipeline
from workers.drain import Drainer
from workers.stripe_api import Patience

FAULTS = ("F65", "F87", "F93")  # the rows that these measures are about, for `make faults`
LIFTED = {f"live_calls_per_second{of}": 1e6 for of in ("", "_per_endpoint")}


@contextlib.contextmanager
def account(url: str | None, shape: Shape, **limits: float) -> Iterator[tuple[Pipeline, FakeStripe, Generator]]:
    """A backfilled account in this process."""
    set_up_logs("ERROR")
    with tempfile.TemporaryDirectory() as directory, FakeStripe(seed=7, clock=Clock(START)) as fake:
        redis = f"unix://{directory}/none.sock"
        settings = AppSettings(data_dir=Path(directory), database_url=url, redis_url=redis, testing=True,
                               encryption_keys=ENCRYPTION_KEY, cookie_key=COOKIE_KEY, **{**LIFTED, **limits})  # fmt: skip
        database = Database(settings.database)
        migrate(database)
        line = Pipeline(database, settings, Keyring([ENCRYPTION_KEY]), fake)
        try:
            yield line, fake, fill(fake, line, shape)
        finally:
            line.close()
            database.dispose()


def mix(url: str | None, *, hostile: bool, changes: int, seed: int = 5) -> dict[str, Any]:
    """Calls to Stripe per event. Realistic: a life-like stream, some seconds apart, now and then late, doubled or failing to
    pay. Hostile: many changes within a second, delivered in any order and doubled, in a version of years ago."""
    rng = random.Random(seed)
    with account(url, Shape(ours=150)) as (line, fake, made):
        assert backfill(line).exit_code == 0
        fake.clock.advance(60)
        fake.deliver_to(lambda _body, _headers: 200, version="2020-08-27" if hostile else fake.version, auto=False)
        life = Life(fake, made, [company(5000 + n, made.rng) for n in range(300)], seed=seed)
        fake.reads.reset()
        before, events, sent, waiting = fake.reads.total, 0, 0, []
        fake.change.step_seconds = 0 if hostile else 1
        for number in range(changes):
            fake.clock.advance(rng.choice([0, 0, 0.2, 0.5]) if hostile else rng.uniform(1, 20))
            life.tick()
            pending = fake.deliveries[0].pending()
            fresh = [one for one in pending[sent:] if fake.state.get("event", one.event_id).type in RECOMMENDED]
            sent = len(pending)
            waiting += [fake.deliveries[0].signed(one.event_id)[0] for one in fresh]
            if hostile and number % 8 and number < changes - 1:
                continue
            rng.shuffle(waiting) if hostile or rng.random() < 0.02 else None
            again = [body for body in waiting if rng.random() < (0.2 if hostile else 0.01)]
            events += len(waiting)
            line.receive([*waiting, *again])
            waiting = []
            fake.clock.advance(0.3)
            line.drain()
        line.drain_all()
        calls, right = fake.reads.total - before, line.stored() == line.expected()
    name = "hostile" if hostile else "realistic"
    return {"measure": f"calls to Stripe, {name} mix", "events": events, "calls": calls,
            "calls_per_event": round(calls / events, 3), "figures_right": right}  # fmt: skip


def bursts(url: str | None) -> list[dict[str, Any]]:
    """How often one customer is recomputed for 50 events that are pending together, and that come within 100 ms."""
    with account(url, Shape(ours=10, unmatched=0, personal=0, collisions=0)) as (line, fake, _):
        assert backfill(line).exit_code == 0
        fake.clock.advance(60)
        fake.deliver_to(lambda _body, _headers: 200, auto=False)
        subscription = next(s for s in fake.state.of("subscription") if s.status == "active")
        together = _changed(fake, subscription, 50)
        line.receive_together(together)
        pending = line.drain().recomputed
        after = _changed(fake, subscription, 50, first=200)
        begun = threading.Event()
        arriving = threading.Thread(target=_arrive, args=(line, after, begun))
        arriving.start()
        begun.wait()
        trickled = Drainer(line.tools).run(set(range(line.partitions))).recomputed
        arriving.join()
        trickled += Drainer(line.tools).run(set(range(line.partitions))).recomputed
    return [{"measure": "recomputes, 50 events pending", "recomputes": pending},
            {"measure": "recomputes, 50 events in 100 ms", "recomputes": trickled}]  # fmt: skip


def _changed(fake: FakeStripe, subscription: Any, count: int, first: int = 100) -> list[bytes]:
    sent = len(fake.deliveries[0].pending())
    for quantity in range(first, first + count):
        fake.clock.advance(1)
        fake.change.change_quantity(subscription, quantity)
    fake.clock.advance(5)
    return [fake.deliveries[0].signed(one.event_id)[0] for one in fake.deliveries[0].pending()[sent:]]


def _arrive(line: Pipeline, bodies: list[bytes], begun: threading.Event) -> None:
    for start in range(0, len(bodies), 5):
        line.receive_together(bodies[start : start + 5])
        begun.set()
        time.sleep(0.01)


def full_sync(url: str | None, *, customers: int) -> dict[str, Any]:
    """Reads of a full sync of so many Stripe customers."""
    others = customers // 20
    with account(url, Shape(ours=customers - 2 * others, unmatched=others, personal=others, no_email=0, collisions=0,
                            subdomains=0)) as (line, fake, _):  # fmt: skip
        found = backfill(line)
        walked, reads = len(fake.state.of("customer")), dict(fake.reads.by_endpoint.most_common())
    return {
        "measure": "reads of a full sync",
        "stripe_customers": walked,
        "objects": found.objects,
        "reads": found.calls,
        **reads,
    }


def throttled(url: str | None) -> dict[str, Any]:
    """Transactions of a backfill that has to wait for its rate at every call (F87): waiting costs none."""
    with account(url, Shape(ours=60), live_calls_per_second=8.0, live_calls_per_second_per_endpoint=4.0) as (line, _fake, _):
        ended = {"commit": 0, "rollback": 0}
        for name in ended:
            event.listen(line.database.engine, name, lambda _conn, name=name: ended.__setitem__(name, ended[name] + 1))
        began = time.perf_counter()
        found = backfill(line, patience=Patience(attempts=3, seconds=30.0, throttled_s=30.0))
        took = time.perf_counter() - began
    return {"measure": "transactions of a throttled backfill", "calls": found.calls, "seconds": round(took, 1),
            "commits": ended["commit"], "reads": ended["rollback"],
            "transactions_per_call": round(sum(ended.values()) / max(found.calls, 1), 1)}  # fmt: skip


def drain_steps(url: str | None, *, rounds: int = 4) -> dict[str, Any]:
    """Where the time of a drain goes, by step (per cent of the whole): real events, 300 a batch."""
    with account(url, Shape(ours=400)) as (line, fake, _):
        assert backfill(line).exit_code == 0
        fake.clock.advance(60)
        fake.deliver_to(lambda _body, _headers: 200, auto=False)
        subscriptions = [s for s in fake.state.of("subscription") if s.status == "active"]
        for number in range(rounds * 300):
            fake.clock.advance(1)
            fake.change.change_quantity(subscriptions[number % len(subscriptions)], 2 + number % 50)
        fake.clock.advance(5)
        line.receive_together([fake.deliveries[0].signed(one.event_id)[0] for one in fake.deliveries[0].pending()])
        with steps_of_a_drain() as spent:
            began = time.perf_counter()
            report = line.drain(60)
            took = time.perf_counter() - began
    shares = {name: round(100 * seconds / took) for name, seconds in spent.items()}
    return {"measure": "steps of a drain (%)", "events": report.events, **shares, "commit and rest": 100 - sum(shares.values())}
