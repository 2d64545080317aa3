"""The clock: sweep, due changes, FX, retention. Several may run; a lease per task lets one act at a time (F61)."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from models.errors import DatabaseAway, PivotalError
from models.settings import AppSettings
from models.store import claims, customers, fx, retention
from models.store.failpoints import fp
from models.store.holders import holder_token
from models.store.logs import log
from models.store.session import session_scope
from workers.drain import Tools
from workers.fx_source import bundled_rates, ensure_rates, fetched_rates

DAY_S = 86_400
INBOX_DAYS = 35
LOG_DAYS = 30


@dataclass(frozen=True, slots=True)
class Task:
    """Something the clock does every `every_s`; the lease keeps a second clock from doing it too."""

    name: str
    every_s: int
    act: Callable[[Tools], None]


def sweep(tools: Tools) -> None:
    """Ring for every partition with due rows, and for whatever else is due, whether or not its flag is set (FAULTS 3).

    Found by status, never by a cursor (F48).
    """
    now_ms = tools.now_ms()
    with session_scope(tools.database) as connection:
        waiting = claims.partitions_waiting(connection, now_ms)
        due = bool(customers.due_ids(connection, now_ms // 1000, 1) or customers.due_stripe_customers(connection, 1))
    if due:
        waiting |= {0}
    for partition in waiting:  # a flag without a job (a crash between the two) must not keep the bell silent
        try:
            tools.bell.take_flag(partition)
        except Exception:
            log.warning("redis_away")
            return
    fp("in_sweep")
    tools.bell.wake(waiting)


def refresh_rates(tools: Tools) -> None:
    """Keep the newest rates, and put them in force on the first of the month (setting `fx_daily`: at once; RULES 5.5)."""
    today = time.strftime("%Y-%m-%d", time.gmtime(tools.now_ms() // 1000))
    fetched, bundled = fetched_rates() if tools.settings.fx_refresh else None, bundled_rates()
    with session_scope(tools.database, write=True) as connection:
        ensure_rates(connection, bundled)
        if fetched and fetched[0] > (fx.latest_date(connection) or ""):
            fx.save_rates(connection, fetched[0], "ecb", fetched[1])
        newest, held = fx.latest_date(connection), fx.date_in_force(connection)
        new_month = held is not None and (fx.applied_on(connection) or "")[:7] < today[:7]
        if newest and held and newest > held and (tools.settings.fx_daily or new_month):
            fx.put_in_force(connection, newest)
        if new_month or fx.applied_on(connection) is None:
            fx.note_applied(connection, today)


def retain(tools: Tools) -> None:
    """Cut old payloads and old problems, in small transactions (FAULTS S57)."""
    now_ms = tools.now_ms()
    while True:
        with session_scope(tools.database, write=True) as connection:
            if not retention.redact_bodies(connection, now_ms - INBOX_DAYS * DAY_S * 1000, limit=500):
                break
    with session_scope(tools.database, write=True) as connection:
        retention.drop_problems(connection, now_ms - LOG_DAYS * DAY_S * 1000)
        retention.drop_sessions(connection, now_ms // 1000 - 30 * DAY_S)


def tasks_of(settings: AppSettings) -> tuple[Task, ...]:
    """Everything the clock does."""
    return (
        Task("sweep", settings.sweep_s, sweep),
        Task("rates", 6 * 3600, refresh_rates),
        Task("retention", 3600, retain),
    )


class Clock:
    """Runs the tasks until stopped. A task that fails is tried again at its next turn and stops no other."""

    def __init__(self, tools: Tools, tasks: tuple[Task, ...] | None = None) -> None:
        self._tools = tools
        self._tasks = tasks or tasks_of(tools.settings)
        self._token = holder_token()
        self._next = dict.fromkeys((task.name for task in self._tasks), 0.0)

    def run(self, stop: threading.Event) -> None:
        """Tick every second until `stop` is set."""
        while not stop.is_set():
            self.tick(time.monotonic())
            self._checkpoint()
            stop.wait(1.0)

    def _checkpoint(self) -> None:
        """No lease: two at once are harmless, and it writes nothing of its own."""
        try:
            self._tools.database.checkpoint()
        except DatabaseAway:
            log.warning("checkpoint_failed")

    def tick(self, monotonic_s: float) -> None:
        """Carry out every task whose turn has come."""
        for task in self._tasks:
            if monotonic_s < self._next[task.name]:
                continue
            self._next[task.name] = monotonic_s + task.every_s
            try:
                if self._mine(task):
                    task.act(self._tools)
            except (PivotalError, SQLAlchemyError, OSError) as error:
                log.warning("clock_task_failed", task=task.name, problem=type(error).__name__)
                self._next[task.name] = monotonic_s + min(task.every_s, 60)

    def _mine(self, task: Task) -> bool:
        """Whether this clock may act now: the lease lasts until shortly before the task's next turn."""
        lasts_ms = max(task.every_s * 1000 - 2000, 1000)
        with session_scope(self._tools.database, write=True) as connection:
            return claims.acquire_lease(connection, f"clock:{task.name}", self._token, self._tools.now_ms(), lasts_ms)
