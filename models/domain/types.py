"""The values of the centre: what we know of Stripe's objects and of our customers, and what follows from it.

All are frozen. Times are unix seconds, UTC (Stripe's own unit; whoever shows them makes them aware). Amounts are in
minor units of their currency: `int` where Stripe sends whole ones, `Decimal` where it may send fractions. Currencies are
lower-case ISO codes as Stripe sends them. Words of Stripe's that we don't know (a new status, say) are kept as text.

One file, longer than the house's 300 lines: it is the vocabulary everything else is written in, and reads best in one piece.

The mirror stores these values as JSON (msgspec), so every field has a default and a new field needs one too.
"""

from decimal import Decimal
from typing import Literal

import msgspec

Environment = Literal["production", "staging"]
Outcome = Literal["matched", "unmatched", "skipped"]
PaymentStatus = Literal["paid", "past_due", "failing", "none"]


class Value(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=False):
    """Base of all values: frozen, compared by content, stored without its defaults."""


# --- Stripe's objects, as far as RULES.md needs them -------------------------------------------------


class Tier(Value, frozen=True):
    """One tier of a tiered price; `up_to` None is the last."""

    up_to: int | None = None
    unit_amount: Decimal | None = None
    flat_amount: Decimal | None = None


class CurrencyOption(Value, frozen=True):
    """What a price costs in one more currency (`price.currency_options[currency]`)."""

    unit_amount: Decimal | None = None
    tiers: tuple[Tier, ...] | None = None
    tax_behavior: str | None = None


class Price(Value, frozen=True):
    """A price, or a legacy plan read as one (`from_plan`: such a copy carries no lookup key, so None means unknown).

    `product_name`: the name inside an expanded product. `stub`: Stripe sent the id alone, so nothing else is known.
    `currency` None: it isn't said, so its amounts mean nothing."""

    id: str
    type: str = "recurring"
    currency: str | None = "usd"
    unit_amount: Decimal | None = None
    billing_scheme: str = "per_unit"
    tiers_mode: str | None = None
    tiers: tuple[Tier, ...] | None = None
    interval: str | None = None
    interval_count: int | None = None
    usage_type: str | None = None
    divide_by: int | None = None
    divide_round: str | None = None
    product: str | None = None
    lookup_key: str | None = None
    nickname: str | None = None
    tax_behavior: str | None = None
    currency_options: dict[str, CurrencyOption] | None = None
    active: bool = True
    from_plan: bool = False
    deleted: bool = False
    product_name: str | None = None
    stub: bool = False


class Product(Value, frozen=True):
    """A product; only its name matters (the plan's fallback)."""

    id: str
    name: str | None = None
    deleted: bool = False


class Coupon(Value, frozen=True):
    """A coupon. `applies_to` None means it wasn't expanded (unknown) or that it applies to everything;
    `applies_to_known` tells the two apart."""

    id: str
    percent_off: Decimal | None = None
    amount_off: Decimal | None = None
    currency: str | None = None
    currency_amounts: dict[str, Decimal] | None = None
    duration: str | None = None
    applies_to: tuple[str, ...] | None = None
    applies_to_known: bool = False
    deleted: bool = False


class Discount(Value, frozen=True):
    """A coupon attached to a customer, subscription or item. A bare id (not expanded) has `coupon_id` None: unresolved."""

    id: str
    coupon_id: str | None = None
    coupon: Coupon | None = None
    start: int | None = None
    end: int | None = None
    customer: str | None = None
    subscription: str | None = None
    subscription_item: str | None = None


class SubscriptionItem(Value, frozen=True):
    """One item with the price copy that stands inside it."""

    id: str
    price: Price | None = None
    quantity: int | None = None
    discounts: tuple[Discount, ...] = ()
    current_period_end: int | None = None


class Subscription(Value, frozen=True):
    """A subscription. `items_truncated`: Stripe's embedded list had `has_more`; such a value is never mirrored. `unreadable`:
    only the id and the customer could be read; it counts nowhere and is named in the flags."""

    id: str
    customer: str | None = None
    status: str = ""
    currency: str | None = None
    created: int | None = None
    start_date: int | None = None
    items: tuple[SubscriptionItem, ...] = ()
    items_truncated: bool = False
    discounts: tuple[Discount, ...] = ()
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    canceled_at: int | None = None
    ended_at: int | None = None
    collection_paused: bool = False
    current_period_end: int | None = None
    trial_end: int | None = None
    collection_method: str | None = None
    latest_invoice: str | None = None
    unreadable: bool = False


class Payment(Value, frozen=True):
    """The payment that decides about an invoice: its (default) payment intent, as far as it was expanded.
    `status` None: only the id is known. `error_code`: `last_payment_error.code` (or decline_code)."""

    intent: str | None = None
    status: str | None = None
    error_code: str | None = None
    decline_code: str | None = None
    error_message: str | None = None


class Invoice(Value, frozen=True):
    """An invoice. `paid` is the legacy flag. `failed`: an `invoice.payment_failed` event said so (FAULTS 4.2: applied as
    failed at once). `payments_known`: the payment's state was in the object we read (expanded), so `payment` is whole."""

    id: str
    customer: str | None = None
    subscription: str | None = None
    status: str | None = None
    paid: bool = False
    created: int | None = None
    number: str | None = None
    currency: str | None = None
    amount_due: int | None = None
    amount_remaining: int | None = None
    attempted: bool = False
    attempt_count: int = 0
    next_payment_attempt: int | None = None
    due_date: int | None = None
    collection_method: str | None = None
    auto_advance: bool | None = None
    failed: bool = False
    payment: Payment | None = None
    payments_known: bool = False
    uncollectible_reason: str | None = None
    deleted: bool = False
    unreadable: bool = False


class InvoicePayment(Value, frozen=True):
    """One payment of an invoice (since 2025-03-31.basil). It names its invoice and no customer."""

    id: str
    invoice: str | None = None
    status: str | None = None
    is_default: bool = False
    created: int | None = None
    payment: Payment | None = None


class StripeCustomer(Value, frozen=True):
    """Theirs. `discount` is the customer's own discount."""

    id: str
    email: str | None = None
    name: str | None = None
    created: int | None = None
    currency: str | None = None
    metadata: dict[str, str] = {}
    discount: Discount | None = None
    deleted: bool = False


# --- Ours, and the settings ---------------------------------------------------------------------------


class Customer(Value, frozen=True):
    """One of our customers. `domain` and `aliases` as the admin wrote them; matching normalises. `external_id`: its id in
    the company's own system, which `metadata_key = customer_id` may name as well."""

    id: str
    name: str = ""
    domain: str | None = None
    aliases: tuple[str, ...] = ()
    environment: str = "production"
    external_id: str | None = None


class Scope(Value, frozen=True):
    """Which subscription items count: `all`, `products` or `lookup_keys` with `values` (RULES 4)."""

    kind: str = "all"
    values: tuple[str, ...] = ()


class Settings(Value, frozen=True):
    """A connection's settings that the rules read (RULES 8)."""

    livemode: bool = True
    scope: Scope = Scope()
    match_personal_emails: bool = False
    own_domains: tuple[str, ...] = ()
    personal_domains_allow: tuple[str, ...] = ()
    personal_domains_deny: tuple[str, ...] = ()
    metadata_key: str | None = None
    count_cancelling: bool = True
    subtract_repeating_discounts: bool = False
    subtract_once_discounts: bool = False
    fx_stale_days: int = 45

    @property
    def environment(self) -> Environment:
        """The environment this mode may touch: live is production, test is staging (RULES 2)."""
        return "production" if self.livemode else "staging"


class Link(Value, frozen=True):
    """An admin's word: this Stripe customer belongs to that customer of ours."""

    stripe_customer_id: str
    customer_id: str


class Decision(Value, frozen=True):
    """An admin's word on two Stripe customers on one customer (RULES 3): `winner` or `merge`. `stripe_customer_ids`: the
    ones it was made about; None means all."""

    customer_id: str
    kind: str
    stripe_customer_id: str | None = None
    stripe_customer_ids: tuple[str, ...] | None = None


class FxTable(Value, frozen=True):
    """One table for a whole recompute: `usd_per` upper-case currency -> USD for one unit. `date` is ISO (None: no table)."""

    date: str | None = None
    usd_per: dict[str, Decimal] = {}
    sources: dict[str, str] = {}


class Match(Value, frozen=True):
    """The one outcome for one Stripe customer. `customer_id` only when matched."""

    stripe_customer_id: str
    outcome: Outcome
    reason: str
    customer_id: str | None = None


class Account(Value, frozen=True):
    """Everything mirrored of one Stripe customer. `match` is its outcome before any decision (section 3)."""

    customer: StripeCustomer
    subscriptions: tuple[Subscription, ...] = ()
    invoices: tuple[Invoice, ...] = ()
    match: Match | None = None


class Catalog(Value, frozen=True):
    """The shared objects, by id; `kept_lookup_keys` price id -> last key that wasn't null (RULES 4).
    `discounts`: mirrored discounts, to resolve bare discount ids."""

    prices: dict[str, Price] = {}
    products: dict[str, Product] = {}
    coupons: dict[str, Coupon] = {}
    discounts: dict[str, Discount] = {}
    kept_lookup_keys: dict[str, str] = {}


class Snapshot(Value, frozen=True):
    """All mirrored facts of one customer of ours, as pure values: what `summarize` reads."""

    customer_id: str
    accounts: tuple[Account, ...] = ()
    catalog: Catalog = Catalog()
    decision: Decision | None = None
    unreadable: tuple[str, ...] = ()


# --- The result ---------------------------------------------------------------------------------------


class Overdue(Value, frozen=True, omit_defaults=False):
    """Older unpaid invoices of one currency (RULES 6)."""

    currency: str
    amount: int
    invoices: int


class NativeAmount(Value, frozen=True, omit_defaults=False):
    """Monthly amount in one currency (minor units, exact text of the decimal), and how it became USD."""

    currency: str
    monthly: str
    usd_cents: str | None
    rate: str | None
    rate_date: str | None
    rate_source: str | None


class AccountResult(Value, frozen=True, omit_defaults=False):
    """What one Stripe customer brought: its final match, MRR (cents, None unknown) and plan, for the lists."""

    match: Match
    mrr: int | None
    plan: str | None
    billed: bool


class Summary(Value, frozen=True, omit_defaults=False):
    """The read model of one customer (RULES 1), with what explains it. `mrr` US cents or None (unknown); times unix
    seconds; `derivation` plain JSON values, per subscription and item (RULES 5.6)."""

    plan: str | None = None
    plan_label: str | None = None
    mrr: int | None = 0
    payment_status: PaymentStatus = "none"
    billing_started_at: int | None = None
    stripe_customer_id: str | None = None
    headline: str = "No plan, MRR $0, no invoices"
    flags: tuple[str, ...] = ()
    next_change_at: int | None = None
    overdue: tuple[Overdue, ...] = ()
    native: tuple[NativeAmount, ...] = ()
    derivation: tuple[dict[str, object], ...] = ()
    subscription_id: str | None = None
    renews_at: int | None = None
    trial_ends_at: int | None = None
    cancels_at: int | None = None
    invoice_id: str | None = None
    amount_due: int | None = None
    amount_due_currency: str | None = None
    failure_reason: str | None = None
    attempt_count: int | None = None
    next_retry_at: int | None = None
    accounts: tuple[AccountResult, ...] = ()
    fx_date: str | None = None


class Change(Value, frozen=True, omit_defaults=False):
    """One named difference between two summaries (RULES 7). For MRR, `kind` is the movement and `amount` its cents."""

    field: str
    kind: str
    before: object = None
    after: object = None
    amount: int | None = None
