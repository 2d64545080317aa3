"""The signature of a delivery (STRIPE 4.2), by own code so that it isn't checked against itself."""

import hashlib
import hmac


def signature(body: bytes, secrets: list[str], timestamp: int, *, noise: bool = False) -> str:
    """The `Stripe-Signature` header: one `v1` per secret; `noise` adds a `v0`, which nobody may accept."""
    signed = str(timestamp).encode() + b"." + body
    parts = [f"t={timestamp}"]
    parts += ["v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    if noise:
        parts.append("v0=" + hmac.new(b"whsec_test_noise", signed, hashlib.sha256).hexdigest())
    return ",".join(parts)
