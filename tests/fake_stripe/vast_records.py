"""The records of one account of a vast Stripe: the same objects as `generate` makes, from a class and its values."""

import msgspec

from tests.fake_stripe.amounts import discount_amounts, item_amount
from tests.fake_stripe.change_invoices import DAY, DECLINE, RETRY_DAYS
from tests.fake_stripe.generate_catalog import Catalog
from tests.fake_stripe.records import (
    Customer,
    Discount,
    Invoice,
    InvoicePayment,
    Item,
    Line,
    PaymentIntent,
    Record,
    Subscription,
)
from tests.fake_stripe.state import State
from tests.fake_stripe.vast_plan import Bill, Kind, Own

UNPAID = frozenset({"failing", "action", "processing", "overdue", "uncollectible"})
COUPONS = {"customer_discount": "NONPROFIT15", "discounted": "LAUNCH20", "repeating": "FRIENDS10"}


class Bundle(msgspec.Struct):
    """All of one account."""

    customer: Customer
    subscription: Subscription | None = None
    invoices: list[Invoice] = []
    payments: dict[int, InvoicePayment] = {}
    intents: dict[int, PaymentIntent] = {}

    def by_kind(self) -> list[tuple[str, int, Record]]:
        """Kind, slot, record."""
        found: list[tuple[str, int, Record]] = [("customer", 0, self.customer)]
        if self.subscription is not None:
            found.append(("subscription", 0, self.subscription))
        found += [("invoice", slot, one) for slot, one in enumerate(self.invoices)]
        found += [("invoice_payment", slot, one) for slot, one in self.payments.items()]
        found += [("payment_intent", slot, one) for slot, one in self.intents.items()]
        return found


class Maker:
    """Makes bundles. `now`: when the account was looked at first; nothing in it is younger."""

    def __init__(self, state: State, catalog: Catalog, now: int) -> None:
        self.state, self.catalog, self.now = state, catalog, now

    def bundle(self, kind: Kind, own: Own, bills: list[Bill]) -> Bundle:
        """An account's records."""
        customer = Customer(
            id=own.customer.decode(), created=own.created, email=own.email.decode(), name=own.name.decode(),
            country=own.country.decode() if kind.named else None, currency=kind.currency if kind.bills else None,
            invoice_prefix=own.prefix.decode(), next_sequence=own.sequence, payment_method=own.method.decode(),
            delinquent=kind.profile == "failing", declines=kind.profile == "failing",
            metadata={"segment": own.segment.decode()})  # fmt: skip
        made = Bundle(customer)
        if kind.profile == "customer_discount":
            customer.discount = self._discount(kind, own, own.created, customer=customer.id)
        if kind.bills:
            made.subscription = self._subscription(kind, own)
            made.subscription.latest_invoice = bills[-1].invoice.decode()
            taken = discount_amounts(self.state, customer, made.subscription, self.now)
            for slot, bill in enumerate(bills):
                self._bill(made, kind, slot, bill, taken)
        return made

    def _discount(self, kind: Kind, own: Own, start: int, **owner: str) -> Discount:
        end = start + 180 * DAY if kind.profile == "repeating" else None
        return Discount(id=own.discount.decode(), created=start, coupon=COUPONS[kind.profile], start=start, end=end, **owner)

    def _subscription(self, kind: Kind, own: Own) -> Subscription:
        s = Subscription(
            id=own.subscription.decode(), created=own.begun, customer=own.customer.decode(), currency=kind.currency,
            start_date=own.begun, anchor=own.begun, metadata={"workspace": own.workspace.decode()})  # fmt: skip
        for place, (key, quantity) in enumerate(kind.prices):
            price = self.catalog.price(key, kind.currency)
            s.items.append(Item(id=own.items[place].decode(), created=own.begun, price=price.id, subscription=s.id,
                                quantity=quantity, period_start=own.start, period_end=own.end))  # fmt: skip
        self._status(s, kind, own)
        return s

    def _status(self, s: Subscription, kind: Kind, own: Own) -> None:
        if kind.profile == "trial":
            s.status, s.trial_start, s.trial_end = "trialing", own.begun, own.end
        elif kind.profile in {"failing", "action"}:
            s.status = "past_due"
        elif kind.profile == "canceled":
            s.status, s.ended_at, s.canceled_at = "canceled", own.start, own.start
            s.cancellation_reason = "cancellation_requested"
        elif kind.profile == "cancelling":
            s.cancel_at_period_end, s.canceled_at, s.cancel_at = True, own.start, own.end
        elif kind.profile == "paused":
            s.pause_collection = {"behavior": "void", "resumes_at": None}
        elif kind.profile == "overdue":
            s.collection_method, s.days_until_due = "send_invoice", 14
        elif kind.profile in {"discounted", "repeating"}:
            start = own.begun if kind.profile == "discounted" else self.now - 40 * DAY
            s.discounts = [self._discount(kind, own, start, customer=s.customer, subscription=s.id)]

    def _bill(self, made: Bundle, kind: Kind, slot: int, bill: Bill, taken: dict[str, list[dict]]) -> None:
        s = made.subscription
        assert s is not None
        lines = [self._line(kind, s, item, bill, place, taken[item.id]) for place, item in enumerate(s.items)]
        subtotal = sum(line.amount for line in lines)
        total = max(0, subtotal - sum(d["amount"] for line in lines for d in line.discount_amounts))
        first = slot == 0 and kind.whole
        invoice = Invoice(
            id=bill.invoice.decode(), created=bill.start, customer=s.customer, subscription=s.id, currency=s.currency,
            lines=lines, subtotal=subtotal, total=total, number=bill.number.decode(), status="paid", finalized_at=bill.start,
            billing_reason="subscription_create" if first else "subscription_cycle", collection_method=s.collection_method,
            discounts=list(s.discounts), period_start=bill.start, period_end=bill.end, auto_advance=False)  # fmt: skip
        made.invoices.append(invoice)
        if total > 0:
            self._payment(made, slot, bill, invoice)
        if slot == kind.bills - 1 and kind.profile in UNPAID:
            self._unpaid(invoice, made.intents[slot], kind, bill)
        else:
            self._paid(invoice, made.payments.get(slot), bill)

    def _line(self, kind: Kind, s: Subscription, item: Item, bill: Bill, place: int, taken: list[dict]) -> Line:
        price = self.catalog.price(kind.prices[place][0], kind.currency)
        amount = 0 if s.status == "trialing" else item_amount(price, item.quantity, s.currency)
        return Line(id=bill.lines[place].decode(), created=bill.start, amount=amount,
                    description=f"{item.quantity or 1} × {price.nickname}", price=price.id, quantity=item.quantity,
                    subscription_item=item.id, period_start=bill.start, period_end=bill.end,
                    discount_amounts=taken if amount else [])  # fmt: skip

    def _payment(self, made: Bundle, slot: int, bill: Bill, v: Invoice) -> None:
        intent = made.intents[slot] = PaymentIntent(
            id=bill.intent.decode(), created=bill.start, customer=v.customer, invoice=v.id, amount=v.total,
            currency=v.currency, status="succeeded", amount_received=v.total,
            payment_method=made.customer.payment_method)  # fmt: skip
        payment = made.payments[slot] = InvoicePayment(
            id=bill.payment.decode(), created=bill.start, invoice=v.id, payment_intent=intent.id, amount_requested=v.total,
            currency=v.currency)  # fmt: skip
        v.payments = [payment.id]

    def _paid(self, v: Invoice, payment: InvoicePayment | None, bill: Bill) -> None:
        v.paid_at, v.amount_paid, v.attempted, v.attempt_count = bill.paid, v.total, True, 1 if v.total else 0
        if payment is not None:
            payment.status, payment.paid_at, payment.amount_paid = "paid", bill.paid, v.total

    def _unpaid(self, v: Invoice, intent: PaymentIntent, kind: Kind, bill: Bill) -> None:
        v.status, intent.amount_received = "open", 0
        intent.status = {"action": "requires_action", "processing": "processing"}.get(kind.profile, "requires_payment_method")
        if kind.profile == "overdue":
            v.due_date = bill.due
            return
        v.attempted, v.attempt_count, v.auto_advance = True, kind.attempts, True
        if kind.profile == "failing":
            intent.last_payment_error = DECLINE
            v.next_payment_attempt = self.now + RETRY_DAYS[kind.attempts - 1] * DAY
        if kind.profile == "uncollectible":
            v.status, v.uncollectible_at, v.uncollectible_reason = "uncollectible", self.now - DAY, "max_payment_attempts"
            intent.last_payment_error, v.auto_advance = DECLINE, False
