"""What a life of an account shares, and its rarer turns: deletion, another domain, new prices, money outside Stripe, pauses."""

import random
from collections.abc import Callable

from tests.fake_stripe.generate_catalog import Catalog
from tests.fake_stripe.names import Company
from tests.fake_stripe.records import Subscription
from tests.fake_stripe.server import FakeStripe

MOVED = ".app"
PLUS = " Plus"


class MoreLife:
    """The account, who may be picked in it, and what seldom happens. Each act says what it did, or None if there was nobody."""

    fake: FakeStripe
    catalog: Catalog
    rng: random.Random
    waiting: list[Company]

    def __init__(self, fake: FakeStripe) -> None:
        self.fake, self.change, self.state = fake, fake.change, fake.state
        self.homes: dict[str, str] = {}  # customer -> the domain it moved away from
        self.drafts: list[str] = []

    # --- who ------------------------------------------------------------------------------------------

    def _with(self, status: str) -> list[Subscription]:
        return [s for s in self.state.of("subscription").some() if s.status == status and s.customer not in self.state.deleted]

    def _one(self, status: str = "active", fits: Callable[[Subscription], bool] = lambda s: True) -> Subscription | None:
        found = [s for s in self._with(status) if fits(s)]
        return self.rng.choice(found) if found else None

    def _name(self, subscription: Subscription) -> str:
        owner = self.state.get("customer", subscription.customer)
        return (owner.name or owner.email or owner.id) if owner else subscription.customer

    def _invoice(self, subscription: Subscription, status: str) -> bool:
        latest = self.state.get("invoice", subscription.latest_invoice)
        return latest is not None and latest.status == status

    def _owing(self) -> Subscription | None:
        return self._one("past_due", lambda s: self._invoice(s, "open"))

    # --- what -----------------------------------------------------------------------------------------

    def delete(self) -> str | None:
        """A customer is deleted; the company may sign up again one day."""
        found = self._one()
        owner = self.state.get("customer", found.customer) if found else None
        if owner is None or not owner.email or owner.name is None:
            return None
        domain = self.homes.get(owner.id) or owner.email.rpartition("@")[2]
        self.waiting.append(Company(owner.name, domain, owner.country or "US", owner.currency or "usd"))
        self.change.delete_customer(owner)
        return f"{owner.name} is deleted, subscriptions and all"

    def move_domain(self) -> str | None:
        """The company's mail moves to another domain, or back."""
        found = self._one()
        owner = self.state.get("customer", found.customer) if found else None
        if owner is None or not owner.email:
            return None
        domain = owner.email.rpartition("@")[2]
        home = self.homes.pop(owner.id, None)
        if home is None:
            self.homes[owner.id] = domain
        to = home or domain.partition(".")[0] + MOVED
        self.change.move_domain(owner, to)
        return f"{owner.name}: invoices go to {to} from now on"

    def new_price(self) -> str:
        """A plan gets another price: the lookup key moves to it, who has the old one keeps it."""
        key = self.rng.choice(("starter_monthly", "growth_monthly", "scale_monthly"))
        old = self.catalog.prices[key]
        percent = self.rng.choice((95, 98, 103, 105)) if (old.unit_amount or 0) < 150_000 else 90
        options = {currency: scaled(option, percent) for currency, option in old.currency_options.items()}
        self.catalog.prices[key] = self.change.create_price(
            old.product, (old.unit_amount or 0) * percent // 100, currency=old.currency, interval=old.interval,
            interval_count=old.interval_count, nickname=old.nickname, currency_options=options, lookup_key=key,
            transfer_lookup_key=True)  # fmt: skip
        return f"{old.nickname} has a new price for new customers ({percent} % of the old one)"

    def rename(self) -> str:
        """A product is called something else, or as before."""
        product = self.state.get("product", self.catalog.prices["starter_monthly"].product)
        name = product.name.removesuffix(PLUS) if product.name.endswith(PLUS) else product.name + PLUS
        old = product.name
        self.change.rename_product(product, name)
        return f"{old} is called {name} from now on"

    def outside(self) -> str | None:
        """What was owed comes by bank transfer, outside Stripe."""
        found = self._owing()
        return found and (
            self.change.pay(found.latest_invoice, out_of_band=True) and f"{self._name(found)} pays outside Stripe"
        )

    def forgive(self) -> str | None:
        """What was owed is voided."""
        found = self._owing()
        return found and (self.change.void(found.latest_invoice) and f"{self._name(found)}: the open invoice is voided")

    def draft(self) -> str | None:
        """Somebody begins an invoice."""
        found = self._one()
        if found is None:
            return None
        self.drafts.append(self.change.create_invoice(found.customer, 20_000, currency=found.currency, finalize=False).id)
        return f"{self._name(found)}: an invoice is drafted"

    def throw_away(self) -> str | None:
        """And thinks better of it."""
        draft = self.state.get("invoice", self.drafts.pop()) if self.drafts else None
        if draft is None or draft.status != "draft":
            return None
        self.change.delete_draft(draft)
        return "a drafted invoice is deleted"

    def pause_all(self) -> str | None:
        """The real pause."""
        found = self._one()
        return found and (self.change.pause(found) and f"{self._name(found)}: the subscription is paused")

    def resume_all(self) -> str | None:
        """And its end."""
        found = self._one("paused")
        return found and (self.change.resume(found) and f"{self._name(found)}: the subscription goes on")


def scaled(option: dict, percent: int) -> dict:
    """The option of a currency at another price."""
    amount = option["unit_amount"]
    return option if amount is None else option | {"unit_amount": amount * percent // 100,
                                                   "unit_amount_decimal": str(amount * percent // 100)}  # fmt: skip
