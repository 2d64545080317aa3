"""The error tree -> HTTP, once: problem documents (RFC 9457) for programs, a page for people.

The last resort is a plain 500 with an id that stands in the log beside the error's class and place; neither the answer nor
the log ever holds the error's text, which may quote a payload (FAULTS S23, S52).
"""

import secrets
import traceback
from typing import Any

import msgspec
from flask import Flask, Request, Response, render_template, request
from jinja2 import TemplateNotFound
from werkzeug.exceptions import HTTPException, default_exceptions

from models.errors import BadInput, Conflict, DatabaseAway, NotFound, PivotalError, Refused, StripeTrouble
from models.store.logs import log

RETRY_AFTER_S = 5
PROBLEM_JSON = "application/problem+json"

_STATUS: tuple[tuple[type[PivotalError], int], ...] = (
    (BadInput, 422),
    (NotFound, 404),
    (Refused, 409),
    (Conflict, 409),
    (DatabaseAway, 503),
    (StripeTrouble, 502),
)
_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Not now",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not usable",
    429: "Too many requests",
    500: "Something went wrong",
    502: "Stripe didn't answer as expected",
    503: "Unavailable for a moment",
}


def problem(status: int, detail: str | None = None, **more: Any) -> Response:
    """A problem document. `detail` is one line that is safe to show."""
    document: dict[str, Any] = {"type": "about:blank", "title": title_of(status), "status": status}
    if detail:
        document["detail"] = detail
    response = Response(msgspec.json.encode(document | more), status, content_type=PROBLEM_JSON)
    if status in (429, 503):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def title_of(status: int) -> str:
    """The status in words that a reader understands."""
    return _TITLES.get(status) or default_exceptions.get(status, HTTPException).__name__


def status_of(error: PivotalError) -> int:
    """The HTTP status that this error means."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def for_programs(asked: Request) -> bool:
    """Whether the one who asks wants a problem document rather than a page."""
    if asked.path.startswith(("/api/", "/webhooks/", "/healthz", "/readyz")):
        return True
    return asked.accept_mimetypes.best_match(["text/html", "application/json"], "text/html") == "application/json"


def answer(status: int, detail: str | None = None, **more: Any) -> Response:
    """The error as the one who asks can read it."""
    if for_programs(request):
        return problem(status, detail, **more)
    try:
        page = render_template("error.html", status=status, title=title_of(status), detail=detail, **more)
    except TemplateNotFound:
        return problem(status, detail, **more)
    response = Response(page, status, content_type="text/html; charset=utf-8")
    if status in (429, 503):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def register(app: Flask) -> None:
    """Take over every error of `app`."""
    app.register_error_handler(PivotalError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _last_resort)


def _ours(error: PivotalError) -> Response:
    status = status_of(error)
    return _last_resort(error) if status == 500 else answer(status, str(error))


def _http(error: HTTPException) -> Response:
    if error.response is not None and error.code is None:
        return _last_resort(error)
    status = error.code or 500
    if 300 <= status < 400:  # a redirect of the router's
        made = error.get_response()
        return Response(made.get_data(), status, headers=[("Location", made.headers["Location"])])
    response = answer(status)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After", "WWW-Authenticate"):
            response.headers[name] = value
    return response


def _last_resort(error: Exception) -> Response:
    error_id = secrets.token_hex(6)
    frames = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]]
    log.error("unexpected_error", error_id=error_id, kind=type(error).__name__, at=frames, endpoint=request.endpoint)
    return answer(500, f"Error {error_id}: its id stands in the log.", error_id=error_id)
