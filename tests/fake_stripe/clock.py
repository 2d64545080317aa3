"""The clock that `created` and `Date` run on: real time, or a virtual one that only moves when told."""

import threading
import time as _time


class Clock:
    """Unix seconds. `Clock()` follows real time; `Clock(1_790_000_000)` stands still until `advance`."""

    def __init__(self, start: float | None = None) -> None:
        self._lock = threading.Lock()
        self._frozen_at = start
        self._offset = 0.0

    def time(self) -> float:
        """Now, with fractions."""
        with self._lock:
            return self._offset + (_time.time() if self._frozen_at is None else self._frozen_at)

    def now(self) -> int:
        """Now, in whole seconds, as Stripe stamps `created`."""
        return int(self.time())

    @property
    def virtual(self) -> bool:
        """Whether it only moves when told."""
        return self._frozen_at is not None

    def advance(self, seconds: float) -> None:
        """Move forward (a virtual clock moves by nothing else)."""
        with self._lock:
            self._offset += seconds

    def freeze(self) -> None:
        """Stop here: changes made from now on share one second."""
        now = self.time()
        with self._lock:
            self._frozen_at, self._offset = now, 0.0

    def thaw(self) -> None:
        """Run with real time again, from where it stands."""
        now = self.time()
        with self._lock:
            self._frozen_at, self._offset = None, now - _time.time()
