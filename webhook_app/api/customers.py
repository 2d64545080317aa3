"""`GET /api/v1/customers`, `/customers/<id>` and `/customers/<id>/changes` (RULES 1; issue 2.8)."""

import hashlib
import re
from typing import Any

import msgspec
from flask import Blueprint, request
from werkzeug.wrappers import Response

from models.store.readmodel import (
    ChangeView,
    CustomerView,
    ListRow,
    Position,
    load_changes,
    load_customer_view,
    load_page,
    load_totals,
)
from models.store.session import session_scope
from webhook_app.api.access import reader
from webhook_app.api.params import (
    CHANGES_PARAMETERS,
    LIST_PARAMETERS,
    BadParameter,
    known_only,
    one,
    read_cursor,
    read_filter,
    read_limit,
    read_sort,
    write_cursor,
)
from webhook_app.errors import problem
from webhook_app.services import services

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
_ID = re.compile(r"[1-9][0-9]{0,17}")


@blueprint.errorhandler(BadParameter)
def _bad_parameter(error: BadParameter) -> Response:
    return problem(422, str(error), errors=[{"parameter": error.parameter, "detail": error.problem}])


@blueprint.get("/customers")
@reader
def list_customers() -> Response:
    """One page of our customers."""
    known_only(request.args, LIST_PARAMETERS)
    chosen, sort, limit = read_filter(request.args), read_sort(request.args), read_limit(request.args)
    after = read_cursor(f"customers {sort}", one(request.args, "cursor"))
    if after is not None and isinstance(after.key, str) != sort.endswith("name"):
        raise BadParameter("cursor", "isn't one of this list in this order; begin again without it")
    with session_scope(services().database) as conn:
        rows, more = load_page(conn, chosen, sort, after, limit)
        totals = load_totals(conn, chosen)
    return _json({
        "data": [_listed(row) for row in rows],
        "next_cursor": None if more is None else write_cursor(f"customers {sort}", more),
        "total": totals.customers,
        "total_mrr": totals.mrr,
        "total_mrr_unknown": totals.unknown,
    })  # fmt: skip


@blueprint.get("/customers/<customer_id>")
@reader
def get_customer(customer_id: str) -> Response:
    """One customer whole, its derivation included."""
    known_only(request.args, ())
    number = number_of(customer_id)
    with session_scope(services().database) as conn:
        found = None if number is None else load_customer_view(conn, number)
    return problem(404, "There is no customer with this id.") if found is None else _json(_whole(found))


@blueprint.get("/customers/<customer_id>/changes")
@reader
def list_changes(customer_id: str) -> Response:
    """A customer's history, newest first."""
    known_only(request.args, CHANGES_PARAMETERS)
    limit = read_limit(request.args)
    number = number_of(customer_id)
    kind = f"changes {number}"
    after = read_cursor(kind, one(request.args, "cursor"))
    with session_scope(services().database) as conn:
        if number is None or load_customer_view(conn, number) is None:
            return problem(404, "There is no customer with this id.")
        found = load_changes(conn, number, None if after is None else after.id, limit + 1)
    more = write_cursor(kind, Position(None, found[limit - 1].id)) if len(found) > limit else None
    return _json({"data": [_change(change) for change in found[:limit]], "next_cursor": more})


def number_of(customer_id: str) -> int | None:
    """A customer's id as the store knows it, or None for what can't be one."""
    return int(customer_id) if _ID.fullmatch(customer_id) else None


def _listed(row: ListRow) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "domain": row.domain,
        "environment": row.environment,
        "owner": row.owner,
        "external_id": row.external_id,
        "plan": row.plan,
        "plan_label": row.plan_label,
        "mrr": row.mrr,
        "payment_status": row.payment_status,
        "billing_started_at": row.billing_started_at,
        "stripe_customer_id": row.stripe_customer_id,
        "headline": row.headline,
        "flags": row.flags,
        "as_of": row.as_of,
    }


def _whole(view: CustomerView) -> dict[str, Any]:
    summary = view.summary
    return _listed(view.row) | {
        "aliases": view.aliases,
        "created_at": view.created_at,
        "subscription_id": summary.subscription_id,
        "renews_at": summary.renews_at,
        "trial_ends_at": summary.trial_ends_at,
        "cancels_at": summary.cancels_at,
        "collection_paused": "collection_paused" in view.row.flags,
        "invoice_id": summary.invoice_id,
        "amount_due": summary.amount_due,
        "amount_due_currency": summary.amount_due_currency,
        "overdue": summary.overdue,
        "failure_reason": summary.failure_reason,
        "attempt_count": summary.attempt_count,
        "next_retry_at": summary.next_retry_at,
        "native": summary.native,
        "derivation": summary.derivation,
        "stripe_customers": [
            {"id": account.match.stripe_customer_id, "outcome": account.match.outcome, "reason": account.match.reason,
             "mrr": account.mrr, "plan": account.plan, "billed": account.billed}
            for account in summary.accounts
        ],
        "fx_date": summary.fx_date,
        "next_change_at": summary.next_change_at,
    }  # fmt: skip


def _change(change: ChangeView) -> dict[str, Any]:
    return {
        "id": str(change.id),
        "at_ms": change.at_ms,
        "field": change.field,
        "kind": change.kind,
        "before": change.before,
        "after": change.after,
        "amount": change.amount,
        "cause": change.cause,
    }


def _json(document: dict[str, Any]) -> Response:
    """JSON with an ETag over its content; 304 where the asker has it already."""
    body = msgspec.json.encode(document)
    response = Response(body, content_type="application/json")
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    # Shared and disk caches stay out; whoever polls sends If-None-Match by itself.
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Authorization, Cookie"
    return response.make_conditional(request.environ)
