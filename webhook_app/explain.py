"""`explain`: the rules from outside, without database, Redis, network or configuration (RULES 8).

This module imports neither Flask nor SQLAlchemy nor Redis, so that support can run it anywhere.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from models.domain.match import Directory, match_customer
from models.domain.scope import has_scope
from models.domain.summary import summarize
from models.domain.types import Account, Match, Snapshot, StripeCustomer, Summary
from models.errors import BadInput
from webhook_app.explain_input import Document, check_document, load_document
from webhook_app.explain_objects import Mirror, read_mirror

__all__ = ["explain", "load_document", "main"]


def main(file: str) -> int:
    """Explain the document in `file` (`-`: standard input) on standard output. Returns the exit status.

    2 with one line on standard error when the input can't be used.
    """
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = json.dumps(explain(load_document(raw)), indent=2)
    except OSError as error:
        print(f"{file}: {error.strerror or 'cannot be read'}", file=sys.stderr)
        return 2
    except BadInput as error:
        print(f"{file}: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def explain(document: Mapping[str, object]) -> dict[str, object]:
    """The output document for an input document. Pure; raises only `BadInput`, which names the key or the object."""
    checked = check_document(document)
    mirror = read_mirror(checked)
    matches = _matches(checked, mirror)
    held: dict[str, list[Match]] = {}
    for match in matches.values():
        held.setdefault(match.customer_id or "", []).append(match)
    summaries = {
        customer.id: _summary(customer.id, checked, mirror, held.get(customer.id, [])) for customer in checked.our_customers
    }
    final = dict(matches)
    for summary in summaries.values():
        final |= {result.match.stripe_customer_id: result.match for result in summary.accounts}
    return {
        "customers": [_shown(customer.id, summaries[customer.id]) for customer in checked.our_customers],
        "matches": [_shown_match(final[stripe_id]) for stripe_id in sorted(final)],
        "counts": _counts(final.values(), summaries.values()),
        "flags": [f"unreadable:{name}" for name in sorted(mirror.unreadable)],
    }


def _matches(checked: Document, mirror: Mirror) -> dict[str, Match]:
    """The outcome of each Stripe customer, before any decision."""
    directory = Directory(checked.our_customers, checked.settings.environment)
    scope = checked.settings.scope
    return {
        stripe_id: match_customer(
            customer,
            has_scope(mirror.subscriptions.get(stripe_id, ()), scope, mirror.catalog),
            checked.settings,
            directory,
            checked.links.get(stripe_id),
        )
        for stripe_id, customer in mirror.customers.items()
    }


def _summary(customer_id: str, checked: Document, mirror: Mirror, matches: Sequence[Match]) -> Summary:
    accounts = tuple(_account(mirror.customers[match.stripe_customer_id], mirror, match) for match in matches)
    snapshot = Snapshot(
        customer_id=customer_id,
        accounts=accounts,
        catalog=mirror.catalog,
        decision=checked.decisions.get(customer_id),
        unreadable=mirror.unreadable_of(match.stripe_customer_id for match in matches),
    )
    return summarize(snapshot, checked.settings, checked.fx, checked.now)


def _account(customer: StripeCustomer, mirror: Mirror, match: Match) -> Account:
    return Account(
        customer=customer,
        subscriptions=tuple(mirror.subscriptions.get(customer.id, ())),
        invoices=tuple(mirror.invoices.get(customer.id, ())),
        match=match,
    )


def _shown(customer_id: str, summary: Summary) -> dict[str, object]:
    """A read model as plain JSON values; the accounts stand under `matches`."""
    names = [name for name in summary.__struct_fields__ if name != "accounts"]
    return {"id": customer_id, **{name: _plain(getattr(summary, name)) for name in names}}


def _shown_match(match: Match) -> dict[str, object]:
    return {
        "stripe_customer_id": match.stripe_customer_id,
        "outcome": match.outcome,
        "reason": match.reason,
        "customer_id": match.customer_id,
    }


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    names = getattr(value, "__struct_fields__", None)
    return {name: getattr(value, name) for name in names} if names else value


def _counts(matches: Iterable[Match], summaries: Iterable[Summary]) -> dict[str, int]:
    outcomes = [match.outcome for match in matches]
    counts = {outcome: outcomes.count(outcome) for outcome in ("matched", "unmatched", "skipped")}
    return {**counts, "ambiguous": sum("ambiguous" in summary.flags for summary in summaries)}
