"""Rings the bell behind the answers: after each commit, on a thread of its own, so that Redis never delays a request.

Never suppressed by time: partitions named while a ring is under way are rung right after it. What could not be rung (Redis
away) is kept and tried again each second; should the process end first, the sweeper finds the rows (DESIGN 1).
"""

import os
import threading
from collections.abc import Callable, Iterable

RETRY_S = 1.0


class BackgroundRinger:
    """Call it with partitions; it returns at once. `wake` rings and says whether it could."""

    def __init__(self, wake: Callable[[Iterable[int]], bool], retry_s: float = RETRY_S) -> None:
        self._wake = wake
        self._retry_s = retry_s
        self._start(os.getpid())

    def _start(self, pid: int) -> None:
        self._pid = pid
        self._changed = threading.Condition()
        self._pending: set[int] = set()
        self._thread: threading.Thread | None = None
        self._ringing = False

    def __call__(self, partitions: set[int]) -> None:
        """These partitions have new pending rows, committed."""
        if self._pid != os.getpid():
            self._start(os.getpid())
        with self._changed:
            self._pending |= partitions
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is left to ring, at most `timeout_s`; whether nothing is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending and not self._ringing, timeout=timeout_s)

    def _run(self) -> None:
        failed: set[int] = set()
        while True:
            partitions = self._next(failed)
            failed = set() if not partitions or self._wake(partitions) else partitions
            if failed:
                with self._changed:
                    self._pending |= failed

    def _next(self, failed: set[int]) -> set[int]:
        """What to ring now: at once what is new, after a second what failed before."""
        with self._changed:
            self._ringing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._pending - failed, timeout=self._retry_s if failed else None)
            partitions, self._pending, self._ringing = self._pending, set(), True
            return partitions
