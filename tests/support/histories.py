"""Random histories through store and apply (FAULTS 8.1): Stripe changes, deliveries come doubled, late, in any order or never,
workers work, crash and overtake one another, backfills run into it, Redis forgets, clocks step; in the end everything is told
and drained, and what is stored must be what the rules say over Stripe's objects. I1 to I6 are checked after every step."""

from collections.abc import Iterable
from typing import Any

import msgspec

from models.errors import PivotalError
from models.store import bulk, customers, inbox
from models.store.mirror import decode, load_discounts
from models.store.session import session_scope
from tests.fake_stripe.records import Coupon
from tests.fake_stripe.render import render
from tests.support.acts import Acts
from tests.support.pipeline import explained_figures, stored_figures
from tests.support.world import Crash, World
from workers import stripe_api

SETTLE_ROUNDS = 40
ENOUGH = 3


class Diverged(AssertionError):
    """A history that broke a promise."""


class Broken(BaseException):
    """A promise broken in the middle of an act: none of our own handlers may take it for a failure that passes."""


class History(Acts):
    """One history in a world. `run` raises AssertionError or `Broken`."""

    def run(self) -> None:
        world, rng = self.world, self.rng
        world.on_pause, world.chance, world.choose = self.pause, lambda p: rng.random() < p, rng.randrange
        world.late, stripe_api.PAGE = self.flavour.late, self.flavour.page
        self._begin()
        for _ in range(self.flavour.steps):
            self.step()
        self._end()
        self._count_reads()

    def _begin(self) -> None:
        fake, rng, flavour = self.world.fake, self.rng, self.flavour
        for version in flavour.versions:
            fake.deliver_to(lambda _body, _headers: 200, version=version, auto=False)
        fake.recorder.listeners.append(self.on_event)
        fake.api.date_skew = rng.uniform(-0.5, 0.5)
        fake.api.sizes.items, fake.api.sizes.payments = rng.choice([(20, 10), (1, 1)])
        fake.change.step_seconds = rng.choice([0.0, 0.0, 0.6])
        if flavour.known_before:
            with fake.change.silently():
                self.account.begin()
            self.world.clock.advance(rng.choice([1, 30]))
            self.quiet = False
            if flavour.seen_before:
                self.read_all()
            else:
                self.must_read_all = True
        else:
            self.account.begin()
        self.quiet = False
        if flavour.stale:
            fake.faults.stale_rate, fake.faults.stale_seconds = flavour.stale, 3.0
            self.must_read_all = self.checked.stale = True

    # --- in between ----------------------------------------------------------------------------------

    def pause(self, place: str) -> None:
        """At a failpoint or while Stripe is asked: another step, or a crash."""
        if self.quiet or self.depth > 2:
            return
        roll = self.rng.random()
        if roll < self.flavour.crashes:
            self.world.counts["crashes"] += 1
            self.trace.append(f"    crash at {place}")
            raise Crash(place)
        interrupts = self._chance_at(place)
        if not place.startswith("in:") and roll < self.flavour.crashes + interrupts:
            if place in {"asked", "answered"}:
                self.checked.torn = self.checked.torn or self.world.fake.api.sizes.items == 1
            self.depth += 1
            try:
                self._meanwhile(place)
            except AssertionError as error:
                raise Broken(str(error)) from error
            finally:
                self.depth -= 1

    def _chance_at(self, place: str) -> float:
        """Of something else happening; more where somebody else's act does harm."""
        if place == "answered":
            return self.flavour.overtakes * (1 if b'"object":"list"' in self.world.answer[:200] else 2)
        return self.flavour.interrupts * (2 if place.startswith("before_") else 1)

    def _meanwhile(self, place: str) -> None:
        roll = self.rng.random()
        self.world.counts["acts in between"] += 1
        if place in {"answered", "before_page_write"} and roll < 0.7:
            self._overtake()
        elif place.startswith("before_") and roll < 0.15:
            self.trace.append(f"    backfill at {place}")
            self.backfill()
        elif roll < 0.8:
            self.trace.append(f"    news at {place}")
            self.news()
        else:
            self.step()
        self.checked.check(self.trace)

    def _overtake(self) -> None:
        """What Stripe has just shown changes before the answer arrives, and the news of it is the first to come."""
        answer = msgspec.json.decode(self.world.answer)
        shown = answer.get("data") if answer.get("object") == "list" else [answer]
        ours = [one for one in shown or () if one.get("object") in {"subscription", "customer", "invoice", "price", "product"}]
        tries = self.rng.sample(ours, min(5, len(ours)))
        self.tell_at_once(lambda: next(filter(None, (self.account.change_one(one["object"], one["id"]) for one in tries)), "-"))
        self.world.counts["answers overtaken"] += bool(ours)

    # --- the end -------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Where something was lost a full sync repairs it, while changes go on; then everything is told and drained."""
        world, flavour = self.world, self.flavour
        world.late, world.bell.away, flavour.crashes = 0.0, False, 0.0
        world.fake.faults.clear()
        for event in list(self.told):
            if self.rng.random() < flavour.drops:
                self.told.remove(event)
                self.lose(event)
        flavour.drops = 0.0
        if self.must_read_all or self.unfinished:
            self._repair({"complete"} if self.must_read_all else {"complete", "resumed"})
            world.fake.faults.clear()
            world.bell.away = False
        self.quiet, last, self.told = True, self.told, []
        self.rng.shuffle(last)
        self.send_all(last)
        self._settle()
        self._compare()
        self._once_more()

    def _once_more(self) -> None:
        """Everything is sent again: nothing changes (F01, F09)."""
        before = stored_figures(self.world.database)
        self.send([event for event in self.events if event.id in self.delivered])
        self.work()
        self.checked.check(self.trace)
        self.checked.check_history()
        if before != stored_figures(self.world.database):
            raise Diverged("events that were sent again changed something")

    def _repair(self, enough: set[str]) -> None:
        """A full sync. After a loss a whole one: what a killed one goes on with are lists from before it."""
        for _ in range(SETTLE_ROUNDS):
            self.world.clock.advance(65)
            if (ended := self.read_all()) in enough:
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
        raise Diverged(f"{len(left)} never drained: {left[:5]}")

    def _compare(self) -> None:
        """I3."""
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
        self.checked.check_mirror()

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

    def _count_reads(self) -> None:
        counts, reads = self.world.counts, self.world.fake.reads
        counts["objects read"] += sum(number for route, number in reads.by_endpoint.items() if ":id" in route)
        counts["pages read"] += sum(number for route, number in reads.by_endpoint.items() if ":id" not in route)
        counts["404s"] += reads.by_status[404]
        counts["refused reads"] += sum(number for status, number in reads.by_status.items() if status in {429, 500, 503})


def diverging(world: World, seeds: Iterable[int]) -> dict[int, str]:
    """The seeds whose history breaks a promise, with what it broke; a few are enough."""
    found: dict[int, str] = {}
    page = stripe_api.PAGE
    try:
        for seed in seeds:
            history = History(world, seed)
            try:
                history.run()
            except (AssertionError, Broken, PivotalError) as error:
                found[seed] = f"{type(error).__name__}: {error}"
                if len(found) == ENOUGH:
                    break
            world.counts["histories"] += 1
    finally:
        stripe_api.PAGE = page
        world.on_pause = lambda _place: None
    return found
