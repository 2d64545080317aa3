"""Random histories on real processes (FAULTS 8.1, 8.3): gunicorn, two workers, the clock, a Valkey and a fake Stripe over HTTP.

Stripe changes, also while it tells; events come signed through the endpoint, in any order, twice, later, or never; backfills
run while they come; processes are killed or stopped, Redis is emptied. In the end everything is told and drained, what was lost
is read in by a whole backfill, and the judge compares every figure with what `explain` makes of Stripe's objects.
"""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import redis

from models.store import customers, runs
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.endpoint import RECOMMENDED
from tests.fake_stripe.records import Event
from tests.fake_stripe.server import FakeStripe
from tests.support.changing import Account
from tests.support.environment import environment
from tests.support.ledger import Ledger
from tests.support.stack import Stack
from tests.support.web_process import ROOT
from workers.processes import spawn

SINCE = 12 * 3600  # Stripe's clock begins so long ago and only moves by acts: no event is from the future
VERSIONS = ("2026-10-28.endive", "2025-03-31.basil", "2020-08-27")
WITHOUT = ("draft", "delete_draft", "delete_coupon")
"""What may be asked for once it is gone: a 404 is believed a minute later, on the clock of this machine."""
BACKFILL_S = 60


class Installation:
    """A fake Stripe, an installation on `database`, and a client that keeps what was acknowledged. Use `with`."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.fake = FakeStripe(seed=7, clock=Clock(time.time() - SINCE))
        self.fake.start()
        for version in VERSIONS:
            self.fake.deliver_to(lambda _body, _headers: 200, version=version, auto=False)
        self.stack = Stack(database, self.fake, directory, workers=2)
        self.ledger = Ledger(self.stack)
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> "Installation":
        self.stack.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.__exit__(*error)
        self.fake.stop()


class ProcessHistory:
    """One history with Stripe customers, prices and customers of ours of its own. `run` raises AssertionError."""

    def __init__(self, place: Installation, seed: int) -> None:
        self.place, self.seed = place, seed
        self.stack, self.fake, self.counts = place.stack, place.fake, place.counts
        self.rng = random.Random(seed)
        self.drops = self.rng.choice([0.0, 0.0, 0.0, 0.15])
        self.versions = self.rng.sample(VERSIONS, self.rng.choice([1, 2]))
        self.told: list[Event] = []
        self.sent: list[Event] = []
        self.must_read_all = False
        self.trace: list[str] = []
        self._running: subprocess.Popen[str] | None = None

    def run(self) -> None:
        """From the first sign-up to the judge."""
        self.fake.recorder.listeners.append(self._on_event)
        try:
            self._begin()
            for _ in range(self.rng.randint(2, 4)):
                self._chapter()
            self._end()
        finally:
            self.fake.recorder.listeners.remove(self._on_event)
            self._end_backfill(kill=True)

    def _begin(self) -> None:
        name = f"h{self.seed}-{len(self.place.ledger.acked)}"
        domains = [f"{name}-{letter}.com" for letter in "abc"]
        with session_scope(self.stack.database, write=True) as connection:
            for domain in domains:
                customers.import_customer(connection, {"name": domain, "domain": domain}, int(time.time()))
        self.account = Account(self.fake, self.rng, [*domains, "gmail.com"], WITHOUT)
        if self.rng.random() < 0.2:  # Stripe customers from before we were told of anything
            with self.fake.change.silently():
                self.account.begin()
            self.must_read_all = True
        else:
            self.account.begin()

    def _on_event(self, event: Event) -> None:
        if event.type in RECOMMENDED:
            self.told.append(event)

    # --- a chapter -----------------------------------------------------------------------------------

    def _chapter(self) -> None:
        """Some changes, and most of what is told of them, while something goes wrong."""
        rng = self.rng
        for _ in range(rng.randint(3, 8)):
            self._change()
        if rng.random() < 0.2:
            self._start_backfill()
        events = self._chosen()
        if not events:
            return
        bodies = [event.bodies[rng.choice(self.versions)] for event in events]
        faults = rng.sample(list(self._faults()), rng.choice([0, 1, 1, 2]))
        moments = rng.sample(range(1, len(bodies) + 1), min(len(bodies), len(faults) + 1))
        acts = dict(zip(moments, [*(self._faults()[name] for name in faults), self._change], strict=False))
        self.trace.append(f"{len(bodies)} deliveries, meanwhile {faults} at {moments}")
        paused = [worker for worker in self.stack.workers.values() if worker.wanted]
        try:
            self.place.ledger.send(bodies, at=acts)
            if "pauses" in faults:
                time.sleep(rng.choice([0.1, 1.0, 2.0]))  # the longest is longer than a lease
        finally:
            for worker in paused:
                if worker.died() is None:
                    worker.send(signal.SIGCONT)
        self._end_backfill(kill=rng.random() < 0.4)

    def _change(self) -> None:
        """Something changes at Stripe, often within the same second."""
        self.fake.clock.advance(self.rng.choice([0, 0, 0.4, 1, 3, 7]))
        if self.rng.random() < self.drops / 4:
            with self.fake.change.silently():
                self.trace.append(f"untold: {self.account.change()}")
            self.must_read_all = True
        else:
            self.trace.append(self.account.change())

    def _chosen(self) -> list[Event]:
        """What is delivered now, in its order: part of what waits, some of it twice, and some that came before once more."""
        rng = self.rng
        waiting, self.told = self.told, []
        chosen: list[Event] = []
        for event in waiting:
            roll = rng.random()
            if roll < self.drops:
                self.must_read_all = True
                self.counts["events lost"] += 1
            elif roll < 0.8:
                chosen.append(event)
            else:
                self.told.append(event)
        self.counts["events"] += len(chosen)
        again = rng.choices([*chosen, *self.sent], k=len(chosen) // 4) if chosen else []
        self.counts["events twice"] += len(again)
        self.sent += chosen
        rng.shuffle(together := chosen + again)
        return together

    def _faults(self) -> dict[str, Callable[[], None]]:
        found = {"worker kills": self._kill_worker, "web worker kills": self._kill_web_worker, "pauses": self._pause,
                 "Redis emptied": self._flush, "clock kills": self._kill_clock}  # fmt: skip
        if self.seed % 5 == 0:  # these take seconds to come back
            found |= {"gunicorn kills": self._kill_gunicorn, "Valkey kills": self._kill_valkey}
        return found

    def _kill(self, name: str) -> None:
        self.stack.workers[name].send(signal.SIGKILL)

    def _kill_worker(self) -> None:
        self.counts["worker kills"] += 1
        self._kill(self.rng.choice(["worker1", "worker2"]))

    def _kill_clock(self) -> None:
        self.counts["clock kills"] += 1
        self._kill("clock")

    def _kill_web_worker(self) -> None:
        if found := self.stack.web_workers():
            self.counts["web worker kills"] += 1
            self.rng.choice(found).send_signal(signal.SIGKILL)

    def _kill_gunicorn(self) -> None:
        self.counts["gunicorn kills"] += 1
        assert self.stack.web is not None
        assert self.stack.web.process is not None
        self.stack.web.process.send_signal(signal.SIGKILL)

    def _kill_valkey(self) -> None:
        self.counts["Valkey kills"] += 1
        self.stack.valkey.kill()
        self.stack.valkey.forget()

    def _flush(self) -> None:
        self.counts["Redis emptied"] += 1
        with redis.Redis.from_url(self.stack.valkey.url, socket_timeout=5) as client:
            client.flushall()

    def _pause(self) -> None:
        worker = self.stack.workers[self.rng.choice(["worker1", "worker2"])]
        if worker.died() is None:
            self.counts["pauses"] += 1
            worker.pause()

    # --- backfills -----------------------------------------------------------------------------------

    def _start_backfill(self) -> None:
        """A backfill that takes its time, and has begun to read when this returns."""
        self.counts["backfills"] += 1
        before = self.fake.reads.total
        self._running = self._backfill(FAILPOINTS="after_backfill_commit=sleep:0.03")
        deadline = time.monotonic() + BACKFILL_S
        while self.fake.reads.total == before and self._running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def _end_backfill(self, *, kill: bool) -> None:
        if self._running is None:
            return
        if kill and self._running.poll() is None:
            self.counts["backfill kills"] += 1
            self._running.kill()
        if self._running.wait(BACKFILL_S) != 0:
            self.must_read_all = True  # somebody takes it up
        self._running = None

    def _backfill(self, **env: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "webhook_app", "backfill", "--connection", str(self.stack.record.id)]
        with (self.stack.dir / "backfill.log").open("a") as log:
            return spawn(command, env=environment(self.stack.settings, TZ="UTC", **env), out=log, cwd=ROOT)

    # --- the end -------------------------------------------------------------------------------------

    def _end(self) -> None:
        last, self.told = self.told, []
        self.rng.shuffle(last)
        if last:
            self.counts["events"] += len(last)
            self.place.ledger.send([event.bodies[self.rng.choice(self.versions)] for event in last])
        self.stack.settle()
        if self.must_read_all:
            self._repair()
            self.stack.settle()
        self.stack.judge(self.place.ledger.acked)

    def _repair(self) -> None:
        """A backfill from its beginning to its end: what a killed one goes on with are lists from before."""
        last = self._latest_run()
        for _ in range(3):
            self.counts["backfills"] += 1
            assert self._backfill().wait(BACKFILL_S) == 0, self.stack.logs()
            if self._latest_run() > last:
                return
        raise AssertionError("no backfill was a whole one")

    def _latest_run(self) -> int:
        with session_scope(self.stack.database) as connection:
            run = runs.latest_run(connection, self.stack.record.id)
        return run.id if run else 0


def diverging(place: Installation, seeds: list[int]) -> dict[int, str]:
    """The first seed whose history breaks a promise, with what it broke: what it leaves behind would break the next too."""
    for seed in seeds:
        history = ProcessHistory(place, seed)
        try:
            history.run()
        except AssertionError as error:
            return {seed: "\n".join([str(error)[:3000], *history.trace])}
        finally:
            place.counts["histories"] += 1
    return {}
