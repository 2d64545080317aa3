"""Bearer tokens of the API (RFC 6750). Nothing here knows sessions or cookies."""

import structlog
from flask import Request

from models.errors import DatabaseAway
from models.store.access import LAST_USED_STEP, TokenIdentity, load_token, touch_token
from models.store.session import session_scope
from webhook_app.auth.context import now
from webhook_app.services import services

log = structlog.get_logger("access")


def bearer_of(request: Request) -> str | None:
    """The token in the Authorization header, or None when there is no such header of kind Bearer."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if kind.lower() == "bearer" else None


def identify(request: Request) -> TokenIdentity | None:
    """Who the request's bearer token is."""
    token = bearer_of(request)
    if not token:
        return None
    with session_scope(services().database) as conn:
        found = load_token(conn, token)
    if found is not None and (found.last_used_at is None or now() - found.last_used_at >= LAST_USED_STEP):
        _touch(found)
    return found


def token_role(request: Request) -> str | None:
    """The role of the request's bearer token: admin, csm, or None for no or an unknown one."""
    found = identify(request)
    return None if found is None else found.role


def _touch(found: TokenIdentity) -> None:
    try:
        with session_scope(services().database, write=True) as conn:
            touch_token(conn, found.token_id, now())
    except DatabaseAway:  # the answer matters more than the note
        log.warning("token_touch_failed", token_id=found.token_id)
