"""Admin > Stripe: the state of the connections, what the import made of each Stripe customer, and events in trouble."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from models.store.audit import append_audit
from models.store.inbox import EventLine, count_by_status, list_events, retry_events
from models.store.outcomes import OUTCOMES, OutcomeLine, count_ambiguous, count_outcomes, load_outcomes
from models.store.session import session_scope
from models.store.sources import Source, Sources, load_sources
from webhook_app.auth import require, signed_in
from webhook_app.auth.context import now
from webhook_app.services import services
from webhook_app.ui.sources import of_customer

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
PAGE = 50
TROUBLE = ("dead", "quarantined")
EVENT_STATES = {
    "pending": "waits for a worker", "applied": "changed what we know",
    "superseded": "what we know was already newer", "ignored": "of no use here",
    "quarantined": "can't be read", "dead": "failed for good",
}  # fmt: skip
REASONS = {
    "link": "linked by an admin", "metadata": "metadata names the customer", "domain": "domain", "alias": "alias",
    "parent_domain": "parent domain", "no_customer_with_domain": "no customer with this domain",
    "several_customers_with_domain": "several customers with this domain", "personal_domain": "personal e-mail",
    "no_email": "no e-mail", "invalid_email": "e-mail can't be read", "own_domain": "own domain",
    "out_of_scope": "no subscription in scope", "deleted": "deleted in Stripe", "lost_to_winner": "another one was chosen",
}  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One connection as the page shows it."""

    environment: str
    source: Source
    by_outcome: dict[str, int]
    by_reason: dict[tuple[str, str], int]
    ambiguous: int
    notice: Any


@blueprint.get("/stripe")
@require("admin")
def stripe() -> str:
    """Connections, outcomes and events in trouble."""
    outcome = request.args.get("outcome", "unmatched")
    outcome = outcome if outcome in OUTCOMES else "unmatched"
    with session_scope(services().database) as conn:
        sources = load_sources(conn, runs=True)
        panels = [_panel(conn, name, source, sources) for name, source in sources.by_environment.items()]
        picked = _picked(panels)
        lines = [] if picked is None else load_outcomes(conn, picked.source.id, outcome, _after(), PAGE + 1)
        events = count_by_status(conn)
        trouble = [line for status in TROUBLE for line in list_events(conn, status=status, limit=20)]
        put_off = [line for line in list_events(conn, status="pending", limit=100) if line.error][:5]
    return render_template(
        "admin_stripe.html", panels=panels, picked=picked, outcome=outcome, outcomes=OUTCOMES, lines=lines[:PAGE],
        next=_next(lines, outcome, picked), events=events, event_states=EVENT_STATES,
        trouble=_newest(trouble), put_off=put_off, reasons=REASONS, now=now(),
    )  # fmt: skip


@blueprint.post("/stripe/retry")
@require("admin")
def retry() -> Response:
    """Bring dead and quarantined events back to the workers: those named, or all in trouble."""
    named = request.form.getlist("event")[:200] or None
    who = signed_in()
    with session_scope(services().database, write=True) as conn:
        partitions = retry_events(conn, event_ids=named, statuses=TROUBLE)
        actor = "nobody" if who is None else f"user:{who.user_id}"
        append_audit(conn, actor, "events_retried", now(), details={"events": len(named) if named else "all"})
    services().bell.wake(partitions)
    return redirect(url_for("admin.stripe", retried=1), 303)


def _panel(conn: Connection, environment: str, source: Source, sources: Sources) -> Panel:
    by_reason = count_outcomes(conn, source.id)
    totals = {name: sum(n for (outcome, _), n in by_reason.items() if outcome == name) for name in OUTCOMES}
    notice = of_customer(sources, environment, now())
    return Panel(environment, source, totals, by_reason, count_ambiguous(conn, environment), notice)


def _picked(panels: Sequence[Panel]) -> Panel | None:
    wanted = request.args.get("environment")
    return next((panel for panel in panels if panel.environment == wanted), panels[0] if panels else None)


def _after() -> tuple[str, str] | None:
    reason, _, last = request.args.get("after", "").partition("~")
    plain = reason.isascii() and last.isascii() and (reason + last).replace("_", "").isalnum()
    return (reason, last) if plain and len(last) <= 255 else None


def _next(lines: Sequence[OutcomeLine], outcome: str, picked: Panel | None) -> str | None:
    if len(lines) <= PAGE or picked is None:
        return None
    last = lines[PAGE - 1]
    after = f"{last.reason}~{last.stripe_customer_id}"
    return url_for("admin.stripe", outcome=outcome, environment=picked.environment, after=after)


def _newest(lines: Sequence[EventLine]) -> list[EventLine]:
    return sorted(lines, key=lambda line: -line.seq)[:20]
