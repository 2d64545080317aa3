"""Which Stripe customers a paid invoice older than 35 days may still decide about (RULES 6, STRIPE 5.4 step 5)."""

from models.domain.scope import in_scope
from models.domain.status import payment_state
from models.domain.types import Invoice
from models.store import walked
from models.store.connections import ConnectionRecord
from models.store.session import Database, session_scope
from workers import recompute
from workers.walks import RECENT_S


def undecided(database: Database, record: ConnectionRecord, start: int, after: str) -> tuple[list[str], str | None]:
    """Of the next Stripe customers behind `after`: those still undecided, and the last id looked at (None: the end).

    Every unpaid invoice and every one of the last 35 days is mirrored, so an unknown one can only be paid and older. It decides
    only where nothing younger does, and changes nothing where the newest word known is `paid`.
    """
    with session_scope(database) as connection:
        if record.settings.scope.kind == "all":
            ids = walked.without_paid_invoice(connection, record.id, after)
        else:
            ids = walked.stripe_customer_ids(connection, record.id, after)
        loaded = recompute.load(connection, record, ids)
    found = [key for key in ids if key in loaded.customers and _is_open(loaded, record, key, start)]
    return found, ids[-1] if ids else None


def _is_open(loaded: recompute.Loaded, record: ConnectionRecord, key: str, start: int) -> bool:
    if loaded.customers[key].deleted:
        return False
    values = [entry.value for entry in loaded.owned.get(key, ())]
    invoices = [value for value in values if isinstance(value, Invoice)]
    if record.settings.scope.kind != "all":
        subscriptions = (value for value in values if not isinstance(value, Invoice))
        reached = {value.id for value in subscriptions if in_scope(value, record.settings.scope, loaded.catalog)}
        if not reached:
            return False
        invoices = [invoice for invoice in invoices if invoice.subscription in reached]
    state = payment_state(invoices, start)
    if state.deciding is None or state.deciding.created is None:
        return True
    return state.status != "paid" and state.deciding.created < start - RECENT_S
