"""Deliveries that mean harm: what they are, that they are signed where they say so, how they arrive (STRIPE.md 4.3, 10.20)."""

import gzip
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.fake_stripe.hostile import BODIES, EVENT, chunked, corpus, send_raw, trickled
from webhook_app.verify import verify

SECRET = "whsec_x"
pytestmark = pytest.mark.timeout(60)


def mac(body: bytes, header: str) -> bool:
    """Whether the `v1` of a header is ours, by code of this test's own."""
    parts = dict(part.partition("=")[::2] for part in header.split(",") if "=" in part)
    return hmac.new(SECRET.encode(), parts["t"].encode() + b"." + body, "sha256").hexdigest() == parts["v1"]


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[bytes, dict[str, str]]]:
    return {name: (body, headers) for name, body, headers in corpus(SECRET)}


@pytest.mark.parametrize("name", BODIES)
def test_each_hostile_body_comes_with_a_valid_signature_and_with_somebody_elses(found: dict, name: str) -> None:
    body, headers = found[f"body: {name}"]
    other, forged = found[f"unsigned body: {name}"]
    assert body == other == BODIES[name]
    assert mac(body, headers["Stripe-Signature"])
    assert not mac(other, forged["Stripe-Signature"])


def test_the_corpus_holds_what_it_must() -> None:
    assert len(BODIES["5 MB"]) > 5 << 20
    with pytest.raises(RecursionError):
        json.loads(BODIES["100,000 levels"])
    for name in ("not json", "a trailing comma", "a byte order mark", "empty"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(BODIES[name].decode("utf-8"))
    with pytest.raises(UnicodeDecodeError):
        BODIES["not UTF-8"].decode("utf-8")
    with pytest.raises(ValueError, match="4300 digits"):
        json.loads(BODIES["a number of 5,000 digits"])
    assert json.loads(EVENT)["id"] == "evt_1hostile"


def test_our_own_verifier_lets_pass_what_is_signed_and_nothing_else(found: dict) -> None:
    now, secrets = int(time.time()), [SECRET.encode()]
    for name, (body, headers) in found.items():
        told = verify(headers.get("Stripe-Signature"), body, secrets, now)
        assert (told == "ok") == name.startswith(("body: ", "gzip")), (name, told)
    assert sum(name.startswith("header: ") for name in found) > 10


def test_compressed_bodies_are_signed_as_they_are_sent(found: dict) -> None:
    for name, length in (("gzip", len(EVENT)), ("gzip bomb", 64 << 20)):
        body, headers = found[name]
        assert headers["Content-Encoding"] == "gzip"
        assert len(gzip.decompress(body)) == length
        assert mac(body, headers["Stripe-Signature"])


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Takes bodies in either framing."""

    protocol_version = "HTTP/1.1"
    got: ClassVar[list[tuple[bytes, str]]] = []

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((body, self.headers["Stripe-Signature"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    Endpoint.got.clear()
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}/webhooks/stripe/x"
    served.shutdown()
    served.server_close()
    thread.join()


def test_a_body_arrives_whole_in_chunks_and_byte_by_byte(url: str) -> None:
    large = BODIES["5 MB"]
    assert send_raw(url, chunked(url, SECRET, large, size=65_536)).startswith(b"HTTP/1.1 200")
    assert send_raw(url, trickled(url, SECRET, b'{"a": 1}', pause_s=0.01)).startswith(b"HTTP/1.1 200")
    assert [body for body, _ in Endpoint.got] == [large, b'{"a": 1}']
    assert all(mac(body, header) for body, header in Endpoint.got)
