"""Is this delivery Stripe's? A pure verifier over raw bytes (STRIPE 4.2, 4.3; FAULTS S01-S03).

Our own, because the SDK's raises on a body or header that isn't text, accepts any future, knows one secret only and puts the
payload into its exception. This one never raises and says one word.
"""

import hmac
import re
from collections.abc import Sequence
from typing import Literal

Verdict = Literal["ok", "missing", "too_long", "not_ascii", "malformed", "too_many", "stale", "future", "mismatch"]

TOLERANCE_S = 300
MAX_HEADER_BYTES = 4_096
MAX_SIGNATURES = 16

_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_SIGNATURE = re.compile(rb"[0-9a-fA-F]{64}")


def verify(header: str | bytes | None, body: bytes, secrets: Sequence[bytes], now: int) -> Verdict:
    """Whether `header` (the Stripe-Signature field) signs `body` with any of `secrets` within 300 s of `now` (unix seconds).

    A WSGI header is text decoded as latin-1, so both kinds are taken. Each signature is compared with each secret's, in
    constant time and without stopping at the first that fits; the window is told only after that, so that a stale and a
    wrong signature cost the same. Never raises.
    """
    read = _read_header(header)
    if isinstance(read, str):
        return read
    timestamp, signatures = read
    signed = b"%b.%b" % (timestamp, body)
    matched = False
    for secret in secrets:
        expected = hmac.digest(secret, signed, "sha256")
        for signature in signatures:
            matched |= hmac.compare_digest(expected, signature)
    if not matched:
        return "mismatch"
    age = now - int(timestamp)
    if age > TOLERANCE_S:
        return "stale"
    return "future" if age < -TOLERANCE_S else "ok"


def _read_header(header: str | bytes | None) -> tuple[bytes, list[bytes]] | Verdict:
    """The timestamp's digits and the `v1` signatures as 32 bytes each, or why there are none."""
    if not header:
        return "missing"
    if len(header) > MAX_HEADER_BYTES:
        return "too_long"
    if not header.isascii():
        return "not_ascii"
    parts = [part.strip(b" \t").partition(b"=") for part in _as_bytes(header).split(b",")]
    timestamps = [value for scheme, _, value in parts if scheme == b"t"]
    candidates = [value for scheme, _, value in parts if scheme == b"v1"]
    if len(candidates) > MAX_SIGNATURES:
        return "too_many"
    signatures = [bytes.fromhex(value.decode()) for value in candidates if _SIGNATURE.fullmatch(value)]
    if len(timestamps) != 1 or not _TIMESTAMP.fullmatch(timestamps[0]) or not signatures:
        return "malformed"
    return timestamps[0], signatures


def _as_bytes(header: str | bytes) -> bytes:
    return header.encode("ascii") if isinstance(header, str) else header
