"""Who may ask: sign-in by password, roles admin and csm, bearer tokens, CSRF and the headers of every answer.

Own code instead of flask-login and flask-wtf: sessions live in our store (FAULTS S31 to S33), which neither does, and what
remains of them is the forty lines of `csrf.py`. The webhook route passes all of this untouched (S06).
"""

from flask import Flask

from webhook_app.auth.bearer import token_role
from webhook_app.auth.gate import public, require, signed_in

__all__ = ["init_auth", "public", "require", "signed_in", "token_role"]


def init_auth(app: Flask) -> None:
    """Put the gate before and the headers after every request, and register /sign-in, /sign-out and /welcome.

    Raises:
        SettingsError: no key for the throttling of sign-ins (`COOKIE_KEY`); there is no default.
    """
    from models.store.keys import load_cookie_key
    from webhook_app.auth import gate, headers, pages
    from webhook_app.services import services

    app.extensions["pivotal_cookie_key"] = load_cookie_key(services(app).settings)
    gate.install(app)
    headers.install(app)
    app.register_blueprint(pages.blueprint)
