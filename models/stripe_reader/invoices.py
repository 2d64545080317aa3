"""Invoices and their payments, before and after 2025-03-31.basil (STRIPE 2.2, 2.3, 8)."""

from models.domain.types import Invoice, InvoicePayment, Payment
from models.stripe_reader.fields import OBJECT, Data, Fields, fields_of, listed, reference, truncated


def read_invoice(data: object) -> Invoice:
    """An invoice of any API version.

    Raises `Unreadable` without an id, or where an amount, a count or a time is no number.
    """
    fields = fields_of(data, "invoice")
    payment, known = _payment(fields)
    created = fields.moment("created")
    status = _status(fields)
    return Invoice(
        id=fields.owner,
        customer=fields.reference("customer") or fields.key("customer_account"),
        subscription=_subscription(fields),
        status=status,
        # Newer versions have the status alone; both shapes of one invoice give one value.
        paid=status == "paid" or fields.flag("paid"),
        created=fields.moment("date") if created is None else created,
        number=fields.text("number"),
        currency=fields.lower("currency"),
        amount_due=fields.amount("amount_due"),
        amount_remaining=_amount_remaining(fields),
        attempted=fields.flag("attempted"),
        attempt_count=fields.whole("attempt_count") or 0,
        next_payment_attempt=fields.moment("next_payment_attempt"),
        due_date=fields.moment("due_date"),
        collection_method=fields.text("collection_method") or fields.text("billing"),
        auto_advance=_flag_or_none(fields, "auto_advance"),
        payment=payment,
        payments_known=known,
        uncollectible_reason=_uncollectible_reason(fields),
        deleted=fields.flag("deleted"),
    )


def read_invoice_payment(data: object) -> InvoicePayment:
    """An invoice payment (since basil). It names its invoice and no customer. Raises `Unreadable` without an id."""
    fields = fields_of(data, "invoice_payment")
    return InvoicePayment(
        id=fields.owner,
        invoice=fields.reference("invoice"),
        status=fields.text("status"),
        is_default=fields.flag("is_default"),
        created=fields.moment_or_none("created"),
        payment=_paid_with(fields),
    )


def read_payment_intent(data: object) -> Payment:
    """A payment intent: its status and, where there is one, the last error. Raises `Unreadable` without an id."""
    fields = fields_of(data, "payment_intent")
    error = Fields(fields.part("last_payment_error") or {}, fields.owner)
    return Payment(
        intent=fields.owner,
        status=fields.text("status"),
        error_code=error.text("code") or error.text("type"),
        decline_code=error.text("decline_code"),
        error_message=error.text("message"),
    )


def _payment(fields: Fields) -> tuple[Payment | None, bool]:
    """The payment that decides, and whether its state was in this object (else a read would tell more)."""
    if fields.data.get("payment_intent") is not None:
        payment = _intent(fields.data["payment_intent"])
    elif (payments := listed(fields.data.get("payments"))) is not None:
        payment = _of_payments(payments, fields.owner)
        if payment is None:
            return None, not truncated(fields.data.get("payments"))
    else:
        payment = _charge(fields.data.get("charge"))
    return payment, payment is not None and payment.status is not None


def _of_payments(payments: list[object], owner: str) -> Payment | None:
    """Of `payments.data` the default one first, then the newest (STRIPE 2.3)."""
    entries = [Fields(entry, owner) for entry in payments if isinstance(entry, OBJECT)]
    entries.sort(key=lambda entry: (entry.flag("is_default"), entry.moment_or_none("created") or 0), reverse=True)
    return next((payment for entry in entries if (payment := _paid_with(entry)) is not None), None)


def _paid_with(entry: Fields) -> Payment | None:
    """The payment intent (or charge) inside one invoice payment; a `payment_record` tells nothing."""
    paid_with = entry.part("payment")
    if paid_with is None:
        return None
    return _intent(paid_with.get("payment_intent")) or _charge(paid_with.get("charge"))


def _intent(value: object) -> Payment | None:
    intent = reference(value)
    if intent is None:
        return None
    return read_payment_intent(value) if isinstance(value, OBJECT) else Payment(intent=intent)


def _charge(value: object) -> Payment | None:
    """A charge without a payment intent (before 2019): `pending` is a bank debit under way. None while unexpanded."""
    if not isinstance(value, OBJECT) or reference(value) is None:
        return None
    fields = Fields(value, str(value["id"]))
    status = {"pending": "processing", "failed": "requires_payment_method"}.get(fields.text("status") or "")
    code = fields.text("failure_code")
    return Payment(status=status or fields.text("status"), error_code=code, error_message=fields.text("failure_message"))


def _subscription(fields: Fields) -> str | None:
    """`subscription`, else (since basil) the one its parent names."""
    direct = fields.reference("subscription")
    if direct:
        return direct
    parent: Data = fields.part("parent") or {}
    details = parent.get("subscription_details")
    return reference(details.get("subscription")) if isinstance(details, OBJECT) else None


def _status(fields: Fields) -> str | None:
    """`status`; before 2018-11-08 it had to be told from `paid` and `forgiven`."""
    status = fields.text("status")
    if status is None and fields.flag("forgiven"):
        return "uncollectible"
    return "paid" if status is None and fields.flag("paid") else status


def _amount_remaining(fields: Fields) -> int | None:
    """`amount_remaining`, else what is due less what is paid (minor units)."""
    remaining = fields.amount("amount_remaining")
    due = fields.amount("amount_due")
    if remaining is not None or due is None:
        return remaining
    return due - (fields.amount("amount_paid") or 0)


def _uncollectible_reason(fields: Fields) -> str | None:
    """`status_details.uncollectible.reason` (since 2026-09-30.endive)."""
    details = fields.part("status_details") or {}
    uncollectible = details.get("uncollectible")
    return Fields(uncollectible, fields.owner).text("reason") if isinstance(uncollectible, OBJECT) else None


def _flag_or_none(fields: Fields, key: str) -> bool | None:
    value = fields.data.get(key)
    return value if isinstance(value, bool) else None
