"""What waits to be sent to one endpoint, by when it is due."""

import threading
from collections import Counter
from heapq import heapify, heappop, heappush

import msgspec

from tests.fake_stripe.clock import Clock


class Delivery(msgspec.Struct, order=True):
    """A delivery that is due; ordered by when. `together`: so many at the same moment."""

    due: float
    number: int
    event_id: str
    tries: int = 0
    together: int = 1
    wrong_secret: bool = False


class Waiting:
    """The queue. Hold `_wake` for what takes more than one step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: list[Delivery] = []
        self._held: list[Delivery] = []  # until a later event has gone ahead
        self._flying: Counter[str] = Counter()  # on their way, by event
        self._number = 0
        self._wake = threading.Condition()

    def _push(
        self, event_id: str, seconds: float, tries: int = 0, *, together: int = 1, wrong_secret: bool = False
    ) -> Delivery:
        self._number += 1
        pushed = Delivery(self._clock.time() + seconds, self._number, event_id, tries, together, wrong_secret)
        heappush(self._queue, pushed)
        self._wake.notify()
        return pushed

    def _let_go(self) -> None:
        """A later event has been queued: those that waited for one follow it at once."""
        held, self._held = self._held, []
        for one in held:
            if one in self._queue:
                self._queue.remove(one)
                heapify(self._queue)
                self._push(one.event_id, 0, together=one.together, wrong_secret=one.wrong_secret)

    def spread(self, seconds: float) -> None:
        """What is due falls due evenly over so many seconds: a burst."""
        with self._wake:
            now = self._clock.time()
            waiting = sorted(one for one in self._queue if one.due <= now)
            for place, one in enumerate(waiting):
                one.due = now + seconds * place / max(1, len(waiting))
            heapify(self._queue)

    def holding(self) -> threading.Condition:
        """While it is entered, nothing is sent."""
        return self._wake

    def pending(self) -> list[Delivery]:
        """What waits, soonest first."""
        with self._wake:
            return sorted(self._queue)

    def take(self, position: int = 0) -> Delivery:
        """Take one out of the queue, by its place in `pending` (out of order on purpose)."""
        with self._wake:
            chosen = sorted(self._queue)[position]
            self._queue.remove(chosen)
            heapify(self._queue)
            return chosen

    def clear(self) -> None:
        """Nothing waits any more."""
        with self._wake:
            self._queue.clear()

    def _pop_due(self) -> Delivery | None:
        """The next that is due; a duplicate of one that is on its way waits for its answer."""
        aside: list[Delivery] = []
        found = None
        with self._wake:
            while self._queue and self._queue[0].due <= self._clock.time():
                one = heappop(self._queue)
                if not self._flying[one.event_id]:
                    found = one
                    break
                aside.append(one)
            for one in aside:
                heappush(self._queue, one)
        return found
