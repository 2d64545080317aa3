"""The gate: what is checked before a view runs, and `require`, by which each view says who may ask."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import structlog
from flask import Flask, g, redirect, request, url_for
from werkzeug.wrappers import Response

from models.errors import DatabaseAway
from models.store.audit import append_audit
from models.store.logins import TOUCH_STEP, SignedIn, load_session, touch_session
from models.store.session import session_scope
from webhook_app.auth.context import PROBES, host_allowed, is_api, is_webhook, now
from webhook_app.auth.cookies import SESSION, read_cookie
from webhook_app.auth.csrf import SAFE_METHODS, csrf_token, forged, keep_form_token
from webhook_app.auth.redirects import next_of
from webhook_app.errors import answer
from webhook_app.services import services

View = TypeVar("View", bound=Callable[..., Any])
RANK = {"csm": 1, "admin": 2}
log = structlog.get_logger("access")


def install(app: Flask) -> None:
    """Check Host and CSRF before every request but Stripe's, and offer the templates who is signed in."""

    @app.before_request
    def _check() -> Response | None:
        if is_webhook(request):
            return None
        if request.path not in PROBES and not host_allowed(request):
            return answer(400, "This server doesn't answer to that host name. An admin can add it to ALLOWED_HOSTS.")
        unsafe = request.method not in SAFE_METHODS and request.routing_exception is None
        if unsafe and not is_api(request) and forged(request):
            return answer(403, "This form is too old or didn't come from our own page. Go back, reload and try again.")
        return None

    @app.after_request
    def _keep(response: Response) -> Response:
        if not is_webhook(request):
            keep_form_token(response)
        return response

    @app.context_processor
    def _for_templates() -> dict[str, Any]:
        return {"signed_in": signed_in, "csrf_token": csrf_token}


def public(view: View) -> View:
    """Mark a view that anybody may ask. Views without `public` or `require` fail the route-matrix test."""
    view.access = "public"  # type: ignore[attr-defined]
    return view


def require(role: str, *, activity: bool = True) -> Callable[[View], View]:
    """Only for people signed in with at least this role. `activity=False`: a poll, which doesn't keep a session alive.

    Nobody is sent to sign in and then back; too low a role is refused and audited.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            who = signed_in()
            if who is None:
                return _to_sign_in()
            if RANK[who.role] < RANK[role]:
                _audit_denial(who)
                return answer(403, "This page is for admins.")
            if activity:
                _touch(who)
            return view(*args, **kwargs)

        guarded.access = role  # type: ignore[attr-defined]
        return cast(View, guarded)

    return decorate


def signed_in() -> SignedIn | None:
    """Who is signed in, with the role of this moment; looked up once a request."""
    if "signed_in" not in g:
        cookie = read_cookie(request, SESSION)
        g.signed_in = None
        if cookie is not None:
            with session_scope(services().database) as conn:
                g.signed_in = load_session(conn, cookie, now())
    return cast("SignedIn | None", g.signed_in)


def _to_sign_in() -> Response:
    if request.headers.get("HX-Request"):  # a live update: take the whole page there, and back afterwards
        parts = urlsplit(request.headers.get("HX-Current-URL", ""))
        back = next_of(parts.path + (f"?{parts.query}" if parts.query else ""))
        target = url_for("access.sign_in", next=back)
        return Response(status=401, headers={"HX-Redirect": target})
    if request.method not in SAFE_METHODS:
        return redirect(url_for("access.sign_in"), 303)
    return redirect(url_for("access.sign_in", next=next_of(request.full_path.removesuffix("?"))), 303)


def _touch(who: SignedIn) -> None:
    if now() - who.active_at < TOUCH_STEP:
        return
    try:
        with session_scope(services().database, write=True) as conn:
            touch_session(conn, who.id_hash, now())
    except DatabaseAway:  # a page that can be shown is shown; the next request notes the use
        log.warning("session_touch_failed")


def _audit_denial(who: SignedIn) -> None:
    with session_scope(services().database, write=True) as conn:
        append_audit(conn, f"user:{who.user_id}", "denied", now(), subject=request.endpoint)
