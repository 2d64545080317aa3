"""Counts of calls to Stripe by purpose, collected by readers and written to the database by whoever writes anyway."""

import threading
from collections import Counter


class CallCounter:
    """Counts the calls of one connection. Its `count` fits `StripeApi(count=...)`."""

    def __init__(self, connection_id: int) -> None:
        self._connection_id = connection_id
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.total = 0

    def count(self, purpose: str, _endpoint: str) -> None:
        """One request was sent for `purpose`, or refused with a 429 (`429:<reason>`)."""
        kind, _, reason = purpose.partition(":")
        with self._lock:
            if kind == "429":
                self._counts[f"stripe_429:{self._connection_id}:{reason}"] += 1
            else:
                self._counts[f"stripe_calls:{self._connection_id}:{purpose}"] += 1
                self.total += 1

    def take(self) -> dict[str, int]:
        """Counts since the last time, by the name of their counter."""
        with self._lock:
            taken, self._counts = dict(self._counts), Counter()
        return taken
