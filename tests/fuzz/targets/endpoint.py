"""`POST /webhooks/stripe/<id>` through Flask, group commit and a real database: whatever is sent, never a 5xx; what is signed
and small enough is always a 200, and on disk then.

An input is `path NL header NL … NL NL body`. In the path `<ID>` stands for the connection's public id, in a header `<SIG>`,
`<OLD>` and `<BAD>` for a true signature, a stale one and one of somebody else's.
"""

import io
import random
import time
from typing import Any

from flask import Flask

from models.settings import AppSettings
from models.store import bulk
from models.store.connections import NewConnection, create_connection
from models.store.keys import Keyring
from models.store.session import session_scope
from tests.fuzz import huge
from tests.fuzz.seeds import events, templates
from tests.fuzz.sources import JsonSource
from tests.fuzz.targets.stored import relax
from tests.support.deliveries import sign
from tests.support.environment import API_KEY, WEBHOOK_SECRET
from webhook_app import create_app
from webhook_app.connection_cache import Known
from webhook_app.receive import MAX_BODY_BYTES, read_event

_PATH = b"POST /webhooks/stripe/<ID>"
_SIGNED = b"Stripe-Signature: <SIG>"
_PATHS = (
    b"POST /webhooks/stripe/nobody", b"POST /webhooks/stripe/<ID>/", b"POST /webhooks/stripe/\x00",
    b"POST /webhooks/stripe/\xff\xfe",
    b"POST /webhooks/stripe/" + b"x" * 3000, b"POST /webhooks/stripe/a/b", b"POST /webhooks/stripe/",
    b"GET /webhooks/stripe/<ID>",
    b"PUT /webhooks/stripe/<ID>", b"OPTIONS /webhooks/stripe/<ID>", b"HEAD /webhooks/stripe/<ID>",
    b"BREW /webhooks/stripe/<ID>",
    b"POST /webhooks/stripe/..%2f<ID>", b"POST //webhooks/stripe/<ID>", b"POST /webhooks/stripe/<ID>?x=\xff&x=%00",
    b"POST /WEBHOOKS/stripe/x",
)  # fmt: skip
_HEADERS = (
    b"Stripe-Signature: <OLD>", b"Stripe-Signature: <BAD>", b"Stripe-Signature: \xff", b"Stripe-Signature:",
    b"Stripe-Signature: t=1,v1=x",
    b"Stripe-Signature: <SIG>,<SIG>", b"Stripe-Signature: <SIG>,v1=00,v0=x", b"Content-Encoding: gzip",
    b"Content-Encoding: identity",
    b"Content-Encoding: \xff", b"Content-Length: 1048577", b"Content-Length: 99999999999999999999", b"Content-Length: x",
    b"Content-Length: -1",
    b"Content-Type: application/x-www-form-urlencoded", b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Type: multipart/form-data",
    b"Content-Type: application/json; charset=\xff", b"Content-Type: \x00", b"Host: ", b"Host: a:b:c", b"Host: \xff",
    b"Host: [::1",
    b"Cookie: session=\xff; =; a", b"Authorization: Bearer \xff", b"Authorization: Basic =", b"X-Forwarded-For: \xff",
    b"X-Forwarded-For: 1, 2, 3",
    b"X-Forwarded-Proto: javascript", b"X-Http-Method-Override: GET", b"Accept: */*;q=x", b"Range: bytes=0-",
    b"If-None-Match: *",
    b"If-Modified-Since: \xff", b"Accept-Language: \xff", b"User-Agent: " + b"x" * 5000, b"Expect: 100-continue",
    b"Origin: null",
    b"Sec-Fetch-Site: cross-site", b"Transfer-Encoding: chunked", b"X\xff: y", b": y",
)  # fmt: skip


class EndpointSource:
    """Signed hostile bodies, and hostile requests around them."""

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random
        large = [huge.event, lambda _rng: b"x" * (MAX_BODY_BYTES + 1)]
        self._bodies = JsonSource(templates(events()), rng, noise=0.2, huge=large, huge_one_in=500)
        self._made = 0

    def next(self) -> tuple[bytes, bool]:
        """A request."""
        rnd = self._random
        body, keepable = self._bodies.next()
        self._made += 1
        if rnd() < 0.8:  # an event of its own, else it is one that came before
            body = body.replace(b'"id":"evt_', b'"id":"evt_%d_' % self._made, 1)
        path = _PATH if rnd() < 0.9 else _PATHS[int(rnd() * len(_PATHS))]
        headers = [] if rnd() < 0.05 else [_SIGNED]
        if rnd() < 0.3:
            headers += [_HEADERS[int(rnd() * len(_HEADERS))] for _ in range(1 + int(rnd() * 2))]
        return b"\n".join([path, *headers, b"", body]), keepable

    def learn(self, data: bytes) -> None:
        """Its body serves again."""
        self._bodies.learn(data.partition(b"\n\n")[2])


class EndpointTarget:
    """The application as `create_app` makes it; only the bell is missing."""

    name = "endpoint"
    watched = (
        "webhook_app/receive.py",
        "webhook_app/errors.py",
        "webhook_app/verify.py",
        "webhook_app/auth",
        "models/stripe_reader",
    )

    def __init__(self, settings: AppSettings, keyring: Keyring, *, durable: bool = True) -> None:
        self._app: Flask = create_app(settings.model_copy(update={"log_level": "ERROR"}))
        self._parts = self._app.extensions["pivotal"]
        self._parts.inbox.ring = lambda _partitions: None
        if not durable:
            relax(self._parts.database)
        with session_scope(self._parts.database, write=True) as connection:
            new = NewConnection("Live", "live", API_KEY, WEBHOOK_SECRET)
            self._record = create_connection(connection, keyring, new, 1_795_000_000)
        self._known = Known(self._record.id, livemode=True, account_id=None, secrets=())
        self._accepted: dict[bytes, None] = {}

    def source(self, rng: random.Random) -> EndpointSource:
        """Fresh requests."""
        return EndpointSource(rng)

    def run(self, data: bytes) -> tuple[str, ...]:
        """The answer's status."""
        head, _, body = data.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        environ = self._environ(first, lines, body)
        status = self._asked(environ)
        assert status < 500, f"a {status}"
        if first == _PATH and lines == [_SIGNED] and len(body) <= MAX_BODY_BYTES:
            assert status == 200, "a signed body that isn't taken"
        if status == 200:
            self._accepted[body] = None
        return (f"{environ['REQUEST_METHOD']} {status}" if status != 200 else "200",)

    def settle(self) -> None:
        """What was answered 200 is on disk, byte for byte, unless an event of its id was there before."""
        with session_scope(self._parts.database, write=True) as connection:
            stored = {row[0]: bytes(row[1]) for row in bulk.run(connection, "SELECT event_id, body FROM inbox").fetchall()}
            bulk.run(connection, "DELETE FROM inbox")
        bodies = set(stored.values())
        for body in self._accepted:
            event_id = read_event(self._known, body, 0, 1).event_id
            assert body in bodies or event_id in stored, "an acknowledged event that isn't on disk"
        assert bodies <= set(self._accepted), "a stored body that nobody sent"
        self._accepted.clear()

    def close(self) -> None:
        """Let go of the database."""
        self._parts.database.dispose()

    def _environ(self, first: bytes, lines: list[bytes], body: bytes) -> dict[str, Any]:
        """As gunicorn makes it: header values are latin-1."""
        method, _, path = first.decode("latin-1").partition(" ")
        path, _, query = path.replace("<ID>", self._record.public_id).partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1",
            "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json", "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body), "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False,
            "wsgi.run_once": False, "wsgi.input_terminated": True,
        }  # fmt: skip
        for line in lines:
            name, _, value = line.partition(b":")
            key = name.decode("latin-1").upper().replace("-", "_")
            key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
            environ[key] = self._signed(value.strip().decode("latin-1"), body)
        return environ

    def _signed(self, value: str, body: bytes) -> str:
        if "<" not in value:
            return value
        now = int(time.time())
        value = value.replace("<SIG>", sign(body, at=now)) if "<SIG>" in value else value
        return value.replace("<OLD>", sign(body, at=now - 1000)).replace("<BAD>", sign(body, "whsec_somebody_elses_secret"))

    def _asked(self, environ: dict[str, Any]) -> int:
        told: list[str] = []
        answer = self._app.wsgi_app(environ, lambda status, _headers, _error=None: told.append(status))
        b"".join(answer)
        return int(told[0][:3])
