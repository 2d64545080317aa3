"""The endpoint `POST /webhooks/stripe/<public id>`: verify, store, answer (FAULTS 3, issue 2.4).

Nothing else happens in the request: no call to Stripe, no recompute, no session. 200 means the event is on disk. What can't be
authenticated gets one constant 400, whatever was wrong with it; what is authentic and can't be used is kept as `quarantined`
and answered 200, since a refusal would only earn three days of retries.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from flask import Blueprint, Response, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from models.errors import DatabaseAway, UnusableBody
from models.store.failpoints import fp
from models.store.inbox import NewEvent
from models.store.logs import log
from models.stripe_reader.envelope import Envelope, read_envelope
from models.stripe_reader.event_types import affects
from webhook_app.auth.context import client_address
from webhook_app.auth.gate import public
from webhook_app.auth.headers import ALWAYS, NOTHING
from webhook_app.connection_cache import Known
from webhook_app.errors import PROBLEM_JSON, problem
from webhook_app.group_commit import GroupCommit, Ticket
from webhook_app.services import Services, services
from webhook_app.verify import verify

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WAKE = "pivotal.wake"  # of the environ: what to call when a `Waiting` is settled
AT_ONCE_BYTES = 64 << 10  # a larger one takes milliseconds to read and to verify

MAX_BODY_BYTES = 1 << 20
MAX_ID_CHARS = 255
MAX_SECOND = 1 << 40  # far beyond any time Stripe may send, well within BIGINT

_NOBODY = Known(id=0, livemode=False, account_id=None, secrets=(b"whsec_of_no_connection_at_all_000",))
_ID = re.compile(rb'\s*\{\s*"id"\s*:\s*"(evt_[A-Za-z0-9_]{1,200})"')  # as Stripe writes it, at the very start
_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1", "::/64"})
_REFUSED = b'{"type":"about:blank","title":"Bad request","status":400}'
_STORED = b'{"received":true}'
_FOR_PROGRAMS = {**ALWAYS, "Content-Security-Policy": NOTHING}
_STORED_HEADERS = Headers({"Content-Type": "application/json", "Content-Length": str(len(_STORED)), **_FOR_PROGRAMS})
_DELIVERY = b"POST /webhooks/stripe/"

QUIET_AFTER = 20  # refusals of one address and minute that get a log line each
REFUSALS_PER_MINUTE = 600  # of one address; more are told to wait. Never of loopback: there a proxy stands for everybody

blueprint = Blueprint("receive", __name__)


@blueprint.route("/webhooks/stripe/<public_id>", methods=["POST"], provide_automatic_options=False)
@public
def receive(public_id: str) -> Response:
    """One delivery of one event."""
    received_ms, started = time.time_ns() // 1_000_000, time.monotonic()
    if request.environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in ("", "identity"):
        return problem(415)
    parts = services()
    try:
        body = read_body()
        known = parts.connections.get(public_id)
    except HTTPException as error:
        return problem(error.code or 400)
    except DatabaseAway:
        return problem(503)
    header = request.environ.get("HTTP_STRIPE_SIGNATURE")
    verdict = verify(header, body, (known or _NOBODY).secrets, received_ms // 1000)
    if known is None or verdict != "ok":
        return refuse(parts, verdict if known else "unknown connection", known.id if known else None)
    return store(parts, read_event(known, body, received_ms, parts.settings.partition_count), started)


def read_body() -> bytes:
    """The raw body, at most 1 MiB, chunked or not.

    Raises:
        RequestEntityTooLarge: it is larger; nothing beyond the limit was kept.
        BadRequest: broken chunks, or the client went away before its end.
    """
    length = request.content_length
    if (length or 0) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    request.max_content_length = MAX_BODY_BYTES
    try:
        if length is None:  # chunked
            return request.get_data(cache=False)
        body: bytes = request.environ["wsgi.input"].read(length)  # what `get_data` does too, with three layers about it
        if len(body) == length:
            return body
    except HTTPException:
        raise
    except Exception:  # the server's parser, by whatever exception it tells
        raise BadRequest from None
    raise BadRequest  # the client went away


def refuse(parts: Services, reason: str, connection_id: int | None) -> Response:
    """One constant 400, whatever was wrong. Of an address that does nothing else, 429 after 600 a minute."""
    address = client_address(request)
    count = parts.refusals.failed(address)
    if count <= QUIET_AFTER or count % 1_000 == 0:
        log.info("delivery_refused", reason=reason, connection=connection_id, count=count)
    if count > REFUSALS_PER_MINUTE and address not in _LOOPBACK:
        return problem(429)
    return Response(_REFUSED, 400, content_type=PROBLEM_JSON)


def store(parts: Services, row: NewEvent, started: float) -> Response:
    """Answer after the COMMIT that holds `row`, or 503. To a server that can be told, an answer which waits for it."""
    wake = request.environ.get(WAKE)
    try:
        fp("event_read")
        ticket = parts.inbox.begin(row, time.monotonic() - started, wake)
        if wake is not None:
            return Later(parts.inbox, ticket)
        on_disk(parts.inbox, ticket)
    except Exception as error:
        return not_stored(error)
    return Response(_STORED, 200, content_type="application/json")


def on_disk(inbox: GroupCommit, ticket: Ticket) -> None:
    """Return after the COMMIT that holds the row; raise whatever came in its way."""
    inbox.end(ticket)
    fp("before_answer")


def not_stored(error: Exception) -> Response:
    """Whatever it was, the row is not known to be on disk: Stripe must try again."""
    if not isinstance(error, DatabaseAway):
        log.error("event_not_stored", kind=type(error).__name__)
    return problem(503)


class Later(Response):
    """A 200, or what `not_stored` says once that is known: the server need hold no thread meanwhile, since PEP 3333 lets an
    application name its status with the first piece of the body."""

    # All these answers share their headers: setting ten of them anew cost as much as verifying and reading. So no hook may
    # change what is `complete`.
    complete = True

    def __init__(self, inbox: GroupCommit, ticket: Ticket) -> None:
        super().__init__(status=200, headers=_STORED_HEADERS)
        self._inbox = inbox
        self._ticket = ticket

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """The answer to come, a `Waiting`."""
        return Waiting(self._ticket, self._answered(environ, start_response))

    def _answered(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterator[bytes]:
        try:
            on_disk(self._inbox, self._ticket)
        except Exception as error:
            refused = not_stored(error)
            refused.headers.update(_FOR_PROGRAMS)
            yield from refused(environ, start_response)
        else:
            start_response("200 OK", list(_STORED_HEADERS))
            yield _STORED


class Waiting:
    """The pieces of an answer that isn't known before `settled`, or the `deadline` (monotonic clock)."""

    def __init__(self, ticket: Ticket, pieces: Iterator[bytes]) -> None:
        self._ticket = ticket
        self._pieces = pieces

    @property
    def settled(self) -> bool:
        """Whether taking a piece waits for nothing."""
        return self._ticket.settled

    @property
    def deadline(self) -> float:
        """When a piece is to be taken though it isn't settled: it then says 503."""
        return self._ticket.deadline

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


def at_once(parts: Services) -> Callable[[bytes | bytearray], bool]:
    """Tells of a request's bytes whether it is a delivery that this endpoint answers without waiting for anything, but for its
    commit (`Later`)."""

    def tell(request_bytes: bytes | bytearray) -> bool:
        return len(request_bytes) <= AT_ONCE_BYTES and request_bytes.startswith(_DELIVERY) and parts.connections.fresh()

    return tell


class Marks(NamedTuple):
    """What is known of a body that can't be used."""

    event_id: str
    type: str
    created: int


def read_event(known: Known, body: bytes, received_ms: int, partitions: int) -> NewEvent:
    """The row for an authentic body: pending, ignored, or quarantined with the reason. Never raises."""
    try:
        envelope = read_envelope(body)
    except UnusableBody as error:
        return _quarantined(known, body, received_ms, str(error), None)
    except Exception as error:  # the reader promises not to; an authentic body must not become a 500 (FAULTS F19)
        return _quarantined(known, body, received_ms, f"unreadable ({type(error).__name__})", None)
    wrong = _unusable(known, envelope)
    if wrong:
        return _quarantined(known, body, received_ms, wrong, envelope)
    useful = envelope.thin or affects(envelope.type)
    whose = envelope.customer_id or envelope.object_id or envelope.id
    return NewEvent(
        connection_id=known.id,
        event_id=envelope.id,
        type=envelope.type,
        api_version=envelope.api_version,
        livemode=envelope.livemode,
        created=envelope.created,
        object_type=envelope.object_type,
        object_id=envelope.object_id,
        customer_id=envelope.customer_id,
        partition=crc32(whose.encode()) % partitions,
        received_ms=received_ms,
        status_ms=received_ms,
        body=body,
        status="pending" if useful else "ignored",
    )


def _unusable(known: Known, envelope: Envelope) -> str | None:
    """Why an event that could be read can't be used (FAULTS 4.2 line 0, F19, F37), or None."""
    texts = (envelope.id, envelope.type, envelope.api_version, envelope.object_type, envelope.object_id, envelope.customer_id)
    if not all(text is None or _storable(text) for text in texts):
        return "an id, type or version that is no such thing"
    if not 0 <= envelope.created < MAX_SECOND:
        return "created is no time"
    if envelope.livemode is not known.livemode:
        return "livemode is not the connection's"
    if envelope.account and known.account_id and envelope.account != known.account_id:
        return "account is not the connection's"
    if not envelope.object_type and not envelope.object_id and not envelope.thin and affects(envelope.type):
        return "carries no object"
    return None


def _quarantined(known: Known, body: bytes, received_ms: int, reason: str, envelope: Envelope | None) -> NewEvent:
    log.warning("event_quarantined", connection=known.id, reason=reason)
    readable = _ID.match(body)
    event_id = readable[1].decode() if readable else f"unreadable:{hashlib.sha256(body).hexdigest()}"
    marks = Marks(event_id, "unreadable", received_ms // 1000)
    if envelope is not None:
        marks = Marks(
            envelope.id if envelope.id and _storable(envelope.id) else marks.event_id,
            envelope.type if _storable(envelope.type) else marks.type,
            envelope.created if 0 <= envelope.created < MAX_SECOND else marks.created,
        )
    return NewEvent(
        connection_id=known.id,
        event_id=marks.event_id,
        type=marks.type,
        api_version=None,
        livemode=envelope.livemode if envelope else None,
        created=marks.created,
        object_type=None,
        object_id=None,
        customer_id=None,
        partition=0,
        received_ms=received_ms,
        status_ms=received_ms,
        body=body,
        status="quarantined",
        error=reason,
    )


def _storable(text: str) -> bool:
    """PostgreSQL keeps no NUL, and its indexes no long keys; a lone surrogate is no text (FAULTS F19)."""
    return len(text) <= MAX_ID_CHARS and text.isprintable()
