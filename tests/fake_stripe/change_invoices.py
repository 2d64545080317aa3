"""The life of an invoice (STRIPE 8), each step with its events."""

from tests.fake_stripe.amounts import discount_amounts, item_amount
from tests.fake_stripe.change_base import ChangeBase, locked
from tests.fake_stripe.records import Customer, Invoice, InvoicePayment, Line, PaymentIntent, Subscription

DAY = 86_400
RETRY_DAYS = (3, 5, 7)
DECLINE = {
    "code": "card_declined",
    "decline_code": "generic_decline",
    "message": "Your card was declined.",
    "type": "card_error",
}


class InvoiceChanges(ChangeBase):
    """Who owes and who pays."""

    @locked
    def create_invoice(
        self,
        customer: Customer | str,
        amount: int,
        *,
        currency: str = "usd",
        days_until_due: int | None = None,
        finalize: bool = True,
    ) -> Invoice:
        """A one-off (manual) invoice; with `days_until_due` it is sent by e-mail and due then. Neither paid nor failed yet."""
        owner = self.customer(customer)
        line = Line(id=self.state.new_id("line_item"), created=self.now, amount=amount, description="One-time service",
                    price=None, quantity=1, subscription_item=None, period_start=self.now, period_end=self.now)  # fmt: skip
        invoice = self._draft(owner, [line], "manual", currency, None, days_until_due)
        if finalize:
            self.finalize(invoice)
        return invoice

    def _draft(
        self,
        owner: Customer,
        lines: list[Line],
        reason: str,
        currency: str,
        subscription: Subscription | None,
        days_until_due: int | None,
    ) -> Invoice:
        subtotal = sum(line.amount for line in lines)
        total = subtotal - sum(part["amount"] for line in lines for part in line.discount_amounts)
        method = "charge_automatically" if days_until_due is None else "send_invoice"
        invoice = Invoice(
            id=self.state.new_id("invoice"), created=self.now, customer=owner.id,
            subscription=subscription.id if subscription else None,
            currency=currency, lines=lines, subtotal=subtotal, total=max(0, total), billing_reason=reason,
            collection_method=method, due_date=None if days_until_due is None else self.now + days_until_due * DAY,
            discounts=list(subscription.discounts) if subscription else [], test_clock=owner.test_clock,
            period_start=min((line.period_start for line in lines), default=self.now), period_end=self.now)  # fmt: skip
        return self._add(invoice, "invoice.created")

    def draft_for(self, subscription: Subscription, reason: str) -> Invoice:
        """The draft of a subscription's next period (the caller has moved the period), not yet finalised."""
        owner = self.customer(subscription.customer)
        taken = discount_amounts(self.state, owner, subscription, self.now)
        lines = []
        for item in subscription.items:
            price = self.state.last_known("price", item.price)
            free = subscription.status == "trialing"
            lines.append(Line(
                id=self.state.new_id("line_item"), created=self.now,
                amount=0 if free else item_amount(price, item.quantity, subscription.currency),
                description=f"{item.quantity or 1} × {price.nickname or price.id}", price=price.id, quantity=item.quantity,
                subscription_item=item.id, period_start=item.period_start, period_end=item.period_end,
                discount_amounts=[] if free else taken[item.id]))  # fmt: skip
        due = subscription.days_until_due if subscription.collection_method == "send_invoice" else None
        return self._draft(owner, lines, reason, subscription.currency, subscription, due)

    @locked
    def finalize(self, invoice: Invoice | str) -> Invoice:
        """draft -> open: `invoice.finalized` and `invoice.updated`; a payment intent waits when money is owed."""
        found = self.invoice(invoice)
        owner = self.customer(found.customer)
        before = None if self.recorder.silent else self.recorder.shapes(found)
        with self.recorder.changing(found, None):
            found.status, found.finalized_at = "open", self.now
            found.number = f"{owner.invoice_prefix}-{owner.next_sequence:04d}"
            owner.next_sequence += 1
            if found.collection_method == "charge_automatically":
                found.next_payment_attempt = None
            if found.total > 0:
                self._payment(found, owner)
        self.recorder.emit("invoice.finalized", found)
        if before is not None:
            self.recorder.emit("invoice.updated", found, before)
        return found

    def _payment(self, invoice: Invoice, owner: Customer) -> None:
        intent = PaymentIntent(id=self.state.new_id("payment_intent"), created=self.now, customer=owner.id, invoice=invoice.id,
                               amount=invoice.total, currency=invoice.currency, status="requires_confirmation",
                               payment_method=owner.payment_method)  # fmt: skip
        self._add(intent, "payment_intent.created")
        payment = InvoicePayment(id=self.state.new_id("invoice_payment"), created=self.now, invoice=invoice.id,
                                 payment_intent=intent.id,
                                 amount_requested=invoice.total, currency=invoice.currency)  # fmt: skip
        self.state.add(payment)
        invoice.payments = [*invoice.payments, payment.id]

    def _default(self, invoice: Invoice) -> tuple[InvoicePayment | None, PaymentIntent | None]:
        payment = next((p for p in (self.state.get("invoice_payment", i) for i in invoice.payments) if p.is_default), None)
        return payment, self.state.get("payment_intent", payment.payment_intent) if payment else None

    @locked
    def pay(self, invoice: Invoice | str, *, out_of_band: bool = False) -> Invoice:
        """open or uncollectible -> paid: `invoice.paid`, `invoice.payment_succeeded`, `invoice.updated`; a subscription that
        was
        past due, unpaid or incomplete becomes active once nothing of it is open."""
        found = self.invoice(invoice)
        if found.status == "draft":
            self.finalize(found)
        before = None if self.recorder.silent else self.recorder.shapes(found)
        payment, intent = self._default(found)
        rest = found.amount_remaining
        with self.recorder.changing(found, None):
            found.status, found.paid_at, found.paid_out_of_band = "paid", self.now, out_of_band
            found.attempted, found.next_payment_attempt, found.auto_advance = True, None, False
            if found.total > 0 and not out_of_band:
                found.attempt_count, found.amount_paid = found.attempt_count + 1, found.total
            if out_of_band:
                found.amount_paid, found.paid_off_stripe = found.total, found.paid_off_stripe + rest
        self._settle(payment, intent, out_of_band, rest)
        if not out_of_band and payment is not None:
            self.recorder.emit("invoice_payment.paid", payment)
        for type_ in ("invoice.paid", "invoice.payment_succeeded"):
            self.recorder.emit(type_, found)
        if before is not None:
            self.recorder.emit("invoice.updated", found, before)
        self._after_payment(found)
        return found

    def _settle(
        self, payment: InvoicePayment | None, intent: PaymentIntent | None, out_of_band: bool, rest: int | None = None
    ) -> None:
        """The payment that was waiting is made (of the `rest`, where parts came before) or given up."""
        if payment is None or intent is None:
            return
        with self.recorder.changing(payment, None), self.recorder.changing(intent, None):
            if out_of_band:
                payment.status, payment.canceled_at = "canceled", self.now
                intent.status, intent.canceled_at = "canceled", self.now
            else:
                payment.amount_requested = intent.amount = payment.amount_requested if rest is None else rest
                payment.status, payment.paid_at, payment.amount_paid = "paid", self.now, payment.amount_requested
                intent.status, intent.amount_received, intent.last_payment_error = "succeeded", intent.amount, None
                intent.latest_charge = self.state.new_id("charge")
        self.recorder.emit("payment_intent.canceled" if out_of_band else "payment_intent.succeeded", intent)

    def _after_payment(self, invoice: Invoice) -> None:
        subscription = self.state.get("subscription", invoice.subscription)
        if (
            subscription is not None
            and subscription.status in {"past_due", "unpaid", "incomplete"}
            and not self._owes(subscription)
        ):
            with self.recorder.changing(subscription, "customer.subscription.updated"):
                subscription.status = "active"
        owner = self.state.get("customer", invoice.customer)
        if owner is not None and owner.delinquent:
            with self.recorder.changing(owner, "customer.updated"):
                owner.delinquent = False

    def _owes(self, subscription: Subscription) -> bool:
        ids = self.state.of("invoice").ids_of(subscription.customer)
        return any(
            v.subscription == subscription.id and v.status == "open" for v in (self.state.get("invoice", i) for i in ids)
        )

    @locked
    def fail(self, invoice: Invoice | str, *, action: bool = False, last: bool = False, error: dict | None = None) -> Invoice:
        """An attempt fails: the invoice stays open, `invoice.payment_failed` (with `action` also `.payment_action_required`),
        `invoice.updated`; `last`: retries are used up. The subscription becomes past due (or stays incomplete)."""
        found = self.invoice(invoice)
        if found.status == "draft":
            self.finalize(found)
        before = None if self.recorder.silent else self.recorder.shapes(found)
        _, intent = self._default(found)
        with self.recorder.changing(found, None):
            found.attempted, found.attempt_count = True, found.attempt_count + 1
            days = RETRY_DAYS[min(found.attempt_count, len(RETRY_DAYS)) - 1]
            found.next_payment_attempt = None if last else self.now + days * DAY
        if intent is not None:
            with self.recorder.changing(intent, None):
                intent.status = "requires_action" if action else "requires_payment_method"
                intent.last_payment_error = None if action else (error or DECLINE)
                intent.latest_charge = None if action else self.state.new_id("charge")
            self.recorder.emit("payment_intent.requires_action" if action else "payment_intent.payment_failed", intent)
        self.recorder.emit("invoice.payment_failed", found)
        if action:
            self.recorder.emit("invoice.payment_action_required", found)
        if before is not None:
            self.recorder.emit("invoice.updated", found, before)
        self._after_failure(found)
        return found

    def _after_failure(self, invoice: Invoice) -> None:
        subscription = self.state.get("subscription", invoice.subscription)
        if subscription is not None and subscription.status == "active":
            with self.recorder.changing(subscription, "customer.subscription.updated"):
                subscription.status = "past_due"
        owner = self.state.get("customer", invoice.customer)
        if owner is not None and not owner.delinquent:
            with self.recorder.changing(owner, "customer.updated"):
                owner.delinquent = True

    @locked
    def process(self, invoice: Invoice | str) -> Invoice:
        """A bank debit is on its way: attempted, the payment intent `processing` for days."""
        found = self.invoice(invoice)
        if found.status == "draft":
            self.finalize(found)
        _, intent = self._default(found)
        if intent is not None:
            with self.recorder.changing(intent, None):
                intent.status = "processing"
            self.recorder.emit("payment_intent.processing", intent)
        with self.recorder.changing(found, "invoice.updated"):
            found.attempted, found.attempt_count = True, found.attempt_count + 1
        return found

    @locked
    def void(self, invoice: Invoice | str) -> Invoice:
        """open -> void: `invoice.voided`, `invoice.updated`."""
        return self._close(self.invoice(invoice), "void", "voided_at", "invoice.voided")

    @locked
    def mark_uncollectible(self, invoice: Invoice | str, reason: str = "user_forgiven") -> Invoice:
        """open -> uncollectible: `invoice.marked_uncollectible`, `invoice.updated`."""
        found = self.invoice(invoice)
        return self._close(found, "uncollectible", "uncollectible_at", "invoice.marked_uncollectible", reason)

    def _close(self, found: Invoice, status: str, stamp: str, type_: str, reason: str | None = None) -> Invoice:
        before = None if self.recorder.silent else self.recorder.shapes(found)
        with self.recorder.changing(found, None):
            found.status, found.auto_advance, found.next_payment_attempt = status, False, None
            found.uncollectible_reason = reason
            setattr(found, stamp, self.now)
        self.recorder.emit(type_, found)
        if before is not None:
            self.recorder.emit("invoice.updated", found, before)
        self._after_payment(found)
        return found

    @locked
    def delete_draft(self, invoice: Invoice | str) -> None:
        """`invoice.deleted`; only drafts can be deleted."""
        found = self.invoice(invoice)
        assert found.status == "draft"
        shapes = self.recorder.shapes(found)
        self.state.remove(found)
        self.recorder.emit("invoice.deleted", found, shapes=shapes)

    @locked
    def refund(self, invoice: Invoice | str) -> None:
        """Money goes back: `refund.created`, shown here by the charge's payment intent. The invoice stays paid."""
        _, intent = self._default(self.invoice(invoice))
        if intent is not None:
            self.recorder.emit("refund.created", intent)
