"""Changes that happen seldom, so that every type of event that an endpoint may ask for can be had (STRIPE 3.2)."""

from msgspec.structs import replace

from tests.fake_stripe.change_base import locked
from tests.fake_stripe.change_subscriptions import SubscriptionChanges
from tests.fake_stripe.records import (
    Coupon,
    Customer,
    Discount,
    Invoice,
    InvoicePayment,
    Item,
    PaymentIntent,
    Price,
    Subscription,
)

UPDATE_LIVES = 23 * 3600  # seconds that a pending update waits for its payment
NO_TAX = {
    "code": "customer_tax_location_invalid",
    "message": "The customer's location isn't recognized.",
    "type": "invalid_request_error",
}


class RareChanges(SubscriptionChanges):
    """What most accounts see once a year."""

    # --- invoices -----------------------------------------------------------------------------------

    @locked
    def leave_draft(self, subscription: Subscription | str) -> Invoice:
        """A period begins, and its invoice stays a draft until Stripe's clock finalises it (`fake.pass_time`)."""
        found = self.subscription(subscription)
        before = self._start(found)
        found.items = [self._next_period(item) for item in found.items]
        invoice = self.draft_for(found, "subscription_cycle")
        found.latest_invoice = invoice.id
        if before is not None:
            self.recorder.emit("customer.subscription.updated", found, before)
        return invoice

    @locked
    def collect_draft(self, invoice: Invoice | str) -> Invoice:
        """What Stripe does with a draft whose hour has come: finalised, and one of a subscription is paid or fails."""
        found = self.invoice(invoice)
        if found.subscription is None:
            return self.finalize(found)
        owner = self.state.get("customer", found.customer)
        self._collect(found, pays=owner is None or not owner.declines)
        return found

    @locked
    def fail_finalization(self, invoice: Invoice | str) -> Invoice:
        """`invoice.finalization_failed`: it stays a draft with the reason."""
        found = self.invoice(invoice)
        with self.recorder.changing(found, None):
            found.finalization_error = NO_TAX
        self.recorder.emit("invoice.finalization_failed", found)
        return found

    @locked
    def ask_for_payment(self, invoice: Invoice | str) -> Invoice:
        """`invoice.payment_attempt_required`: somebody else has to take the money [verify: what else it changes]."""
        found = self.invoice(invoice)
        self.recorder.emit("invoice.payment_attempt_required", found)
        return found

    @locked
    def overdue(self, invoice: Invoice | str) -> Invoice:
        """`invoice.overdue`: the due date has passed; nothing on the invoice changes."""
        found = self.invoice(invoice)
        found.told_overdue = True
        self.recorder.emit("invoice.overdue", found)
        return found

    @locked
    def pay_part(self, invoice: Invoice | str, amount: int, *, by: str = "payment_intent") -> Invoice:
        """One of several payments (since basil): `invoice_payment.paid` and `invoice.updated`; the last one pays the invoice.
        `by`: payment_intent, charge or payment_record (money that came outside Stripe)."""
        found = self.invoice(invoice)
        if found.status == "draft":
            self.finalize(found)
        amount = min(amount, found.amount_remaining)
        payment = self._part(found, amount, by)
        before = None if self.recorder.silent else self.recorder.shapes(found)
        with self.recorder.changing(found, None):
            found.payments = [*found.payments, payment.id]
            found.amount_paid += amount
            found.paid_off_stripe += amount if by == "payment_record" else 0
        self.recorder.emit("invoice_payment.paid", payment)
        if before is not None:
            self.recorder.emit("invoice.updated", found, before)
        if found.amount_remaining == 0:
            self._paid_in_parts(found)
        return found

    def _part(self, invoice: Invoice, amount: int, by: str) -> InvoicePayment:
        payment = InvoicePayment(id=self.state.new_id("invoice_payment"), created=self.now, invoice=invoice.id, type=by,
                                 amount_requested=amount, amount_paid=amount, currency=invoice.currency, status="paid",
                                 is_default=False, paid_at=self.now)  # fmt: skip
        if by == "payment_intent":
            intent = PaymentIntent(id=self.state.new_id("payment_intent"), created=self.now, customer=invoice.customer,
                                   invoice=invoice.id, amount=amount, currency=invoice.currency, status="succeeded",
                                   amount_received=amount, latest_charge=self.state.new_id("charge"))  # fmt: skip
            self._add(intent, "payment_intent.succeeded")
            payment.payment_intent = intent.id
        else:
            setattr(payment, by, self.state.new_id(by))
        self.state.add(payment)
        return payment

    def _paid_in_parts(self, invoice: Invoice) -> None:
        """Nothing is left to pay: the payment that was waiting is given up, the invoice is paid."""
        before = None if self.recorder.silent else self.recorder.shapes(invoice)
        self._settle(*self._default(invoice), out_of_band=True)
        with self.recorder.changing(invoice, None):
            invoice.status, invoice.paid_at, invoice.next_payment_attempt = "paid", self.now, None
            invoice.attempted, invoice.auto_advance = True, False
        for type_ in ("invoice.paid", "invoice.payment_succeeded"):
            self.recorder.emit(type_, invoice)
        if before is not None:
            self.recorder.emit("invoice.updated", invoice, before)
        self._after_payment(invoice)

    # --- subscriptions ------------------------------------------------------------------------------

    @locked
    def expire(self, subscription: Subscription | str) -> Subscription:
        """incomplete -> incomplete_expired after 23 hours: final, and its invoice is voided."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.status, found.ended_at = "incomplete_expired", self.now
        latest = self.state.get("invoice", found.latest_invoice)
        if latest is not None and latest.status == "open":
            self.void(latest)
        return found

    @locked
    def end_period(self, subscription: Subscription | str) -> Subscription:
        """The announced end has come: `customer.subscription.deleted`."""
        return self.cancel(subscription)

    @locked
    def end_trial_without_method(self, subscription: Subscription | str) -> Subscription:
        """A trial ends and there is no payment method: paused or cancelled as its `without_method` says; else it bills."""
        found = self.subscription(subscription)
        if found.without_method == "cancel":
            return self.cancel(found, reason="cancellation_requested")
        if found.without_method == "create_invoice":
            return self.end_trial(found, pays=False)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.status, found.paused_at, found.pause_type = "paused", self.now, "trial_end_without_payment_method"  # [verify]
        self.recorder.emit("customer.subscription.paused", found)
        return found

    @locked
    def update_later(self, subscription: Subscription | str, price: Price | str, quantity: int | None = 1) -> Subscription:
        """An update that counts only once it is paid: `pending_update`."""
        found, new = self.subscription(subscription), self.price(price)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.pending_update = {"price": new.id, "quantity": quantity, "expires_at": self.now + UPDATE_LIVES}
        return found

    @locked
    def apply_update(self, subscription: Subscription | str) -> Subscription:
        """It is paid: `customer.subscription.pending_update_applied` beside `.updated`."""
        found = self.subscription(subscription)
        waiting = found.pending_update
        assert waiting is not None
        with self.recorder.changing(found, "customer.subscription.updated"):
            first = replace(found.items[0], price=waiting["price"], quantity=waiting["quantity"])
            found.items, found.pending_update = [first, *found.items[1:]], None
        self.recorder.emit("customer.subscription.pending_update_applied", found)
        return found

    @locked
    def drop_update(self, subscription: Subscription | str) -> Subscription:
        """It wasn't paid in time: `customer.subscription.pending_update_expired` beside `.updated`."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.pending_update = None
        self.recorder.emit("customer.subscription.pending_update_expired", found)
        return found

    # --- customers ----------------------------------------------------------------------------------

    @locked
    def swap_coupon(self, customer: Customer | str, coupon: Coupon | str) -> Discount:
        """A customer moves from one coupon to another: `customer.discount.updated`, then `customer.updated`."""
        owner = self.customer(customer)
        old = owner.discount
        assert old is not None
        before = None if self.recorder.silent else self.recorder.shapes(old)
        new = replace(self.new_discount(coupon), id=old.id, customer=owner.id)
        with self.recorder.changing(owner, "customer.updated"):
            owner.discount = new
            if before is not None:
                self.recorder.emit("customer.discount.updated", new, before)
        return new

    @locked
    def let_discount_run_out(self, subscription: Subscription | str) -> Subscription:
        """Its discounts ended by their `end` and are dropped with the next invoice: no event tells of it [verify]."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, None):
            found.discounts = [d for d in found.discounts if d.end is None or d.end > self.now]
            found.items = [self._lasting(item) for item in found.items]
        return found

    def _lasting(self, item: Item) -> Item:
        return replace(item, discounts=[d for d in item.discounts if d.end is None or d.end > self.now])
