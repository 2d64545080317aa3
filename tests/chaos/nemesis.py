"""The nemesis: kills, stops, empties, slows down and cuts whatever it likes, while a load is delivered (FAULTS 8.3)."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import psutil
import redis

from models.store.failpoints import NAMES
from tests.chaos.cells import APART
from tests.support.postgres import EmbeddedPostgres
from tests.support.stack import Stack

ONLINE = tuple(name for name in NAMES if name not in APART)
STRIPE_FAULTS = ("status", "reset", "truncate", "slow", "hang", "rate_limit", "lock_timeout")
LONGEST_S = 2.5
"""Of a pause, a slow or a cut line: longer than the leases of the installation."""


class Act(NamedTuple):
    """What it can do: `act` returns whether it did, `weight` is how often it is chosen. `kills`: counts as a kill."""

    name: str
    weight: int
    kills: bool
    act: Callable[[], bool]


class Nemesis:
    """`act` does one thing, now. What passes (a pause, a cut line) is made good by a later `tend` or by `heal`. The same seed
    chooses the same acts; what they hit depends on the moment. `postgres`: the server, where it is ours to kill."""

    def __init__(self, stack: Stack, seed: int, postgres: EmbeddedPostgres | None = None) -> None:
        self._stack, self._postgres = stack, postgres
        self._rng = random.Random(seed)
        self._undo: list[tuple[float, Callable[[], None]]] = []
        self._ordered: dict[str, str] = {}
        self.done: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self._acts = [act for act in self._all() if act.weight]

    def _all(self) -> list[Act]:
        on_postgres = not self._stack.database.on_sqlite
        return [
            Act("web process", 12, True, self._kill_web_process),
            Act("worker", 12, True, self._kill_worker),
            Act("kill at a failpoint", 12, True, self._kill_at_failpoint),
            Act("Valkey", 5, True, self._kill_valkey),
            Act("clock", 3, True, self._kill_clock),
            Act("gunicorn", 2, True, self._kill_gunicorn),
            Act("everything", 1, True, self._kill_everything),
            Act("PostgreSQL's backend", 3 * on_postgres, True, self._kill_backends),
            Act("PostgreSQL", (self._postgres is not None) * 1, True, self._kill_postgres),
            Act("stop and go on", 6, False, self._pause),
            Act("another failure at a failpoint", 6, False, self._fail),
            Act("FLUSHALL", 3, False, self._flush),
            Act("line cut", 5, False, self._cut),
            Act("line hangs", 3, False, self._hang),
            Act("line slow", 3, False, self._slow),
            Act("Stripe fails", 4, False, self._stripe_fails),
        ]

    @property
    def killed(self) -> int:
        """How often so far."""
        return sum(self.kills.values())

    def act(self) -> None:
        """Do something, now."""
        chosen = self._rng.choices(self._acts, [act.weight for act in self._acts])[0]
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if chosen.act():
                (self.kills if chosen.kills else self.done)[chosen.name] += 1

    def tend(self) -> None:
        """Make good what is over, and count the orders that somebody came by."""
        for name, action in list(self._ordered.items()):
            if self._stack.came_by(name):
                del self._ordered[name]
                (self.kills if action == "kill" else self.done)[f"{action.partition(':')[0]} at a failpoint"] += 1
        now = time.monotonic()
        due = [undo for at, undo in self._undo if at <= now]
        self._undo = [(at, undo) for at, undo in self._undo if at > now]
        for undo in due:
            undo()

    def heal(self) -> None:
        """Make everything good."""
        for _, undo in self._undo:
            undo()
        self._undo.clear()
        self._stack.fake.faults.clear()
        for name in self._ordered:
            (self._stack.orders / name).unlink(missing_ok=True)
        self.tend()
        self._ordered.clear()

    def _later(self, undo: Callable[[], None]) -> bool:
        self._undo.append((time.monotonic() + self._rng.uniform(0.1, LONGEST_S), undo))
        return True

    # --- kills ---------------------------------------------------------------------------------------

    def _kill_web_process(self) -> bool:
        processes = self._stack.web_workers()
        if processes:
            self._rng.choice(processes).kill()
        return bool(processes)

    def _kill_worker(self) -> bool:
        return self._kill(self._rng.choice([name for name in self._stack.workers if name != "clock"]))

    def _kill_clock(self) -> bool:
        return self._kill("clock")

    def _kill(self, name: str) -> bool:
        worker = self._stack.workers[name]
        if worker.died() is not None:
            return False
        worker.send(signal.SIGKILL)
        return True

    def _kill_at_failpoint(self) -> bool:
        return self._order("kill")

    def _kill_gunicorn(self) -> bool:
        """Only its master half of the time: its processes must notice."""
        web = self._stack.web
        if web is None or web.process is None or web.process.poll() is not None:
            return False
        if self._rng.random() < 0.5:
            os.kill(web.process.pid, signal.SIGKILL)
        else:
            web.kill()
        return True

    def _kill_valkey(self) -> bool:
        self._stack.valkey.kill()
        if self._rng.random() < 0.5:
            self._stack.valkey.forget()
        return True

    def _kill_everything(self) -> bool:
        for name in self._stack.workers:
            self._kill(name)
        if self._stack.web is not None:
            self._stack.web.kill()
        return self._kill_valkey()

    def _kill_backends(self) -> bool:
        """Every connection of one role ends at the server."""
        from models.store import bulk
        from models.store.session import session_scope

        role = self._rng.choice(["pivotal-web", "pivotal-worker"])
        sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = ?"
        with session_scope(self._stack.database, write=True) as connection:
            mine = " AND datname = current_database() AND pid <> pg_backend_pid()"
            return bool(bulk.run(connection, sql + mine, [role]).scalar())

    def _kill_postgres(self) -> bool:
        assert self._postgres is not None
        self._postgres.kill()
        self._postgres.start()
        self._stack.database.dispose()
        return True

    # --- what passes -----------------------------------------------------------------------------------

    def _order(self, action: str) -> bool:
        """Counted when somebody has come by."""
        name = self._rng.choice(ONLINE)
        if name not in self._ordered:
            self._ordered[name] = action
            self._stack.order(name, action)
        return False

    def _fail(self) -> bool:
        return self._order(self._rng.choice(["raise", "drop", f"sleep:{self._rng.uniform(0.1, LONGEST_S):.1f}"]))

    def _pause(self) -> bool:
        stack = self._stack
        found = [worker.process.pid for worker in stack.workers.values() if worker.process is not None]
        found += [process.pid for process in stack.web_workers()]
        if stack.valkey.process is not None:
            found.append(stack.valkey.process.pid)
        process = psutil.Process(self._rng.choice(found))
        process.suspend()

        def go_on() -> None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

        return self._later(go_on)

    def _flush(self) -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self._stack.valkey.url, socket_timeout=0.5) as client:
            client.flushall()
            return True
        return False

    def _line(self) -> str:
        return self._rng.choice(sorted(self._stack.proxies))

    def _cut(self) -> bool:
        proxy = self._stack.proxies[self._line()]
        proxy.cut()
        return self._later(proxy.resume)

    def _hang(self) -> bool:
        proxy = self._stack.proxies[self._line()]
        proxy.hang()
        return self._later(proxy.resume)

    def _slow(self) -> bool:
        proxy = self._stack.proxies[self._line()]
        proxy.slow(self._rng.uniform(0.01, 0.2))
        return self._later(proxy.resume)

    def _stripe_fails(self) -> bool:
        kind = self._rng.choice(STRIPE_FAULTS)
        self._stack.fake.faults.order(
            kind, count=self._rng.randint(1, 3), status=self._rng.choice([500, 502, 503]), seconds=1.0
        )
        return True
