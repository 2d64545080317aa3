"""Which reads an object still calls for once it stands in the mirror: the reason of a failed payment, a price's tiers, the
product that names a plan, a coupon's limits, a Stripe customer nobody told us of (STRIPE 2.4, FAULTS F07).

Asked again of whatever the mirror holds, so a worker that dies between apply and read forgets nothing.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from models.domain.types import Invoice, StripeCustomer, Subscription
from models.store import mirror
from models.store.mirror import Key
from models.stripe_reader import completeness
from models.stripe_reader.references import references_of
from workers.apply import Draft

PERMISSION_OF = {
    "price": "rak_plan_read",
    "product": "rak_product_read",
    "coupon": "rak_coupon_read",
    "invoice": "rak_invoice_read",
    "customer": "rak_customer_read",
    "subscription": "rak_subscription_read",
}
"""The permission that reads an object (STRIPE 6.1)."""


def missing_reads(connection: Connection, draft: Draft, subjects: Mapping[int, Key]) -> dict[Key, set[Key]]:
    """By subject: the objects to read. Only what the key may read; a feature without its permission is off (F68)."""
    values = {key: draft.value(key) for key in set(subjects.values())}
    values = {key: value for key, value in values.items() if value is not None}
    known = _known(connection, draft, values)
    off = {kind for kind, permission in PERMISSION_OF.items() if permission in draft.record.missing_permissions}
    wanted = {key: {need for need in _needs(key, value, known) if need[0] not in off} for key, value in values.items()}
    return {key: needs for key, needs in wanted.items() if needs}


class _Known:
    """What the mirror holds of the objects that some values name. `read_*`: read from Stripe at least once, so that what is
    still absent there is absent at Stripe (or not for our key to see), and asking again would bring nothing."""

    def __init__(self) -> None:
        self.prices: dict[str, Any] = {}
        self.products: set[str] = set()
        self.read_prices: set[str] = set()
        self.read_coupons: set[str] = set()
        self.customers: set[str] = set()
        self.kept: dict[str, str] = {}


def _known(connection: Connection, draft: Draft, values: Mapping[Key, Any]) -> _Known:
    known, record = _Known(), draft.record
    named = {name for value in values.values() for name in references_of(value)}
    if named:
        known.prices = mirror.load_values(connection, record.id, "price", named)
        known.prices |= {key[1]: value for key, value in draft.values.items() if key[0] == "price"}
        products = named | {price.product for price in known.prices.values() if price.product}
        known.products = set(mirror.load_values(connection, record.id, "product", products))
        known.read_prices = mirror.read_once(connection, record.id, "price", named)
        known.read_coupons = mirror.read_once(connection, record.id, "coupon", named)
        known.kept = mirror.load_kept_keys(connection, record.id, named)
        known.kept |= {price: key for price, (_, key) in draft.kept.items()}
    owners = {value.customer for value in values.values() if isinstance(value, (Subscription, Invoice)) and value.customer}
    owners -= {key[1] for key in draft.values if key[0] == "customer"}
    known.customers = mirror.present(connection, record.id, "customer", owners)
    known.customers |= {key[1] for key in draft.values if key[0] == "customer"}
    return known


def _needs(key: Key, value: Any, known: _Known) -> set[Key]:
    needs: set[Key] = set()
    if isinstance(value, (Subscription, Invoice)) and value.customer and value.customer not in known.customers:
        needs.add(("customer", value.customer))
    if isinstance(value, Invoice) and not value.deleted and completeness.needs_payment_state(value):
        needs.add(key)
    if isinstance(value, (Subscription, StripeCustomer)):
        needs |= {("coupon", name) for name in completeness.coupons_needed(value, known.read_coupons)}
    if isinstance(value, Subscription):
        lacking = set(completeness.prices_lacking(value, known.prices)) - known.read_prices
        needs |= {("price", name) for name in lacking}
        products = completeness.products_needed(value, known.prices, known.products, known.kept)
        needs |= {("product", name) for name in products}
    return needs
