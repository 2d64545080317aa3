"""How figures and states are said on the pages (PAGES.md): pure functions from values to words."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

from models.domain.money import divisor, dollars
from models.domain.plan import plan_label
from models.domain.types import Overdue, Summary
from models.store.readmodel import ChangeView

STATUS_WORDS = {"paid": "Paid", "past_due": "Past due", "failing": "Payment failing", "none": "No invoices"}
_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
_FAILURES = {
    "card_declined": "card declined",
    "expired_card": "card expired",
    "insufficient_funds": "insufficient funds",
    "incorrect_cvc": "wrong security code",
    "lost_card": "card reported lost",
    "stolen_card": "card reported stolen",
    "do_not_honor": "declined by the bank",
    "generic_decline": "declined by the bank",
    "processing_error": "the bank couldn't process it",
    "authentication_required": "the bank asks for confirmation",
    "requires_action": "waiting for the customer's confirmation",
    "debit_not_authorized": "debit not authorised",
}
_UNKNOWN = {
    "missing_tiers": ("a price has tiers we can't read", "Sync again, so that the price is fetched with its tiers"),
    "missing_currency_option": (
        "a price or coupon names no amount in the subscription's currency",
        "Add the currency in Stripe",
    ),
    "missing_coupon": ("a discount's coupon can't be read", "Check that the key may read coupons"),
    "missing_discount": ("a discount can't be read", "Check that the key may read discounts"),
    "missing_amount": ("a price has no amount", "Check the price in Stripe"),
    "unknown_scheme": ("a price is billed in a way we don't know", "Tell us which price it is"),
}
LEFT_OUT = {
    "out_of_scope": "outside the plans that count",
    "unknown_status": "its status is one we don't know",
    "cancelling": "it is being cancelled",
    "lost_to_winner": "another Stripe customer was chosen",
    "status_trialing": "in trial, nothing is paid yet",
    "status_incomplete": "its first payment hasn't succeeded",
    "status_incomplete_expired": "its first payment never succeeded",
    "status_unpaid": "unpaid, retries are over",
    "status_canceled": "cancelled",
    "status_paused": "paused",
}
_MOVEMENTS = {
    "new": "started", "expansion": "up", "contraction": "down", "churn": "ended", "reactivation": "came back",
    "fx": "exchange rate", "baseline": "first import", "adjustment": "adjusted by a setting or rule",
}  # fmt: skip
_KEY = re.compile(r"(?!(?:price|plan|prod)_)[a-z0-9]+(?:[_-][A-Za-z0-9]+)*")
NEWS = frozenset({"new", "expansion", "contraction", "churn", "reactivation"})


@dataclass(frozen=True)
class Chip:
    """A flag in a word or two, and what to do about it."""

    word: str
    remedy: str
    tone: str = "plain"


def money(minor: int | str | Decimal, currency: str = "usd", *, sign: bool = False) -> str:
    """Minor units as people write them: `$1,400`, cents only when there are any; `€90.50`, `KWD 12`."""
    code, units = currency.upper(), divisor(currency)
    value = Decimal(minor)
    places = {1: 0, 100: 2, 1000: 3}[units]
    shown = (abs(value) / units).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    whole = shown == shown.to_integral_value()
    text = f"{shown:,.0f}" if whole else f"{shown:,.{places}f}"
    before = _SYMBOLS.get(code, f"{code} ")
    lead = "−" if value < 0 else "+" if sign else ""
    return f"{lead}{before}{text}"


def mrr(cents: int | None) -> str:
    """A customer's MRR, or a dash while it is unknown."""
    return "—" if cents is None else dollars(cents).replace("-", "−")


def day(seconds: int, now: int | None = None) -> str:
    """`3 Dec`, with the year when it isn't this one. UTC; the page's script puts the reader's zone in its place."""
    at = datetime.fromtimestamp(seconds, UTC)
    this_year = now is not None and datetime.fromtimestamp(now, UTC).year == at.year
    return f"{at.day} {at:%b}" if this_year else f"{at.day} {at:%b %Y}"


def iso(seconds: int) -> str:
    """For the `datetime` attribute."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def ago(seconds: int, now: int) -> str:
    """`3 s ago`, `42 min ago`, `5 h ago`, `9 days ago`."""
    age = max(0, now - seconds)
    if age < 60:
        return f"{age} s ago"
    if age < 3600:
        return f"{age // 60} min ago"
    return f"{age // 3600} h ago" if age < 48 * 3600 else f"{age // 86400} days ago"


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `11th`."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def failure(reason: str) -> str:
    """Stripe's word for why a payment failed, in ours; a word we don't know is shown as it is."""
    return _FAILURES.get(reason, reason.replace("_", " "))


def chips(flags: Iterable[str], summary: Summary | None, now: int) -> list[Chip]:
    """A chip for each flag that a CSM can use, the urgent ones first, and one for a trial that runs."""
    found = [chip for flag in flags if (chip := _chip(flag, summary, now)) is not None]
    if summary is not None and summary.trial_ends_at is not None and summary.trial_ends_at > now:
        found.append(Chip(f"Trial ends {day(summary.trial_ends_at, now)}", "MRR counts from the end of the trial", "notice"))
    return sorted(found, key=lambda chip: chip.tone == "plain")


def _chip(flag: str, summary: Summary | None, now: int) -> Chip | None:
    kind, _, value = flag.partition(":")
    if kind == "cancelling":
        at = None if summary is None else summary.cancels_at
        return Chip("Cancelling" + (f" {day(at, now)}" if at else ""), "MRR counts until it ends", "notice")
    if kind == "mrr_unknown":
        why, remedy = _UNKNOWN.get(value, (value.replace("_", " "), "Look at the subscription in Stripe"))
        return Chip("MRR unknown", f"{why.capitalize()}. {remedy}.", "notice")
    if kind == "no_usd_rate":
        return Chip(f"No USD rate {value}", f"Add a rate for {value}; until then the total leaves it out", "notice")
    if kind == "unknown_subscription_status":
        return Chip(f"Unknown status {value}", "Stripe sent a status we don't know; it doesn't count for MRR", "notice")
    if kind == "unreadable":
        remedy = f"{value} can't be read; the rest is counted. Sync again or look at it in Stripe."
        return Chip("Part unreadable", remedy, "notice")
    return _PLAIN_CHIPS.get(kind, Chip(flag.replace("_", " "), "A flag this page has no words for yet"))


_PLAIN_CHIPS = {
    "ambiguous": Chip("Ambiguous", "Several Stripe customers match; their MRR is summed until an admin decides", "notice"),
    "collection_paused": Chip("Collection paused", "Invoices aren't collected; resume it in Stripe", "notice"),
    "stale_fx": Chip("Old exchange rate", "The exchange rates are older than 45 days; refresh them", "notice"),
    "tax_inclusive": Chip("Tax included", "A price includes tax, so MRR does too"),
    "usage_based": Chip("Usage-based", "Metered usage isn't part of MRR"),
}


def unknown_reason(flags: Iterable[str]) -> str | None:
    """Why the MRR is unknown, with what to do; None when it is known."""
    words = [flag.partition(":")[2] for flag in flags if flag.startswith("mrr_unknown:")]
    if not words:
        return None
    why, remedy = _UNKNOWN.get(words[0], (words[0].replace("_", " "), "Look at the subscription in Stripe"))
    return f"{why}. {remedy}."


def payment_line(summary: Summary, now: int) -> str | None:
    """Under the status: `2nd attempt failed: card expired · next try 25 Nov · $1,400 due`."""
    if summary.payment_status not in ("failing", "past_due"):
        return None
    parts = []
    if summary.payment_status == "failing":
        which = f"{ordinal(summary.attempt_count)} attempt failed" if summary.attempt_count else "Payment failed"
        parts.append(f"{which}: {failure(summary.failure_reason)}" if summary.failure_reason else which)
    if summary.next_retry_at is not None:
        parts.append(f"next try {day(summary.next_retry_at, now)}")
    elif summary.payment_status == "failing":
        parts.append("no further try planned")
    if summary.amount_due:
        parts.append(f"{money(summary.amount_due, summary.amount_due_currency or 'usd')} due")
    return " · ".join(parts)


def overdue_line(overdue: Sequence[Overdue]) -> str | None:
    """`$1,200 overdue on 2 older invoices`, per currency."""
    if not overdue:
        return None
    count = sum(entry.invoices for entry in overdue)
    sums = " and ".join(money(entry.amount, entry.currency) for entry in overdue)
    return f"{sums} overdue on {count} older invoice{'' if count == 1 else 's'}"


def trend(changes: Sequence[ChangeView], now: int) -> tuple[int, int] | None:
    """What the customer's own movements of the last 120 days add up to (US cents), and when the first was (seconds)."""
    recent = [change for change in changes if change.field == "mrr" and change.kind in NEWS
              and change.at_ms // 1000 > now - 120 * 86400]  # fmt: skip
    total = sum(change.amount or 0 for change in recent)
    return (total, recent[-1].at_ms // 1000) if recent and total else None


def since(seconds: int) -> str:
    """The month a trend began in."""
    return f"{datetime.fromtimestamp(seconds, UTC):%B}"


def plan_name(plan: str | None, summary: Summary) -> str | None:
    """A plan's text as people read it: the label known from the customer's own plan, else that of what looks like a
    lookup key; names and ids stay as they are."""
    if plan is not None and plan == summary.plan:
        return summary.plan_label or plan
    return plan_label(plan) if plan is not None and _KEY.fullmatch(plan) else plan


def movement(kind: str) -> str:
    """The word for an MRR movement."""
    return _MOVEMENTS.get(kind, kind.replace("_", " "))
