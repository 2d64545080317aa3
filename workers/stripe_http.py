"""How one GET to Stripe's API travels, and what its answer means. Knows nothing of Stripe's SDK; never shows a body.

Only GET, only the configured host, no redirects, TLS verified, no proxy or `.netrc` picked up from the environment
(FAULTS S15, S16). Every request ends: connect, each wait for bytes, the whole answer and its size have limits.
"""

import re
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec
import requests
from requests.adapters import HTTPAdapter

from models.domain.credentials import check_api_base
from models.errors import (
    BadInput,
    StripeBadRequest,
    StripeKeyRefused,
    StripeNotFound,
    StripePermissionMissing,
    StripeRateLimited,
    StripeTrouble,
    StripeUnreachable,
)
from models.store.failpoints import fp
from models.stripe_reader.fields import decimal_or_nan

CONNECT_S = 3.0
SILENCE_S = 20.0
ANSWER_S = 60.0
LARGEST_ANSWER = 64 * 1024 * 1024
_PERMISSION = re.compile(r"\brak_[a-z_]{1,60}\b")
_WORD = re.compile(r"[a-z0-9_.\[\]]{1,80}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Answer(NamedTuple):
    """A whole answer as it came. `headers` without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CursorGone(StripeBadRequest):
    """The object that a list was to go on after no longer exists."""


class Throttled(StripeRateLimited):
    """429, once. `reason` is Stripe's word; `retry_after_s` only where Stripe gave one."""

    def __init__(self, reason: str, retry_after_s: float | None) -> None:
        super().__init__(f"Stripe answered 429 ({reason})")
        self.reason = reason
        self.retry_after_s = retry_after_s


class Transport:
    """Sends GET requests to one host; a session per thread, so that connections are reused. `close()` when done.

    Raises:
        BadInput: `base` is neither https nor loopback.
    """

    def __init__(self, base: str, *, verify: str | bool = True, silence_s: float = SILENCE_S) -> None:
        parts = urlsplit(check_api_base(base))
        self._origin = (parts.scheme, parts.netloc)
        self._verify = verify
        self._timeout = (CONNECT_S, silence_s)
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Send one GET and read its whole answer, whatever the status.

        Raises:
            StripeBadRequest: another host than the configured one.
            StripeUnreachable: no whole answer came in time, or it is larger than 64 MiB.
        """
        parts = urlsplit(url)
        if (parts.scheme, parts.netloc) != self._origin:
            raise StripeBadRequest("only the configured API host is read")
        started = time.monotonic()
        try:
            with self._session().get(
                url, headers=dict(headers), timeout=self._timeout, allow_redirects=False, stream=True, verify=self._verify
            ) as response:
                fp("stripe_answering", response.raw)
                return Answer(response.status_code, response.headers, _read_all(response, started))
        except (requests.RequestException, OSError) as error:
            raise StripeUnreachable(f"Stripe didn't answer ({type(error).__name__})") from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False  # a .netrc would replace the key, a proxy variable would see it
            for scheme in ("https://", "http://"):
                session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
            self._local.session = session
            with self._lock:
                self._sessions.append(session)
        return session

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            sessions, self._sessions = self._sessions, []
        self._local = threading.local()
        for session in sessions:
            session.close()


def _read_all(response: requests.Response, started: float) -> bytes:
    parts, size = [], 0
    for part in response.iter_content(256 * 1024):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise StripeUnreachable("Stripe's answer is too large")
        if time.monotonic() - started > ANSWER_S:
            raise StripeUnreachable("Stripe's answer takes too long")
    return b"".join(parts)


_JSON = msgspec.json.Decoder(float_hook=decimal_or_nan)


def read_json(body: bytes) -> dict[str, Any] | None:
    """The JSON object in `body` as plain dicts and lists, fractions as exact `Decimal`; None when it is anything else."""
    try:
        data = _JSON.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_answer(answer: Answer, endpoint: str) -> dict[str, Any]:
    """The JSON object of a good answer.

    Raises:
        StripeTrouble: what any other answer means (STRIPE 1.2 and 5.2, FAULTS F65-F69). No text of Stripe's is repeated but
            names of parameters, codes and permissions.
    """
    data = read_json(answer.body)
    if 200 <= answer.status < 300:
        if data is None:
            raise StripeUnreachable(f"Stripe's answer to GET {endpoint} can't be read")
        return data
    if 300 <= answer.status < 400:
        raise StripeBadRequest(f"the API host answered GET {endpoint} with a redirect, which is not followed")
    envelope = data.get("error") if data is not None else None
    raise _trouble(answer, endpoint, envelope if isinstance(envelope, dict) else None)


def _trouble(answer: Answer, endpoint: str, error: dict[str, Any] | None) -> StripeTrouble:
    status, code = answer.status, _word(error, "code")
    if status == 429 or (status == 400 and code == "rate_limit"):
        return _throttled(answer, code)
    if status == 401:
        return StripeKeyRefused("Stripe refused the key (401): it is revoked, expired or wrong")
    if status >= 500 or status in {408, 409}:
        return StripeUnreachable(f"Stripe answered GET {endpoint} with {status}")
    if error is None:
        return StripeUnreachable(f"Stripe answered GET {endpoint} with {status} and no error of Stripe's")
    return _refusal(status, code, endpoint, error)


def _refusal(status: int, code: str | None, endpoint: str, error: dict[str, Any]) -> StripeTrouble:
    if status == 403:
        found = _PERMISSION.search(str(error.get("message")))
        permission = found[0] if found else None
        return StripePermissionMissing(f"the key may not GET {endpoint}: {permission or 'a permission'} is missing", permission)
    parameter = _word(error, "param")
    if parameter in {"starting_after", "ending_before"} and status in {400, 404}:
        return CursorGone(f"GET {endpoint}: the object to go on after is gone")
    if status == 404 and code == "resource_missing":
        return StripeNotFound(f"GET {endpoint}: Stripe has no such object")
    what = f"{status} {code or 'without a code'}, {parameter or 'no parameter'}"
    return StripeBadRequest(f"Stripe refused GET {endpoint} ({what})")


def _throttled(answer: Answer, code: str | None) -> Throttled:
    reason = answer.headers.get("Stripe-Rate-Limited-Reason", "")
    known = reason if _WORD.fullmatch(reason.replace("-", "_")) else None
    wait = answer.headers.get("Retry-After", "")
    return Throttled(known or code or "no reason given", float(wait) if re.fullmatch(r"\d{1,4}(\.\d{1,3})?", wait) else None)


def _word(error: dict[str, Any] | None, name: str) -> str | None:
    value = error.get(name) if error is not None else None
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def read_bounds(headers: Mapping[str, str], elapsed_s: float) -> tuple[int | None, int | None]:
    """FAULTS 4.1: milliseconds on Stripe's clock between which a read was true; None and None without a usable `Date`.

    `Date` has whole seconds, cut off: the answer was made within one second after it, and the read at most `elapsed_s` before.
    """
    try:
        date_ms = int(parsedate_to_datetime(headers.get("Date", "")).timestamp()) * 1000
    except (TypeError, ValueError, OverflowError):
        return None, None
    return date_ms - int(elapsed_s * 1000) - 1, date_ms + 1000


def endpoint_of(path: str) -> str:
    """Stripe's name for what is rate limited: `/v1/subscriptions` and `/v1/subscriptions/{id}` are two (STRIPE 5.1)."""
    parts = path.strip("/").split("/")
    return "/" + "/".join("{id}" if at == 2 else part for at, part in enumerate(parts))


def object_path(resource: str, object_id: str) -> str:
    """`/v1/<resource>/<id>` with the id escaped: coupon and product ids may be any text.

    Raises:
        BadInput: no text that can stand in a path (empty, a dot, control characters).
    """
    if object_id in {"", ".", ".."} or len(object_id) > 500 or _CONTROL.search(object_id):
        raise BadInput(f"{resource}: no id of Stripe's")
    return f"/v1/{resource}/{quote(object_id, safe='')}"
