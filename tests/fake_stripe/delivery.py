"""Deliveries: each event to each endpoint that wants it, signed, retried, and disturbed on order (STRIPE 4, 10.15 to 10.18)."""

import http.client
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from tests.fake_stripe.clock import Clock
from tests.fake_stripe.disturb import DAY, Disturb, Fate, Fates
from tests.fake_stripe.endpoint import LIVE_BACKOFF, TEST_BACKOFF, Attempt, Endpoint
from tests.fake_stripe.events import thin_event
from tests.fake_stripe.records import Event
from tests.fake_stripe.signing import signature
from tests.fake_stripe.waiting import Delivery, Waiting

RESENT_FOR = 30 * DAY  # by the command line; the Dashboard's button gives up after 15 days


class Deliveries(Waiting):
    """One endpoint's queue. Threads send what is due (`start`), or a test takes it step by step (`step`, `pending`)."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        find: Callable[[str], Event | None],
        *,
        livemode: bool = True,
        seed: int = 0,
        on_taken: Callable[[Event], None] = lambda event: None,
    ) -> None:
        super().__init__(clock)
        self.endpoint = endpoint
        self._livemode = livemode
        self.backoff: tuple[float, ...] = LIVE_BACKOFF if livemode else TEST_BACKOFF
        self.attempts: deque[Attempt] = deque(maxlen=100_000)
        self.acked: dict[str, float] = {}  # event id -> when it was first taken, by the clock
        self.given_up: set[str] = set()
        self.dropped: set[str] = set()
        self._find, self._on_taken = find, on_taken
        self._fates = Fates(seed)
        self._threads: list[threading.Thread] = []
        self._stopped = False

    @property
    def disturb(self) -> Disturb:
        """The chances of what goes wrong."""
        return self._fates.rates

    def order(
        self, kind: str, type_: str | None = None, *, count: int = 1, skip: int = 0, seconds: float | None = None
    ) -> None:
        """By script: the next `count` events of a type meet this fate (drop, duplicate, concurrent, reorder, delay, resend,
        wrong_secret)."""
        with self._wake:
            self._fates.order(kind, type_, count, skip, seconds)

    def plan(self, event: Event) -> Fate | None:
        """What will become of a new event here; None: it isn't sent (not wanted, or lost)."""
        if not self.endpoint.wants(event):
            return None
        with self._wake:
            fate = self._fates.of(event)
            if "drop" in fate:
                self.dropped.add(event.id)
                return None
        return fate

    def enqueue(self, event: Event, fate: Fate) -> None:
        """Queue it as planned."""
        with self._wake:
            swaps = "reorder" in fate and not self._held  # what already waits for a later event follows this one
            together, wrong = 2 if "concurrent" in fate else 1, "wrong_secret" in fate
            wait = fate.get("delay", 0.0) + (fate["reorder"] if swaps else 0.0)
            pushed = self._push(event.id, wait, together=together, wrong_secret=wrong)
            self._let_go()
            if swaps:
                self._held.append(pushed)
            if "duplicate" in fate:
                self._push(event.id, wait)
            if "resend" in fate:
                self._push(event.id, fate["resend"])

    def resend(self, event_id: str) -> None:
        """Once more by hand, as the command line can for 30 days; automatic retries go on beside it.

        Raises:
            LookupError: the event is too old.
        """
        event = self._find(event_id)
        if event is None or self._clock.time() > event.created + RESENT_FOR:
            raise LookupError(f"{event_id} can't be sent any more")
        with self._wake:
            self._push(event_id, 0)

    def lose(self, position: int = 0) -> str:
        """What waits at this place of `pending` is never sent."""
        lost = self.take(position).event_id
        self.dropped.add(lost)
        event = self._find(lost)
        if event is not None and lost not in self.acked:
            self._on_taken(event)  # nobody waits for it any more
        return lost

    # --- sending ------------------------------------------------------------------------------------

    def signed(self, event_id: str, *, wrong_secret: bool = False) -> tuple[bytes, dict[str, str]]:
        """The body and headers of a delivery, signed now. The signature's time is wall time: a verifier knows no other."""
        event = self._find(event_id)
        assert event is not None
        body = self._body(event)
        with self._wake:
            noise = self._fates.noise()
        secrets = ["whsec_somebodyelses"] if wrong_secret else self.endpoint.signing_secrets(self._clock.time())
        header = signature(body, secrets, int(time.time()), noise=noise)
        return body, {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": header,
            "Accept": "*/*; q=0.5, application/xml",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Cache-Control": "no-cache",
        }

    def _body(self, event: Event) -> bytes:
        account = self.endpoint.account
        if self.endpoint.thin:
            return msgspec.json.format(msgspec.json.encode(thin_event(event, self._livemode, account)), indent=2)
        body = msgspec.json.format(event.body(self.endpoint.version), indent=2)
        if account is not None:
            body = body[:-2] + f',\n  "account": "{account}"\n}}'.encode()
        return body

    def attempt(self, delivery: Delivery) -> int:
        """Send one now; on failure it is queued again with backoff, as long as Stripe would. The status (0: no answer)."""
        event = self._find(delivery.event_id)
        if event is None or self.endpoint.off:
            return 0
        statuses = [self._send(event, delivery)] if delivery.together == 1 else self._send_together(event, delivery)
        status = next((s for s in statuses if 200 <= s < 300), statuses[0])
        good = 200 <= status < 300
        with self._wake:
            first = good and event.id not in self.acked
            if first:
                self.acked[event.id] = self._clock.time()
            if not good and delivery.tries < len(self.backoff):
                self._push(event.id, self.backoff[delivery.tries], delivery.tries + 1)
            elif not good and event.id not in self.acked:
                self.given_up.add(event.id)
        if first:
            self._on_taken(event)
        return status

    def _send(self, event: Event, delivery: Delivery) -> int:
        body, headers = self.signed(event.id, wrong_secret=delivery.wrong_secret)
        try:
            status = self.endpoint.send(body, headers)
        except (OSError, http.client.HTTPException):
            status = 0
        with self._wake:
            self.attempts.append(Attempt(event.id, event.type, status, delivery.tries + 1, self._clock.time()))
        return status

    def _send_together(self, event: Event, delivery: Delivery) -> list[int]:
        """The same event by several senders who start at one moment."""
        gate, statuses = threading.Barrier(delivery.together), [0] * delivery.together

        def send(place: int) -> None:
            with self.endpoint.connected():
                gate.wait(10)
                statuses[place] = self._send(event, delivery)

        threads = [threading.Thread(target=send, args=(place,), daemon=True) for place in range(delivery.together)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses

    def step(self, position: int = 0) -> int:
        """Take one and send it (a test's way)."""
        return self.attempt(self.take(position))

    def deliver_due(self) -> int:
        """Send, here and now, everything that is due by the clock; how many were sent."""
        sent = 0
        while (due := self._pop_due()) is not None:
            self.attempt(due)
            sent += 1
        return sent

    # --- threads ------------------------------------------------------------------------------------

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
        due = None
        with self._wake:
            while not self._stopped and (due := self._pop_due()) is None:
                self._wake.wait(0.05 if self._queue else 1.0)
            if due is None:
                return False
            self._flying[due.event_id] += 1
        try:
            self.attempt(due)
        finally:
            with self._wake:
                self._flying[due.event_id] -= 1
                if not self._flying[due.event_id]:
                    del self._flying[due.event_id]
                self._wake.notify_all()
        return True

    def wait_idle(self, timeout: float = 30) -> bool:
        """Until nothing is due and nothing is on its way."""
        end = time.monotonic() + timeout
        with self._wake:
            while self._flying or (self._queue and self._queue[0].due <= self._clock.time()):
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._wake.wait(min(left, 0.05))
        return True
