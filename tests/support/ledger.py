"""A client's ledger: delivers events until each is acknowledged, and keeps which were."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.support.stack import WITHIN_S, Stack


class Ledger:
    """Delivers like Stripe: each event again and again until it is answered 2xx, and keeps which were. `slowest_s`: the
    longest that one took, from the first try to the answer that counts."""

    def __init__(self, stack: Stack, threads: int = 8) -> None:
        self._stack, self._threads = stack, threads
        self.acked: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.slowest_s = 0.0
        self._lock = threading.Lock()
        self._count = 0
        self._to_do: dict[int, Callable[[], None]] = {}

    def send(self, bodies: Sequence[bytes], *, at: Mapping[int, Callable[[], None]] | None = None) -> None:
        """Deliver all, several at once, and start again what dies. `at`: what to do at the how manieth acknowledgement."""
        deadline = time.monotonic() + WITHIN_S
        self._to_do, self._count = dict(at or {}), 0
        with ThreadPoolExecutor(self._threads) as pool:
            waiting = [pool.submit(self.deliver, body, deadline) for body in bodies]
            while not all(one.done() for one in waiting):
                self._stack.tend()
                time.sleep(0.02)
        refused = sum(not one.result() for one in waiting)
        assert not refused, f"{refused} never acknowledged: {dict(self.statuses)}\n{self._stack.logs()}"

    def deliver(self, body: bytes, deadline: float) -> bool:
        """One event until it is acknowledged; whether it was before `deadline` (monotonic)."""
        event_id, started = json.loads(body)["id"], time.monotonic()
        while time.monotonic() < deadline:
            web = self._stack.web
            status = web.deliver(self._stack.record.webhook_path, body, timeout=5) if web is not None else 0
            with self._lock:
                self.statuses[status] += 1
                if status == 200:
                    self.acked.add(event_id)
                    self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                    self._count += 1
                    if act := self._to_do.pop(self._count, None):
                        act()
                    return True
            time.sleep(0.1)
        return False
