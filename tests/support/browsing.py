"""A browser without a screen or a network: Flask's test client that signs in, keeps cookies and fills in forms."""

import html
import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models.store.access import create_user, set_password_hash
from models.store.logins import create_session
from models.store.session import session_scope
from webhook_app.auth.passwords import hash_password
from webhook_app.services import services

PASSWORD = "seven green lanterns at sea"
_HASHES: dict[str, str] = {}


def add_user(app: Flask, email: str, role: str, now: int, password: str | None = PASSWORD) -> int:
    """A user who can sign in (argon2 works once per password and test run)."""
    with session_scope(services(app).database, write=True) as conn:
        user_id = create_user(conn, email, role, now)
        if password is not None:
            if password not in _HASHES:
                _HASHES[password] = hash_password(password)
            set_password_hash(conn, user_id, _HASHES[password])
    return user_id


def as_user(app: Flask, user_id: int, now: int) -> FlaskClient:
    """A client that is signed in as this user, without the form."""
    with session_scope(services(app).database, write=True) as conn:
        session_id = create_session(conn, user_id, now)
    client = app.test_client()
    client.set_cookie("pivotal", session_id)
    return client


def form_token(page: TestResponse) -> str:
    """The CSRF token of the first form on a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', page.get_data(as_text=True))
    assert found, "the page holds no form token"
    return html.unescape(found[1])


def sign_in(client: FlaskClient, email: str, password: str, **more: Any) -> TestResponse:
    """Fill in the form and send it."""
    page = client.get("/sign-in")
    form = {"email": email, "password": password, "csrf": form_token(page)} | more
    return client.post("/sign-in", data=form)
