"""A change row as a line of history a CSM can read (RULES 7)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from models.domain.types import Summary
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
    """One line: what changed, from what to what, and the MRR movement if it was one.

    `was_title`, `title`: the plan's key behind its label. `parts`: the lines that this one stands for.
    """

    id: int
    at: int
    what: str
    before: str
    after: str
    note: str
    tone: str
    amount: str
    was_title: str = ""
    title: str = ""
    parts: tuple["Line", ...] = ()


def lines(changes: Sequence[ChangeView], summary: Summary, now: int) -> list[Line]:
    """The history's lines, in the given order; a change of details gives one line for each detail that people read.

    What the first import brought is one line: no news about the customer, only where our knowledge begins.
    """
    found: list[Line] = []
    for imported, group in groupby(changes, key=_imported):
        several = list(group)
        found.extend([_first_import(several, summary, now)] if imported else _each(several, summary, now))
    return found


def _imported(change: ChangeView) -> bool:
    return "baseline" in (change.kind, change.cause)


def _each(changes: Iterable[ChangeView], summary: Summary, now: int) -> list[Line]:
    found: list[Line] = []
    for change in changes:
        found.extend(_details(change, now) if change.field == "details" else [_line(change, summary, now)])
    return found


def _first_import(changes: Sequence[ChangeView], summary: Summary, now: int) -> Line:
    """`changes` newest first; its parts stand in the order in which they were written: the plan before its details."""
    parts = _each(reversed(changes), summary, now)
    said = {part.what: part.after for part in parts}
    figures = " · ".join(said[what] for what in ("Plan", "MRR", "Payment") if said.get(what, "none") != "none")
    oldest = changes[-1]
    return Line(oldest.id, oldest.at_ms // 1000, "First import", "none", figures, "", "quiet", "", parts=tuple(parts))


def _line(change: ChangeView, summary: Summary, now: int) -> Line:
    at = change.at_ms // 1000
    if change.field == "mrr":
        amount = words.money(change.amount or 0, sign=True)
        tone = "quiet" if change.kind not in words.NEWS else "up" if (change.amount or 0) > 0 else "down"
        return Line(change.id, at, "MRR", _mrr(change.before), _mrr(change.after), words.movement(change.kind), tone, amount)
    if change.field == "plan":
        return _plan(change, summary)
    what, shown = {
        "payment_status": ("Payment", _status), "match": ("Stripe customer", _match),
        "billing_started_at": ("Billing began", lambda value: _day(value, now)),
    }.get(change.field, (change.field.replace("_", " ").capitalize(), _text))  # fmt: skip
    note = "" if change.kind == "changed" else words.movement(change.kind)
    return Line(change.id, at, what, shown(change.before), shown(change.after), note, "quiet", "")


def _plan(change: ChangeView, summary: Summary) -> Line:
    keys = [None if value is None else str(value) for value in (change.before, change.after)]
    before, after = (words.plan_name(key, summary) for key in keys)
    note = "" if change.kind == "changed" else words.movement(change.kind)
    was_title, title = (key if key and key != shown else "" for key, shown in zip(keys, (before, after), strict=True))
    at = change.at_ms // 1000
    return Line(change.id, at, "Plan", before or "none", after or "none", note, "quiet", "", was_title, title)


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
