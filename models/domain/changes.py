"""What differs between two read models, each difference by its name (RULES 7)."""

from models.domain.types import Change, Summary

# Causes that are no news about the customer: they stay out of the movements' sums and of outgoing messages.
_NO_NEWS = ("baseline", "adjustment")
_PLAIN = ("plan", "payment_status", "billing_started_at")
_DETAILS = (
    "flags",
    "overdue",
    "subscription_id",
    "renews_at",
    "trial_ends_at",
    "cancels_at",
    "invoice_id",
    "amount_due",
    "amount_due_currency",
    "failure_reason",
    "attempt_count",
    "next_retry_at",
)


def changes(
    before: Summary | None,
    after: Summary,
    cause: str,
    ever_positive: bool,
    at_old_rates: Summary | None = None,
) -> tuple[Change, ...]:
    """Each difference between `before` (None: there was nothing yet) and `after`; nothing changed gives ().

    `cause`: `facts`, `fx`, `baseline` (first import) or `adjustment` (scope, matching, decision, setting or rule).
    `ever_positive`: the MRR was above 0 at some time before. `at_old_rates`: the same facts as `after` at the rates of
    `before`, where rates changed too: the facts' part of the movement is told first, the rest is `fx`.
    """
    old = before or Summary()
    kind = cause if cause in _NO_NEWS else "changed"
    found = [
        Change(name, kind, getattr(old, name), getattr(after, name))
        for name in _PLAIN
        if getattr(old, name) != getattr(after, name)
    ]
    if _match_of(old) != _match_of(after):
        found.append(Change("match", kind, _match_of(old), _match_of(after)))
    found.extend(_movements(old.mrr, after.mrr, cause, ever_positive, at_old_rates))
    details = [name for name in _DETAILS if getattr(old, name) != getattr(after, name)]
    if details:
        found.append(Change("details", kind, _values(old, details), _values(after, details)))
    return tuple(found)


def _movements(
    before: int | None, after: int | None, cause: str, ever_positive: bool, at_old_rates: Summary | None
) -> list[Change]:
    """The MRR movements: their amounts always add up to the difference, an unknown figure standing for 0."""
    if before == after:
        return _round_trip(before, after, cause, ever_positive, at_old_rates)
    if cause in _NO_NEWS:
        return [_movement(cause, before, after)]
    if before is None or after is None:
        return [_movement("adjustment", before, after)]
    if cause == "fx":
        return [_movement("fx", before, after)]
    return _facts_then_rates(before, after, ever_positive, at_old_rates)


def _round_trip(
    before: int | None, after: int | None, cause: str, ever_positive: bool, at_old_rates: Summary | None
) -> list[Change]:
    """The figure is the same, yet facts and rates may have moved it there and back."""
    if before is None or after is None or cause != "facts" or at_old_rates is None:
        return []
    return _facts_then_rates(before, after, ever_positive, at_old_rates)


def _facts_then_rates(before: int, after: int, ever_positive: bool, at_old_rates: Summary | None) -> list[Change]:
    """First the facts at the old rates, then `fx` for the rest (RULES 7)."""
    middle = after if at_old_rates is None or at_old_rates.mrr is None else at_old_rates.mrr
    found = []
    if middle != before:
        found.append(_movement(_kind(before, middle, ever_positive), before, middle))
    if after != middle:
        found.append(_movement("fx", middle, after))
    return found


def _kind(before: int, after: int, ever_positive: bool) -> str:
    if before <= 0 < after:
        return "reactivation" if ever_positive else "new"
    if after <= 0 < before:
        return "churn"
    return "expansion" if after > before else "contraction"


def _movement(kind: str, before: int | None, after: int | None) -> Change:
    return Change("mrr", kind, before, after, (after or 0) - (before or 0))


def _match_of(summary: Summary) -> dict[str, object]:
    """What the match is: the leading Stripe customer, and the outcome of each."""
    return {
        "stripe_customer_id": summary.stripe_customer_id,
        "stripe_customers": [
            {"id": entry.match.stripe_customer_id, "outcome": entry.match.outcome, "reason": entry.match.reason}
            for entry in summary.accounts
        ],
    }


def _values(summary: Summary, names: list[str]) -> dict[str, object]:
    """The named details as plain JSON values."""
    return {name: _plain(getattr(summary, name)) for name in names}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    fields = getattr(value, "__struct_fields__", None)
    return {name: getattr(value, name) for name in fields} if fields else value
