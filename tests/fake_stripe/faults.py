"""Faults to order: errors, slowness, broken answers, 429 by bucket, stale reads (STRIPE 10, 13 and 14)."""

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec

HTML_404 = b"<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>"


class Fault(msgspec.Struct, kw_only=True):
    """One order. `kind`: status, html, slow, hang, reset, truncate, rate_limit, lock_timeout.

    It hits the next `count` matching requests (None: all), after letting `skip` of them pass, each with chance `rate`.
    `route` is an endpoint's label such as `/v1/subscriptions/:id` (None: every one); `seconds` for slow and hang.
    """

    kind: str
    route: str | None = None
    count: int | None = 1
    skip: int = 0
    rate: float = 1.0
    status: int = 500
    seconds: float = 1.0
    reason: str | None = "endpoint-rate"
    hits: int = 0


class Between(msgspec.Struct):
    """An order for something to happen between two pages."""

    action: Callable[[], object]
    route: str | None
    count: int | None
    skip: int


class Faults:
    """The orders that stand, and the chance of a stale read."""

    def __init__(self, seed: int) -> None:
        self._orders: list[Fault] = []
        self._between: list[Between] = []
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self.stale_rate = 0.0
        self.stale_seconds = 10.0

    def order(self, kind: str, **options: object) -> Fault:
        """Order one: `faults.order("status", status=503, route="/v1/invoices", count=2)`."""
        fault = Fault(kind=kind, **options)  # type: ignore[arg-type]
        with self._lock:
            self._orders.append(fault)
        return fault

    def meanwhile(
        self, action: Callable[[], object], route: str | None = None, *, count: int | None = 1, skip: int = 0
    ) -> None:
        """Do something right after the next answer of `route` was made: what changes while a list is being walked."""
        with self._lock:
            self._between.append(Between(action, route, count, skip))

    def happened(self, label: str) -> list[Callable[[], object]]:
        """What happens after an answer of this endpoint."""
        found = []
        with self._lock:
            for order in self._between:
                if order.route not in {None, label} or order.count == 0:
                    continue
                if order.skip > 0:
                    order.skip -= 1
                    continue
                if order.count is not None:
                    order.count -= 1
                found.append(order.action)
        return found

    def clear(self) -> None:
        """Take all orders back."""
        with self._lock:
            self._orders.clear()
            self._between.clear()
        self.stale_rate = 0.0

    def next(self, label: str) -> Fault | None:
        """The fault that this request meets."""
        with self._lock:
            for fault in self._orders:
                if fault.route not in {None, label} or fault.count == 0 or self._random.random() >= fault.rate:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.count is not None:
                    fault.count -= 1
                fault.hits += 1
                return fault
        return None

    def stale_by(self) -> float | None:
        """How many seconds behind this read is, or None."""
        if self.stale_rate <= 0:
            return None
        with self._lock:
            return self.stale_seconds if self._random.random() < self.stale_rate else None


class Limits:
    """Token buckets on real time, and how many requests may run at once (None: no limit). `Limits.live()` and `.sandbox()` are
    Stripe's own figures. `clock`: seconds that only grow."""

    SHED_FIRST = 0.8  # [verify] "expanding lists are shed first": from which share of the concurrency on isn't said

    def __init__(
        self,
        per_second: float | None = None,
        per_endpoint: float | None = None,
        concurrency: int | None = None,
        *,
        endpoint_concurrency: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_second, self.per_endpoint = per_second, per_endpoint
        self.concurrency, self.endpoint_concurrency = concurrency, endpoint_concurrency
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}
        self.running: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    @classmethod
    def live(cls) -> "Limits":
        """100 a second, 25 for one endpoint."""
        return cls(100, 25)

    @classmethod
    def sandbox(cls) -> "Limits":
        """25 a second."""
        return cls(25, 25)

    def refuse(self, label: str, *, expands: bool = False) -> str | None:
        """The reason of the 429 that this request gets, or None. `expands`: a list that expands something."""
        reason = self._crowded(label, expands)
        if reason is None and self.per_second is not None and not self._take("", self.per_second):
            reason = "global-rate"
        if reason is None and self.per_endpoint is not None and not self._take(label, self.per_endpoint):
            reason = "endpoint-rate"
        if reason is not None:
            self.refused[reason] += 1
        return reason

    def _crowded(self, label: str, expands: bool) -> str | None:
        share = self.SHED_FIRST if expands else 1
        if self.concurrency is not None and self.running.total() > self.concurrency * share:
            return "global-concurrency"
        if self.endpoint_concurrency is not None and self.running[label] > self.endpoint_concurrency * share:
            return "endpoint-concurrency"
        return None

    def _take(self, name: str, rate: float) -> bool:
        now = self._clock()
        level, at = self._levels.get(name, (rate, now))
        level = min(rate, level + (now - at) * rate)
        allowed = level >= 1
        self._levels[name] = (level - 1 if allowed else level, now)
        return allowed


class Reads:
    """What was asked of the API: `total`, by endpoint (`reads["/v1/customers"]`), by status, and the last requests."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start counting again."""
        self.total = 0
        self.by_endpoint: Counter[str] = Counter()
        self.by_status: Counter[int] = Counter()
        self.writes = 0
        self.requests: deque[tuple[str, str]] = deque(maxlen=10_000)

    def __getitem__(self, label: str) -> int:
        return self.by_endpoint[label]

    def count(self, method: str, label: str, target: str, status: int) -> None:
        """One request more."""
        self.total += 1
        self.by_endpoint[label] += 1
        self.by_status[status] += 1
        self.writes += method != "GET"
        self.requests.append((method, target))
