"""Reads beside the drain: a few threads ask Stripe while events go on being applied. No transaction is open meanwhile."""

import queue
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.errors import NotFound, PivotalError, SettingsError, StripeKeyRefused, StripeNotFound, StripeTrouble
from models.settings import AppSettings
from models.store import claims, mirror
from models.store.connections import load_connection
from models.store.failpoints import fp
from models.store.keys import Keyring
from models.store.mirror import Key
from models.store.session import Database, session_scope
from workers.ordering import ReadBounds
from workers.stripe_objects import Read

if TYPE_CHECKING:
    from workers.stripe_api import StripeApi

THREADS = 4


@dataclass(frozen=True, slots=True)
class Want:
    """One object to read, of one connection. `purpose` is what the call is counted under."""

    connection_id: int
    key: Key
    purpose: str = "refetch"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `read` with its bounds, or `error`. `account_alive`: after a 404, a probe of the account succeeded.
    `missing`: permissions without which something was left out.
    """

    want: Want
    read: Read | None = None
    bounds: ReadBounds | None = None
    error: PivotalError | None = None
    account_alive: bool = False
    missing: frozenset[str] = frozenset()


class Readers:
    """A pool of reading threads, started on the first want. One read answers everybody who waits for an object."""

    def __init__(self, database: Database, keyring: Keyring, settings: AppSettings, threads: int = THREADS) -> None:
        self._database, self._keyring, self._settings = database, keyring, settings
        self._size = threads
        self._threads: list[threading.Thread] = []
        self._wants: queue.SimpleQueue[Want | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._apis: dict[int, StripeApi] = {}
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self.in_flight: set[tuple[int, Key]] = set()

    def want(self, want: Want) -> None:
        """Ask for an object unless it is being read already."""
        if (want.connection_id, want.key) in self.in_flight:
            return
        self.in_flight.add((want.connection_id, want.key))
        self._wants.put(want)
        if len(self._threads) < min(self._size, len(self.in_flight)):
            thread = threading.Thread(target=self._work, name="reader", daemon=True)
            self._threads.append(thread)
            thread.start()

    def answers(self, wait_s: float = 0.0) -> list[Answer]:
        """The answers that have come; waits up to `wait_s` for the first while something is under way."""
        found: list[Answer] = []
        while self.in_flight:
            try:
                answer = self._answers.get(timeout=wait_s) if wait_s and not found else self._answers.get_nowait()
            except queue.Empty:
                break
            self.in_flight.discard((answer.want.connection_id, answer.want.key))
            found.append(answer)
        return found

    def take_calls(self) -> dict[str, int]:
        """Calls to Stripe since the last time, by counter name."""
        with self._lock:
            calls, self._calls = dict(self._calls), Counter()
        return calls

    def forget(self, connection_id: int) -> None:
        """Open the connection's API anew next time (its key or state changed)."""
        with self._lock:
            self._apis.pop(connection_id, None)

    def close(self) -> None:
        """End the threads; what is under way is finished first."""
        for _ in self._threads:
            self._wants.put(None)
        for thread in self._threads:
            thread.join(timeout=5)
        for api in self._apis.values():
            api.close()

    def _work(self) -> None:
        while (want := self._wants.get()) is not None:
            try:
                self._answers.put(self._answer(want))
            except Exception as error:  # a broken answer must not end the thread, nor leave the want in flight
                self._answers.put(Answer(want, error=StripeTrouble(f"the read failed: {type(error).__name__}")))

    def _answer(self, want: Want) -> Answer:
        try:
            api = self._api(want.connection_id)
            with session_scope(self._database) as connection:
                cover = claims.current_cover(connection)  # before the request is sent (FAULTS 4.1)
                held = mirror.load_known(connection, want.connection_id, [want.key]).get(want.key)
            fp("before_refetch")
            api, read = self._fetched(api, want)
            fp("after_refetch")
        except (StripeTrouble, NotFound, SettingsError) as error:
            alive = isinstance(error, StripeNotFound) and self._alive(want.connection_id)
            return Answer(want, error=error, account_alive=alive)
        return Answer(
            want, read, ReadBounds(read.lo_ms, read.hi_ms, cover, held.version if held else 0), missing=frozenset(api.missing)
        )

    def _fetched(self, api: "StripeApi", want: Want) -> "tuple[StripeApi, Read]":
        """The object, and the API that gave it. A key that is refused may have been replaced since this worker opened it: the
        one that is stored now decides, else the first worker to come by would disconnect what was just given a good key."""
        try:
            return api, api.fetch(*want.key, want.purpose)
        except StripeKeyRefused:
            self.forget(want.connection_id)
            api = self._api(want.connection_id)
            return api, api.fetch(*want.key, want.purpose)

    def _alive(self, connection_id: int) -> bool:
        """Whether the account answers this key at all: a key of the wrong mode gives 404 for everything (F69)."""
        try:
            rows = self._api(connection_id).read("/v1/customers", {"limit": 1}, "probe").data.get("data")
            with session_scope(self._database) as connection:
                livemode = load_connection(connection, connection_id).livemode
        except StripeTrouble:
            return False
        first = rows[0] if isinstance(rows, list) and rows else None
        return isinstance(first, dict) and first.get("livemode") is livemode

    def _api(self, connection_id: int) -> "StripeApi":
        from workers.stripe_api import open_api  # 19 MB: only a worker that reads has the SDK in memory

        with self._lock:
            if connection_id in self._apis:
                return self._apis[connection_id]
        api = open_api(self._database, self._keyring, self._settings, connection_id, count=self._count(connection_id))
        with self._lock:
            return self._apis.setdefault(connection_id, api)

    def _count(self, connection_id: int) -> Callable[[str, str], None]:
        def count(purpose: str, _endpoint: str) -> None:
            with self._lock:
                self._calls[f"stripe_calls:{connection_id}:{purpose}"] += 1

        return count
