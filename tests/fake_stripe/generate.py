"""A seeded account of any size, put into the state without events (it was there before anybody listened).

About 250,000 objects take some seconds. Each Stripe customer gets a profile, by weight; profiles cover what RULES.md speaks of.
"""

import random

import msgspec

from tests.fake_stripe.amounts import discount_amounts, item_amount, period_seconds
from tests.fake_stripe.change_invoices import DAY, DECLINE, RETRY_DAYS
from tests.fake_stripe.generate_catalog import Catalog, make_catalog
from tests.fake_stripe.names import PERSONAL, Company, address, company, person
from tests.fake_stripe.records import (
    KIND,
    Customer,
    Discount,
    Invoice,
    InvoicePayment,
    Item,
    Line,
    PaymentIntent,
    Price,
    Record,
    Subscription,
)
from tests.fake_stripe.state import State

PROFILES = {"plain": 30, "annual": 14, "seats": 12, "api": 5, "several": 6, "trial": 6, "cancelling": 5, "failing": 6,
            "action": 1,
            "processing": 1, "overdue": 3, "uncollectible": 2, "canceled": 6, "discounted": 7, "repeating": 3, "paused": 2,
            "customer_discount": 3, "quarterly": 3, "none": 2}  # fmt: skip


class Shape(msgspec.Struct):
    """How large, and how mixed. `ours`: companies that are customers of ours too (numbers below it)."""

    ours: int = 255
    unmatched: int = 25
    personal: int = 25
    no_email: int = 4
    collisions: int = 8
    subdomains: int = 10
    invoices_each: int = 3
    years: int = 3


class Generator:
    """Makes records and loads them at once. `companies`: what the customers of ours are called, by number."""

    def __init__(self, state: State, shape: Shape, *, seed: int = 1) -> None:
        self.state = state
        self.shape = shape
        self.rng = random.Random(seed)
        self.now = state.clock.now()
        self.catalog: Catalog = make_catalog(state, self.now - shape.years * 365 * DAY)
        self.companies = [company(n, self.rng) for n in range(shape.ours)]
        self._new: dict[str, list[Record]] = {}
        self._profiles = list(PROFILES)
        self._weights = list(PROFILES.values())

    def run(self) -> None:
        """Everything, oldest first, in one load."""
        jobs = [(c, address(person(self.rng), c.domain)) for c in self.companies]
        jobs += [(c, f"accounts@{c.domain}") for c in self.companies[: self.shape.collisions]]
        spread = self.companies[self.shape.collisions : self.shape.collisions + self.shape.subdomains]
        jobs += [(c, f"billing@{'eu' if n % 2 else 'team'}.{c.domain}") for n, c in enumerate(spread)]
        strangers = [company(max(1500, self.shape.ours) + n, self.rng) for n in range(self.shape.unmatched)]
        jobs += [(c, address(person(self.rng), c.domain)) for c in strangers]
        jobs += [(None, address(person(self.rng), self.rng.choice(PERSONAL))) for _ in range(self.shape.personal)]
        jobs += [(None, None)] * self.shape.no_email
        self.rng.shuffle(jobs)
        oldest = self.now - self.shape.years * 365 * DAY
        for number, (who, email) in enumerate(jobs):
            created = oldest + 10 * DAY + (self.now - 3 * DAY - oldest - 10 * DAY) * number // max(1, len(jobs))
            self.account(who, email, created)
        self.load()

    def load(self) -> None:
        """Put what was made into the state."""
        with self.state.lock:
            for kind, records in self._new.items():
                for record in records:
                    record.seq = record.seq or self.state.next_seq()
                self.state.of(kind).load(records)
            for subscription in self._new.get("subscription", ()):
                for item in subscription.items:
                    self.state.index_item(item)
            self.state.revision += 1
            self._new = {}

    def _add(self, record: Record) -> None:
        record.seq = self.state.next_seq()
        self._new.setdefault(KIND[type(record)], []).append(record)

    def account(self, who: Company | None, email: str | None, created: int, profile: str | None = None) -> Customer:
        """One Stripe customer with what it bought."""
        profile = profile or self.rng.choices(self._profiles, self._weights)[0]
        id_ = self.state.new_id("customer")
        currency = who.currency if who else "usd"
        name = who.name if who else (email or "walk-in").partition("@")[0].replace(".", " ").title()
        customer = Customer(id=id_, created=created, email=email, name=name, country=who.country if who else None,
                            currency=None if profile == "none" else currency, invoice_prefix=id_[4:12].upper(),
                            payment_method=self.state.new_id("payment_method"), delinquent=profile == "failing",
                            declines=profile == "failing",
                            metadata={"segment": self.rng.choice(("smb", "mid-market", "enterprise"))})  # fmt: skip
        self._add(customer)
        if profile == "customer_discount":
            customer.discount = self._discount(self.catalog.coupons["NONPROFIT15"], created, customer=id_)
        if profile != "none":
            self._subscription(customer, profile, currency, created + self.rng.randrange(DAY))
        return customer

    def _discount(self, coupon: str, start: int, **owner: str) -> Discount:
        record = self.state.last_known("coupon", coupon)
        end = start + 30 * DAY * (record.duration_in_months or 1) if record.duration == "repeating" else None
        return Discount(id=self.state.new_id("discount"), created=start, coupon=coupon, start=start, end=end, **owner)

    def _prices(self, profile: str, currency: str) -> list[tuple[Price, int | None]]:
        tier = self.rng.choices(("starter", "growth", "scale"), (5, 4, 1))[0]
        every = {"annual": "annual", "quarterly": "quarterly"}.get(profile, "monthly")
        base = self.catalog.price(f"{tier}_{every}", currency)
        if profile == "seats":
            return [(self.catalog.price("seats_monthly", currency), self.rng.randrange(2, 80))]
        if profile == "api":
            return [(base, 1), (self.catalog.price("api_usage", currency), None)]
        if profile == "several":
            return [
                (base, 1),
                (self.catalog.price("seats_monthly", currency), self.rng.randrange(2, 30)),
                (self.catalog.price("storage_monthly", currency), self.rng.randrange(1, 900)),
            ]
        return [(base, self.rng.choice((1, 1, 1, 2, 3, 5)))]

    def _subscription(self, customer: Customer, profile: str, currency: str, created: int) -> None:
        created = min(created, self.now - 60)
        if profile == "trial":
            created = self.now - self.rng.randrange(1, 12) * DAY
        s = Subscription(id=self.state.new_id("subscription"), created=created, customer=customer.id, currency=currency,
                         start_date=created, anchor=created,
                         metadata={"workspace": f"ws_{self.rng.randrange(10**8):08d}"})  # fmt: skip
        for price, quantity in self._prices(profile, currency):
            start = self.now - (self.now - created) % period_seconds(price)
            s.items.append(Item(id=self.state.new_id("subscription_item"), created=created, price=price.id, subscription=s.id,
                                quantity=quantity, period_start=start, period_end=start + period_seconds(price)))  # fmt: skip
        self._status(s, profile)
        self._add(s)
        self._invoices(customer, s, profile)

    def _status(self, s: Subscription, profile: str) -> None:
        if profile == "trial":
            s.status, s.trial_start, s.trial_end = "trialing", s.created, s.created + 14 * DAY
            for item in s.items:
                item.period_start, item.period_end = s.created, s.trial_end
        elif profile in {"failing", "action"}:
            s.status = "past_due"
        elif profile == "canceled":
            s.status, s.ended_at, s.canceled_at = "canceled", s.items[0].period_start, s.items[0].period_start
            s.cancellation_reason = "cancellation_requested"
        elif profile == "cancelling":
            s.cancel_at_period_end, s.canceled_at, s.cancel_at = True, s.items[0].period_start, s.items[0].period_end
        elif profile == "paused":
            s.pause_collection = {"behavior": "void", "resumes_at": None}
        elif profile == "overdue":
            s.collection_method, s.days_until_due = "send_invoice", 14
        elif profile in {"discounted", "repeating"}:
            code = "FRIENDS10" if profile == "repeating" else self.rng.choice(("LAUNCH20", "LOYAL500"))
            start = s.created if profile == "discounted" else self.now - 40 * DAY
            s.discounts = [self._discount(self.catalog.coupons[code], start, customer=s.customer, subscription=s.id)]

    def _invoices(self, customer: Customer, s: Subscription, profile: str) -> None:
        """The last periods' invoices, oldest first: all paid but the newest, which the profile decides."""
        period = s.items[0].period_end - s.items[0].period_start
        newest = s.items[0].period_start
        starts = [newest - n * period for n in range(self.shape.invoices_each) if newest - n * period >= s.created - 60]
        taken = discount_amounts(self.state, customer, s, self.now)
        for start in reversed(starts or [s.created]):
            lines = [self._line(s, item, taken[item.id], start, period) for item in s.items]
            subtotal = sum(line.amount for line in lines)
            total = max(0, subtotal - sum(d["amount"] for line in lines for d in line.discount_amounts))
            reason = "subscription_create" if start <= s.created + 60 else "subscription_cycle"
            invoice = Invoice(
                id=self.state.new_id("invoice"), created=start, customer=customer.id, subscription=s.id, currency=s.currency,
                lines=lines, subtotal=subtotal, total=total, billing_reason=reason, collection_method=s.collection_method,
                number=f"{customer.invoice_prefix}-{customer.next_sequence:04d}", status="paid", finalized_at=start,
                discounts=list(s.discounts), period_start=start, period_end=start + period, auto_advance=False)  # fmt: skip
            customer.next_sequence += 1
            s.latest_invoice = invoice.id
            self._outcome(invoice, profile if start == (starts or [s.created])[0] else "plain", customer)

    def _line(self, s: Subscription, item: Item, taken: list[dict], start: int, period: int) -> Line:
        price = self.state.last_known("price", item.price)
        amount = 0 if s.status == "trialing" else item_amount(price, item.quantity, s.currency)
        return Line(id=self.state.new_id("line_item"), created=start, amount=amount,
                    description=f"{item.quantity or 1} × {price.nickname or price.id}", price=price.id, quantity=item.quantity,
                    subscription_item=item.id, period_start=start, period_end=start + period,
                    discount_amounts=taken if amount else [])  # fmt: skip

    def _outcome(self, v: Invoice, profile: str, customer: Customer) -> None:
        intent = payment = None
        if v.total > 0:
            intent = PaymentIntent(id=self.state.new_id("payment_intent"), created=v.created, customer=customer.id,
                                   invoice=v.id,
                                   amount=v.total, currency=v.currency, status="succeeded", amount_received=v.total,
                                   payment_method=customer.payment_method)  # fmt: skip
            payment = InvoicePayment(id=self.state.new_id("invoice_payment"), created=v.created, invoice=v.id,
                                     payment_intent=intent.id, amount_requested=v.total, currency=v.currency)  # fmt: skip
            v.payments = [payment.id]
            self._add(intent)
            self._add(payment)
        if profile in {"failing", "action", "processing", "overdue", "uncollectible"} and intent is not None:
            _unpaid(v, intent, profile, self.now)
        else:
            v.status, v.paid_at, v.amount_paid = "paid", v.created + 5, v.total
            v.attempted, v.attempt_count = True, 1 if v.total else 0
            if payment is not None:
                payment.status, payment.paid_at, payment.amount_paid = "paid", v.created + 5, v.total
        self._add(v)


def _unpaid(v: Invoice, intent: PaymentIntent, profile: str, now: int) -> None:
    v.status, v.amount_paid, intent.amount_received = "open", 0, 0
    intent.status = {"action": "requires_action", "processing": "processing"}.get(profile, "requires_payment_method")
    if profile == "overdue":
        v.due_date = v.created + 14 * DAY
        return
    v.attempted, v.attempt_count, v.auto_advance = True, 1 + (now - v.created) // (3 * DAY) % 3, True
    if profile == "failing":
        intent.last_payment_error = DECLINE
        v.next_payment_attempt = now + RETRY_DAYS[v.attempt_count - 1] * DAY
    if profile == "uncollectible":
        v.status, v.uncollectible_at, v.uncollectible_reason = "uncollectible", now - DAY, "max_payment_attempts"
        intent.last_payment_error, v.auto_advance = DECLINE, False


def generate(state: State, shape: Shape | None = None, *, seed: int = 1) -> Generator:
    """Fill a state; the generator knows the companies and the catalogue."""
    generator = Generator(state, shape or Shape(), seed=seed)
    generator.run()
    return generator
