"""`/healthz`: the process is alive. `/readyz`: it can take events, which needs the database at our schema and nothing else.

The public hears ok or not; a token, or whoever asks from this machine, also hears database, schema, Redis, workers and the
state of the inbox (FAULTS F85, S53). Redis away is degraded, not unready: events are taken and found by the sweeper.
"""

import time
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from sqlalchemy import text

from models.errors import DatabaseAway
from models.store.inbox import count_dead, count_pending, oldest_pending_ms
from models.store.session import session_scope
from webhook_app.services import Services, services

blueprint = Blueprint("health", __name__)

_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


@blueprint.get("/healthz")
def healthz() -> Response:
    """Alive."""
    return Response(b"ok\n", content_type="text/plain; charset=utf-8")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Ready to take events, or 503."""
    found = examine(services())
    status = 200 if found["ready"] else 503
    if not may_see_detail():
        return Response(b"ok\n" if found["ready"] else b"not ready\n", status, content_type="text/plain; charset=utf-8")
    return Response(msgspec.json.encode(found), status, content_type="application/json")


def may_see_detail() -> bool:
    """Asked from this machine itself (no proxy in between, which would speak for anybody), or with an API token."""
    environ = request.environ
    proxied = any(name in environ for name in _FORWARDED)
    if not proxied and environ.get("REMOTE_ADDR", "") in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        return True
    if "HTTP_AUTHORIZATION" not in environ:
        return False
    try:
        from webhook_app.auth import token_role  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return False
    return token_role(request) is not None


def examine(parts: Services) -> dict[str, Any]:
    """The state of everything. Database and schema decide `ready`."""
    found: dict[str, Any] = {"ready": False, "database": "ok", "schema": None, "schema_expected": expected_schema()}
    try:
        found |= _examine_database(parts)
    except DatabaseAway:
        found["database"] = "away"
    except Exception as error:
        found["database"] = f"trouble ({type(error).__name__})"
    found["ready"] = found["database"] == "ok" and found["schema"] is not None and _current(found)
    alive = parts.bell.ping()
    found["redis"] = "ok" if alive else "away"
    found["workers"] = parts.bell.worker_count() if alive else None
    return found


def _current(found: dict[str, Any]) -> bool:
    return found["schema_expected"] is None or found["schema"] == found["schema_expected"]


def _examine_database(parts: Services) -> dict[str, Any]:
    with session_scope(parts.database) as connection:
        pending, oldest = count_pending(connection), oldest_pending_ms(connection)
        dead = count_dead(connection)
        schema = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    age = None if oldest is None else max(0, time.time_ns() // 1_000_000 - oldest) / 1000
    return {"schema": schema, "pending": pending, "oldest_pending_s": age, "dead": dead}


def expected_schema() -> str | None:
    """The schema version this code was written for, or None when no migration is known."""
    return None
