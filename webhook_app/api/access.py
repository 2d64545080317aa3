"""Who may read the API: a bearer token, or the session of somebody signed in. Both roles read the same (FAULTS S37)."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import request
from werkzeug.wrappers import Response

from models.store.audit import append_audit
from models.store.session import session_scope
from webhook_app.auth.bearer import bearer_of, identify
from webhook_app.auth.context import client_address, now
from webhook_app.auth.gate import signed_in
from webhook_app.errors import problem
from webhook_app.services import services

View = TypeVar("View", bound=Callable[..., Any])
BAD_TOKENS_A_MINUTE = 30
LIST_AUDIT_STEP = 600


class Strikes:
    """Bad tokens per address within the running minute, in this process. Bounded: a full table starts anew."""

    def __init__(self, limit: int, most: int = 10_000) -> None:
        self._limit, self._most = limit, most
        self._minute, self._counts = 0, dict[str, int]()
        self._lock = threading.Lock()

    def _current(self) -> dict[str, int]:
        minute = int(time.time()) // 60
        if minute != self._minute or len(self._counts) > self._most:
            self._minute, self._counts = minute, {}
        return self._counts

    def out(self, key: str) -> bool:
        """Whether this address has used its tries of the minute up."""
        with self._lock:
            return self._current().get(key, 0) >= self._limit

    def strike(self, key: str) -> None:
        """Count one."""
        with self._lock:
            counts = self._current()
            counts[key] = counts.get(key, 0) + 1


class Once:
    """Lets a key pass once in `step` seconds: reads are audited, polling doesn't fill the log."""

    def __init__(self, step: int, most: int = 10_000) -> None:
        self._step, self._most = step, most
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def first(self, key: str) -> bool:
        """Whether this is the first in a while."""
        with self._lock:
            if len(self._seen) > self._most:
                self._seen.clear()
            at, last = time.time(), self._seen.get(key)
            if last is not None and 0 <= at - last < self._step:
                return False
            self._seen[key] = at
            return True


_strikes = Strikes(BAD_TOKENS_A_MINUTE)
_audited = Once(LIST_AUDIT_STEP)


def reader(view: View) -> View:
    """Only for a known bearer token or somebody signed in; anybody else gets a 401 problem document."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if bearer_of(request) is not None:
            return _by_token(view, args, kwargs)
        who = signed_in()
        if who is None:
            return _refused(None)
        note_read(f"user:{who.user_id}")
        return view(*args, **kwargs)

    guarded.access = "csm"  # type: ignore[attr-defined]
    return cast(View, guarded)


def note_read(actor: str) -> None:
    """Audit that somebody reads the list (FAULTS S55), once in ten minutes and process."""
    if _audited.first(actor):
        with session_scope(services().database, write=True) as conn:
            append_audit(conn, actor, "list_read", now(), subject=request.endpoint)


def _by_token(view: View, args: Any, kwargs: Any) -> Any:
    address = client_address(request)
    if _strikes.out(address):
        response = problem(429, "Too many unknown tokens from this address; try again in a minute.")
        response.headers["Retry-After"] = "60"
        return response
    found = identify(request)
    if found is None:
        _strikes.strike(address)
        return _refused("invalid_token")
    note_read(f"token:{found.token_id}")
    return view(*args, **kwargs)


def _refused(error: str | None) -> Response:
    detail = "This token isn't known." if error else "Give a token: Authorization: Bearer pst_…"
    response = problem(401, detail)
    response.headers["WWW-Authenticate"] = 'Bearer realm="pivotal"' + (f', error="{error}"' if error else "")
    return response
