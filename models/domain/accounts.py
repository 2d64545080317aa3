"""What one Stripe customer brings, and which of several count for one of our customers (RULES 3)."""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from models.domain.discounts import ends_after
from models.domain.fx import stale_at
from models.domain.money import storable, whole_cents
from models.domain.mrr import Rules, SubscriptionMrr, subscription_mrr
from models.domain.plan import Plan, plan_of
from models.domain.status import due_dates_after, verdict
from models.domain.types import Account, Decision, Invoice, Match

_NOT_BEGUN = ("incomplete", "incomplete_expired")
_NEVER = 2**63


class Brought(msgspec.Struct, frozen=True):
    """One Stripe customer after the rules: its subscriptions' figures, invoices in scope, and plan.

    `usd`: exact US cents of what is known. `unknown`: some counting subscription has no figure. `billed`: RULES 3."""

    account: Account
    match: Match
    results: tuple[SubscriptionMrr, ...]
    invoices: tuple[Invoice, ...]
    usd: Fraction
    unknown: bool
    billed: bool
    plan: Plan

    @property
    def cents(self) -> int | None:
        """Its own MRR for the lists, in whole US cents; None when unknown."""
        cents = whole_cents(self.usd)
        return None if self.unknown or not storable(cents) else cents


def bring(account: Account, match: Match, rules: Rules) -> Brought:
    """Everything the rules say about one Stripe customer on its own."""
    discount = account.customer.discount
    # By id, so that the derivation never depends on the order in which the subscriptions came.
    subscriptions = sorted(account.subscriptions, key=lambda subscription: subscription.id)
    results = tuple(subscription_mrr(subscription, discount, rules) for subscription in subscriptions)
    invoices = _invoices_in_scope(account, results, rules)
    began = any(result.in_scope and result.subscription.status not in _NOT_BEGUN for result in results)
    return Brought(
        account=account,
        match=match,
        results=results,
        invoices=invoices,
        usd=sum((result.usd for result in results if result.usd is not None), Fraction(0)),
        unknown=any(result.unknown for result in results),
        billed=began or any(verdict(invoice, rules.now) is not None for invoice in invoices),
        plan=plan_of(results, rules.settings.scope, rules.catalog),
    )


def choose(brought: Sequence[Brought], decision: Decision | None) -> tuple[list[Brought], bool]:
    """The Stripe customers that count, and whether our customer is ambiguous.

    A winner that is no longer among the matched ones decides nothing. A decision about others than the billed ones of now
    still holds, and the flag comes back: always for a winner (money is left out), for a merge when two are billed.
    """
    ids = {entry.account.customer.id for entry in brought}
    billed = [entry for entry in brought if entry.billed]
    if decision is not None and decision.kind == "winner" and decision.stripe_customer_id in ids:
        chosen = [entry for entry in brought if entry.account.customer.id == decision.stripe_customer_id]
        return chosen, any(not _known(entry, decision) for entry in billed)
    if decision is not None and decision.kind == "merge":
        return list(brought), len(billed) > 1 and any(not _known(entry, decision) for entry in billed)
    return list(brought), sum(entry.match.reason != "link" for entry in billed) > 1


def leader(counted: Sequence[Brought]) -> Brought | None:
    """The one that gives plan and `stripe_customer_id`: highest MRR (unknown ranks as 0), earliest `created`, id.

    Duplicates that were never billed don't matter while another one was.
    """
    candidates = [entry for entry in counted if entry.billed] or counted
    return min(candidates, key=_rank, default=None)


def changes_after(entry: Brought, rules: Rules) -> list[int]:
    """Every moment after now at which these facts could give another result (RULES 6)."""
    moments = due_dates_after(entry.invoices, rules.now)
    counting = [result for result in entry.results if result.counts]
    discounts = [discount for result in counting for discount in result.subscription.discounts]
    discounts += [found for result in counting for item in result.subscription.items for found in item.discounts]
    if counting and entry.account.customer.discount is not None:
        discounts.append(entry.account.customer.discount)
    moments += ends_after(discounts, rules.catalog, rules.now)
    foreign = any(result.native is not None and result.currency != "usd" for result in entry.results)
    stale = stale_at(rules.fx, rules.settings.fx_stale_days) if foreign else None
    return moments if stale is None or stale <= rules.now else [*moments, stale]


def uses_rate(entry: Brought) -> bool:
    """Whether a figure of this Stripe customer came through an exchange rate."""
    return any(result.usd is not None and result.currency != "usd" for result in entry.results)


def _known(entry: Brought, decision: Decision) -> bool:
    about = decision.stripe_customer_ids
    return about is None or entry.account.customer.id in (*about, decision.stripe_customer_id)


def _rank(entry: Brought) -> tuple[Fraction, int, str]:
    customer = entry.account.customer
    usd = Fraction(0) if entry.unknown else entry.usd
    return -usd, _NEVER if customer.created is None else customer.created, customer.id


def _invoices_in_scope(account: Account, results: Sequence[SubscriptionMrr], rules: Rules) -> tuple[Invoice, ...]:
    """With scope `all` every invoice of the customer, else those of subscriptions in scope (RULES 6)."""
    if rules.settings.scope.kind == "all":
        return account.invoices
    reached = {result.subscription.id for result in results if result.in_scope}
    return tuple(invoice for invoice in account.invoices if invoice.subscription in reached)
