"""The two cookies: the login session's id, and the token of a form filled in before anybody is signed in (FAULTS S34).

Under HTTPS both are `__Host-` and Secure, so no other host of the domain can set them. Without HTTPS a plain cookie is
given on loopback only; elsewhere it would cross a network in the clear, so there is none and no sign-in.
"""

from flask import Request
from werkzeug.wrappers import Response

from webhook_app.auth.context import is_secure, on_loopback

SESSION = "pivotal"
FORM = "pivotal-form"
FORM_SECONDS = 3600


def may_sign_in(request: Request) -> bool:
    """Whether a cookie can be given safely to this client."""
    return is_secure(request) or on_loopback(request)


def read_cookie(request: Request, name: str) -> str | None:
    """The cookie's value, of the one name that is right for this transport."""
    if not may_sign_in(request):
        return None
    value = request.cookies.get(_full_name(request, name))
    return value if value and len(value) <= 128 else None


def give_cookie(request: Request, response: Response, name: str, value: str, max_age: int) -> None:
    """Set a cookie. Callers have asked `may_sign_in`."""
    response.set_cookie(
        _full_name(request, name), value, max_age=max_age, path="/", httponly=True, samesite="Lax", secure=is_secure(request)
    )


def drop_cookie(request: Request, response: Response, name: str) -> None:
    """Take a cookie back."""
    response.delete_cookie(_full_name(request, name), path="/", httponly=True, samesite="Lax", secure=is_secure(request))


def _full_name(request: Request, name: str) -> str:
    return f"__Host-{name}" if is_secure(request) else name
