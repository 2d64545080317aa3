"""Deliveries that mean harm or make no sense (STRIPE 4.3 and 10.20), with a valid signature or without one."""

import gzip
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.fake_stripe.signing import signature

EVENT = (
    b'{"id": "evt_1hostile", "object": "event", "type": "customer.updated", "created": 1790000000, "livemode": true, '
    b'"api_version": "2026-10-28.endive", "data": {"object": {"id": "cus_1", "object": "customer"}}}'
)
BODIES: dict[str, bytes] = {
    "empty": b"", "not json": b"{", "an array": b"[]", "null": b"null", "a number": b"5", "a string": b'"evt_1"',
    "no fields": b"{}",
    "a number of 5,000 digits": b'{"id": "evt_1", "object": "event", "created": ' + b"9" * 5000 + b"}",
    "100,000 levels": b'{"id": "evt_1", "object": "event", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "not a number": EVENT.replace(b"1790000000", b"NaN"), "infinity": EVENT.replace(b"1790000000", b"-Infinity"),
    "a NUL": EVENT.replace(b"evt_1hostile", b"evt_\\u0000x"), "a raw NUL": EVENT.replace(b"evt_1hostile", b"evt_\x00x"),
    "a lone surrogate": EVENT.replace(b"evt_1hostile", b"evt_\\ud800"),
    "not UTF-8": EVENT.replace(b"evt_1hostile", b"evt_\xff\xfe"),
    "the same key twice": EVENT[:-1] + b', "id": "evt_2other"}',
    "an id of 1,000 letters": EVENT.replace(b"evt_1hostile", b"e" * 1000),
    "an id that is an object": EVENT.replace(b'"evt_1hostile"', b'{"$gt": ""}'),
    "created as text": EVENT.replace(b"1790000000", b'"yesterday"'), "created negative": EVENT.replace(b"1790000000", b"-5"),
    "created past every calendar": EVENT.replace(b"1790000000", b"99999999999999999999"),
    "data is a list": EVENT.replace(b'{"object": {"id": "cus_1", "object": "customer"}}', b"[]"),
    "the object is null": EVENT.replace(b'{"id": "cus_1", "object": "customer"}', b"null"),
    "a byte order mark": b"\xef\xbb\xbf" + EVENT, "a trailing comma": EVENT[:-1] + b",}",
    "5 MB": EVENT[:-1] + b', "x": "' + b"a" * (5 << 20) + b'"}'}  # fmt: skip
HEADERS: dict[str, str] = {
    "none": "", "no time": "v1=" + "0" * 64, "no signature": "t=1790000000", "letters for the time": "t=soon,v1=" + "0" * 64,
    "a huge time": "t=" + "9" * 5000 + ",v1=" + "0" * 64, "short": "t=1790000000,v1=abc",
    "ten thousand": "t=1790000000" + (",v1=" + "0" * 64) * 10_000, "not ASCII": "t=1790000000,v1=" + "\xe9" * 64,
    "only v0": "t=1,v0=" + "0" * 64, "empty parts": ",,,=,=,t=,v1=,", "other case": "T=1790000000,V1=" + "0" * 64}  # fmt: skip


def corpus(secret: str) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """Every hostile body with a valid signature and with somebody else's, then every hostile header on a good body:
    (name, body, headers)."""
    now = int(time.time())
    for name, body in BODIES.items():
        yield f"body: {name}", body, {"Stripe-Signature": signature(body, [secret], now)}
        yield f"unsigned body: {name}", body, {"Stripe-Signature": signature(body, ["whsec_somebodyelses"], now)}
    for name, header in HEADERS.items():
        yield f"header: {name}", EVENT, {"Stripe-Signature": header} if header else {}
    for name, moment in (("301 s old", now - 330), ("301 s ahead", now + 330), ("ten years ahead", now + 315_360_000)):
        yield f"time: {name}", EVENT, {"Stripe-Signature": signature(EVENT, [secret], moment)}
    packed = gzip.compress(EVENT)
    yield "gzip", packed, {"Stripe-Signature": signature(packed, [secret], now), "Content-Encoding": "gzip"}
    bomb = gzip.compress(b"0" * (64 << 20))
    yield "gzip bomb", bomb, {"Stripe-Signature": signature(bomb, [secret], now), "Content-Encoding": "gzip"}


def send_raw(url: str, parts: Iterator[bytes], timeout: float = 10) -> bytes:
    """Send bytes as they come (trickled, chunked, or nonsense) and return the first bytes of the answer, or nothing."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 80), timeout) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            return connection.recv(4096)
        except OSError:
            return b""


def chunked(url: str, secret: str, body: bytes, size: int = 4096) -> Iterator[bytes]:
    """A POST without Content-Length."""
    place = urlsplit(url)
    header = signature(body, [secret], int(time.time()))
    yield (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nStripe-Signature: {header}\r\nTransfer-Encoding: chunked\r\n"
        "Content-Type: application/json\r\nConnection: close\r\n\r\n"
    ).encode()
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


def trickled(url: str, secret: str, body: bytes, pause_s: float = 1.0) -> Iterator[bytes]:
    """A POST of one byte at a time."""
    place = urlsplit(url)
    header = signature(body, [secret], int(time.time()))
    yield (
        f"POST {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nStripe-Signature: {header}\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    ).encode()
    for position in range(len(body)):
        time.sleep(pause_s)
        yield body[position : position + 1]
