"""A story at the fake Stripe, in chapters: each one a handful of changes, and the events a delivery would carry."""

import random
from collections.abc import Sequence
from typing import Any

from tests.fake_stripe.server import FakeStripe

DOMAINS = ("acme.com", "globex.com", "initech.com", "hooli.com", "umbrella.com", "moved.com")


class Story:
    """Six companies (one with two accounts, or fewer with more) on three plans. Every chapter holds a failed payment, two
    changes in one second, and a renamed product, so that each way through apply is gone: the plain one, the refetch, the
    fan-out."""

    def __init__(self, fake: FakeStripe, seed: int = 1, domains: Sequence[str] = DOMAINS) -> None:
        self.fake, self.change, self.rng = fake, fake.change, random.Random(seed)
        self.domains = domains
        self.deliveries = fake.deliver_to(lambda body, headers: 200, auto=False)
        self.plans: list[Any] = []
        self.subscriptions: list[Any] = []

    def begin(self) -> list[bytes]:
        """Catalog and sign-ups."""
        change = self.change
        names = (("Starter", 2900, None), ("Growth", 9900, "growth_monthly"), ("Scale", 49900, "scale_monthly"))
        self.plans = [change.create_price(change.create_product(n), a, lookup_key=k) for n, a, k in names]
        self.coupon = change.create_coupon(percent_off=20, duration="forever")
        for domain in (*self.domains[:5], *["acme.com"] * max(1, 6 - len(self.domains)), "gmail.com"):
            self._later()
            self.subscriptions.append(change.subscribe(change.create_customer(f"ap@{domain}"), self.rng.choice(self.plans)))
        return self.told()

    def chapter(self, acts: int = 8) -> list[bytes]:
        """So many changes, then the three that every chapter holds."""
        for _ in range(acts):
            self._later()
            self._act(self.rng.choice(self._alive()))
        self._later()
        victim = self.rng.choice(self._alive())
        self.change.fail_payment(victim)
        self._later()
        self.change.change_quantity(victim, self.rng.randint(10, 19))
        self.change.change_quantity(victim, self.rng.randint(20, 29))
        self.change.rename_product(self.rng.choice(self.plans).product, f"Plan {self.rng.randint(1, 999)}")
        return self.told()

    def shuffled(self, bodies: list[bytes]) -> list[bytes]:
        """As they might arrive: in any order, a third of them twice."""
        sent = bodies + self.rng.choices(bodies, k=len(bodies) // 3)
        self.rng.shuffle(sent)
        return sent

    def told(self) -> list[bytes]:
        """The events since last time; Stripe's clock then moves on, past everything that a read could be confused with."""
        bodies = []
        while self.deliveries.pending():
            bodies.append(self.deliveries.signed(self.deliveries.take().event_id)[0])
        self.fake.clock.advance(5)
        return bodies

    def _later(self) -> None:
        self.fake.clock.advance(self.rng.choice([0, 1, 2, 7]))

    def _alive(self) -> list[Any]:
        found = [s for s in self.subscriptions if s.status not in ("canceled", "incomplete_expired")]
        if len(found) < 4:
            customer = self.change.create_customer(f"ap@{self.rng.choice(self.domains)}")
            self.subscriptions.append(self.change.subscribe(customer, self.rng.choice(self.plans)))
            found.append(self.subscriptions[-1])
        return found

    def _act(self, subscription: Any) -> None:
        change, rng = self.change, self.rng
        act = rng.choice(["quantity", "price", "fail", "recover", "cancel", "coupon", "move", "pause", "resume"])
        if act == "quantity":
            change.change_quantity(subscription, rng.randint(1, 9))
        elif act == "price":
            change.change_price(subscription, rng.choice(self.plans))
        elif act == "fail":
            change.fail_payment(subscription)
        elif act == "recover":
            change.recover(subscription)
        elif act == "cancel" and rng.random() < 0.5:
            change.cancel(subscription)
        elif act == "coupon":
            change.attach_coupon(subscription, self.coupon)
        elif act == "move":
            change.move_domain(subscription.customer, rng.choice(self.domains))
        elif act == "pause":
            change.pause_collection(subscription)
        elif act == "resume":
            change.resume_collection(subscription)
