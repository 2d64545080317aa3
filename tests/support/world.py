"""A world for histories: one migrated database used again and again, a fake Stripe without HTTP, workers that take one step at
a time, and one place, `pause`, where whatever may happen in between happens. Single-threaded, so that a seed tells it all."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
import stripe
from sqlalchemy import event

from models.settings import AppSettings
from models.store.connections import ConnectionRecord, NewConnection, create_connection
from models.store.keys import Keyring
from models.store.logs import set_up_logs
from models.store.session import Database, session_scope
from models.tables import Base
from tests.fake_stripe.api import Request
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.environment import API_KEY, WEBHOOK_SECRET
from workers import backfill, backfill_stages
from workers.drain import Tools
from workers.reading import Answer, Readers, Want
from workers.stripe_api import Patience, StripeApi
from workers.stripe_http import Answer as HttpAnswer
from workers.walk_readers import Broken, Item, WalkReaders

START = 1_790_000_000
BASE = "http://127.0.0.1:9"  # nobody listens there, and nobody is asked
FP_MODULES = ("events", "absorb", "drain", "backfill_writer", "backfill_stages")
IN_TRANSACTION = ("apply_", "between_apply_and_recompute", "before_commit_of_batch", "before_backfill_commit")
SHORT = Patience(attempts=2, seconds=20.0, throttled_s=20.0)


class Crash(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


class LocalTransport:
    """Stripe's API in this process. Something may happen before Stripe looks, and between its look and its answer."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def get(self, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        world = self._world
        world.pause("asked")
        lower = {name.lower(): value for name, value in headers.items()}
        response = world.fake.api.handle(Request("GET", url.removeprefix(BASE), lower))
        world.pause("answered")
        if "Date" in response.headers:
            response.headers["Date"] = formatdate(int(world.clock.time() + world.fake.api.date_skew), usegmt=True)
        return HttpAnswer(response.status, response.headers, response.body)

    def close(self) -> None:
        """Nothing to close."""


class VirtualStop(threading.Event):
    """Waiting moves the virtual clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.advance(timeout or 0.0)
        return self.is_set()


class LocalBell:
    """Flags and jobs in memory; `away` stands for a Redis that doesn't answer."""

    def __init__(self) -> None:
        self.flags: set[int] = set()
        self.jobs: set[int] = set()
        self.away = False

    def wake(self, partitions: Any) -> bool:
        if self.away:
            return False
        self.jobs |= set(partitions) - self.flags
        self.flags |= set(partitions)
        return True

    def rung(self) -> set[int]:
        return set(self.flags)

    def take_flag(self, partition: int) -> bool:
        if self.away:
            raise ConnectionError("away")
        found = partition in self.flags
        self.flags.discard(partition)
        return found

    def flush(self) -> None:
        """Everything in Redis is gone."""
        self.flags, self.jobs = set(), set()


class StepReaders(Readers):
    """The drain's readers without threads: an answer comes when somebody looks, or later."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.database, world.keyring, world.settings)
        self._world = world
        self._asked: list[Want] = []

    def want(self, want: Want) -> None:
        if (want.connection_id, want.key) not in self.in_flight:
            self.in_flight.add((want.connection_id, want.key))
            self._asked.append(want)

    def answers(self, wait_s: float = 0.0) -> list[Answer]:
        found: list[Answer] = []
        while self._asked and not (found and self._world.chance(0.3)):
            answer = self._answer(self._asked.pop(self._world.choose(len(self._asked))))
            self.in_flight.discard((answer.want.connection_id, answer.want.key))
            found.append(answer)
        return found

    def _api(self, connection_id: int) -> StripeApi:
        return self._world.api(self._count(connection_id))


class StepWalkReaders(WalkReaders):
    """A backfill's readers without threads: a window is walked when its writer has nothing left to write."""

    def __init__(self, database: Database, api: StripeApi, plan: Any, stop: threading.Event, threads: int = 0) -> None:
        super().__init__(database, api, plan, stop, 0)
        self._items: queue.Queue[Item] = queue.Queue()

    def next(self, wait_s: float) -> Item | None:
        if self._items.empty() and wait_s:
            try:
                if not self._fetch_wanted():
                    found = self.plan.take(0.0)
                    if found is not None:
                        self._walk(*found)
            except Exception as error:
                self._items.put(Broken(error))
        return None if self._items.empty() else self._items.get_nowait()


class World:
    """`begin` empties it for the next history; `on_pause(place)` is what may happen meanwhile (it may raise `Crash`)."""

    def __init__(self, database: Database, settings: AppSettings, keyring: Keyring) -> None:
        self.database, self.keyring = database, keyring
        self.settings = settings.model_copy(update={"partitions": 2})
        if database.on_sqlite:
            event.listen(database.engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA synchronous=OFF").close())
        with session_scope(database) as connection:
            self._tables = [
                table.name
                for table in reversed(Base.metadata.sorted_tables)
                if not connection.exec_driver_sql(f"SELECT count(*) FROM {table.name}").scalar()
            ]
        self.on_pause: Callable[[str], None] = lambda _place: None
        self.chance: Callable[[float], bool] = lambda _p: False
        self.choose: Callable[[int], int] = lambda _n: 0

    def begin(self, seed: int) -> None:
        """An empty database with a live and a test connection, and a new Stripe account."""
        with session_scope(self.database, write=True) as connection:
            for name in self._tables:
                connection.exec_driver_sql(f"DELETE FROM {name}")
        self.clock = Clock(START + 0.25)
        self.fake = FakeStripe(seed=seed, clock=self.clock)
        self.bell = LocalBell()
        self.offset_ms = 0
        self._api: StripeApi | None = None
        live = NewConnection("Live", "live", self.fake.api_key, WEBHOOK_SECRET, api_base=BASE)
        test = NewConnection("Test", "test", API_KEY.replace("live", "test"), WEBHOOK_SECRET, api_base=BASE)
        with session_scope(self.database, write=True) as connection:
            self.record: ConnectionRecord = create_connection(connection, self.keyring, live, START)
            self.other: ConnectionRecord = create_connection(connection, self.keyring, test, START)

    def now_ms(self) -> int:
        """Our clock, which may be off."""
        return int(self.clock.time() * 1000) + self.offset_ms

    def tools(self) -> Tools:
        """What a fresh worker process has in hand."""
        tools = Tools(self.settings, self.database, self.bell, self.keyring, now_ms=self.now_ms)  # type: ignore[arg-type]
        tools.readers = StepReaders(self)
        return tools

    def api(self, count: Any = None) -> StripeApi:
        """The connection's Stripe account, read in this process."""
        api = StripeApi(self.record, self.fake.api_key, count=count, patience=SHORT, stop=VirtualStop(self.clock))
        api._courier.transport = LocalTransport(self)  # type: ignore[assignment]
        return api

    def pause(self, place: str) -> None:
        """Anything may happen here."""
        self.on_pause(place)

    def failpoint(self, name: str) -> None:
        """A failpoint of ours; inside a transaction nothing but a crash can happen."""
        self.on_pause(f"in:{name}" if name.startswith(IN_TRANSACTION) else name)

    @contextmanager
    def installed(self) -> Iterator["World"]:
        """Put the world in the place of the network, the threads and the clock."""
        set_up_logs("ERROR")
        with pytest.MonkeyPatch.context() as patch:
            for module in FP_MODULES:
                patch.setattr(f"workers.{module}.fp", self.failpoint)
            virtual = SimpleNamespace(monotonic=self._monotonic, sleep=self._sleep, time_ns=None)
            for module in ("stripe_api", "queue"):
                patch.setattr(f"workers.{module}.time", virtual)
            patch.setattr(backfill, "open_api", lambda *_args, count=None, **_more: self.api(count))
            patch.setattr(backfill_stages, "WalkReaders", StepWalkReaders)
            patch.setattr(stripe, "enable_telemetry", False)
            yield self

    def _monotonic(self) -> float:
        return self.clock.time()

    def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
