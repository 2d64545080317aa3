"""Random histories through store and apply (FAULTS 8.1): Stripe changes, deliveries come doubled, late, in any order or never,
workers work, crash and overtake one another, backfills run into it, Redis forgets, clocks step; in the end everything is told
and drained, and what is stored must be what the rules say over Stripe's objects. I1 to I6 are checked after every step."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from models.errors import PivotalError, Refused
from models.store import bulk, customers, inbox
from models.store.mirror import decode, load_discounts
from models.store.session import session_scope
from tests.fake_stripe.endpoint import RECOMMENDED
from tests.fake_stripe.records import Coupon, Event
from tests.fake_stripe.render import render
from tests.support import changing
from tests.support.invariants import Invariants
from tests.support.pipeline import explained_figures, stored_figures
from tests.support.world import SHORT, Crash, World
from webhook_app.connection_cache import Known
from webhook_app.receive import read_event
from workers import stripe_api
from workers.backfill import run_backfill
from workers.drain import Drainer
from workers.schedule import sweep

DOMAINS = ("a.com", "b.com", "c.com")
VERSIONS = ("2026-10-28.endive", "2025-03-31.basil", "2024-06-20", "2020-08-27")
SETTLE_ROUNDS = 40
ENOUGH = 3


class Diverged(AssertionError):
    """A history that broke a promise."""


@dataclass
class Flavour:
    """What a history is like; chances per step or pause."""

    versions: tuple[str, ...]
    known_before: bool
    seen_before: bool
    drops: float
    interrupts: float
    crashes: float
    stale: float
    page: int
    steps: int

    @classmethod
    def of(cls, rng: random.Random) -> "Flavour":
        known = rng.random() < 0.3
        return cls(
            versions=tuple(rng.sample(VERSIONS, rng.choice([1, 1, 2]))),
            known_before=known,
            seen_before=known and rng.random() < 0.7,
            drops=rng.choice([0.0, 0.0, 0.0, 0.1]),
            interrupts=rng.choice([0.0, 0.1, 0.25]),
            crashes=rng.choice([0.0, 0.0, 0.03, 0.08]),
            stale=rng.choice([0.0] * 7 + [0.2]),
            page=rng.choice([100, 3]),
            steps=rng.randint(12, 30),
        )


@dataclass
class History:
    """One history in a world. `run` raises `Diverged`."""

    world: World
    seed: int
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.world.begin(self.seed)
        self.flavour = Flavour.of(self.rng)
        self.depth = 0
        self.quiet = True  # nothing happens in between
        self.told: list[Event] = []  # events that Stripe will deliver
        self.events: list[Event] = []
        self.delivered: set[str] = set()
        self.must_read_all = False
        self.unfinished = False  # a backfill was killed or failed: somebody takes it up
        self.checked = Invariants(self.world, self.delivered)

    # --- the whole -----------------------------------------------------------------------------------

    def run(self) -> None:
        world, rng = self.world, self.rng
        world.on_pause, world.chance, world.choose = self.pause, lambda p: rng.random() < p, rng.randrange
        stripe_api.PAGE = self.flavour.page
        self._begin()
        self.quiet = False
        for _ in range(self.flavour.steps):
            self.step()
            self.checked.check(self.trace)
        self._end()

    def _begin(self) -> None:
        fake, rng = self.world.fake, self.rng
        for version in self.flavour.versions:
            fake.deliver_to(lambda _body, _headers: 200, version=version, auto=False)
        fake.recorder.listeners.append(self._on_event)
        fake.api.date_skew = rng.uniform(-0.5, 0.5)
        fake.api.sizes.items, fake.api.sizes.payments = rng.choice([(20, 10), (1, 1)])
        fake.change.step_seconds = rng.choice([0.0, 0.0, 0.6])
        with session_scope(self.world.database, write=True) as connection:
            for domain in DOMAINS:
                customers.import_customer(connection, {"name": domain, "domain": domain, "environment": "production"}, 0)
        self.account = changing.Account(fake, rng)
        if self.flavour.known_before:
            with fake.change.silently():
                self.account.begin()
            self.world.clock.advance(rng.choice([1, 30]))
            if self.flavour.seen_before:
                self._backfill()
            else:
                self.must_read_all = True
        else:
            self.account.begin()
        if self.flavour.stale:
            fake.faults.stale_rate, fake.faults.stale_seconds = self.flavour.stale, 3.0
            self.must_read_all = self.checked.stale = True

    def _on_event(self, event: Event) -> None:
        if event.type in RECOMMENDED:
            self.events.append(event)
            self.told.append(event)

    # --- steps ---------------------------------------------------------------------------------------

    def step(self) -> None:
        """One thing happens."""
        self.world.clock.advance(self.rng.choice([0, 0, 0, 0.1, 0.4, 1, 2.5, 10]))
        acts: dict[Callable[[], None], float] = {
            self.change: 26, self.deliver: 34, self.duplicate: 4, self.work: 22, self.sweep: 2, self.flush: 1.5,
            self.news: 3, self.step_clock: 1.5, self.wait: 2, self.backfill: 1.2, self.break_stripe: 1, self.restart: 0.5,
        }  # fmt: skip
        act = self.rng.choices(list(acts), list(acts.values()))[0]
        self.trace.append(f"{self.world.clock.time():.2f} {'  ' * self.depth}{act.__name__}")
        act()

    def change(self) -> None:
        """Something changes at Stripe; rarely without an event, or with two."""
        change, roll = self.world.fake.change, self.rng.random()
        for _ in range(self.rng.choice([1, 1, 2])):
            if roll < self.flavour.drops / 4:
                with change.silently():
                    told = self.account.change()
                self.must_read_all = True
            elif roll > 0.95:
                with change.doubled():
                    told = self.account.change()
            else:
                told = self.account.change()
            self.trace.append(f"    {told}")

    def deliver(self) -> None:
        """One or some of the events that wait, in any order; some are lost for ever."""
        for _ in range(min(self.rng.choice([1, 1, 2, 5]), len(self.told))):
            event = self.told.pop(self.rng.randrange(len(self.told)) if self.rng.random() < 0.7 else 0)
            if self.rng.random() < self.flavour.drops:
                self.must_read_all = True
                self.trace.append(f"    lost {event.type} {event.id[-6:]}")
                continue
            self._send(event)

    def news(self) -> None:
        """Something changes, is told at once, and mostly applied at once."""
        waiting, self.told = self.told, []
        self.change()
        self.rng.shuffle(self.told)
        while self.told:
            self._send(self.told.pop())
        self.told = waiting
        if self.rng.random() < 0.7:
            self.work()

    def duplicate(self) -> None:
        """An event once more, or to the wrong connection."""
        if self.events:
            event = self.rng.choice(self.events)
            if event.id in self.delivered and self.rng.random() < 0.5:
                self._send(event)
            else:
                self._send(event, stranger=True)

    def _send(self, event: Event, *, stranger: bool = False) -> None:
        """As the endpoint does: stored, then the bell."""
        world = self.world
        record = world.other if stranger else world.record
        body = event.bodies[self.rng.choice(self.flavour.versions)]
        row = read_event(Known(record.id, record.livemode, None, ()), body, world.now_ms(), world.settings.partition_count)
        with session_scope(world.database, write=True) as connection:
            inbox.insert_events(connection, [row])
        if stranger:
            return
        self.delivered.add(event.id)
        self.trace.append(f"    got {event.type} {event.id[-6:]} of {event.object_id} at {event.created}")
        if row.status == "pending" and self.rng.random() < 0.9:
            world.bell.wake({row.partition})

    def work(self) -> None:
        """A worker takes the jobs that were rung for; now and then it is killed."""
        rung = self.world.bell.jobs
        self.world.bell.jobs = set()
        self._drain(rung)

    def _drain(self, partitions: set[int]) -> None:
        if not partitions:
            return
        drainer = Drainer(self.world.tools())
        self.depth += 1
        try:
            drainer.run(partitions, company_s=0.0, limit_s=5.0)
        except Crash:
            self.trace.append("    crashed")
        finally:
            self.depth -= 1

    def sweep(self) -> None:
        """The clock rings for what was forgotten."""
        sweep(self.world.tools())

    def flush(self) -> None:
        """Redis is emptied, or away for a while."""
        self.world.bell.flush()
        self.world.bell.away = self.rng.random() < 0.3

    def restart(self) -> None:
        """Redis is back."""
        self.world.bell.away = False

    def step_clock(self) -> None:
        """Our clock is set; Stripe's is not."""
        self.world.offset_ms += self.rng.choice([-400_000, -3_000, 3_000, 400_000])

    def wait(self) -> None:
        """Leases and holds run out."""
        self.world.clock.advance(self.rng.choice([31, 65, 200]))

    def break_stripe(self) -> None:
        """Stripe doesn't answer well for a moment."""
        kind = self.rng.choice([{"kind": "status", "status": 503}, {"kind": "rate_limit"}, {"kind": "html"}])
        self.world.fake.faults.order(**kind, count=self.rng.choice([1, 3]))

    def backfill(self) -> None:
        """A full sync runs into it, maybe not to its end."""
        self._backfill()

    def _backfill(self) -> str:
        world = self.world
        self.depth += 1
        try:
            result = run_backfill(
                world.database, world.keyring, world.settings, world.record.id, now_ms=world.now_ms, patience=SHORT
            )
        except Crash:
            self.unfinished = True
            return "crashed"
        except Refused as error:
            return str(error)
        finally:
            self.depth -= 1
        self.unfinished = result.state != "complete"
        self.trace.append(f"    backfill {result.state} {result.error or ''}")
        return "resumed" if result.resumed and result.state == "complete" else result.state

    # --- in between ----------------------------------------------------------------------------------

    def pause(self, place: str) -> None:
        """At a failpoint or while Stripe is asked: another step, or a crash."""
        if self.quiet or self.depth > 2:
            return
        roll = self.rng.random()
        if roll < self.flavour.crashes:
            self.trace.append(f"    crash at {place}")
            raise Crash(place)
        if not place.startswith("in:") and roll < self.flavour.crashes + self.flavour.interrupts:
            if place in {"asked", "answered"}:
                self.checked.torn = self.checked.torn or self.world.fake.api.sizes.items == 1
            self.depth += 1
            try:
                self._meanwhile(place)
            finally:
                self.depth -= 1

    def _meanwhile(self, place: str) -> None:
        roll = self.rng.random()
        if place.startswith("before_") and roll < 0.3:
            self.trace.append(f"    backfill at {place}")
            self.backfill()
        elif roll < 0.6:
            self.trace.append(f"    news at {place}")
            self.news()
        else:
            self.step()

    # --- the end -------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Everything is told and drained; where something was lost, a full sync repairs it."""
        world = self.world
        self.quiet, self.told = True, [e for e in self.told if not (self.rng.random() < self.flavour.drops and self._lose())]
        world.fake.faults.clear()
        world.bell.away = False
        self.rng.shuffle(self.told)
        for event in self.told:
            self._send(event)
        self._settle()
        if self.must_read_all or self.unfinished:
            self._read_all({"complete"} if self.must_read_all else {"complete", "resumed"})
            self._settle()
        self._compare()
        self._once_more()

    def _once_more(self) -> None:
        """Everything is sent again: nothing changes (F01, F09)."""
        before = stored_figures(self.world.database)
        for event in self.events:
            if event.id in self.delivered:
                self._send(event)
        self.work()
        self.checked.check(self.trace)
        self.checked.check_history()
        self.checked.check_purity()
        if before != stored_figures(self.world.database):
            raise Diverged("events that were sent again changed something")

    def _lose(self) -> bool:
        self.must_read_all = True
        return True

    def _read_all(self, enough: set[str]) -> None:
        """A full sync. After a loss a whole one: what a killed one goes on with are lists from before it."""
        for _ in range(SETTLE_ROUNDS):
            self.world.clock.advance(65)
            if (ended := self._backfill()) in enough:
                return
        raise Diverged(f"no backfill came to its end: {ended}")

    def _settle(self) -> None:
        """The sweeper and the workers until nothing is left."""
        world = self.world
        for _ in range(SETTLE_ROUNDS):
            self.sweep()
            self.work()
            self.checked.check(self.trace)
            with session_scope(world.database) as connection:
                waiting = inbox.count_pending(connection)
                due = customers.due_stripe_customers(connection, 1) or customers.due_ids(connection, world.now_ms() // 1000, 1)
            if not waiting and not due:
                return
            world.clock.advance(65)
        with session_scope(world.database) as connection:
            sql = "SELECT type, event_id, attempts, error FROM inbox WHERE status = 'pending'"
            left = [tuple(row) for row in bulk.run(connection, sql)]
        raise Diverged(f"never drained: {left}")

    def _compare(self) -> None:
        world = self.world
        with session_scope(world.database) as connection:
            counts = inbox.count_by_status(connection)
        if counts.get("dead"):
            raise Diverged(f"dead events: {counts}")
        expected = explained_figures(world.database, self._objects(), world.now_ms() // 1000)
        stored = stored_figures(world.database)
        differing = [
            (one["stripe_customer_id"], name, stored[key][name], one[name])
            for key, one in expected.items()
            for name in one
            if stored[key][name] != one[name]
        ]
        if differing:
            raise Diverged(f"stored, expected: {differing}")

    def _objects(self) -> dict[str, list[Any]]:
        """Stripe's objects, and of the coupons it deleted those that we hold: discounts go on with them (FAULTS 4.4)."""
        world = self.world
        objects = world.fake.current_objects()
        with session_scope(world.database) as connection:
            held = [decode("coupon", facts) for facts in bulk.run(connection, "SELECT facts FROM stripe_coupons").scalars()]
            discounts = bulk.run(connection, "SELECT id FROM stripe_discounts").scalars().all()
            copies = [one.coupon for one in load_discounts(connection, world.record.id, discounts).values() if one.coupon]
        known = {one.id for one in [*held, *copies] if one.percent_off is not None or one.amount_off is not None}
        gone = (record for name, record in world.fake.state.deleted.items() if name in known)
        context = world.fake.api.context(world.fake.version)
        objects["coupons"] += [render(context, record) for record in gone if isinstance(record, Coupon)]
        return objects


def diverging(world: World, seeds: range | list[int]) -> dict[int, str]:
    """The seeds whose history breaks a promise, with what it broke; a few are enough."""
    found = {}
    page = stripe_api.PAGE
    try:
        for seed in seeds:
            history = History(world, seed)
            try:
                history.run()
            except (AssertionError, PivotalError) as error:
                found[seed] = f"{type(error).__name__}: {error}"
                if len(found) == ENOUGH:
                    break
    finally:
        stripe_api.PAGE = page
        world.on_pause = lambda _place: None
    return found
