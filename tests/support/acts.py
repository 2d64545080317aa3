"""What can happen in a history, one act at a time: at Stripe, on the way to us, in our workers, between them, to Redis and to
the clock (FAULTS 8.1)."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from models.errors import Refused
from models.store import customers, inbox
from models.store.session import session_scope
from tests.fake_stripe.endpoint import RECOMMENDED
from tests.fake_stripe.records import Event
from tests.support import changing
from tests.support.invariants import Invariants
from tests.support.world import SHORT, START, Crash, World
from webhook_app.connection_cache import Known
from webhook_app.receive import read_event
from workers.backfill import run_backfill
from workers.drain import Drainer
from workers.schedule import sweep

DOMAINS = ("a.com", "b.com", "c.com")
VERSIONS = ("2026-10-28.endive", "2025-03-31.basil", "2024-06-20", "2020-08-27")
DRAIN_S = 3.0
"""On the virtual clock: a job ends while Stripe is still slow to answer."""


@dataclass
class Flavour:
    """What a history is like; chances per step or pause."""

    versions: tuple[str, ...]
    known_before: bool
    seen_before: bool
    drops: float
    interrupts: float
    overtakes: float
    crashes: float
    late: float
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
            interrupts=rng.choice([0.0, 0.05, 0.15]),
            overtakes=rng.choice([0.0, 0.1, 0.3]),
            crashes=rng.choice([0.0, 0.0, 0.03, 0.08]),
            late=rng.choice([0.0, 0.3, 0.5]),
            stale=rng.choice([0.0] * 7 + [0.2]),
            page=rng.choice([100, 3]),
            steps=rng.choice([6, 10, 14, 20]),
        )


@dataclass
class Acts:
    """The acts of one history in a world, and where it stands. `trace` tells it."""

    world: World
    seed: int
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.world.begin(self.seed, DOMAINS)
        self.flavour = Flavour.of(self.rng)
        self.account = changing.Account(self.world.fake, self.rng)
        self.depth = 0
        self.quiet = True  # nothing happens in between
        self.told: list[Event] = []  # events that Stripe will deliver
        self.events: list[Event] = []
        self.delivered: set[str] = set()
        self.must_read_all = False
        self.unfinished = False  # a backfill was killed or failed: somebody takes it up
        self.checked = Invariants(self.world, self.delivered)
        self._acts: dict[Callable[[], None], float] = {
            self.change: 26, self.deliver: 34, self.duplicate: 4, self.work: 22, self.sweep: 2, self.flush: 1.5,
            self.news: 3, self.step_clock: 1.5, self.wait: 2, self.backfill: 1.2, self.break_stripe: 2, self.restart: 0.5,
            self.ours: 0.5,
        }  # fmt: skip

    def on_event(self, event: Event) -> None:
        """Stripe made an event: of those we ask for, it will tell."""
        if event.type in RECOMMENDED:
            self.events.append(event)
            self.told.append(event)

    def step(self) -> None:
        """One thing happens; whatever must hold always is checked after it."""
        self.world.clock.advance(self.rng.choice([0, 0, 0, 0.1, 0.4, 1, 2.5, 10]))
        act = self.rng.choices(list(self._acts), list(self._acts.values()))[0]
        self.trace.append(f"{self.world.clock.time():.2f} {'  ' * self.depth}{act.__name__}")
        act()
        self.checked.check(self.trace)

    # --- at Stripe -----------------------------------------------------------------------------------

    def change(self) -> None:
        """Something changes at Stripe; rarely without an event, or with two."""
        change, roll = self.world.fake.change, self.rng.random()
        for _ in range(self.rng.choice([1, 1, 2])):
            if roll < self.flavour.drops / 4:
                with change.silently():
                    told = self.account.change()
                self.must_read_all = True
                self.world.counts["changes without an event"] += 1
            elif roll > 0.95:
                with change.doubled():
                    told = self.account.change()
            else:
                told = self.account.change()
            self.trace.append(f"    {told}")

    def break_stripe(self) -> None:
        """Stripe doesn't answer well for a moment."""
        kind = self.rng.choice([{"kind": "status", "status": 503}, {"kind": "rate_limit"}, {"kind": "html"}])
        self.world.fake.faults.order(**kind, count=self.rng.choice([1, 3, 6]))

    # --- on the way ----------------------------------------------------------------------------------

    def deliver(self) -> None:
        """One or some of the events that wait, in any order; some are lost for ever."""
        for _ in range(min(self.rng.choice([1, 1, 2, 5]), len(self.told))):
            event = self.told.pop(self.rng.randrange(len(self.told)) if self.rng.random() < 0.7 else 0)
            if self.rng.random() < self.flavour.drops:
                self.lose(event)
            else:
                self.send([event])

    def lose(self, event: Event) -> None:
        """An event never comes."""
        self.must_read_all = True
        self.world.counts["events lost"] += 1
        self.trace.append(f"    lost {event.type} {event.id[-6:]}")

    def news(self) -> None:
        """Something changes, is told at once, and mostly applied at once."""
        self.tell_at_once(self.change)

    def tell_at_once(self, change: Callable[[], object]) -> None:
        """The events of `change` overtake those that wait, and are mostly applied at once."""
        waiting, self.told = self.told, []
        self.trace.append(f"    at once: {change()}")
        self.rng.shuffle(self.told)
        self.send_all(self.told)
        self.told = waiting
        if self.rng.random() < 0.7:
            self.sweep()
            self.work()

    def duplicate(self) -> None:
        """An event once more, or to the wrong connection."""
        if self.events:
            event = self.rng.choice(self.events)
            if event.id in self.delivered and self.rng.random() < 0.5:
                self.send([event])
            else:
                self.world.counts["events of another account"] += 1
                self._store([event], stranger=True)

    def send_all(self, events: list[Event]) -> None:
        """All of them, some together in a commit."""
        left = list(events)
        while left:
            number = self.rng.choice([1, 2, 8])
            self.send(left[:number])
            del left[:number]

    def send(self, events: list[Event]) -> None:
        """As the endpoint does with those that come at once: stored in one transaction, then the bell."""
        rung = self._store(events, stranger=False)
        for event in events:
            self.world.counts["events twice" if event.id in self.delivered else "events"] += 1
            self.delivered.add(event.id)
            self.trace.append(f"    got {event.type} {event.id[-6:]} of {event.object_id} at {event.created}")
        if rung and self.rng.random() < 0.9:
            self.world.bell.wake(rung)

    def _store(self, events: list[Event], *, stranger: bool) -> set[int]:
        world = self.world
        record = world.other if stranger else world.record
        known, now_ms, partitions = Known(record.id, record.livemode, None, ()), world.now_ms(), world.settings.partition_count
        bodies = [event.bodies[self.rng.choice(self.flavour.versions)] for event in events]
        rows = [read_event(known, body, now_ms, partitions) for body in bodies]
        with session_scope(world.database, write=True) as connection:
            inbox.insert_events(connection, rows)
        return {row.partition for row in rows if row.status == "pending"}

    # --- in our processes ----------------------------------------------------------------------------

    def work(self) -> None:
        """A worker takes the jobs that were rung for; now and then it is killed."""
        rung = self.world.bell.jobs
        self.world.bell.jobs = set()
        if not rung:
            return
        self.depth += 1
        try:
            with self.world.worker() as tools:
                Drainer(tools).run(rung, company_s=0.0, limit_s=DRAIN_S)
        except Crash:
            self.trace.append("    crashed")
        finally:
            self.depth -= 1

    def sweep(self) -> None:
        """The clock rings for what was forgotten."""
        sweep(self.world.tools())

    def backfill(self) -> None:
        """A full sync runs into it, maybe not to its end."""
        self.read_all()

    def read_all(self) -> str:
        """A full sync; how it ended."""
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
        ended = "resumed" if result.resumed and result.state == "complete" else result.state
        world.counts[f"backfills {ended}"] += 1
        return ended

    def ours(self) -> None:
        """A customer of ours comes, or takes an alias."""
        domain, aliases = self.rng.choice([("elsewhere.com", []), ("a.com", ["elsewhere.com"]), ("b.com", ["eu.c.com"])])
        row = {"name": domain, "domain": domain, "environment": "production", "aliases": aliases}
        with session_scope(self.world.database, write=True) as connection:
            customers.import_customer(connection, row, START)

    # --- around them ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Redis is emptied, or away for a while."""
        self.world.counts["Redis emptied"] += 1
        self.world.bell.flush()
        self.world.bell.away = self.rng.random() < 0.3

    def restart(self) -> None:
        """Redis is back."""
        self.world.bell.away = False

    def step_clock(self) -> None:
        """Our clock is set; Stripe's is not."""
        self.world.counts["clock steps"] += 1
        self.world.offset_ms += self.rng.choice([-400_000, -3_000, 3_000, 400_000])

    def wait(self) -> None:
        """Leases and holds run out."""
        self.world.clock.advance(self.rng.choice([31, 65, 200]))
