"""A world for histories: one migrated database used again and again, a fake Stripe without HTTP, workers that take one step at
a time, and one place, `pause`, where whatever may happen in between happens. Single-threaded, so that a seed tells it all."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import stripe
from sqlalchemy import event

from models.settings import AppSettings
from models.store import customers
from models.store.connections import ConnectionRecord, NewConnection, create_connection
from models.store.keys import Keyring
from models.store.logs import set_up_logs
from models.store.session import Database, session_scope
from models.tables import Base
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.environment import API_KEY, WEBHOOK_SECRET
from tests.support.steps import BASE, Crash, LocalBell, LocalTransport, StepReaders, StepWalkReaders, VirtualStop, VirtualTime
from workers import backfill, backfill_stages, ordering, stripe_api
from workers.backfill_writer import Writer
from workers.drain import Tools
from workers.ordering import Verdict
from workers.stripe_api import Patience, StripeApi

START = 1_790_000_000
FP_MODULES = ("events", "absorb", "drain", "backfill_writer", "backfill_stages")
TIMED = ("drain", "absorb", "backfill", "backfill_stages", "backfill_writer", "walk_readers", "walks", "stripe_api", "queue")
IN_TRANSACTION = ("apply_", "between_apply_and_recompute", "before_commit_of_batch", "before_backfill_commit")
SHORT = Patience(attempts=2, seconds=20.0, throttled_s=20.0)
VERDICTS = {Verdict.REFETCH: "refetches", Verdict.TOMBSTONE: "tombstones", Verdict.SUPERSEDED: "superseded"}


class World:
    """`begin` empties it for the next history; `on_pause(place)` is what may happen meanwhile (it may raise `Crash`).

    `late`: the chance that an answer of Stripe's waits while the drain goes on. `answer`: what Stripe answered last. `counts`:
    what happened in all histories.
    """

    def __init__(self, database: Database, settings: AppSettings, keyring: Keyring) -> None:
        self.database, self.keyring = database, keyring
        self.settings = settings.model_copy(update={"partitions": 2})
        if database.on_sqlite:
            event.listen(database.engine, "connect", lambda dbapi, _: dbapi.execute("PRAGMA synchronous=OFF").close())
        with session_scope(database) as connection:
            names = [table.name for table in reversed(Base.metadata.sorted_tables)]
            ours = [name for name in names if not connection.exec_driver_sql(f"SELECT 1 FROM {name}").first()]
        self._filled = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in ours)
        self.counts: Counter[str] = Counter()
        self.on_pause: Callable[[str], None] = lambda _place: None
        self.chance: Callable[[float], bool] = lambda _p: False
        self.choose: Callable[[int], int] = lambda _n: 0
        self.late = 0.0
        self.answer = b""

    def begin(self, seed: int, domains: tuple[str, ...]) -> None:
        """An empty database with customers of ours, a live and a test connection, and a new Stripe account."""
        random.seed(seed)  # for what draws its waiting times there
        self.clock = Clock(START + 0.25)
        self.fake = FakeStripe(seed=seed, clock=self.clock)
        self.bell = LocalBell()
        self.offset_ms = 0
        self._idle: list[Tools] = []
        live = NewConnection("Live", "live", self.fake.api_key, WEBHOOK_SECRET, api_base=BASE)
        test = NewConnection("Test", "test", API_KEY.replace("live", "test"), WEBHOOK_SECRET, api_base=BASE)
        with session_scope(self.database, write=True) as connection:
            for name in connection.exec_driver_sql(self._filled).scalars().all():
                connection.exec_driver_sql(f"DELETE FROM {name}")
            self.record: ConnectionRecord = create_connection(connection, self.keyring, live, START)
            self.other: ConnectionRecord = create_connection(connection, self.keyring, test, START)
            for domain in domains:
                row = {"name": domain, "domain": domain, "environment": "production"}
                customers.import_customer(connection, row, START)

    def now_ms(self) -> int:
        """Our clock, which may be off."""
        return int(self.clock.time() * 1000) + self.offset_ms

    @contextmanager
    def worker(self) -> Iterator[Tools]:
        """A worker process that has nothing to do, one that is new if need be. One that crashes never comes back."""
        tools = self._idle.pop(self.choose(len(self._idle))) if self._idle and not self.chance(0.1) else self.tools()
        yield tools
        self._idle.append(tools)

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
            virtual = VirtualTime(self)
            for module in TIMED:
                patch.setattr(f"workers.{module}.time", virtual)
            for module in (backfill, stripe_api):
                patch.setattr(module, "open_api", lambda *_args, count=None, **_more: self.api(count))
            patch.setattr(backfill_stages, "WalkReaders", StepWalkReaders)
            patch.setattr(stripe, "enable_telemetry", False)
            patch.setattr(Writer, "_drafted", self._drafted(Writer._drafted))
            self._count_verdicts(patch)
            yield self

    def _drafted(self, drafted: Callable[..., Any]) -> Callable[..., Any]:
        """Between the draft of a page and its writing anything may happen as well."""

        def paused(writer: Writer, rows: Any) -> Any:
            draft = drafted(writer, rows)
            self.pause("before_page_write")
            return draft

        return paused

    def _count_verdicts(self, patch: pytest.MonkeyPatch) -> None:
        """Count what the ordering rule says, so that one can see that histories reach its doubtful lines."""

        def counted(name: str, rule: Callable[..., Verdict], words: dict[Verdict, str]) -> None:
            def decide(*args: Any, **more: Any) -> Verdict:
                verdict = rule(*args, **more)
                if verdict in words:
                    self.counts[words[verdict]] += 1
                return verdict

            patch.setattr(ordering, name, decide)

        counted("decide_event", ordering.decide_event, VERDICTS)
        counted("break_tie", ordering.break_tie, dict.fromkeys(Verdict, "ties"))
        counted("decide_listed", ordering.decide_listed, {Verdict.REFETCH: "doubtful page rows"})
        counted(
            "decide_refetched",
            ordering.decide_refetched,
            {Verdict.REFETCH: "read again", Verdict.SUPERSEDED: "reads overtaken"},
        )


__all__ = ["SHORT", "START", "Crash", "World"]
