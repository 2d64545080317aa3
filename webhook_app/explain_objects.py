"""The Stripe objects of an `explain` document, read into values; what can't be read is named and left out (RULES 8).

Whose flag is it? An unreadable subscription or invoice is its customer's; a price, product or coupon belongs to the
customers that use it. Where even that can't be told (no id, no customer), every one of our customers carries the flag:
any of them might miss something.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from models.domain.types import Catalog, Invoice, StripeCustomer, Subscription
from models.errors import BadInput, Unreadable
from models.stripe_reader.fields import reference
from models.stripe_reader.objects import (
    read_coupon,
    read_customer,
    read_invoice,
    read_price,
    read_product,
    read_subscription,
)
from models.stripe_reader.references import kept_keys_in, references_of
from webhook_app.explain_input import Document


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


Value = TypeVar("Value", bound=_Identified)
Owned = TypeVar("Owned", Subscription, Invoice)


class Mirror(msgspec.Struct):
    """All readable objects: customers by id, subscriptions and invoices by Stripe customer, and the catalog.

    `unreadable`: name of the object -> the Stripe customers it concerns, None for everyone. `concerned`: the same the other
    way round.
    """

    customers: dict[str, StripeCustomer]
    subscriptions: dict[str, list[Subscription]]
    invoices: dict[str, list[Invoice]]
    catalog: Catalog
    unreadable: dict[str, set[str] | None]
    concerned: dict[str | None, list[str]]

    def unreadable_of(self, stripe_ids: Iterable[str]) -> tuple[str, ...]:
        """The unreadable objects that concern any of these Stripe customers, or might."""
        return tuple(sorted({name for owner in (None, *stripe_ids) for name in self.concerned.get(owner, ())}))


class _Reading:
    """One pass over the lists, collecting what can't be read."""

    def __init__(self) -> None:
        self.owned: dict[str, set[str] | None] = {}
        self.shared: set[str] = set()

    def read(self, key: str, entries: list[object], reader: Callable[[object], Value]) -> dict[str, Value]:
        """The readable entries by id. The same object twice is one; two that differ contradict each other."""
        found: dict[str, Value] = {}
        for entry in entries:
            try:
                value = reader(entry)
            except Unreadable as error:
                self._note(key, entry, error)
                continue
            if found.setdefault(value.id, value) != value:
                raise BadInput(f"{key}: {value.id} stands there twice with different content")
        return found

    def orphan(self, object_id: str) -> None:
        """An object whose customer can't be told."""
        self.owned[object_id] = None

    def _note(self, key: str, entry: object, error: Unreadable) -> None:
        # Without an id the error names the kind; the list's key tells the reader of the output where to look.
        known = reference(entry)
        name = error.object_id if known else key
        if known and key in ("prices", "products", "coupons"):
            self.shared.add(name)
            return
        # A Stripe customer that can't be read could be matched to any of ours.
        customer = reference(entry.get("customer")) if isinstance(entry, Mapping) else None
        self._own(name, customer)

    def _own(self, name: str, customer: str | None) -> None:
        owners = self.owned.get(name, set())
        self.owned[name] = None if customer is None or owners is None else {*owners, customer}


def read_mirror(checked: Document) -> Mirror:
    """Every list read. Raises `BadInput` for one id with two contents."""
    reading, lists = _Reading(), checked.stripe
    customers = reading.read("customers", lists["customers"], read_customer)
    subscriptions = reading.read("subscriptions", lists["subscriptions"], read_subscription)
    invoices = reading.read("invoices", lists["invoices"], read_invoice)
    prices = reading.read("prices", lists["prices"], read_price)
    catalog = Catalog(
        prices=prices,
        products=reading.read("products", lists["products"], read_product),
        coupons=reading.read("coupons", lists["coupons"], read_coupon),
        kept_lookup_keys=_kept(checked, [*prices.values(), *subscriptions.values()]),
    )
    by_customer = _by_customer(subscriptions.values(), reading)
    invoices_by_customer = _by_customer(invoices.values(), reading)
    # Objects may come without their customer (FAULTS F07): a stub stands for it, so that the money isn't lost silently.
    for stripe_id in {*by_customer, *invoices_by_customer} - set(customers):
        customers[stripe_id] = StripeCustomer(id=stripe_id)
    unreadable = reading.owned | _users(reading.shared, customers, by_customer)
    return Mirror(customers, by_customer, invoices_by_customer, catalog, unreadable, _concerned(unreadable))


def _concerned(unreadable: Mapping[str, set[str] | None]) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for name, owners in unreadable.items():
        for owner in (None,) if owners is None else owners:
            found.setdefault(owner, []).append(name)
    return found


def _by_customer(values: Iterable[Owned], reading: _Reading) -> dict[str, list[Owned]]:
    found: dict[str, list[Owned]] = {}
    for value in values:
        if value.customer is not None:
            found.setdefault(value.customer, []).append(value)
        elif not (isinstance(value, Invoice) and value.deleted):  # a deleted draft says nothing about anybody
            reading.orphan(value.id)
    return found


def _kept(checked: Document, values: Iterable[object]) -> dict[str, str]:
    """The keys given, and those that any object of the document still shows (a null key never replaces a known one)."""
    seen: dict[str, str] = {}
    for price_id, key in sorted(pair for value in values for pair in kept_keys_in(value)):
        seen[price_id] = key
    return seen | checked.kept_lookup_keys


def _users(
    shared: Iterable[str], customers: Mapping[str, StripeCustomer], subscriptions: Mapping[str, list[Subscription]]
) -> dict[str, set[str] | None]:
    """Which Stripe customers use an unreadable price, product or coupon."""
    users: dict[str, set[str]] = {name: set() for name in shared}
    for stripe_id, customer in customers.items():
        if not users:
            break
        used = references_of(customer).union(*map(references_of, subscriptions.get(stripe_id, ())))
        for name in used & users.keys():
            users[name].add(stripe_id)
    return {**users}
