"""The readers of a backfill: a few threads that read ahead of the one writer, never further than a few pages.

Each takes `cover` before it sends (FAULTS 4.1), with no transaction open while Stripe answers. What they read comes out of
`next`; trouble too, so that the writer decides what a failed read means.
"""

import queue
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from models.errors import PivotalError, StripePermissionMissing, StripeStopped, StripeTrouble
from models.store import claims
from models.store.failpoints import fp
from models.store.mirror import Key, load_known
from models.store.session import Database, session_scope
from workers.lists import Walk
from workers.ordering import ReadBounds
from workers.stripe_api import StripeApi
from workers.stripe_objects import Cursor, Read, drop_lines, next_cursor, rows_of
from workers.walks import Plan, Window

THREADS = 12
AT_LEAST = 3
WRITE_S = 0.02
"""About what the writer needs for a page: with answers in 300 ms all readers are of use."""
AHEAD = 3
"""Pages that may wait for the writer: with those in the readers' hands about 16, some 20 MB."""
INVOICES_OF = "invoices_of"
"""Stands for an object type in a want: the paid invoices of a Stripe customer, newest first."""
_REFERENCES = {"price", "product", "coupon", "customer"}


class Page(NamedTuple):
    """A page of a list."""

    walk: Walk
    window: Window
    read: Read
    bounds: ReadBounds
    following: Cursor | None
    last: bool


class Fetched(NamedTuple):
    """An object that was asked for by its id (`read`), or why it couldn't be had."""

    key: Key
    read: Read | None
    bounds: ReadBounds
    error: StripeTrouble | None = None


class Denied(NamedTuple):
    """The key may not read this list."""

    walk: Walk
    error: StripePermissionMissing


class Broken(NamedTuple):
    """A reader can't go on: the run ends with this."""

    error: BaseException


Item = Page | Fetched | Denied | Broken


def size_of(item: Item) -> int:
    """How many objects an item brings."""
    return len(rows_of(item.read)) if isinstance(item, Page) else 1


class WalkReaders:
    """Threads that read `plan` and what is wanted beside it; started when there is work, ended by `close`."""

    def __init__(self, database: Database, api: StripeApi, plan: Plan, stop: threading.Event, threads: int = THREADS) -> None:
        self._database, self._api, self.plan, self._stop = database, api, plan, stop
        self._items: queue.Queue[Item] = queue.Queue(AHEAD)
        self._wants: queue.SimpleQueue[Key] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, args=(n,), name=f"walk-{n}", daemon=True) for n in range(threads)]
        self._seconds = 0.0
        self.wanted: dict[Key, None] = {}

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def want(self, keys: Iterable[Key]) -> None:
        """Read these objects by their ids, before any further page; one read however often one is wanted."""
        for key in keys:
            if key not in self.wanted:
                self.wanted[key] = None
                self._wants.put(key)

    def next(self, wait_s: float) -> Item | None:
        """What was read next, or None when nothing came in time."""
        try:
            return self._items.get(timeout=wait_s) if wait_s else self._items.get_nowait()
        except queue.Empty:
            return None

    def settled(self, key: Key) -> None:
        """A wanted object stands in the database (or never will)."""
        self.wanted.pop(key, None)

    def close(self) -> None:
        """End the threads: who waits for Stripe stops waiting, who has read something throws it away."""
        self._stop.set()
        self.plan.close()
        for thread in self._threads:
            while thread.is_alive():
                while self.next(0.01) is not None:
                    pass
                thread.join(timeout=0.05)

    # --- a thread ----------------------------------------------------------------------------------

    def _useful(self) -> int:
        """How many readers keep the writer busy: few when Stripe answers at once, for each holds a page in memory."""
        return max(AT_LEAST, int(self._seconds / WRITE_S))

    def _work(self, number: int) -> None:
        try:
            while not self._stop.is_set():
                if number >= self._useful():
                    self._stop.wait(0.05)
                elif not self._fetch_wanted():
                    found = self.plan.take(0.05)
                    if found is not None:
                        self._walk(*found)
        except StripeStopped:
            return
        except BaseException as error:  # the writer ends the run with it
            self._put(Broken(error))

    def _put(self, item: Item) -> None:
        while not self._stop.is_set():
            try:
                return self._items.put(item, timeout=0.1)
            except queue.Full:
                continue
        return None

    def _cover(self) -> int:
        with session_scope(self._database) as connection:
            return claims.current_cover(connection)

    def _known(self, key: Key) -> tuple[int, int | None]:
        """The cover, and the mirror's version of an object (0: unknown), before it is asked for."""
        if key[0] == INVOICES_OF:
            return self._cover(), None
        with session_scope(self._database) as connection:
            held = load_known(connection, self._api.connection_id, [key]).get(key)
            return claims.current_cover(connection), held.version if held else 0

    def _walk(self, walk: Walk, window: Window) -> None:
        goes_on = True
        while goes_on and not self._stop.is_set():
            cover = self._cover()
            asked = time.monotonic()
            fp("before_backfill_fetch")
            try:
                read = self._api.page(walk.path, window.params(walk.params), "backfill", window.at)
            except StripePermissionMissing as error:
                self._put(Denied(walk, error))
                window.read = True
                return
            self._seconds += (time.monotonic() - asked - self._seconds) / 8  # a moving average; a lost update is harmless
            fp("after_backfill_fetch")
            drop_lines(read)
            following = next_cursor(read)
            goes_on = self.plan.advance(window, rows_of(read), following)
            self._put(Page(walk, window, read, ReadBounds(read.lo_ms, read.hi_ms, cover), following, not goes_on))
            while goes_on and self._fetch_wanted():
                pass

    def _fetch_wanted(self) -> bool:
        """Read one wanted object, if there is one."""
        try:
            key = self._wants.get_nowait()
        except queue.Empty:
            return False
        cover, version = self._known(key)
        asked = time.monotonic()
        try:
            read = self._read(key)
        except StripeStopped:
            raise
        except StripeTrouble as error:
            if error.passing:
                raise
            self._put(Fetched(key, None, ReadBounds(None, None, cover, version), error))
        except PivotalError as error:  # an id that can't be one of Stripe's
            self._put(Fetched(key, None, ReadBounds(None, None, cover, version), StripeTrouble(str(error))))
        else:
            self._seconds += (time.monotonic() - asked - self._seconds) / 8
            self._put(Fetched(key, read, ReadBounds(read.lo_ms, read.hi_ms, cover, version)))
        return True

    def _read(self, key: Key) -> Read:
        if key[0] == INVOICES_OF:
            return self._api.page("/v1/invoices", {"customer": key[1], "status": "paid"}, "older_invoices")
        return self._api.fetch(*key, "reference" if key[0] in _REFERENCES else "refetch")
