"""One customer's page, and the poll that keeps it up to date."""

import hashlib
from dataclasses import dataclass

import msgspec
from flask import Blueprint, render_template, request
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from models.store.readmodel import ChangeView, CustomerView, load_changes, load_customer_view
from models.store.session import session_scope
from models.store.sources import Sources, load_sources
from webhook_app.api.customers import number_of
from webhook_app.auth import require
from webhook_app.auth.context import now
from webhook_app.errors import answer
from webhook_app.services import services
from webhook_app.ui import history, words
from webhook_app.ui.prices import price_names
from webhook_app.ui.sources import of_customer, state_mark

blueprint = Blueprint("customer", __name__)
HISTORY = 50
DASHBOARD = "https://dashboard.stripe.com"


@dataclass(frozen=True)
class Found:
    """A customer with its latest history and where its figures come from."""

    view: CustomerView
    changes: list[ChangeView]
    sources: Sources

    @property
    def etag(self) -> str:
        """Differs when the page would show something else (but for running seconds)."""
        last = self.changes[0].id if self.changes else 0
        seen = [self.view.row, self.view.summary, self.view.aliases, last, state_mark(self.sources, now())]
        return hashlib.sha256(msgspec.json.encode(seen)).hexdigest()[:16]


@blueprint.get("/customers/<customer_id>")
@require("csm")
def customer(customer_id: str) -> Response | str:
    """The page."""
    found = _find(customer_id)
    return _missing() if found is None else _draw("customer.html", found)


@blueprint.get("/customers/<customer_id>/live")
@require("csm", activity=False)
def customer_live(customer_id: str) -> Response | tuple[str, int, dict[str, str]]:
    """The page's content again if it changed, else 304."""
    found = _find(customer_id)
    if found is None:
        return _missing()
    if request.if_none_match.contains(found.etag):
        return Response(status=304, headers={"ETag": f'"{found.etag}"'})
    return _draw("_customer.html", found), 200, {"ETag": f'"{found.etag}"'}


def _missing() -> Response:
    return answer(404, "There is no customer with this id. It may have been removed.")


def _find(customer_id: str) -> Found | None:
    number = number_of(customer_id)
    if number is None:
        return None
    with session_scope(services().database) as conn:
        return _load(conn, number)


def _load(conn: Connection, number: int) -> Found | None:
    view = load_customer_view(conn, number)
    if view is None:
        return None
    return Found(view, load_changes(conn, number, None, HISTORY), load_sources(conn, runs=True))


def _draw(template: str, found: Found) -> str:
    moment, view = now(), found.view
    test = "/test" if view.row.environment == "staging" else ""
    stripe_base = f"{DASHBOARD}{test}"
    return render_template(
        template,
        customer=view.row, aliases=view.aliases, summary=view.summary, etag=found.etag, now=moment, stripe_base=stripe_base,
        chips=words.chips(view.row.flags, view.summary, moment), unknown=words.unknown_reason(view.row.flags),
        trend=words.trend(found.changes, moment), overdue=words.overdue_line(view.summary.overdue),
        lines=history.lines(found.changes, view.summary, moment), prices=price_names(view.summary),
        more_history=len(found.changes) == HISTORY,
        notice=of_customer(found.sources, view.row.environment, moment), payment=words.payment_line(view.summary, moment),
    )  # fmt: skip
