"""A change row as a line of history a CSM can read (RULES 7)."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.store.readmodel import ChangeView
from webhook_app.ui import words

_DETAILS = {
    "renews_at": "Renewal", "trial_ends_at": "End of trial", "cancels_at": "Cancellation", "next_retry_at": "Next try",
    "amount_due": "Amount due", "failure_reason": "Failure", "attempt_count": "Attempts", "flags": "Flags",
    "overdue": "Overdue",
}  # fmt: skip
_SILENT = {"subscription_id", "invoice_id", "amount_due_currency"}


@dataclass(frozen=True)
class Line:
    """One line: what changed, from what to what, and the MRR movement if it was one."""

    id: int
    at: int
    what: str
    before: str
    after: str
    note: str
    tone: str
    amount: str


def lines(changes: Sequence[ChangeView], now: int) -> list[Line]:
    """The history's lines, in the given order; a change of details gives one line for each detail that people read."""
    found: list[Line] = []
    for change in changes:
        found.extend(_details(change, now) if change.field == "details" else [_line(change, now)])
    return found


def _line(change: ChangeView, now: int) -> Line:
    at = change.at_ms // 1000
    if change.field == "mrr":
        amount = words.money(change.amount or 0, sign=True)
        tone = "quiet" if change.kind not in words.NEWS else "up" if (change.amount or 0) > 0 else "down"
        return Line(change.id, at, "MRR", _mrr(change.before), _mrr(change.after), words.movement(change.kind), tone, amount)
    what, shown = {
        "plan": ("Plan", _text), "payment_status": ("Payment", _status), "match": ("Stripe customer", _match),
        "billing_started_at": ("Billing began", lambda value: _day(value, now)),
    }.get(change.field, (change.field.replace("_", " ").capitalize(), _text))  # fmt: skip
    note = "" if change.kind == "changed" else words.movement(change.kind)
    return Line(change.id, at, what, shown(change.before), shown(change.after), note, "quiet", "")


def _details(change: ChangeView, now: int) -> list[Line]:
    before = change.before if isinstance(change.before, dict) else {}
    after = change.after if isinstance(change.after, dict) else {}
    names = [name for name in after if name not in _SILENT]
    found = []
    for name in names:
        old, new = (_detail(name, values, now) for values in (before, after))
        what = _DETAILS.get(name, name.replace("_", " ").capitalize())
        if old != new:
            found.append(Line(change.id, change.at_ms // 1000, what, old, new, "", "quiet", ""))
    return found


def _detail(name: str, values: dict[str, object], now: int) -> str:
    value = values.get(name)
    if value is None or value == []:
        return "none"
    if name.endswith("_at"):
        return _day(value, now)
    if name == "amount_due" and isinstance(value, int):
        return words.money(value, str(values.get("amount_due_currency") or "usd"))
    if isinstance(value, list):
        return _list(name, value)
    return words.failure(str(value)) if name == "failure_reason" else _text(value)


def _list(name: str, values: list[object]) -> str:
    if name == "overdue":
        sums = [words.money(entry["amount"], entry["currency"]) for entry in values if isinstance(entry, dict)]
        return " and ".join(sums)
    return ", ".join(str(value).replace("_", " ") for value in values)


def _text(value: object) -> str:
    return "none" if value is None else str(value)


def _mrr(value: object) -> str:
    return words.mrr(value) if isinstance(value, int) else "unknown"


def _status(value: object) -> str:
    return words.STATUS_WORDS.get(str(value), str(value))


def _match(value: object) -> str:
    found = value.get("stripe_customer_id") if isinstance(value, dict) else value
    return _text(found)


def _day(value: object, now: int) -> str:
    return words.day(value, now) if isinstance(value, int) else "none"
