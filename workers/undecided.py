"""Which Stripe customers a paid invoice older than 35 days may still decide about (RULES 6, STRIPE 5.4 step 5)."""

from bisect import bisect_right
from collections.abc import Iterable

from sqlalchemy import Connection

from models.domain.scope import in_scope
from models.domain.status import payment_state
from models.domain.types import Invoice
from models.store import walked
from models.store.connections import ConnectionRecord
from models.store.mirror import Key, load_owned
from workers import recompute
from workers.lists import RECENT_S
from workers.walk_readers import INVOICES_OF

CHUNK = 100


def undecided(connection: Connection, record: ConnectionRecord, start: int, after: str) -> tuple[list[str], str | None]:
    """Of the next Stripe customers behind `after`: those still undecided, and the last id looked at (None: the end).

    Every unpaid invoice and every one of the last 35 days is mirrored, so an unknown one can only be paid and older. It decides
    only where nothing younger does, and changes nothing where the newest word known is `paid`.
    """
    if record.settings.scope.kind == "all":
        ids = walked.without_paid_invoice(connection, record.id, after)
        invoices = _all_invoices(connection, record, ids)
    else:
        ids = walked.stripe_customer_ids(connection, record.id, after)
        invoices = _invoices_in_scope(connection, record, ids)
    found = [key for key in ids if key in invoices and _is_open(invoices[key], start)]
    return found, ids[-1] if ids else None


def _all_invoices(connection: Connection, record: ConnectionRecord, ids: list[str]) -> dict[str, list[Invoice]]:
    found: dict[str, list[Invoice]] = {key: [] for key in ids}
    for entry in load_owned(connection, record.id, "invoice", ids):
        found[entry.customer_id].append(entry.value)
    return found


def _invoices_in_scope(connection: Connection, record: ConnectionRecord, ids: list[str]) -> dict[str, list[Invoice]]:
    """By customer with a subscription in scope: the invoices of those subscriptions."""
    loaded = recompute.load(connection, record, ids)
    found = {}
    for key in ids:
        values = [entry.value for entry in loaded.owned.get(key, ())]
        subscriptions = (value for value in values if not isinstance(value, Invoice))
        reached = {value.id for value in subscriptions if in_scope(value, record.settings.scope, loaded.catalog)}
        if reached and not loaded.customers[key].deleted:
            found[key] = [value for value in values if isinstance(value, Invoice) and value.subscription in reached]
    return found


def _is_open(invoices: Iterable[Invoice], start: int) -> bool:
    state = payment_state(invoices, start)
    if state.deciding is None or state.deciding.created is None:
        return True
    return state.status != "paid" and state.deciding.created < start - RECENT_S


def next_chunk(ids: list[str], after: str) -> tuple[list[Key], str | None]:
    """The next of these customers behind `after`, as wants for their paid invoices."""
    begin = bisect_right(ids, after)
    chunk = ids[begin : begin + CHUNK]
    return [(INVOICES_OF, key) for key in chunk], chunk[-1] if chunk else None
