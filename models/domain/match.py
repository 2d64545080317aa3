"""Which of our customers a Stripe customer is, and why (RULES 2). The first line that decides wins."""

from collections.abc import Iterable, Mapping
from typing import Literal

from models.domain.hosts import (
    email_host,
    is_own,
    is_personal,
    normalise_host,
    normalise_name,
    registrable_domain,
)
from models.domain.types import Customer, Match, Settings, StripeCustomer

__all__ = ["Directory", "hosts_to_look_up", "match_customer", "normalise_host", "registrable_domain"]

Kind = Literal["domain", "alias"]
_NOBODY: Mapping[str, Kind] = {}


class Directory:
    """Our customers of one environment by the names they hold and by id.

    May be built from only the rows `hosts_to_look_up` asks for: what it doesn't hold can't decide.
    """

    def __init__(self, customers: Iterable[Customer], environment: str) -> None:
        self._names: dict[str, dict[str, Kind]] = {}
        self._ids: set[str] = set()
        self._external: dict[str, set[str]] = {}
        for customer in customers:
            if customer.environment == environment:
                self._add(customer)

    def _add(self, customer: Customer) -> None:
        self._ids.add(customer.id)
        if customer.external_id:
            self._external.setdefault(customer.external_id, set()).add(customer.id)
        for alias in customer.aliases:
            self._hold(customer.id, alias, "alias")
        # The domain comes last, so that a name held both ways reads as the domain.
        self._hold(customer.id, customer.domain or "", "domain")

    def _hold(self, customer_id: str, text: str, kind: Kind) -> None:
        name = normalise_name(text)
        if name:
            self._names.setdefault(name, {})[customer_id] = kind

    def holders(self, name: str) -> Mapping[str, Kind]:
        """Who holds a normalised host or full address: our customer's id -> held as domain or alias."""
        return self._names.get(name, _NOBODY)

    def __contains__(self, customer_id: object) -> bool:
        """Whether a customer of this environment has that id."""
        return customer_id in self._ids

    def customer_id(self, value: str) -> str | None:
        """The one customer that `value` names by its id, else by its external id."""
        if value in self._ids:
            return value
        named = self._external.get(value, set())
        return next(iter(named)) if len(named) == 1 else None


def match_customer(
    customer: StripeCustomer, has_scope: bool, settings: Settings, directory: Directory, link: str | None
) -> Match:
    """The one outcome for one Stripe customer.

    `has_scope`: it has a subscription in scope (always true with the scope `all`). `directory`: our customers of the
    connection's environment. `link`: the id of our customer that an admin linked it to.
    """
    if customer.deleted:
        return _skipped(customer, "deleted")
    if settings.scope.kind != "all" and not has_scope:
        return _skipped(customer, "out_of_scope")
    if link is not None and link in directory:
        return Match(customer.id, "matched", "link", link)
    return _by_metadata(customer, settings, directory) or _by_email(customer, settings, directory)


def hosts_to_look_up(customer: StripeCustomer, settings: Settings) -> tuple[str, ...]:
    """Every text by which one of our customers could be found for this Stripe customer.

    Normalised host, registrable domain and full address, to be looked up among domains and aliases; and the raw metadata
    value, to be looked up among ids and external ids too.
    """
    found: list[str | None] = []
    value = _metadata_value(customer, settings)
    if value:
        found += [value, normalise_name(value)]
    host = email_host(customer.email, not settings.livemode) if customer.email else None
    if host and customer.email:
        found += [host, registrable_domain(host), customer.email.strip().lower()]
    return tuple(dict.fromkeys(text for text in found if text))


def _skipped(customer: StripeCustomer, reason: str) -> Match:
    return Match(customer.id, "skipped", reason)


def _metadata_value(customer: StripeCustomer, settings: Settings) -> str | None:
    value = customer.metadata.get(settings.metadata_key) if settings.metadata_key else None
    return value.strip() if value and value.strip() else None


def _by_metadata(customer: StripeCustomer, settings: Settings, directory: Directory) -> Match | None:
    """Line 3. A key named `domain` holds a host or alias, `customer_id` an id, any other name either of them."""
    value = _metadata_value(customer, settings)
    if value is None:
        return None
    named = directory.customer_id(value) if settings.metadata_key != "domain" else None
    if named:
        return Match(customer.id, "matched", "metadata", named)
    if settings.metadata_key == "customer_id":
        return None
    return _held(customer, directory, normalise_name(value), "metadata")


def _by_email(customer: StripeCustomer, settings: Settings, directory: Directory) -> Match:
    """Lines 4 to 7."""
    if not customer.email or not customer.email.strip():
        return _skipped(customer, "no_email")
    host = email_host(customer.email, not settings.livemode)
    if host is None:
        return _skipped(customer, "invalid_email")
    if is_own(host, settings.own_domains):
        return _skipped(customer, "own_domain")
    if is_personal(host, settings.personal_domains_allow, settings.personal_domains_deny):
        if not settings.match_personal_emails:
            return _skipped(customer, "personal_domain")
        return _held(customer, directory, customer.email.strip().lower(), None) or _unmatched(customer)
    return (
        _held(customer, directory, host, None)
        or _held(customer, directory, registrable_domain(host), "parent_domain")
        or _unmatched(customer)
    )


def _held(customer: StripeCustomer, directory: Directory, name: str | None, reason: str | None) -> Match | None:
    """The match by a name: None when nobody holds it, never a guess when several do. `reason` None: as it is held."""
    holders = directory.holders(name) if name else _NOBODY
    if not holders:
        return None
    if len(holders) > 1:
        return Match(customer.id, "unmatched", "several_customers_with_domain")
    customer_id, kind = next(iter(holders.items()))
    return Match(customer.id, "matched", reason or kind, customer_id)


def _unmatched(customer: StripeCustomer) -> Match:
    return Match(customer.id, "unmatched", "no_customer_with_domain")
