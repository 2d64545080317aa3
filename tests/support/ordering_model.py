"""A simulated Stripe object on a virtual clock, against the pure ordering rule: changes, deliveries in any order and number,
page rows and refetches that take their time and race them (FAULTS 4.3, 8.1)."""

import random
from dataclasses import dataclass, field
from typing import Any

from workers import ordering
from workers.ordering import Known, Occurrence, ReadBounds, Verdict

RANKED = ("draft", "open", "uncollectible", "paid")


@dataclass(frozen=True)
class Fact:
    """What the object looked like; `status` follows the invoice's life, which nothing turns back."""

    number: int
    status: str


@dataclass
class Sent:
    """An event as Stripe made it."""

    event_id: str
    created: int
    fact: Fact
    first: bool = False
    final_delete: bool = False
    usable: bool = True


@dataclass
class InFlight:
    """A read on its way: asked at `asked`, true at `seen`, answered at `answered`."""

    cover: int
    asked: float
    seen: float
    answered: float
    listed: bool
    version: int | None
    waiting: list[int] = field(default_factory=list)


@dataclass
class Simulation:
    """One history, from a seed. `run` returns whether the mirror ended as Stripe."""

    seed: int
    skew: float = 0.5
    clock: float = 1_000_000.0
    known: Known | None = None
    held: Fact | None = None
    reads: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.offset = self.rng.uniform(-self.skew, self.skew)  # between the clocks that stamp `created` and `Date`
        self.history: list[tuple[float, Fact]] = []
        self.events: list[Sent] = []
        self.inbox: dict[str, int] = {}
        self.pending: dict[int, Sent] = {}
        self.flights: list[InFlight] = []
        self.deleted_at: float | None = None

    # --- Stripe ----------------------------------------------------------------------------------

    def change(self) -> None:
        if self.deleted_at is not None:
            return
        before = self.history[-1][1] if self.history else None
        number = self.rng.choice([1, 2, 3]) if self.rng.random() < 0.5 else len(self.history) + 10
        rank = RANKED.index(before.status) if before else 0
        status = RANKED[min(rank + (self.rng.random() < 0.3), len(RANKED) - 1)]
        fact = Fact(number, status)
        self.history.append((self.clock, fact))
        event = Sent(f"evt_{len(self.events)}", int(self.clock), fact, first=before is None, usable=self.rng.random() < 0.85)
        self.events.append(event)
        if self.rng.random() < 0.1:
            self.events.append(Sent(event.event_id + "b", event.created, fact, usable=event.usable))  # two ids, one change

    def delete(self) -> None:
        if self.history and self.deleted_at is None:
            self.deleted_at = self.clock
            self.events.append(Sent("evt_deleted", int(self.clock), self.history[-1][1], final_delete=True))

    def fact_at(self, moment: float) -> Fact | None:
        if self.deleted_at is not None and moment >= self.deleted_at:
            return None
        found = [fact for when, fact in self.history if when <= moment]
        return found[-1] if found else None

    # --- us --------------------------------------------------------------------------------------

    def deliver(self, event: Sent) -> None:
        if event.event_id in self.inbox:
            return
        seq = len(self.inbox) + 1
        self.inbox[event.event_id] = seq
        self.pending[seq] = event

    def process(self, seq: int) -> None:
        event = self.pending[seq]
        occurrence = Occurrence(event.event_id, seq, event.created, event.usable, final_delete=event.final_delete)
        verdict = ordering.decide_event(self.known, occurrence)
        whole = Occurrence(event.event_id, seq, event.created, usable=True)
        tied = self.known is not None and ordering.decide_event(self.known, whole) is Verdict.REFETCH
        if verdict is Verdict.REFETCH and tied:
            held = self.held.status if self.held else None
            verdict = ordering.break_tie("invoice", held, event.fact.status, same=event.usable and event.fact == self.held,
                                         first=event.first)  # fmt: skip
            if verdict is Verdict.APPLY and not event.usable:
                verdict = Verdict.REFETCH
        if verdict is Verdict.REFETCH:
            self.fetch(listed=False, waiting=[seq])
            return
        if verdict is Verdict.APPLY:
            self.known, self.held = ordering.after_event(self.known, occurrence), event.fact
        elif verdict is Verdict.TOMBSTONE:
            self.known, self.held = ordering.after_tombstone(self.known, occurrence, final=True), None
        del self.pending[seq]

    def fetch(self, *, listed: bool, waiting: list[int]) -> None:
        for flight in self.flights:
            if not listed and not flight.listed and flight.asked == self.clock:
                flight.waiting += waiting
                return
        took = self.rng.choice([0.05, 0.3, 1.5, 4.0])
        seen = self.clock + took * self.rng.random()
        version = None if self.rng.random() < 0.2 else self.known.version if self.known else 0
        flight = InFlight(len(self.inbox), self.clock, seen, self.clock + took, listed, version, waiting)
        self.flights.append(flight)

    def land(self, flight: InFlight) -> None:
        self.flights.remove(flight)
        self.reads += not flight.listed
        fact = self.fact_at(flight.seen)
        date = int(flight.answered + self.offset)  # whole seconds, on the other clock
        bounds = ReadBounds(
            int((date - (flight.answered - flight.asked)) * 1000), (date + 1) * 1000, flight.cover, flight.version
        )
        if self.rng.random() < 0.03:
            bounds = ReadBounds(None, None, flight.cover, flight.version)
        if flight.listed:
            if fact is None:
                return
            verdict = ordering.decide_listed(self.known, bounds, same=fact == self.held)
        else:
            verdict = ordering.decide_refetched(self.known, bounds)
        if verdict is Verdict.APPLY:
            self.known, self.held = ordering.after_read(self.known, bounds), fact
            if fact is None:
                self.known = ordering.after_tombstone(self.known, None, final=True)
        uncovered = [seq for seq in flight.waiting if seq > flight.cover]  # it joined a read that was sent before it came
        if verdict is Verdict.REFETCH:
            self.fetch(listed=False, waiting=flight.waiting)
        else:
            for seq in flight.waiting:
                if seq not in uncovered:
                    self.pending.pop(seq, None)
            if uncovered:
                self.fetch(listed=False, waiting=uncovered)

    def land_due(self) -> None:
        for flight in sorted(self.flights, key=lambda f: f.answered):
            if flight.answered <= self.clock and flight in self.flights:
                self.land(flight)

    # --- a history -------------------------------------------------------------------------------

    def step(self) -> None:
        rng = self.rng
        self.clock += rng.choice([0, 0, 0.1, 0.4, 1, 2.5, 10])
        self.land_due()
        act = rng.random()
        if act < 0.25 and len(self.history) < 7:
            self.change()
        elif act < 0.6 and self.events:
            event = rng.choice(self.events)
            self.deliver(event)
        elif act < 0.85 and self.pending:
            idle = [seq for seq in self.pending if not any(seq in flight.waiting for flight in self.flights)]
            if idle:
                self.process(rng.choice(idle))
        elif act < 0.93:
            self.fetch(listed=True, waiting=[])
        elif act < 0.95:
            self.delete()

    def run(self) -> bool:
        """A random history, then everything delivered and drained; whether the mirror is what Stripe has."""
        self.change()
        for _ in range(self.rng.randint(5, 40)):
            self.step()
        for event in self.rng.sample(self.events, len(self.events)):
            self.deliver(event)
        for _ in range(500):
            self.clock += self.rng.choice([0, 0.2, 3])
            self.land_due()
            idle = [seq for seq in self.pending if not any(seq in flight.waiting for flight in self.flights)]
            if idle:
                self.process(self.rng.choice(idle))
            elif not self.pending and not self.flights:
                break
        return self.final() == self.held and not self.pending

    def final(self) -> Fact | None:
        """What Stripe has in the end."""
        return None if self.deleted_at is not None else self.history[-1][1]


def failing(seeds: range, **options: Any) -> list[int]:
    """The seeds whose history doesn't converge."""
    return [seed for seed in seeds if not Simulation(seed, **options).run()]
