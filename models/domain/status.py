"""Payment status: what a customer's invoices say (RULES 6)."""

from collections.abc import Iterable

import msgspec

from models.domain.types import Invoice, Overdue, PaymentStatus

_UNPAID_WORDS = ("failing", "past_due")


class PaymentState(msgspec.Struct, frozen=True):
    """The status, the invoice that decided it (None: nothing informative), and what older invoices still owe."""

    status: PaymentStatus = "none"
    deciding: Invoice | None = None
    overdue: tuple[Overdue, ...] = ()


def verdict(invoice: Invoice, now: int) -> PaymentStatus | None:
    """What one invoice says at `now`; None when it carries no information. A status we don't know carries none."""
    if invoice.deleted or invoice.status in ("draft", "void"):
        return None
    if invoice.paid or invoice.status == "paid":
        return "paid"
    if invoice.status == "uncollectible":
        return "failing" if _written_off_after_attempts(invoice) else "past_due"
    return _verdict_of_open(invoice, now) if invoice.status == "open" else None


def payment_state(invoices: Iterable[Invoice], now: int) -> PaymentState:
    """The newest informative invoice decides; older unpaid ones are summed per currency. `invoices`: those in scope."""
    ordered = sorted(invoices, key=_newest_first, reverse=True)
    spoken = [(invoice, word) for invoice in ordered if (word := verdict(invoice, now)) is not None]
    if not spoken:
        return PaymentState()
    deciding, status = spoken[0]
    older = [invoice for invoice, word in spoken[1:] if word in _UNPAID_WORDS]
    return PaymentState(status, deciding, _overdue(older))


def due_dates_after(invoices: Iterable[Invoice], now: int) -> list[int]:
    """Due dates of unpaid invoices that still lie ahead: moments at which the result may change."""
    unpaid = (invoice for invoice in invoices if invoice.status == "open" and not invoice.paid and not invoice.deleted)
    return [invoice.due_date for invoice in unpaid if invoice.due_date is not None and invoice.due_date > now]


def failure_reason(invoice: Invoice) -> str | None:
    """Stripe's word for why a payment failed: the bank's, else the error's; `requires_action` waits for the customer."""
    payment = invoice.payment
    if payment is None:
        return None
    waiting = "requires_action" if payment.status == "requires_action" else None
    return payment.decline_code or payment.error_code or waiting


def _verdict_of_open(invoice: Invoice, now: int) -> PaymentStatus | None:
    """An open invoice: processing wins over an attempt, failed wins over overdue, else it isn't due yet."""
    if invoice.payment is not None and invoice.payment.status == "processing":
        return None
    if _attempt_failed(invoice) or _retries_used_up(invoice):
        return "failing"
    return "past_due" if invoice.due_date is not None and invoice.due_date <= now else None


def _attempt_failed(invoice: Invoice) -> bool:
    """An attempt was made and money remains, or the payment itself says so, or a payment-failed event did."""
    tried = invoice.failed or (invoice.attempted and invoice.attempt_count > 0)
    return (tried and _money_remains(invoice)) or _payment_failed(invoice)


def _money_remains(invoice: Invoice) -> bool:
    return invoice.amount_remaining is None or invoice.amount_remaining > 0


def _payment_failed(invoice: Invoice) -> bool:
    payment = invoice.payment
    if payment is None:
        return False
    if payment.status == "requires_action":
        return True
    has_error = bool(payment.error_code or payment.decline_code or payment.error_message)
    return payment.status == "requires_payment_method" and has_error


def _retries_used_up(invoice: Invoice) -> bool:
    """Automatic collection with no next attempt after attempts."""
    automatic = invoice.collection_method != "send_invoice"
    tried = invoice.attempt_count > 0 and _money_remains(invoice)
    return automatic and tried and invoice.next_payment_attempt is None


def _written_off_after_attempts(invoice: Invoice) -> bool:
    by_reason = invoice.uncollectible_reason == "max_payment_attempts"
    return by_reason or _attempt_failed(invoice) or _retries_used_up(invoice)


def _newest_first(invoice: Invoice) -> tuple[int, str, int, str, str]:
    """Sorts ascending: `created`, then the number (its last digits by value, 9 before 10), then the id."""
    number = invoice.number or ""
    stem = number.rstrip("0123456789")
    digits = number[len(stem) :].lstrip("0")
    return invoice.created or 0, stem, len(digits), digits, invoice.id


def _overdue(invoices: list[Invoice]) -> tuple[Overdue, ...]:
    """Summed by `amount_remaining` per currency, in the order of the currency codes."""
    sums: dict[str, tuple[int, int]] = {}
    for invoice in invoices:
        currency = invoice.currency or "usd"
        amount, count = sums.get(currency, (0, 0))
        sums[currency] = (amount + (invoice.amount_remaining or 0), count + 1)
    return tuple(Overdue(currency, amount, count) for currency, (amount, count) in sorted(sums.items()))
