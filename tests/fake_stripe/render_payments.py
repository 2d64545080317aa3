"""Payments of invoices and payment intents in the shape of an API version."""

from tests.fake_stripe.expand import Tree
from tests.fake_stripe.records import InvoicePayment, PaymentIntent
from tests.fake_stripe.render import NONE, RENDERERS, Context, Json, embedded, owned
from tests.fake_stripe.versions import BASIL, CLOVER, LATEST_CHARGE


def invoice_payment(ctx: Context, p: InvoicePayment, x: Tree) -> Json:
    below = x.get("payment", NONE)
    by = {
        "payment_intent": ctx.ref("payment_intent", p.payment_intent, below, "payment_intent"),
        "charge": p.charge,
        "payment_record": p.payment_record,
    }
    return {
        "id": p.id, "object": "invoice_payment", "amount_paid": p.amount_paid, "amount_requested": p.amount_requested,
        "created": p.created, "currency": p.currency, "invoice": ctx.ref("invoice", p.invoice, x, "invoice"),
        "is_default": p.is_default, "livemode": ctx.livemode,
        "payment": {p.type: by[p.type], "type": p.type},
        "status": p.status, "status_transitions": {"canceled_at": p.canceled_at, "paid_at": p.paid_at}}  # fmt: skip


def payment_intent(ctx: Context, p: PaymentIntent, x: Tree) -> Json:
    out: Json = {
        "id": p.id, "object": "payment_intent", "amount": p.amount, "amount_capturable": 0, "amount_details": {"tip": {}},
        "amount_received": p.amount_received, "application": None, "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": p.canceled_at, "cancellation_reason": None, "capture_method": "automatic",
        "client_secret": None, "confirmation_method": "automatic", "created": p.created, "currency": p.currency,
        "customer": ctx.ref("customer", p.customer, x, "customer"), "description": p.description,
        "last_payment_error": p.last_payment_error, "livemode": ctx.livemode, "metadata": {}, "next_action": None,
        "on_behalf_of": None, "payment_method": p.payment_method, "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"installments": None, "mandate_options": None, "network": None,
                                            "request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"], "processing": None, "receipt_email": None, "review": None,
        "setup_future_usage": "off_session",
        "shipping": None, "source": None, "statement_descriptor": None, "statement_descriptor_suffix": None, "status": p.status,
        "transfer_data": None, "transfer_group": None}  # fmt: skip
    if ctx.v >= LATEST_CHARGE:
        out["latest_charge"] = p.latest_charge
    else:
        out["charges"] = embedded(f"/v1/charges?payment_intent={p.id}", [], 0)
    if ctx.v < BASIL:
        out["invoice"] = ctx.ref("invoice", p.invoice, x, "invoice")
    owned(ctx, out, p.customer)
    if ctx.v >= CLOVER:
        out |= {
            "excluded_payment_method_types": None,
            "payment_details": {"customer_reference": None, "order_reference": p.invoice},
        }
    return out


RENDERERS.update({"invoice_payment": invoice_payment, "payment_intent": payment_intent})
