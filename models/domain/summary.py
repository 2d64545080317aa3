"""`summarize`: all facts of one of our customers in, its read model out. Pure (RULES 1, 3 to 6, 8)."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from models.domain import fx as rates
from models.domain.accounts import Brought, bring, changes_after, choose, leader, uses_rate
from models.domain.money import dollars, shown, storable, whole_cents
from models.domain.mrr import COUNTING, Rules, SubscriptionMrr, is_cancelling
from models.domain.plan import Plan
from models.domain.status import PaymentState, failure_reason, payment_state
from models.domain.types import (
    Account,
    AccountResult,
    FxTable,
    Match,
    NativeAmount,
    PaymentStatus,
    Settings,
    Snapshot,
    Subscription,
    Summary,
)

_PAYMENT_WORDS = {"failing": "payment failing", "past_due": "payment past due", "paid": "paid", "none": "no invoices"}


def summarize(snapshot: Snapshot, settings: Settings, fx: FxTable, now: int) -> Summary:
    """The read model of one of our customers at `now` (unix seconds).

    Only accounts whose match is `matched` (or not yet decided) take part. Never raises for what Stripe may send.
    """
    rules = Rules(settings, snapshot.catalog, fx, now)
    matched = [(account, match) for account in snapshot.accounts if (match := _match(account, snapshot.customer_id))]
    brought = sorted((bring(account, match, rules) for account, match in matched), key=lambda entry: entry.account.customer.id)
    counted, ambiguous = choose(brought, snapshot.decision)
    results = [result for entry in counted for result in entry.results]
    state = payment_state((invoice for entry in counted for invoice in entry.invoices), now)
    leading = leader(counted)
    plan = leading.plan if leading else Plan()
    mrr, flags = _mrr(counted, results, ambiguous, rules)
    starts = [result.subscription.start_date for result in results if result.in_scope]
    moments = [moment for entry in counted for moment in changes_after(entry, rules)]
    return Summary(
        plan=plan.text,
        plan_label=plan.label,
        mrr=mrr,
        payment_status=state.status,
        billing_started_at=min((start for start in starts if start is not None), default=None),
        stripe_customer_id=leading.account.customer.id if leading else None,
        headline=headline(plan.label, mrr, state.status),
        flags=tuple(sorted({*flags, *(f"unreadable:{name}" for name in snapshot.unreadable)})),
        next_change_at=min(moments, default=None),
        overdue=state.overdue,
        native=_native(results, fx),
        derivation=tuple(_derivation(brought, counted)),
        accounts=tuple(_account_result(entry, counted) for entry in brought),
        fx_date=fx.date if any(uses_rate(entry) for entry in counted) else None,
        subscription_id=plan.subscription.id if plan.subscription else None,
        renews_at=_renews_at(plan.subscription),
        trial_ends_at=_trial_ends_at(plan.subscription),
        cancels_at=_cancels_at(results),
        **_payment_details(state),
    )


def headline(plan_label: str | None, mrr: int | None, status: PaymentStatus) -> str:
    """The line a CSM reads: `Plan: Growth, MRR $1,400, payment failing` (RULES 8). `mrr`: US cents, None unknown."""
    plan = f"Plan: {plan_label}" if plan_label else "No plan"
    money = "MRR unknown" if mrr is None else f"MRR {dollars(mrr)}"
    return f"{plan}, {money}, {_PAYMENT_WORDS[status]}"


def _match(account: Account, customer_id: str) -> Match | None:
    """The account's match to this customer; None when it is matched elsewhere or not at all."""
    match = account.match
    if match is None:
        return Match(account.customer.id, "matched", "domain", customer_id)
    return match if match.outcome == "matched" and match.customer_id in (customer_id, None) else None


def _mrr(
    counted: Sequence[Brought], results: Sequence[SubscriptionMrr], ambiguous: bool, rules: Rules
) -> tuple[int | None, set[str]]:
    """The one rounding, and every flag but the unreadable ones (RULES 5, 8)."""
    flags = {flag for result in results for flag in result.flags}
    flags |= {f"mrr_unknown:{word}" for result in results for word in result.unknown}
    flags |= {f"no_usd_rate:{result.currency.upper()}" for result in results if _lacks_rate(result)}
    if ambiguous:
        flags.add("ambiguous")
    stale = rates.stale_at(rules.fx, rules.settings.fx_stale_days)
    if stale is not None and stale <= rules.now and any(uses_rate(entry) for entry in counted):
        flags.add("stale_fx")
    cents = whole_cents(sum((entry.usd for entry in counted), Fraction(0)))
    if not storable(cents):
        flags.add("mrr_unknown:missing_amount")
        return None, flags
    return (None if any(entry.unknown for entry in counted) else cents), flags


def _lacks_rate(result: SubscriptionMrr) -> bool:
    return result.native is not None and result.usd is None


def _native(results: Iterable[SubscriptionMrr], fx: FxTable) -> tuple[NativeAmount, ...]:
    """The known monthly amounts per currency, and how each became USD (RULES 5.5)."""
    sums: dict[str, Fraction] = {}
    for result in results:
        if result.native is not None:
            sums[result.currency] = sums.get(result.currency, Fraction(0)) + result.native
    return tuple(_native_amount(currency, amount, fx) for currency, amount in sorted(sums.items()))


def _native_amount(currency: str, amount: Fraction, fx: FxTable) -> NativeAmount:
    usd = rates.usd_cents(amount, currency, fx)
    rate = None if currency == "usd" else rates.rate(fx, currency)
    return NativeAmount(
        currency=currency,
        monthly=shown(amount),
        usd_cents=None if usd is None else shown(usd),
        rate=None if rate is None else str(rate),
        rate_date=None if rate is None else fx.date,
        rate_source=None if rate is None else fx.sources.get(currency.upper()),
    )


def _derivation(brought: Sequence[Brought], counted: Sequence[Brought]) -> Iterable[dict[str, object]]:
    """Every subscription with its steps, those of a Stripe customer that lost to the winner marked (RULES 5.6)."""
    winners = {entry.account.customer.id for entry in counted}
    for entry in brought:
        lost = {} if entry.account.customer.id in winners else {"counts": False, "left_out": "lost_to_winner"}
        for result in entry.results:
            yield {"stripe_customer": entry.account.customer.id, **result.derivation, **lost}


def _account_result(entry: Brought, counted: Sequence[Brought]) -> AccountResult:
    match = entry.match
    if not any(entry is winner for winner in counted):
        match = Match(match.stripe_customer_id, "skipped", "lost_to_winner", None)
    return AccountResult(match=match, mrr=entry.cents, plan=entry.plan.text, billed=entry.billed)


def _period_end(subscription: Subscription) -> int | None:
    """When the running period ends: per item since basil, else the subscription's."""
    ends = [item.current_period_end for item in subscription.items if item.current_period_end is not None]
    return min(ends, default=subscription.current_period_end)


def _renews_at(subscription: Subscription | None) -> int | None:
    """When the plan's subscription renews next; None when it ends before that or doesn't run."""
    if subscription is None or subscription.status not in (*COUNTING, "trialing"):
        return None
    end = _period_end(subscription)
    if subscription.cancel_at_period_end or end is None:
        return None
    return None if subscription.cancel_at is not None and subscription.cancel_at <= end else end


def _trial_ends_at(subscription: Subscription | None) -> int | None:
    trialing = subscription is not None and subscription.status == "trialing"
    return subscription.trial_end if trialing and subscription else None


def _cancels_at(results: Iterable[SubscriptionMrr]) -> int | None:
    """The earliest cancellation ahead; `cancel_at` is exact, else it is the end of the period."""
    ahead = [result.subscription for result in results if result.in_scope and is_cancelling(result.subscription)]
    ends = [_period_end(entry) if entry.cancel_at is None else entry.cancel_at for entry in ahead]
    return min((end for end in ends if end is not None), default=None)


def _payment_details(state: PaymentState) -> dict[str, Any]:
    """The deciding invoice, and why it is unpaid while it is."""
    invoice = state.deciding
    if invoice is None or state.status == "paid":
        return {"invoice_id": invoice.id if invoice else None}
    remaining = invoice.amount_remaining
    return {
        "invoice_id": invoice.id,
        "amount_due": invoice.amount_due if remaining is None else remaining,
        "amount_due_currency": invoice.currency,
        "failure_reason": failure_reason(invoice),
        "attempt_count": invoice.attempt_count,
        "next_retry_at": invoice.next_payment_attempt,
    }
