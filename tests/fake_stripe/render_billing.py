"""Subscriptions, items, invoices, lines and payments in the shape of an API version."""

from msgspec.structs import replace

from tests.fake_stripe.expand import Tree
from tests.fake_stripe.records import Invoice, Item, Line, PaymentIntent, Subscription
from tests.fake_stripe.render import (
    NONE,
    RENDERERS,
    Context,
    Json,
    decimal_of,
    discount,
    discounts,
    embedded,
    owned,
    plan,
    price,
)
from tests.fake_stripe.render_payments import invoice_payment
from tests.fake_stripe.versions import ACACIA, BASIL, DAHLIA, ENDIVE, FEATURES_RENAMED, FLEXIBLE, TIERS_BY_EXPAND

_AUTOMATIC_TAX = {"disabled_reason": None, "enabled": False, "liability": None}
_INVOICE_TAX = {"disabled_reason": None, "enabled": False, "liability": None, "provider": None, "status": None}


def subscription_item(ctx: Context, i: Item, x: Tree) -> Json:
    shared_price, shared_plan = ctx.price_and_plan(i.price)
    record = ctx.get("price", i.price) if ("price" in x or "plan" in x) else None
    out: Json = {
        "id": i.id, "object": "subscription_item", "billing_thresholds": None, "created": i.created,
        "discounts": discounts(ctx, i.discounts, x), "metadata": i.metadata,
        "plan": plan(ctx, record, x["plan"]) if record and "plan" in x else shared_plan,
        "price": price(ctx, record, x["price"]) if record and "price" in x else shared_price,
        "quantity": i.quantity, "subscription": i.subscription, "tax_rates": []}  # fmt: skip
    if out["quantity"] is None:  # metered items carry none
        del out["quantity"]
    if ctx.v >= BASIL:
        out["current_period_end"], out["current_period_start"] = i.period_end, i.period_start
    if "billed_until" in x:
        out["billed_until"] = i.period_end
    return out


def subscription(ctx: Context, s: Subscription, x: Tree) -> Json:
    below = x.get("items", NONE).get("data", NONE)
    items = [subscription_item(ctx, i, below) for i in s.items[: ctx.items]]
    out: Json = {
        "id": s.id, "object": "subscription", "application": None, "application_fee_percent": None,
        "automatic_tax": _AUTOMATIC_TAX,
        "billing_cycle_anchor": s.anchor, "billing_cycle_anchor_config": None, "billing_thresholds": None,
        "cancel_at": s.cancel_at, "cancel_at_period_end": s.cancel_at_period_end, "canceled_at": s.canceled_at,
        "cancellation_details": {"comment": None, "feedback": None, "reason": s.cancellation_reason},
        "collection_method": s.collection_method, "created": s.created, "currency": s.currency,
        "customer": ctx.ref("customer", s.customer, x, "customer"), "days_until_due": s.days_until_due,
        "default_payment_method": s.payment_method, "default_source": None, "default_tax_rates": [], "description": None,
        "discounts": discounts(ctx, s.discounts, x), "ended_at": s.ended_at,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": embedded(f"/v1/subscription_items?subscription={s.id}", items, len(s.items)),
        "latest_invoice": ctx.ref("invoice", s.latest_invoice, x, "latest_invoice"), "livemode": ctx.livemode,
        "metadata": s.metadata,
        "next_pending_invoice_item_invoice": None, "on_behalf_of": None, "pause_collection": s.pause_collection,
        "payment_settings": {"payment_method_options": None, "payment_method_types": None,
                             "save_default_payment_method": "off"},
        "pending_invoice_item_interval": None, "pending_setup_intent": None,
        "pending_update": _pending_update(ctx, s), "schedule": None,
        "start_date": s.start_date, "status": s.status, "test_clock": s.test_clock, "transfer_data": None,
        "trial_end": s.trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": s.without_method}},
        "trial_start": s.trial_start}  # fmt: skip
    _subscription_by_version(ctx, s, x, out)
    return out


def _subscription_by_version(ctx: Context, s: Subscription, x: Tree, out: Json) -> None:
    if ctx.v < BASIL:
        ends = [i.period_end for i in s.items] or [s.anchor]
        starts = [i.period_start for i in s.items] or [s.anchor]
        out["current_period_end"], out["current_period_start"] = min(ends), min(starts)
        out["discount"] = discount(ctx, s.discounts[0], x.get("discount", NONE)) if s.discounts else None
    if ctx.v < TIERS_BY_EXPAND:
        out["tax_percent"] = None
    if ctx.v < ENDIVE:
        one = s.items[0] if len(s.items) == 1 else None
        out["plan"] = ctx.price_and_plan(one.price)[1] if one else None
        out["quantity"] = one.quantity if one else None
    if ctx.v >= FLEXIBLE:
        out["billing_mode"] = _billing_mode(s)
    owned(ctx, out, s.customer)
    if ctx.v >= ENDIVE:
        paused = None if s.status != "paused" else {"transitioned_at": s.paused_at, "type": s.pause_type}
        out["status_details"] = {"paused": paused}
        out["billing_schedules"] = []  # [verify] since which version


def _billing_mode(s: Subscription) -> Json:
    """`flexible` is the default for new ones since clover; `classic` shows nothing but itself."""
    flexible = s.billing_mode == "flexible"
    return {
        "flexible": {"proration_discounts": "included"} if flexible else None,
        "type": s.billing_mode,
        "updated_at": s.created if flexible else None,
    }


def _pending_update(ctx: Context, s: Subscription) -> Json | None:
    """What waits for a payment: the items as they would be."""
    if s.pending_update is None:
        return None
    waiting = {"price": s.pending_update["price"], "quantity": s.pending_update["quantity"]}
    first = subscription_item(ctx, replace(s.items[0], **waiting), NONE)
    return {"billing_cycle_anchor": None, "expires_at": s.pending_update["expires_at"], "subscription_items": [first],
            "trial_end": None, "trial_from_plan": None}  # fmt: skip


def line_item(ctx: Context, line: Line, x: Tree, invoice_: Invoice) -> Json:
    of_subscription = line.subscription_item is not None
    out: Json = {
        "id": line.id, "object": "line_item", "amount": line.amount, "currency": invoice_.currency,
        "description": line.description,
        "discount_amounts": line.discount_amounts, "discountable": not line.proration, "discounts": [], "invoice": invoice_.id,
        "livemode": ctx.livemode, "metadata": {}, "period": {"end": line.period_end, "start": line.period_start},
        "quantity": line.quantity}  # fmt: skip
    if ctx.v < BASIL:
        shared = ctx.price_and_plan(line.price) if line.price else (None, None)
        out |= {
            "amount_excluding_tax": line.amount, "plan": shared[1] if of_subscription else None, "price": shared[0],
            "proration": line.proration, "proration_details": {"credited_items": None},
            "subscription": invoice_.subscription if of_subscription else None, "tax_amounts": [], "tax_rates": [],
            "type": "subscription" if of_subscription else "invoiceitem", "unit_amount_excluding_tax": None}  # fmt: skip
        out |= {"subscription_item": line.subscription_item} if of_subscription else {"invoice_item": "ii" + line.id[2:]}
    if ctx.v >= ACACIA:
        _modern_line(ctx, line, x, invoice_, out)
    return out


def _modern_line(ctx: Context, line: Line, x: Tree, invoice_: Invoice, out: Json) -> None:
    details = {
        "invoice_item": "ii" + line.id[2:],
        "proration": line.proration,
        "proration_details": {"credited_items": None},
        "subscription": invoice_.subscription,
    }
    if line.subscription_item is not None:
        if not line.proration:
            details["invoice_item"] = None
        details["subscription_item"] = line.subscription_item
        out["parent"] = {
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        }
    else:
        out["parent"] = {"invoice_item_details": details, "subscription_item_details": None, "type": "invoice_item_details"}
    record = ctx.get("price", line.price)
    below = x.get("pricing", NONE).get("price_details", NONE)
    out["pricing"] = (
        None
        if record is None
        else {
            "price_details": {"price": ctx.ref("price", line.price, below, "price"), "product": record.product},
            "type": "price_details",
            "unit_amount_decimal": decimal_of(record),
        }
    )
    out["pretax_credit_amounts"], out["taxes"] = [], []
    if ctx.v >= DAHLIA:
        out["quantity_decimal"] = None if line.quantity is None else str(line.quantity)
        out["subtotal"] = line.amount


def invoice(ctx: Context, v: Invoice, x: Tree) -> Json:
    owner = ctx.get("customer", v.customer)
    below = x.get("lines", NONE).get("data", NONE)
    lines = [line_item(ctx, line, below, v) for line in v.lines[: ctx.lines]]
    hosted = None if v.status == "draft" else f"https://invoice.stripe.com/i/{ctx.state.account_id}/live_{v.id}"
    out: Json = {
        "id": v.id, "object": "invoice", "account_country": "US", "account_name": ctx.state.account_name,
        "account_tax_ids": None,
        "amount_due": v.total, "amount_overpaid": 0, "amount_paid": v.amount_paid, "amount_remaining": v.amount_remaining,
        "amount_shipping": 0, "application": None, "attempt_count": v.attempt_count, "attempted": v.attempted,
        "auto_advance": v.auto_advance, "automatic_tax": _INVOICE_TAX, "automatically_finalizes_at": None,
        "billing_reason": v.billing_reason, "collection_method": v.collection_method, "created": v.created,
        "currency": v.currency,
        "custom_fields": None, "customer": ctx.ref("customer", v.customer, x, "customer"), "customer_address": None,
        "customer_email": owner.email if owner else None, "customer_name": owner.name if owner else None,
        "customer_phone": None,
        "customer_shipping": None, "customer_tax_exempt": "none", "customer_tax_ids": [], "default_payment_method": None,
        "default_source": None, "default_tax_rates": [], "description": None, "discounts": discounts(ctx, v.discounts, x),
        "due_date": v.due_date, "effective_at": v.finalized_at, "ending_balance": None if v.status == "draft" else 0,
        "footer": None,
        "from_invoice": None, "hosted_invoice_url": hosted, "invoice_pdf": hosted and hosted + "/pdf",
        "issuer": {"type": "self"}, "last_finalization_error": v.finalization_error, "latest_revision": None,
        "lines": embedded(f"/v1/invoices/{v.id}/lines", lines, len(v.lines)),
        "livemode": ctx.livemode, "metadata": v.metadata, "next_payment_attempt": v.next_payment_attempt, "number": v.number,
        "on_behalf_of": None,
        "payment_settings": {"default_mandate": None, "payment_method_options": None, "payment_method_types": None},
        "period_end": v.period_end, "period_start": v.period_start, "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0, "receipt_number": None, "rendering": None, "shipping_cost": None,
        "shipping_details": None, "starting_balance": 0, "statement_descriptor": None, "status": v.status,
        "status_transitions": {"finalized_at": v.finalized_at, "marked_uncollectible_at": v.uncollectible_at,
                               "paid_at": v.paid_at, "voided_at": v.voided_at},
        "subtotal": v.subtotal, "subtotal_excluding_tax": v.subtotal, "test_clock": v.test_clock, "total": v.total,
        "total_discount_amounts": _taken(v), "total_excluding_tax": v.total,
        "webhooks_delivered_at": v.finalized_at}  # fmt: skip
    _old_invoice(ctx, v, x, out)
    _modern_invoice(ctx, v, x, out)
    return out


def _taken(v: Invoice) -> list[Json]:
    """What each discount took off, over all lines."""
    amounts: dict[str, int] = {}
    for line in v.lines:
        for part in line.discount_amounts:
            amounts[part["discount"]] = amounts.get(part["discount"], 0) + part["amount"]
    return [{"amount": amount, "discount": discount_id} for discount_id, amount in amounts.items()]


def _old_invoice(ctx: Context, v: Invoice, x: Tree, out: Json) -> None:
    if ctx.v >= BASIL:
        return
    if ctx.v < TIERS_BY_EXPAND:
        out["tax_percent"] = None
    if ctx.v < FEATURES_RENAMED:
        out["rendering_options"] = None  # [verify] until when: a recording of 2020-08-27 has it, one of 2024-06-20 doesn't
    intent = _default_intent(ctx, v)
    out |= {
        "application_fee_amount": None, "charge": intent.latest_charge if intent else None,
        "discount": discount(ctx, v.discounts[0], x.get("discount", NONE)) if v.discounts else None,
        "paid": v.status == "paid", "paid_out_of_band": v.paid_out_of_band,
        "payment_intent": ctx.ref("payment_intent", intent.id if intent else None, x, "payment_intent"), "quote": None,
        "subscription": ctx.ref("subscription", v.subscription, x, "subscription"), "subscription_details": {"metadata": None},
        "tax": None, "total_tax_amounts": [], "transfer_data": None}  # fmt: skip


def _modern_invoice(ctx: Context, v: Invoice, x: Tree, out: Json) -> None:
    if ctx.v >= ACACIA:
        below = x.get("parent", NONE).get("subscription_details", NONE)
        details = {"metadata": {}, "subscription": ctx.ref("subscription", v.subscription, below, "subscription")}
        out["parent"] = (
            None
            if v.subscription is None
            else {"quote_details": None, "subscription_details": details, "type": "subscription_details"}
        )
        out["total_pretax_credit_amounts"], out["total_taxes"] = [], []
    if ctx.v >= BASIL and "payments" in x:
        found = [p for p in (ctx.get("invoice_payment", i) for i in v.payments) if p is not None]
        below = x["payments"].get("data", NONE)
        rows = [invoice_payment(ctx, p, below) for p in found[: ctx.payments]]
        out["payments"] = embedded("/v1/invoices/payments", rows, None)
        out["payments"]["has_more"] = len(found) > len(rows)
    if "confirmation_secret" in x:
        out["confirmation_secret"] = None
    if "amount_paid_off_stripe" in x:
        out["amount_paid_off_stripe"] = v.paid_off_stripe
    owned(ctx, out, v.customer)
    if ctx.v >= ENDIVE:
        reason = None if v.uncollectible_reason is None else {"reason": v.uncollectible_reason}
        out["status_details"] = {"uncollectible": reason}


def _default_intent(ctx: Context, v: Invoice) -> PaymentIntent | None:
    payments = [p for p in (ctx.get("invoice_payment", i) for i in v.payments) if p is not None]
    payment = next((p for p in payments if p.is_default), payments[-1] if payments else None)
    return None if payment is None else ctx.get("payment_intent", payment.payment_intent)


RENDERERS.update({"subscription": subscription, "subscription_item": subscription_item, "invoice": invoice})
