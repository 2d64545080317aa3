"""Stand-ins for the network, the threads, Redis and the clock, so that workers take one step at a time in one thread: Stripe's
API without HTTP, readers whose answers come when somebody looks, a bell in memory, waiting that moves a virtual clock."""

import queue
import threading
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from models.store.session import Database
from tests.fake_stripe.api import Request
from tests.fake_stripe.clock import Clock
from workers.reading import Answer, Readers, Want
from workers.stripe_api import StripeApi
from workers.stripe_http import Answer as HttpAnswer
from workers.walk_readers import Broken, Item, WalkReaders

if TYPE_CHECKING:
    from tests.support.world import World

BASE = "http://127.0.0.1:9"  # nobody listens there, and nobody is asked
TICK_S = 0.001
RETRY_S = 0.01


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
        world.answer = response.body
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


class VirtualTime:
    """In the place of `time`, on the virtual clock, which moves a little whenever somebody looks: nobody loops for ever.

    How long a lost race is slept over is drawn at random where it happens; here it is always the same.
    """

    strftime, gmtime = staticmethod(time.strftime), staticmethod(time.gmtime)

    def __init__(self, world: "World") -> None:
        self._world = world

    def monotonic(self) -> float:
        self._world.clock.advance(TICK_S)
        return self._world.clock.time()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._world.counts["races lost"] += 1
            self._world.clock.advance(RETRY_S)


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

    def look(self, held: Any, count: int) -> tuple[bool, set[int]]:
        found = [self.take_flag(partition) for partition in sorted(held)]
        return any(found), {partition for partition in self.flags if partition < count}

    def worker_count(self) -> int:
        return 1

    def flush(self) -> None:
        """Everything in Redis is gone."""
        self.flags, self.jobs = set(), set()


class StepReaders(Readers):
    """The drain's readers without threads. When somebody looks, what was asked for is read, and what was read comes back; with
    a chance of `world.late` each of the two waits for a later look, while the drain goes on."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.database, world.keyring, world.settings)
        self._world = world
        self._asked: list[Want] = []
        self._read: list[Answer] = []

    def want(self, want: Want) -> None:
        if (want.connection_id, want.key) not in self.in_flight:
            self.in_flight.add((want.connection_id, want.key))
            self._asked.append(want)

    def answers(self, wait_s: float = 0.0) -> list[Answer]:
        world = self._world
        while self._asked and not world.chance(world.late):
            self._read.append(self._answer(self._asked.pop(world.choose(len(self._asked)))))
        found: list[Answer] = []
        while self._read and not world.chance(world.late):
            answer = self._read.pop(world.choose(len(self._read)))
            self.in_flight.discard((answer.want.connection_id, answer.want.key))
            found.append(answer)
        world.counts["answers late"] += len(self._read)
        return found


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
