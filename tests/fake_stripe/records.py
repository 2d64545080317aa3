"""The inner state: one record per Stripe object, free of any API version. `render` shows them in a version's shape.

Times are unix seconds, amounts integers of minor units. Dictionaries inside a record are replaced, never changed in place, so
that a copy of a record stays what it was (`copy_of`).
"""

from typing import Any

import msgspec
from msgspec.structs import replace

PENDING = b'"pending_webhooks":0,'


class Record(msgspec.Struct, kw_only=True):
    """`seq` is the order of creation: it breaks ties of `created` in lists."""

    id: str
    created: int
    seq: int = 0


class Customer(Record):
    email: str | None = None
    name: str | None = None
    currency: str | None = None
    description: str | None = None
    country: str | None = None
    balance: int = 0
    delinquent: bool = False
    discount: "Discount | None" = None
    metadata: dict[str, str] = {}
    invoice_prefix: str = ""
    next_sequence: int = 1
    payment_method: str | None = None
    declines: bool = False  # inner: charges on the stored payment method fail
    test_clock: str | None = None
    account: str | None = None  # `acct_…`: an Accounts v2 customer


class Product(Record):
    name: str
    active: bool = True
    description: str | None = None
    unit_label: str | None = None
    updated: int = 0
    metadata: dict[str, str] = {}
    deleted: bool = False


class Price(Record):
    product: str
    currency: str = "usd"
    unit_amount: int | None = None
    unit_amount_decimal: str | None = None
    billing_scheme: str = "per_unit"
    tiers_mode: str | None = None
    tiers: list[dict] | None = None  # {up_to, unit_amount, unit_amount_decimal, flat_amount, flat_amount_decimal}
    type: str = "recurring"
    interval: str | None = "month"
    interval_count: int = 1
    usage_type: str = "licensed"
    meter: str | None = None
    lookup_key: str | None = None
    nickname: str | None = None
    active: bool = True
    tax_behavior: str = "exclusive"
    transform_quantity: dict | None = None  # {divide_by, round}
    currency_options: dict[str, dict] = {}
    metadata: dict[str, str] = {}
    inline: bool = False  # made by `price_data` in a subscription: never listed
    deleted: bool = False


class Coupon(Record):
    name: str | None = None
    percent_off: float | None = None
    amount_off: int | None = None
    currency: str | None = None
    currency_options: dict[str, dict] = {}
    duration: str = "forever"
    duration_in_months: int | None = None
    applies_to: list[str] | None = None
    times_redeemed: int = 0
    metadata: dict[str, str] = {}
    deleted: bool = False


class Discount(Record):
    coupon: str
    start: int
    end: int | None = None
    customer: str | None = None
    subscription: str | None = None
    subscription_item: str | None = None


class Item(Record):
    price: str
    subscription: str
    quantity: int | None = 1
    discounts: list[Discount] = []
    period_start: int = 0
    period_end: int = 0
    metadata: dict[str, str] = {}


class Subscription(Record):
    customer: str
    status: str = "active"
    currency: str = "usd"
    start_date: int = 0
    items: list[Item] = []
    discounts: list[Discount] = []
    anchor: int = 0
    collection_method: str = "charge_automatically"
    days_until_due: int | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    ended_at: int | None = None
    pause_collection: dict | None = None
    paused_at: int | None = None
    trial_start: int | None = None
    trial_end: int | None = None
    latest_invoice: str | None = None
    payment_method: str | None = None
    billing_mode: str = "flexible"
    pending_update: dict | None = None  # {price, quantity, expires_at}: waits for a payment
    without_method: str = "create_invoice"  # what happens when a trial ends and there is no payment method
    pause_type: str = "manual"
    test_clock: str | None = None
    metadata: dict[str, str] = {}


class Line(Record):
    amount: int
    description: str
    price: str | None
    quantity: int | None
    subscription_item: str | None
    period_start: int
    period_end: int
    proration: bool = False
    discount_amounts: list[dict] = []  # {amount, discount}


class Invoice(Record):
    customer: str
    subscription: str | None = None
    number: str | None = None
    status: str = "draft"
    currency: str = "usd"
    lines: list[Line] = []
    subtotal: int = 0
    total: int = 0
    amount_paid: int = 0
    attempted: bool = False
    attempt_count: int = 0
    next_payment_attempt: int | None = None
    due_date: int | None = None
    collection_method: str = "charge_automatically"
    auto_advance: bool = True
    billing_reason: str = "subscription_cycle"
    discounts: list[Discount] = []
    payments: list[str] = []  # ids of invoice payments, oldest first
    paid_out_of_band: bool = False
    paid_off_stripe: int = 0
    told_overdue: bool = False  # inner: `invoice.overdue` was made
    finalization_error: dict | None = None
    test_clock: str | None = None
    uncollectible_reason: str | None = None
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    uncollectible_at: int | None = None
    period_start: int = 0
    period_end: int = 0
    metadata: dict[str, str] = {}

    @property
    def amount_remaining(self) -> int:
        """What is still owed."""
        return 0 if self.status == "paid" else max(0, self.total - self.amount_paid)


class InvoicePayment(Record):
    """`type` names which of the three ids below is set."""

    invoice: str
    amount_requested: int
    type: str = "payment_intent"
    payment_intent: str | None = None
    charge: str | None = None
    payment_record: str | None = None
    amount_paid: int | None = None
    currency: str = "usd"
    status: str = "open"
    is_default: bool = True
    paid_at: int | None = None
    canceled_at: int | None = None


class PaymentIntent(Record):
    customer: str | None
    invoice: str | None
    amount: int
    currency: str
    status: str = "requires_payment_method"
    amount_received: int = 0
    last_payment_error: dict | None = None
    payment_method: str | None = None
    latest_charge: str | None = None
    canceled_at: int | None = None
    description: str = "Subscription update"


class Event(Record):
    """`bodies`: API version -> the whole event as encoded JSON, rendered when it was made and never again, but for
    `pending_webhooks`: to how many endpoints it hasn't been delivered."""

    type: str
    object_id: str | None
    bodies: dict[str, bytes]
    object_kind: str = ""
    pending_webhooks: int = 0

    @property
    def thin_id(self) -> str:
        """The id of its thin counterpart [verify: that it is another one]."""
        return "evt_2" + self.id[5:]

    @staticmethod
    def snapshot_id(thin_id: str) -> str:
        """The way back."""
        return "evt_1" + thin_id[5:]

    def body(self, version: str | None = None) -> bytes:
        """The event as it is shown in a version (None: the first endpoint's), with the count of now."""
        stored = self.bodies.get(version or "") or next(iter(self.bodies.values()))
        before, _, after = stored.rpartition(PENDING)
        return before + b'"pending_webhooks":%d,' % self.pending_webhooks + after


class WebhookEndpoint(Record):
    """A webhook endpoint as the API shows it; `endpoint` is the working part (`endpoint.Endpoint`)."""

    url: str
    endpoint: Any
    description: str | None = None
    metadata: dict[str, str] = {}


KIND = {Customer: "customer", Product: "product", Price: "price", Coupon: "coupon", Discount: "discount",
        Item: "subscription_item", Subscription: "subscription", Line: "line_item", Invoice: "invoice",
        InvoicePayment: "invoice_payment", PaymentIntent: "payment_intent", Event: "event",
        WebhookEndpoint: "webhook_endpoint"}  # fmt: skip


def copy_of(record: Record) -> Record:
    """The record as it is now, untouched by later changes."""
    copy = replace(record)
    if isinstance(copy, Subscription):
        copy.items = [replace(item, discounts=list(item.discounts)) for item in copy.items]
        copy.discounts = list(copy.discounts)
    elif isinstance(copy, Invoice):
        copy.lines, copy.payments, copy.discounts = list(copy.lines), list(copy.payments), list(copy.discounts)
    return copy
