"""Security headers on every answer (FAULTS S41 to S43). `csp_nonce()` is for templates."""

import secrets

from flask import Flask, g, request
from werkzeug.wrappers import Response

from webhook_app.auth.context import is_secure, is_webhook

NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# style-src-attr stays at 'none' through default-src; connect-src is for live updates.
_PAGE = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer: browsers then send `Origin: null` with our own forms
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HSTS = "max-age=31536000; includeSubDomains"


def csp_nonce() -> str:
    """This answer's nonce; asking for one makes the answer a page that may run our scripts and styles."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return str(g.csp_nonce)


def install(app: Flask) -> None:
    """Set the headers after every request; an answer that says `complete` brings its own, the same ones."""

    @app.after_request
    def _set(response: Response) -> Response:
        if getattr(response, "complete", False):
            return response
        response.headers.update(ALWAYS)
        nonce = g.get("csp_nonce")
        response.headers["Content-Security-Policy"] = NOTHING if nonce is None else _PAGE.format(nonce=nonce)
        if is_webhook(request):
            return response
        if is_secure(request):
            response.headers["Strict-Transport-Security"] = _HSTS
        if request.endpoint != "static" and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.context_processor
    def _for_templates() -> dict[str, object]:
        return {"csp_nonce": csp_nonce}
