"""What Stripe would send: event bodies and their signatures."""

import hashlib
import hmac
import itertools
import json
import time
from typing import Any

from tests.support.environment import WEBHOOK_SECRET

_numbers = itertools.count(1)


def event(event_id: str | None = None, event_type: str = "customer.updated", **more: Any) -> dict[str, Any]:
    """A live event about one customer; `more` replaces its top-level fields."""
    found = {
        "id": event_id or f"evt_{next(_numbers):08d}",
        "object": "event",
        "type": event_type,
        "created": int(time.time()),
        "livemode": True,
        "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "cus_1", "object": "customer", "name": "Ada", "email": "ada@example.com"}},
    }
    return found | more


def body_of(found: dict[str, Any]) -> bytes:
    """The bytes of an event."""
    return json.dumps(found).encode()


def sign(body: bytes, secret: str = WEBHOOK_SECRET, at: int | None = None) -> str:
    """A Stripe-Signature header for `body`."""
    timestamp = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"
