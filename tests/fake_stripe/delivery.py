"""Deliveries: each event to each endpoint that wants it, signed, retried, and disturbed on order (STRIPE 4, 10.15 to 10.18)."""

import http.client
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

import msgspec

from tests.fake_stripe.clock import Clock
from tests.fake_stripe.endpoint import LIVE_BACKOFF, TEST_BACKOFF, Attempt, Disturb, Endpoint
from tests.fake_stripe.events import thin_event
from tests.fake_stripe.records import Event
from tests.fake_stripe.signing import signature


class Delivery(msgspec.Struct, order=True):
    """A delivery that is due; ordered by when."""

    due: float
    number: int
    event_id: str
    tries: int = 0


class Deliveries:
    """One endpoint's queue. Threads send what is due (`start`), or a test takes it step by step (`step`, `pending`)."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        find: Callable[[str], Event | None],
        *,
        livemode: bool = True,
        seed: int = 0,
        on_result: Callable[[Event, bool], None] = lambda event, good: None,
    ) -> None:
        self.endpoint = endpoint
        self.disturb = Disturb()
        self._livemode = livemode
        self.backoff: tuple[float, ...] = LIVE_BACKOFF if livemode else TEST_BACKOFF
        self.attempts: deque[Attempt] = deque(maxlen=100_000)
        self.acked: set[str] = set()
        self.given_up: set[str] = set()
        self.dropped: set[str] = set()
        self._clock, self._find, self._on_result = clock, find, on_result
        self._queue: list[Delivery] = []
        self._number = 0
        self._in_flight = 0
        self._wake = threading.Condition()
        self._random = random.Random(seed)
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def offer(self, event: Event) -> None:
        """A new event: queue it, duplicated, delayed or lost as ordered."""
        if not self.endpoint.wants(event):
            return
        with self._wake:
            if self._random.random() < self.disturb.drop:
                self.dropped.add(event.id)
                return
            copies = 2 if self._random.random() < self.disturb.duplicate else 1
            for _ in range(copies):
                late = self._random.random() * self.disturb.delay_seconds if self._random.random() < self.disturb.delay else 0
                self._push(event.id, late, 0)
            event.pending_webhooks += 1

    def resend(self, event_id: str) -> None:
        """Once more by hand, as the Dashboard can."""
        with self._wake:
            self._push(event_id, 0, 0)

    def _push(self, event_id: str, seconds: float, tries: int) -> None:
        self._number += 1
        heappush(self._queue, Delivery(self._clock.time() + seconds, self._number, event_id, tries))
        self._wake.notify()

    def pending(self) -> list[Delivery]:
        """What waits, soonest first."""
        with self._wake:
            return sorted(self._queue)

    def take(self, position: int = 0) -> Delivery:
        """Take one out of the queue, by its place in `pending` (out of order on purpose)."""
        with self._wake:
            chosen = sorted(self._queue)[position]
            self._queue.remove(chosen)
            self._queue.sort()
            return chosen

    def signed(self, event_id: str) -> tuple[bytes, dict[str, str]]:
        """The body and headers of a delivery, signed now. The signature's time is wall time: a verifier knows no other."""
        event = self._find(event_id)
        assert event is not None
        body = self._body(event)
        with self._wake:
            noise = self._random.random() < self.disturb.noise
        header = signature(body, self.endpoint.signing_secrets(self._clock.time()), int(time.time()), noise=noise)
        return body, {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": header,
            "Accept": "*/*; q=0.5, application/xml",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Cache-Control": "no-cache",
        }

    def _body(self, event: Event) -> bytes:
        if self.endpoint.thin:
            return msgspec.json.format(msgspec.json.encode(thin_event(event, self._livemode)), indent=2)
        body = msgspec.json.format(event.bodies.get(self.endpoint.version) or next(iter(event.bodies.values())), indent=2)
        if self.endpoint.account is not None:
            body = body[:-2] + f',\n  "account": "{self.endpoint.account}"\n}}'.encode()
        return body

    def attempt(self, delivery: Delivery) -> int:
        """Send one now; on failure it is queued again with backoff, as long as Stripe would."""
        event = self._find(delivery.event_id)
        if event is None or self.endpoint.disabled:
            return 0
        body, headers = self.signed(event.id)
        try:
            status = self.endpoint.send(body, headers)
        except (OSError, http.client.HTTPException):
            status = 0
        with self._wake:
            self.attempts.append(Attempt(event.id, event.type, status, delivery.tries + 1))
            good = 200 <= status < 300
            if good:
                self.acked.add(event.id)
            elif delivery.tries < len(self.backoff):
                self._push(event.id, self.backoff[delivery.tries], delivery.tries + 1)
            else:
                self.given_up.add(event.id)
        self._on_result(event, good)
        return status

    def step(self, position: int = 0) -> int:
        """Take one and send it (a test's way)."""
        return self.attempt(self.take(position))

    def deliver_due(self) -> int:
        """Send, here and now, everything that is due by the clock; how many were sent."""
        sent = 0
        while (due := self._next_due()) is not None:
            self.attempt(due)
            sent += 1
        return sent

    def _next_due(self) -> Delivery | None:
        with self._wake:
            if self._queue and self._queue[0].due <= self._clock.time():
                return heappop(self._queue)
            return None

    def start(self, concurrency: int) -> None:
        """Threads that send what is due."""
        for n in range(concurrency):
            thread = threading.Thread(target=self._work, name=f"delivery-{n}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the threads."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join(self.endpoint.timeout + 1)

    def _work(self) -> None:
        with self.endpoint.connected():
            while self._work_once():
                pass

    def _work_once(self) -> bool:
        with self._wake:
            while not self._stopped and not (self._queue and self._queue[0].due <= self._clock.time()):
                self._wake.wait(0.05 if self._queue else 1.0)
            if self._stopped:
                return False
            due = heappop(self._queue)
            self._in_flight += 1
        try:
            self.attempt(due)
        finally:
            with self._wake:
                self._in_flight -= 1
                self._wake.notify_all()
        return True

    def wait_idle(self, timeout: float = 30) -> bool:
        """Until nothing is due and nothing is on its way."""
        end = time.monotonic() + timeout
        with self._wake:
            while self._in_flight or (self._queue and self._queue[0].due <= self._clock.time()):
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._wake.wait(min(left, 0.05))
        return True
