"""The only caller of Stripe, and the only importer of its SDK: reads, nothing else (STRIPE 1, 5; FAULTS F65-F67, S15, S16).

The SDK builds each request (version, key, parameters); our transport sends it and keeps the answer to itself, so that bodies
are decoded once, exactly (fractions as `Decimal`), and never reach the SDK's logs and exceptions. Retries, 429 and the breaker
are ours: the SDK never retries a 429.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import stripe

from models.errors import (
    BadInput,
    StripeBadRequest,
    StripePermissionMissing,
    StripeRateLimited,
    StripeStopped,
    StripeUnreachable,
)
from models.settings import AppSettings
from models.store.connections import ConnectionRecord, load_api_key, load_connection
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from workers.queue import Breaker
from workers.rate_limit import Limiter, NoLimit, open_limiter
from workers.stripe_http import Answer, CursorGone, Throttled, Transport, endpoint_of, object_path, read_answer, read_bounds
from workers.stripe_objects import (
    EMBEDDED,
    OBJECTS,
    PAGE,
    PATIENT,
    Cursor,
    Patience,
    Read,
    is_truncated,
    less_expanded,
    next_cursor,
    rows_of,
    still_expanded,
)

Count = Callable[[str, str], None]


class ApiRecord(Protocol):
    """What is needed of a connection."""

    @property
    def id(self) -> int: ...
    @property
    def api_base(self) -> str: ...
    @property
    def api_version(self) -> str: ...


class _Courier(stripe.HTTPClient):
    """The SDK's way to the network: our transport, GET only. What the SDK gets back is empty on purpose."""

    name = "pivotal"

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.transport = transport
        self.local = threading.local()

    def request(self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_usage: Any) -> Any:
        """One GET; the answer is left for `take`."""
        if method.lower() != "get" or post_data:
            raise StripeBadRequest("only reads may be sent to Stripe")
        self.local.answer = self.transport.get(url, headers or {})
        return b"{}", 200, {}

    def take(self) -> Answer:
        """The answer to this thread's last request."""
        answer: Answer = self.local.answer
        self.local.answer = None
        return answer

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()


class StripeApi:
    """Reads one connection's Stripe account. Safe in several threads; `close()` (or `with`) when done.

    `count(purpose, endpoint)` hears of every request sent (`429:<reason>` as the purpose of refused ones, beside). `stop` ends
    waiting. `missing` collects permissions that the key lacks. Raises `models.errors.Stripe*` only (and BadInput for ids).
    """

    def __init__(
        self,
        record: ApiRecord,
        api_key: str,
        *,
        limiter: Limiter | None = None,
        count: Count | None = None,
        patience: Patience | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        stripe.enable_telemetry = False
        self.connection_id = record.id
        self.missing: set[str] = set()
        self._courier = _Courier(Transport(record.api_base, verify=stripe.ca_bundle_path))
        self._client = stripe.StripeClient(
            api_key, stripe_version=record.api_version, max_network_retries=0,
            base_addresses={"api": record.api_base.rstrip("/")}, http_client=self._courier,
        )  # fmt: skip
        self._limiter = limiter or NoLimit()
        self._count = count or (lambda _purpose, _endpoint: None)
        self._patience = patience or Patience()
        self._stop = stop or threading.Event()
        self._breaker = Breaker(failures=3, open_s=10.0)
        self._less: dict[str, str | None] = {}

    def __enter__(self) -> "StripeApi":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to Stripe and to the buckets."""
        self._courier.close()
        self._limiter.close()

    # --- one read ---------------------------------------------------------------------------------

    def read(self, path: str, params: Mapping[str, Any] | None = None, purpose: str = "probe") -> Read:
        """GET `path` (it begins with `/v1/`), waiting for its turn, again where that helps.

        Raises:
            StripeUnreachable, StripeRateLimited: not after the bounded retries either, or too many failures just now.
            StripeKeyRefused, StripePermissionMissing, StripeNotFound, StripeBadRequest: trying again can't help.
            StripeStopped: `stop` was set.
        """
        if not self._breaker.allows():
            raise StripeUnreachable("Stripe didn't answer lately; it is left alone for some seconds")
        try:
            read = self._read_patiently(path, dict(params or {}), purpose)
        except (StripeUnreachable, StripeRateLimited):
            self._breaker.report(ok=False)
            raise
        except StripeStopped:
            raise
        except Exception:
            self._breaker.report(ok=True)  # Stripe did answer
            raise
        self._breaker.report(ok=True)
        return read

    def _read_patiently(self, path: str, params: dict[str, Any], purpose: str) -> Read:
        endpoint, failures, since = endpoint_of(path), 0, None
        while True:
            self._wait_for_turn(endpoint)
            since = since or time.monotonic()
            self._count(purpose, endpoint)
            try:
                answer = self._send(path, params)
                data = read_answer(answer, endpoint)
            except (StripeUnreachable, Throttled) as error:
                failures += 1
                self._pause(error, failures, time.monotonic() - since, endpoint)
            else:
                return Read(data, *read_bounds(answer.headers, time.monotonic() - since))

    def _send(self, path: str, params: dict[str, Any]) -> Answer:
        try:
            self._client.raw_request("get", path, **params)
        except (stripe.StripeError, ValueError) as error:  # what the SDK finds wrong before it sends
            raise StripeBadRequest(f"the SDK refused GET {endpoint_of(path)} ({type(error).__name__})") from None
        return self._courier.take()

    def _wait_for_turn(self, endpoint: str) -> None:
        while not self._stop.is_set():
            wait = self._limiter.take(endpoint)
            if wait <= 0 or self._stop.wait(wait * random.uniform(1.0, 1.1)):  # noqa: S311 - jitter, no secret
                break
        if self._stop.is_set():
            raise StripeStopped("stopped while waiting for Stripe")

    def _pause(self, error: StripeUnreachable | Throttled, failures: int, elapsed_s: float, endpoint: str) -> None:
        """Sleep before the next try, or give up with the reason."""
        delay = min(0.25 * 2**failures, 8.0) * random.uniform(0.5, 1.0)  # noqa: S311
        spent = failures >= self._patience.attempts
        budget_s = self._patience.seconds
        if isinstance(error, Throttled):
            self._count(f"429:{error.reason}", endpoint)
            delay, spent, budget_s = max(delay, error.retry_after_s or 0.0), False, self._patience.throttled_s
        if spent or elapsed_s + delay > budget_s:
            tries = f"{failures} tries in {elapsed_s:.0f} s"
            if isinstance(error, Throttled):
                raise StripeRateLimited(f"{error} at GET {endpoint}: {tries}") from None
            raise StripeUnreachable(f"{error}: {tries}") from None
        if self._stop.wait(delay):
            raise StripeStopped("stopped while Stripe was in trouble")

    # --- lists ------------------------------------------------------------------------------------

    def page(self, path: str, params: Mapping[str, Any], purpose: str, cursor: Cursor | None = None) -> Read:
        """One page of a list, 100 objects, newest first, after `cursor`. A cursor whose object is gone is replaced by its
        second: some objects come twice then, none is missed. Expansions the key may not see are left out (`missing`)."""
        asked = {"limit": PAGE, **params}
        if cursor is None:
            return self._expanded(path, asked, purpose)
        try:
            return self._expanded(path, {**asked, "starting_after": cursor.after}, purpose)
        except CursorGone:
            if cursor.created is None:
                raise
            window = {**asked.get("created", {}), "lte": cursor.created}
            window.pop("lt", None)  # `created` of the cursor lies below it
            return self._expanded(path, {**asked, "created": window}, purpose)

    def pages(self, path: str, params: Mapping[str, Any], purpose: str) -> Iterator[Read]:
        """All pages of a list, each read when it is asked for."""
        cursor: Cursor | None = None
        while True:
            page = self.page(path, params, purpose, cursor)
            yield page
            cursor = next_cursor(page)
            if cursor is None:
                return

    def _expanded(self, path: str, params: dict[str, Any], purpose: str) -> Read:
        less, lost = dict(self._less), set[str]()
        wanted = list(params.pop("expand", ()))
        while True:
            expand = [name for name in (still_expanded(name, less) for name in wanted) if name]
            try:
                read = self.read(path, {**params, "expand": expand} if expand else params, purpose)
            except StripePermissionMissing as error:
                refused = less_expanded(expand, error.permission)
                if not refused:
                    raise
                less |= refused
                lost.add(error.permission or f"to expand GET {endpoint_of(path)}")
            else:
                if lost:  # it was the expansion, not the endpoint: not asked for again
                    self._less = less
                    self.missing |= lost
                return read

    # --- one object -------------------------------------------------------------------------------

    def fetch(self, object_type: str, object_id: str, purpose: str) -> Read:
        """One object (customer, subscription, invoice, price, product, coupon) with what the rules need expanded, and its
        embedded lists complete: nothing in it has `has_more` left. Bounds: from its first read to its last.

        Raises:
            StripeNotFound: 404; by itself never a deletion (FAULTS F69). Others as `read`.
            BadInput: a type that isn't read by id, or no id.
        """
        if object_type not in OBJECTS:
            raise BadInput(f"{object_type}: isn't read by its id")
        resource, expand = OBJECTS[object_type]
        read = self._expanded(object_path(resource, object_id), {"expand": expand}, purpose)
        read.data.pop("lines", None)  # no rule reads an invoice's lines
        if object_type not in EMBEDDED or not is_truncated(read.data, EMBEDDED[object_type][0]):
            return read
        name, path, expand = EMBEDDED[object_type]
        rows: dict[str, Any] = {}
        last = read
        for last in self.pages(path, {object_type: object_id, "expand": expand}, purpose):
            rows |= {row["id"]: row for row in rows_of(last)}
        read.data[name] = {**read.data[name], "data": list(rows.values()), "has_more": False}
        return Read(read.data, *((read.lo_ms, last.hi_ms) if read.has_date and last.has_date else (None, None)))


def open_api(
    database: Database,
    keyring: Keyring,
    settings: AppSettings,
    connection_id: int,
    *,
    count: Count | None = None,
    patience: Patience | None = None,
    stop: threading.Event | None = None,
) -> StripeApi:
    """The API of a connection with its key and its share of the rate limits.

    Raises:
        NotFound: no such connection.
        SettingsError: its key was sealed with an encryption key we don't have.
    """
    with session_scope(database) as connection:
        record: ConnectionRecord = load_connection(connection, connection_id)
        api_key = load_api_key(connection, keyring, connection_id)
    limiter = open_limiter(settings, record.id, record.mode)
    return StripeApi(record, api_key, limiter=limiter, count=count, patience=patience, stop=stop)


__all__ = ["PATIENT", "Count", "Cursor", "Patience", "Read", "StripeApi", "next_cursor", "open_api"]
