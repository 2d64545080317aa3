"""Which connections there are and how their deliveries are signed, at most one second old.

There are at most a live and a test connection, so the cache is simply all of them: an unknown id costs no query, and a flood
of made-up ids costs no memory. Under load the last 300 ms of that second are used to read afresh in the background, so nobody
waits. With the database away what is known stays in force: a signature can still be told from a wrong one, and the INSERT
decides (503).
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from models.errors import DatabaseAway
from models.store.logs import log

FRESH_S = 0.7
MAX_AGE_S = 1.0
SOON_S = 0.1  # from `fresh` to `get`, at most
WAIT_S = 0.5  # for a read to answer; a read that already takes longer is not waited for at all


class Known(NamedTuple):
    """What the endpoint needs of one connection."""

    id: int
    livemode: bool
    account_id: str | None
    secrets: tuple[bytes, ...]


class ConnectionCache:
    """`get(public_id)`; `load` reads all open connections by public id. Reads happen on one background thread per process,
    so a database that hangs holds no request longer than `WAIT_S`."""

    def __init__(self, load: Callable[[], Mapping[str, Known]], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._start(os.getpid())

    def _start(self, pid: int) -> None:
        """A clean state for this process: threads and held locks don't survive a fork."""
        self._pid = pid
        self._changed = threading.Condition()
        self._known: Mapping[str, Known] | None = None
        self._read_at = float("-inf")
        self._reading_since: float | None = None
        self._rounds = 0

    def get(self, public_id: str) -> Known | None:
        """The connection, or None if there is none of that id.

        Raises:
            DatabaseAway: nothing has been read yet, and nothing could be read in time.
        """
        known = self._known
        if known is None or self._pid != os.getpid() or self._clock() - self._read_at >= FRESH_S:
            known = self._refreshed()
        return known.get(public_id)

    def fresh(self) -> bool:
        """Whether `get`, asked now, answers without a read that could take its time."""
        return self._known is not None and self._pid == os.getpid() and self._clock() - self._read_at < MAX_AGE_S - SOON_S

    def _refreshed(self) -> Mapping[str, Known]:
        pid = os.getpid()
        if self._pid != pid:
            self._start(pid)
        with self._changed:
            if self._reading_since is None:
                self._reading_since = time.monotonic()
                threading.Thread(target=self._read, name="connections", daemon=True).start()
            if self._clock() - self._read_at >= MAX_AGE_S:
                this_round = self._rounds
                patience = self._reading_since + WAIT_S - time.monotonic()
                self._changed.wait_for(lambda: self._rounds > this_round, timeout=max(0.0, patience))
            if self._known is None:
                raise DatabaseAway("database: the connections could not be read")
            return self._known

    def _read(self) -> None:
        known = None
        try:
            known = self._load()
        except Exception as error:
            log.warning("connections_unread", problem=type(error).__name__)
        with self._changed:
            if known is not None:
                self._known, self._read_at = known, self._clock()
            self._reading_since = None
            self._rounds += 1
            self._changed.notify_all()
