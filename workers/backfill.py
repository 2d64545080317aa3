"""Backfill: read a whole Stripe account in (STRIPE 5.4), one at a time per connection, resumable at every page (F72-F75, F86).

Readers read ahead (`walk_readers`), this thread writes: each page is applied in one short transaction that also saves where the
run stands and proves its lease. Then come the objects no list decides, then every Stripe customer is matched and recomputed.
"""

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from models.errors import DatabaseAway, LostLease, PivotalError, Refused, StripeKeyRefused, StripeStopped
from models.settings import AppSettings
from models.store import claims, runs
from models.store.connections import load_connection, note_disconnected
from models.store.failpoints import fp
from models.store.holders import holder_token
from models.store.keys import Keyring
from models.store.logs import log
from models.store.runs import Run
from models.store.session import Database, session_scope
from workers.backfill_stages import Stages
from workers.call_counter import CallCounter
from workers.stripe_api import PATIENT, Patience, open_api

ProgressCallback = Callable[[str, int, int | None], None]
"""Called with (phase, done, expected): phases `reading`, `deciding`, `checking`, `recomputing`; `expected` is an estimate."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended: `complete`, `failed` (with `error`) or `stopped` (the next start goes on). `counts` as RULES 2 says."""

    run_id: int
    state: str
    error: str | None
    counts: dict[str, Any] = field(default_factory=dict)
    objects: int = 0
    calls: int = 0
    seconds: float = 0.0
    resumed: bool = False

    @property
    def exit_code(self) -> int:
        """0 only for a complete run."""
        return 0 if self.state == "complete" else 1

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "run_id": self.run_id, "state": self.state, "error": self.error, "resumed": self.resumed, **self.counts,
            "objects": self.objects, "calls": self.calls, "seconds": round(self.seconds, 3),
        }  # fmt: skip


def run_backfill(
    database: Database,
    keyring: Keyring,
    settings: AppSettings,
    connection_id: int,
    *,
    progress: ProgressCallback | None = None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    stop: threading.Event | None = None,
    patience: Patience = PATIENT,
) -> RunResult:
    """Run a backfill of this connection to its end, from where the last one was left if that was cut short.

    `now_ms` is the clock of leases and recomputes; what Stripe showed is dated by Stripe's. `stop`: leave off soon, resumable.
    Trouble with Stripe ends the run as failed with the reason, after retries; it never looks like success.

    Raises:
        NotFound: no such connection.
        Refused: a backfill of it is running, or it was removed.
        SettingsError: its key was sealed with an encryption key we don't have.
        DatabaseAway: the run stays as it stands and can be taken up.
    """
    token = holder_token()
    started = time.monotonic()
    with session_scope(database) as connection:
        record = load_connection(connection, connection_id)
    if record.state not in {"active", "disconnected"}:
        raise Refused(f"connection {connection_id} is {record.state}")
    with session_scope(database, write=True) as connection:
        run = runs.begin_run(connection, connection_id, token, now_ms())
    fp("backfill_begun")
    counter = CallCounter(connection_id)
    stop = stop or threading.Event()
    reading = threading.Event()  # of this run alone: set when the writer is done with its readers
    ended = Linked((stop, reading))
    api = open_api(database, keyring, settings, connection_id, count=counter.count, patience=patience, stop=ended)
    stages = Stages(database, record, api, run, token, counter=counter, now_ms=now_ms, stop=stop, reading=reading,
                    progress=progress or (lambda _phase, _done, _expected: None))  # fmt: skip
    try:
        with _fewer_collections():
            state, error = _carry_out(stages)
    finally:
        stages.close()
        api.close()
    fp("before_backfill_end")
    _end(database, run, token, state, error, now_ms=now_ms())
    seconds = time.monotonic() - started
    return RunResult(run.id, run.state, run.error, dict(run.counts), run.objects, run.calls, seconds, run.resumed)


def _carry_out(stages: Stages) -> tuple[str, Exception | None]:
    """Run all stages; how it ended, and what ended it."""
    try:
        stages.run_all()
    except StripeStopped as error:
        return "stopped", error
    except DatabaseAway:
        raise
    except Exception as error:  # whatever it was: the run says so, never that it is complete (F86)
        if not isinstance(error, PivotalError):
            log.exception("backfill_crashed", problem=type(error).__name__)
        return "failed", error
    return "complete", None


def _end(database: Database, run: Run, token: str, state: str, error: Exception | None, *, now_ms: int) -> None:
    """Write how the run ended and give the lease back. Whoever lost the lease, even just now, leaves the run to others."""
    try:
        if isinstance(error, LostLease):
            raise error
        _write_end(database, run, token, state, error, now_ms=now_ms)
    except LostLease:
        run.state, run.error = "failed", "another process has taken this run over"


def _write_end(database: Database, run: Run, token: str, state: str, error: Exception | None, *, now_ms: int) -> None:
    text = None if error is None else str(error) if isinstance(error, PivotalError) else type(error).__name__
    lease = runs.lease_name(run.connection_id)
    with session_scope(database, write=True) as connection:
        claims.renew_leases(connection, [lease], token, now_ms, runs.LEASE_MS)
        if isinstance(error, StripeKeyRefused):
            note_disconnected(connection, run.connection_id, "Stripe refused the key (401). Give the connection a new one.")
        run.cursor["passing"] = error is not None and getattr(error, "passing", not isinstance(error, PivotalError))
        if state == "failed":
            runs.log_problems(connection, run, {None: text or state}, now_ms, "error")
        runs.end_run(connection, run, state, text, now_ms)
        claims.release_leases(connection, [lease], token)
        fp("before_commit_of_backfill_end")
    fp("after_backfill_end")


@contextlib.contextmanager
def _fewer_collections() -> Iterator[None]:
    """Pages are large trees without cycles that die young: looking for cycles in them cost half of the time (measured: a
    page of subscriptions 7.0 ms with Python's usual thresholds, 2.8 without)."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


class Linked(threading.Event):
    """Is set when any of several events is; waits on the last of them in short steps."""

    def __init__(self, events: tuple[threading.Event, ...]) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        """Whether any is set."""
        return any(event.is_set() for event in self._events)

    def wait(self, timeout: float | None = None) -> bool:
        """Until any is set, at most `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = 0.25 if deadline is None else min(deadline - time.monotonic(), 0.25)
            if left <= 0:
                break
            self._events[-1].wait(left)
        return self.is_set()
