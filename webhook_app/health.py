"""`/healthz`: the process is alive. `/readyz`: it can take events, which needs the database at our schema and nothing else.

The public hears ok or not; an API token, or whoever asks from this machine, also hears database, schema, Redis, workers and the
state of the inbox (FAULTS F85, F89, S53). Redis away is degraded, not unready: events are taken and the sweeper finds them.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from models.errors import DatabaseAway
from models.migrations.state import schema_state
from models.store.inbox import count_dead, count_pending, oldest_pending_ms
from models.store.session import session_scope
from webhook_app.auth.bearer import token_role
from webhook_app.auth.context import on_loopback
from webhook_app.auth.gate import public
from webhook_app.services import Services, services

blueprint = Blueprint("health", __name__)

DATABASE_S = 1.5  # a database that answers later is as good as away
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """Alive."""
    return Response(b"ok\n", content_type="text/plain; charset=utf-8")


@blueprint.get("/readyz")
@public
def readyz() -> Response:
    """Ready to take events, or 503."""
    parts = services()
    found = examine(parts)
    status = 200 if found["ready"] else 503
    if not may_see_detail(parts):
        return Response(b"ok\n" if found["ready"] else b"not ready\n", status, content_type="text/plain; charset=utf-8")
    return Response(msgspec.json.encode(found), status, content_type="application/json")


def may_see_detail(parts: Services) -> bool:
    """Asked with an API token, or from this machine itself. A proxy on this machine speaks for anybody, so where one is
    configured, or shows itself by a header, the address says nothing."""
    proxied = parts.settings.trusted_proxies > 0 or parts.settings.https or any(name in request.environ for name in _FORWARDED)
    if not proxied and on_loopback(request):
        return True
    try:
        return "HTTP_AUTHORIZATION" in request.environ and token_role(request) is not None
    except DatabaseAway:
        return False


def examine(parts: Services) -> dict[str, Any]:
    """The state of everything. Times in seconds; `ready` is what the database and its schema decide."""
    found: dict[str, Any] = {"ready": False, "database": "ok", "schema": None, "schema_problem": None}
    found |= within(DATABASE_S, lambda: _examine_database(parts)) or {"database": "away"}
    found["ready"] = found["database"] == "ok" and found["schema_problem"] is None
    alive = parts.bell.ping()
    return found | {"redis": "ok" if alive else "away", "workers": parts.bell.worker_count() if alive else None}


def _examine_database(parts: Services) -> dict[str, Any]:
    try:
        schema = schema_state(parts.database)
        found = {"schema": schema.found, "schema_problem": schema.problem}
        return found if schema.problem else found | _examine_inbox(parts)
    except DatabaseAway:
        return {"database": "away"}


def _examine_inbox(parts: Services) -> dict[str, Any]:
    with session_scope(parts.database) as connection:
        pending, oldest, dead = count_pending(connection), oldest_pending_ms(connection), count_dead(connection)
    age = None if oldest is None else max(0, time.time_ns() // 1_000_000 - oldest) / 1000
    return {"pending": pending, "oldest_pending_s": age, "dead": dead}


def within(seconds: float, ask: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What `ask` answers, or None if it fails or takes longer: no request waits for a database that hangs."""
    answers: list[dict[str, Any]] = []

    def note() -> None:
        with contextlib.suppress(Exception):
            answers.append(ask())

    asking = threading.Thread(target=note, name="examine", daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else None
