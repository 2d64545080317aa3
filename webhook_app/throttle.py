"""How often each address failed lately: bounded in memory, per process, for refusing and for keeping the log short (S11)."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

WINDOW_S = 60.0
MAX_ADDRESSES = 4_096


class Throttle:
    """Counts failures per address and window; the address that failed longest ago is forgotten first."""

    def __init__(self, *, window_s: float = WINDOW_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._window_s = window_s
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, address: str) -> int:
        """Count a failure of `address`; how many it is in the window now."""
        now = self._clock()
        with self._lock:
            started, count = self._seen.get(address, (now, 0))
            if now - started >= self._window_s:
                started, count = now, 0
            self._seen[address] = (started, count + 1)
            self._seen.move_to_end(address)
            if len(self._seen) > MAX_ADDRESSES:
                self._seen.popitem(last=False)
            return count + 1
