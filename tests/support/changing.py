"""Every kind of change that a small Stripe account can go through, one at random at a time."""

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tests.fake_stripe.records import Customer, Invoice, Subscription
from tests.fake_stripe.server import FakeStripe

DOMAINS = ("a.com", "a.com", "b.com", "c.com", "elsewhere.com", "gmail.com")
OVER = {"canceled", "incomplete_expired"}


class Account:
    """Two or three Stripe customers on four prices of three products. Several may live in one fake Stripe: each changes its own
    only. `domains`: of whose addresses its customers are; `without`: kinds of changes that never happen."""

    def __init__(
        self, fake: FakeStripe, rng: random.Random, domains: Sequence[str] = DOMAINS, without: Collection[str] = ()
    ) -> None:
        self.fake, self.do, self.rng = fake, fake.change, rng
        self.domains = domains
        self.customers: list[str] = []
        self._kinds: dict[Callable[[], Any], float] = {
            self.quantity: 10, self.price: 8, self.add_item: 3, self.remove_item: 3, self.fail: 7, self.recover: 6,
            self.renew: 4, self.cancel: 3, self.cancel_later: 3, self.keep: 2, self.pause_collection: 3,
            self.resume_collection: 2, self.pause: 2, self.resume: 2, self.discount_subscription: 4,
            self.discount_customer: 3, self.discount_item: 2,
            self.remove_discount: 4, self.move: 5, self.rename: 2, self.delete_customer: 1, self.rename_product: 4,
            self.transfer_key: 2, self.rename_key: 2, self.bill: 4, self.draft: 2, self.delete_draft: 4, self.void: 3,
            self.uncollectible: 2, self.process: 2, self.pay: 4, self.end_trial: 3, self.status: 2, self.new: 5,
            self.delete_coupon: 1,
        }  # fmt: skip
        self._kinds = {kind: weight for kind, weight in self._kinds.items() if kind.__name__ not in without}
        self._focus: str | None = None
        self._of: dict[str, Sequence[Callable[[], Any]]] = {
            "subscription": (self.quantity, self.price, self.fail, self.recover, self.cancel, self.discount_subscription),
            "customer": (self.move, self.rename, self.discount_customer), "product": (self.rename_product,),
            "invoice": (self.pay, self.void, self.uncollectible, self.process), "price": (self.rename_key,),
        }  # fmt: skip

    def begin(self) -> None:
        """The catalog and the first sign-ups."""
        do, rng = self.do, self.rng
        self.products = products = [do.create_product(name) for name in ("Starter", "Growth", "Scale")]
        self.prices = [
            do.create_price(products[0], 2900),
            do.create_price(products[1], 9900, lookup_key=f"growth_{rng.randint(1, 9999)}_monthly"),
            do.create_price(products[1], 99900, lookup_key=f"growth_{rng.randint(1, 9999)}_yearly", interval="year"),
            do.create_price(products[2], None, tiers=[(10, 500, None), (None, 300, 1000)], lookup_key=None),
        ]
        self.coupons = [
            do.create_coupon(percent_off=rng.choice([20, 100])),
            do.create_coupon(amount_off=700, duration="repeating", duration_in_months=3),
            do.create_coupon(percent_off=50, applies_to=[products[1].id]),
        ]
        for _ in range(rng.randint(2, 3)):
            self._later()
            self.new()

    def change(self) -> str:
        """One change that fits; its name."""
        for _ in range(50):
            kind = self.rng.choices(list(self._kinds), list(self._kinds.values()))[0]
            if kind() is not None:
                return kind.__name__
        return "nothing"

    def change_one(self, kind: str, id_: str) -> str:
        """A change of this object; empty when none fits."""
        self._focus = id_
        try:
            for act in self.rng.sample(self._of.get(kind, ()), len(self._of.get(kind, ()))):
                if act() is not None:
                    return act.__name__
        finally:
            self._focus = None
        return ""

    def _later(self) -> None:
        self.fake.clock.advance(self.rng.choice([0, 0, 1, 5]))

    # --- choosing ------------------------------------------------------------------------------------

    def _one(self, found: list[Any]) -> Any:
        """One of them at random; while one object is to change, that one or none."""
        if self._focus is not None:
            found = [record for record in found if record.id == self._focus]
        return self.rng.choice(found) if found else None

    def _customer(self) -> Customer | None:
        found: Customer | None = self._one(self._living())
        return found

    def _living(self) -> list[Any]:
        state = self.fake.state
        return [state.get("customer", key) for key in self.customers if state.get("customer", key) is not None]

    def _owned(self, kind: str) -> list[Any]:
        state = self.fake.state
        owned = state.of(kind)
        return [state.get(kind, key) for owner in self._living() for key in owned.ids_of(owner.id)]

    def _subscription(self, *statuses: str) -> Subscription | None:
        found = [s for s in self._owned("subscription") if (s.status in statuses if statuses else s.status not in OVER)]
        one: Subscription | None = self._one(found)
        return one

    def _invoice(self, *statuses: str) -> Invoice | None:
        one: Invoice | None = self._one([v for v in self._owned("invoice") if v.status in statuses])
        return one

    def _coupon(self) -> Any:
        found = [coupon for coupon in self.coupons if self.fake.state.get("coupon", coupon.id) is not None]
        return self.rng.choice(found) if found else None

    # --- kinds: None when there is nothing it fits -----------------------------------------------------

    def new(self) -> Any:
        """A sign-up, of an old customer or a new one."""
        rng = self.rng
        owner = self._customer() if rng.random() < 0.3 else None
        if owner is None:
            if len(self._living()) > 4:
                return None
            host = rng.choice(self.domains)
            owner = self.do.create_customer(rng.choice([f"ap@{host}", f"Ap@EU.{host}", None]))
            self.customers.append(owner.id)
        if rng.random() < 0.1:
            return owner
        prices = rng.sample(self.prices, rng.choice([1, 1, 2]))
        if len({price.interval for price in prices}) > 1:
            prices = prices[:1]
        sent = {"collection_method": "send_invoice", "days_until_due": 30} if rng.random() < 0.2 else {}
        return self.do.subscribe(
            owner, [(price, rng.randint(1, 20)) for price in prices], trial_days=rng.choice([0, 0, 0, 14]),
            pays=rng.random() < 0.85, coupon=self._coupon() if rng.random() < 0.2 else None, **sent,
        )  # fmt: skip

    def quantity(self) -> Any:
        found = self._subscription()
        return found and self.do.change_quantity(found, self.rng.randint(1, 30))

    def price(self) -> Any:
        found = self._subscription()
        return found and self.do.change_price(found, self.rng.choice(self.prices))

    def add_item(self) -> Any:
        found = self._subscription()
        return self.do.add_item(found, self.rng.choice(self.prices), 2) if found and len(found.items) < 4 else None

    def remove_item(self) -> Any:
        found = self._subscription()
        return self.do.remove_item(found) if found and len(found.items) > 1 else None

    def fail(self) -> Any:
        found = self._subscription("active", "past_due", "trialing")
        return found and self.do.fail_payment(found)

    def recover(self) -> Any:
        found = self._subscription("past_due", "unpaid", "incomplete")
        return found and self.do.recover(found)

    def renew(self) -> Any:
        found = self._subscription("active")
        return found and self.do.renew(found)

    def cancel(self) -> Any:
        found = self._subscription()
        return found and (self.do.cancel(found) or True)

    def cancel_later(self) -> Any:
        found = self._subscription("active")
        return found and self.do.cancel_at_period_end(found)

    def keep(self) -> Any:
        found = self._subscription("active")
        return found and self.do.keep(found)

    def pause_collection(self) -> Any:
        found = self._subscription("active", "past_due")
        return found and self.do.pause_collection(found)

    def resume_collection(self) -> Any:
        found = self._subscription()
        return self.do.resume_collection(found) if found and found.pause_collection else None

    def pause(self) -> Any:
        found = self._subscription("active")
        return found and self.do.pause(found)

    def resume(self) -> Any:
        found = self._subscription("paused")
        return found and self.do.resume(found)

    def discount_subscription(self) -> Any:
        found, coupon = self._subscription(), self._coupon()
        return self.do.attach_coupon(found, coupon) if found and coupon and len(found.discounts) < 3 else None

    def discount_customer(self) -> Any:
        found, coupon = self._customer(), self._coupon()
        return self.do.attach_coupon(found, coupon) if found and coupon else None

    def discount_item(self) -> Any:
        found, coupon = self._subscription(), self._coupon()
        return self.do.attach_coupon(self.rng.choice(found.items), coupon) if found and coupon and found.items else None

    def remove_discount(self) -> Any:
        found = self.rng.choice([self._subscription(), self._customer()])
        if found is None or not (found.discount if isinstance(found, Customer) else found.discounts):
            return None
        return self.do.remove_discount(found) or True

    def move(self) -> Any:
        found = self._customer()
        return found and self.do.move_domain(found, self.rng.choice(self.domains))

    def rename(self) -> Any:
        found = self._customer()
        return found and self.do.update_customer(found, name=f"Name {self.rng.randint(1, 9)}")

    def delete_customer(self) -> Any:
        found = self._customer()  # not the last: a key that suddenly sees nobody is no proof that nobody is there (F86)
        return (self.do.delete_customer(found) or True) if len(self._living()) > 1 else None

    def rename_product(self) -> Any:
        found = self._one(self.products)
        return found and self.do.rename_product(found, f"Product {self.rng.randint(1, 9)}")

    def transfer_key(self) -> Any:
        old, new = self.rng.sample(self.prices, 2)
        return (self.do.transfer_lookup_key(old, new) or True) if old.lookup_key else None

    def rename_key(self) -> Any:
        found = self._one(self.prices)
        return found and self.do.update_price(found, lookup_key=f"key_{self.rng.randint(1, 9999)}")

    def bill(self) -> Any:
        found = self._customer()
        return found and self.do.create_invoice(found, 5000, days_until_due=self.rng.choice([None, 30]))

    def draft(self) -> Any:
        found = self._customer()
        return found and self.do.create_invoice(found, 5000, finalize=False)

    def delete_draft(self) -> Any:
        found = self._invoice("draft")
        return found and (self.do.delete_draft(found) or True)

    def void(self) -> Any:
        found = self._invoice("open")
        return found and self.do.void(found)

    def uncollectible(self) -> Any:
        found = self._invoice("open")
        return found and self.do.mark_uncollectible(found)

    def process(self) -> Any:
        found = self._invoice("open")
        return found and self.do.process(found)

    def pay(self) -> Any:
        found = self._invoice("open", "uncollectible")
        return found and self.do.pay(found, out_of_band=self.rng.random() < 0.3)

    def end_trial(self) -> Any:
        found = self._subscription("trialing")
        return found and self.do.end_trial(found, pays=self.rng.random() < 0.7)

    def status(self) -> Any:
        found = self._subscription("past_due", "incomplete", "active")
        return found and self.do.set_status(found, self.rng.choice(["unpaid", "past_due", "hibernating"]))

    def delete_coupon(self) -> Any:
        found = self._coupon()  # what a deleted one applies to can't be read any more: that it isn't known is told, not guessed
        return (self.do.delete_coupon(found) or True) if found and not found.applies_to else None
