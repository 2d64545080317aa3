"""The life of an account: one plausible change after another, told in a line each. Seeded, and in balance: it can go on for
ever."""

import random
from collections.abc import Callable

from tests.fake_stripe.generate import Generator
from tests.fake_stripe.life_more import MoreLife
from tests.fake_stripe.names import PERSONAL, Company, address, person
from tests.fake_stripe.records import Subscription
from tests.fake_stripe.server import FakeStripe

DOWN_THE_LINE = ("starter", "growth", "scale")
EVENTS_KEPT = 10_000
Act = Callable[[], str | None]


class Life(MoreLife):
    """`tick()` makes one change and says what happened. `companies`: who may still sign up."""

    def __init__(self, fake: FakeStripe, generator: Generator, companies: list[Company], *, seed: int = 1) -> None:
        super().__init__(fake)
        self.catalog = generator.catalog
        self.rng = random.Random(seed)
        self.waiting = list(companies)
        self.acts: dict[Act, Callable[[], float]] = {
            self.sign_up: lambda: 10 if self.waiting else 0,
            self.come_back: lambda: min(8, len(self._with("canceled")) / 4),
            self.start_trial: lambda: 5 if self.waiting else 0,
            self.end_trial: lambda: min(8, len(self._with("trialing")) / 2),
            self.upgrade: lambda: 12,
            self.downgrade: lambda: 5,
            self.seats: lambda: 12,
            self.go_annual: lambda: 4,
            self.renew: lambda: 14,
            self.fail: lambda: 10,
            self.fail_again: lambda: 2,
            self.recover: lambda: min(20, len(self._with("past_due")) / 2),
            self.give_up: lambda: min(4, len(self._with("past_due")) / 8),
            self.announce_end: lambda: 4,
            self.take_back: lambda: 2,
            self.cancel: lambda: 3,
            self.coupon: lambda: 4,
            self.coupon_ends: lambda: 3,
            self.one_off: lambda: 2,
            self.pause: lambda: 1,
            self.resume: lambda: 2,
            self.personal: lambda: 0.5,
            self.new_address: lambda: 1,
            self.move_domain: lambda: 0.5,
            self.delete: lambda: 0.3,
            self.new_price: lambda: 0.3,
            self.rename: lambda: 0.2,
            self.outside: lambda: min(1, len(self._with("past_due")) / 20),
            self.forgive: lambda: min(0.5, len(self._with("past_due")) / 40),
            self.draft: lambda: 0.5,
            self.throw_away: lambda: len(self.drafts) / 2,
            self.pause_all: lambda: 0.5,
            self.resume_all: lambda: len(self._with("paused")) / 2,
        }

    def tick(self) -> str:
        """One change; what happened, in a line."""
        with self.state.lock:
            while True:
                act = self.rng.choices(list(self.acts), [weight() for weight in self.acts.values()])[0]
                told = act()
                if told is not None:
                    self._forget()
                    return told

    def _forget(self) -> None:
        """Old events go, so that a demo may run for weeks."""
        events = self.state.of("event")
        while len(events) > EVENTS_KEPT:
            events.remove(next(iter(events)))

    def _tier(self, subscription: Subscription) -> tuple[int, str] | None:
        """Place in the line of flat plans, and the rest of the lookup key."""
        key = self.state.last_known("price", subscription.items[0].price).lookup_key or ""
        name, _, rest = key.partition("_")
        return (DOWN_THE_LINE.index(name), rest) if name in DOWN_THE_LINE else None

    # --- what -----------------------------------------------------------------------------------------

    def _sign_up(self, **how: int) -> tuple[Company, str]:
        company = self.waiting.pop(self.rng.randrange(len(self.waiting)))
        customer = self.change.create_customer(address(person(self.rng), company.domain), company.name, country=company.country)
        tier = self.rng.choices(DOWN_THE_LINE, (5, 4, 1))[0]
        self.change.subscribe(
            customer, self.catalog.price(f"{tier}_monthly", company.currency), currency=company.currency, **how
        )
        return company, tier

    def sign_up(self) -> str:
        """A company becomes a customer."""
        company, tier = self._sign_up()
        return f"{company.name} signs up for {tier.title()}"

    def start_trial(self) -> str:
        """A company tries first."""
        company, tier = self._sign_up(trial_days=14)
        return f"{company.name} starts a trial of {tier.title()}"

    def come_back(self) -> str | None:
        """Who left returns."""
        old = self._one("canceled", lambda s: all(o.status == "canceled" for o in self._of(s.customer)))
        if old is None:
            return None
        self.change.subscribe(old.customer, self.catalog.price("growth_monthly", old.currency), currency=old.currency)
        return f"{self._name(old)} comes back on Growth"

    def _of(self, customer: str) -> list[Subscription]:
        return [self.state.get("subscription", i) for i in self.state.of("subscription").ids_of(customer)]

    def end_trial(self) -> str | None:
        """A trial ends; most pay."""
        found = self._one("trialing")
        if found is None:
            return None
        pays = self.rng.random() < 0.85
        self.change.end_trial(found, pays=pays)
        return f"{self._name(found)}: the trial ends, the first payment {'succeeds' if pays else 'fails'}"

    def _move(self, by: int, word: str) -> str | None:
        found = self._one(fits=lambda s: (t := self._tier(s)) is not None and 0 <= t[0] + by <= 2)
        if found is None:
            return None
        place, rest = self._tier(found) or (0, "monthly")
        tier = DOWN_THE_LINE[place + by]
        self.change.change_price(found, self.catalog.price(f"{tier}_{rest.removesuffix('_eur')}", found.currency))
        return f"{self._name(found)} {word} to {tier.title()}"

    def upgrade(self) -> str | None:
        """One plan up."""
        return self._move(1, "upgrades")

    def downgrade(self) -> str | None:
        """One plan down."""
        return self._move(-1, "downgrades")

    def seats(self) -> str | None:
        """More or fewer of what is counted."""
        found = self._one(fits=lambda s: s.items[0].quantity is not None)
        if found is None:
            return None
        old = found.items[0].quantity or 1
        new = max(1, old + self.rng.choice((-2, -1, 1, 1, 2, 3, 5)))
        if new == old:
            return None
        self.change.change_quantity(found, new)
        return f"{self._name(found)}: quantity {old} becomes {new}"

    def go_annual(self) -> str | None:
        """From monthly to annual, billed at once."""
        found = self._one(fits=lambda s: (t := self._tier(s)) is not None and t[1].startswith("monthly"))
        if found is None:
            return None
        place, _ = self._tier(found) or (0, "")
        self.change.change_price(found, self.catalog.price(f"{DOWN_THE_LINE[place]}_annual", found.currency))
        return f"{self._name(found)} switches to annual billing"

    def renew(self) -> str | None:
        """A period begins and is paid."""
        found = self._one(fits=lambda s: self._invoice(s, "paid"))
        return found and (self.change.renew(found) and f"{self._name(found)} renews")

    def fail(self) -> str | None:
        """A renewal isn't paid."""
        found = self._one(fits=lambda s: self._invoice(s, "paid"))
        return found and (self.change.renew(found, pays=False) and f"{self._name(found)}: the renewal's payment FAILS")

    def fail_again(self) -> str | None:
        """A retry isn't paid either."""
        found = self._one("past_due", lambda s: self._invoice(s, "open"))
        return found and (self.change.fail_payment(found) and f"{self._name(found)}: another attempt fails")

    def recover(self) -> str | None:
        """What was owed is paid."""
        found = self._one("past_due", lambda s: self._invoice(s, "open"))
        return found and (self.change.recover(found) and f"{self._name(found)} pays: recovered")

    def give_up(self) -> str | None:
        """Retries are used up: written off and cancelled."""
        found = self._one("past_due", lambda s: self._invoice(s, "open"))
        if found is None:
            return None
        self.change.mark_uncollectible(found.latest_invoice, "max_payment_attempts")
        self.change.cancel(found, reason="payment_failed")
        return f"{self._name(found)}: written off and cancelled"

    def announce_end(self) -> str | None:
        """Cancelled for the end of the period."""
        found = self._one(fits=lambda s: not s.cancel_at_period_end)
        if found is None:
            return None
        self.change.cancel_at_period_end(found)
        return f"{self._name(found)} will leave at the end of the period"

    def take_back(self) -> str | None:
        """Stays after all."""
        found = self._one(fits=lambda s: s.cancel_at_period_end)
        return found and (self.change.keep(found) and f"{self._name(found)} stays after all")

    def cancel(self) -> str | None:
        """At once."""
        found = self._one()
        return found and (self.change.cancel(found) and f"{self._name(found)} cancels")

    def coupon(self) -> str | None:
        """A discount begins."""
        found = self._one(fits=lambda s: not s.discounts)
        code = self.rng.choice(("LAUNCH20", "FRIENDS10", "LOYAL500"))
        return found and (self.change.attach_coupon(found, code) and f"{self._name(found)} gets the coupon {code}")

    def coupon_ends(self) -> str | None:
        """A discount ends."""
        found = self._one(fits=lambda s: bool(s.discounts))
        if found is None:
            return None
        self.change.remove_discount(found)
        return f"{self._name(found)}: the discount ends"

    def one_off(self) -> str | None:
        """An invoice by e-mail for something extra."""
        found = self._one()
        if found is None:
            return None
        self.change.create_invoice(found.customer, 50_000, currency=found.currency, days_until_due=30)
        return f"{self._name(found)} gets an invoice for training, due in 30 days"

    def pause(self) -> str | None:
        """Collection is paused."""
        found = self._one(fits=lambda s: s.pause_collection is None)
        return found and (self.change.pause_collection(found) and f"{self._name(found)}: collection is paused")

    def resume(self) -> str | None:
        """And goes on."""
        found = self._one(fits=lambda s: s.pause_collection is not None)
        return found and (self.change.resume_collection(found) and f"{self._name(found)}: collection goes on")

    def personal(self) -> str:
        """Somebody with a personal address: nobody's customer."""
        email = address(person(self.rng), self.rng.choice(PERSONAL))
        self.change.subscribe(self.change.create_customer(email), self.catalog.price("starter_monthly", "usd"))
        return "somebody with a personal address signs up for Starter"

    def new_address(self) -> str | None:
        """The billing address moves to another mailbox of the company."""
        found = self._one()
        owner = self.state.get("customer", found.customer) if found else None
        if owner is None or not owner.email:
            return None
        domain = owner.email.rpartition("@")[2]
        self.change.update_customer(owner, email=address(person(self.rng), domain))
        return f"{owner.name}: invoices go to another person"
