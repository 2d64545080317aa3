"""The pages of coming and going: /sign-in, /sign-out, /welcome/<token>."""

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from models.store.access import Account, account_of_link, find_account, set_password_hash, use_one_time_link
from models.store.audit import append_audit
from models.store.logins import (
    ABSOLUTE,
    attempt_keys,
    clear_attempts,
    create_session,
    end_session,
    load_session,
    reserve_attempt,
)
from models.store.session import session_scope
from webhook_app.auth.context import client_address, now
from webhook_app.auth.cookies import FORM, SESSION, drop_cookie, give_cookie, may_sign_in, read_cookie
from webhook_app.auth.gate import public, signed_in
from webhook_app.auth.passwords import SHORTEST, hash_password, needs_rehash, password_problem, verify_password
from webhook_app.auth.redirects import next_of
from webhook_app.errors import answer
from webhook_app.services import services

blueprint = Blueprint("access", __name__)

WRONG = "E-mail or password is wrong."
NEEDS_HTTPS = (
    "Signing in needs HTTPS here: over plain HTTP anybody on the way could read the password. "
    "On the machine itself, http://localhost works."
)
USED_UP = "This link has been used already or is older than 24 hours. Ask an admin for a new one."


@blueprint.get("/sign-in")
@public
def sign_in() -> Response | str:
    """The form."""
    target = next_of(request.args.get("next"))
    if not may_sign_in(request):
        return answer(403, NEEDS_HTTPS)
    if signed_in() is not None:
        return redirect(target, 303)
    return render_template("sign_in.html", next=target, email="", problem=None)


@blueprint.post("/sign-in")
@public
def do_sign_in() -> Response | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """Check the password; the answer to an unknown account is that to a wrong password, in text, status and time."""
    email = request.form.get("email", "").strip().lower()[:300]
    password = request.form.get("password", "")
    target = next_of(request.form.get("next"))
    keys = attempt_keys(current_app.extensions["pivotal_cookie_key"], email, client_address(request))
    with session_scope(services().database, write=True) as conn:
        wait = reserve_attempt(conn, keys, now())
        account = None if wait else find_account(conn, email)
    if wait:
        problem = f"Too many attempts. Try again in {_in_words(wait)}."
        page = render_template("sign_in.html", next=target, email=email, problem=problem)
        return page, 429, {"Retry-After": str(wait)}
    usable = account is not None and not account.disabled
    right = verify_password(account.password_hash if account and usable else None, password)
    if account is None or not right:
        _note_failure(account)
        return render_template("sign_in.html", next=target, email=email, problem=WRONG), 422
    with session_scope(services().database, write=True) as conn:
        clear_attempts(conn, keys)
        if account.password_hash and needs_rehash(account.password_hash):
            set_password_hash(conn, account.user_id, hash_password(password))
    return _begin(account, target)


@blueprint.post("/sign-out")
@public
def sign_out() -> Response:
    """End the session. Clear-Site-Data names the cache alone: `cookies` would clear those of sibling hosts too."""
    who = signed_in()
    if who is not None:
        with session_scope(services().database, write=True) as conn:
            end_session(conn, who.id_hash, now())
            append_audit(conn, f"user:{who.user_id}", "signed_out", now())
    response = redirect(url_for("access.sign_in"), 303)
    response.headers["Clear-Site-Data"] = '"cache"'
    drop_cookie(request, response, SESSION)
    return response


@blueprint.get("/welcome/<token>")
@public
def welcome(token: str) -> Response | str:
    """The form that sets a password, for who holds the link."""
    if not may_sign_in(request):
        return answer(403, NEEDS_HTTPS)
    account = _owner_of(token)
    if account is None:
        return answer(410, USED_UP)
    return render_template("welcome.html", token=token, email=account.email, problem=None, shortest=SHORTEST)


@blueprint.post("/welcome/<token>")
@public
def do_welcome(token: str) -> Response | tuple[str, int]:
    """Set the password, use the link up, sign in."""
    account = _owner_of(token)
    if account is None:
        return answer(410, USED_UP)
    password = request.form.get("password", "")
    problem = password_problem(password, account.email)
    if problem:
        page = render_template("welcome.html", token=token, email=account.email, problem=problem, shortest=SHORTEST)
        return page, 422
    hashed = hash_password(password)
    with session_scope(services().database, write=True) as conn:
        used = use_one_time_link(conn, token, hashed, now())
    return answer(410, USED_UP) if used is None else _begin(used, next_of(None))


def _owner_of(token: str) -> Account | None:
    with session_scope(services().database) as conn:
        return account_of_link(conn, token, now())


def _begin(account: Account, target: str) -> Response:
    """A new session under a new id; the one the browser came with ends (FAULTS S31)."""
    old = read_cookie(request, SESSION)
    with session_scope(services().database, write=True) as conn:
        earlier = None if old is None else load_session(conn, old, now())
        if earlier is not None:
            end_session(conn, earlier.id_hash, now())
        session_id = create_session(conn, account.user_id, now())
        append_audit(conn, f"user:{account.user_id}", "signed_in", now(), details={"role": account.role})
    response = redirect(target, 303)
    give_cookie(request, response, SESSION, session_id, ABSOLUTE[account.role])
    drop_cookie(request, response, FORM)
    return response


def _note_failure(account: Account | None) -> None:
    subject = None if account is None else f"user:{account.user_id}"
    with session_scope(services().database, write=True) as conn:
        append_audit(conn, "nobody", "sign_in_failed", now(), subject=subject)


def _in_words(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} seconds"
    return f"{-(-seconds // 60)} minutes"
