"""Cross-site request forgery: each unsafe request carries a token and comes from our own pages (FAULTS S35).

Signed in, the token is the session's own. Before that (sign-in, welcome) it is a random one in a cookie and in the form.
"""

import hmac
import secrets
from urllib.parse import urlsplit

from flask import Request, g, request
from werkzeug.wrappers import Response

from webhook_app.auth.cookies import FORM, FORM_SECONDS, give_cookie, may_sign_in, read_cookie

FIELD = "csrf"
HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def csrf_token() -> str:
    """The token for a form on this page; templates call it."""
    from webhook_app.auth.gate import signed_in

    who = signed_in()
    if who is not None:
        return who.csrf_token
    known = read_cookie(request, FORM)
    if known is None and "form_token" not in g:
        g.form_token = secrets.token_urlsafe(32)
    return known or str(g.form_token)


def keep_form_token(response: Response) -> None:
    """Give the cookie that goes with a form's token, if this answer showed a form to somebody not signed in."""
    token = g.pop("form_token", None)
    if token is not None and may_sign_in(request):
        give_cookie(request, response, FORM, token, FORM_SECONDS)


def forged(asked: Request) -> bool:
    """Whether an unsafe request isn't known to come from our own page."""
    from webhook_app.auth.gate import signed_in

    if asked.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin = asked.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != asked.host.lower():
        return True
    who = signed_in()
    expected = who.csrf_token if who is not None else read_cookie(asked, FORM)
    given = asked.headers.get(HEADER) or asked.form.get(FIELD) or ""
    return not expected or not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))
