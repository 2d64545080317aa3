"""The drain: claim pending rows, apply, recompute, record, in batches (DESIGN 1).

Reading and computing happen outside the write transaction; the write is one short compare-and-set that also proves the lease
(F57), so that whoever was paused, doubled or late writes nothing. A batch that fails is halved until the row at fault is alone.
"""

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from models.errors import Conflict, DatabaseAway, LostLease
from models.settings import AppSettings
from models.store import claims
from models.store.claims import Outcome, Pending
from models.store.connections import load_connection, note_deauthorized, note_events
from models.store.failpoints import fp
from models.store.keys import Keyring
from models.store.logs import log
from models.store.mirror import Key
from models.store.session import Database, session_scope
from workers import recompute
from workers.absorb import Absorber
from workers.due import PutOff, recompute_due
from workers.events import Weighed, weigh
from workers.holding import Holding, WorkerCount
from workers.needs import missing_reads
from workers.queue import Bell
from workers.reading import Readers, Want

COMPANY_S = 0.02
DUE_S = 0.5
"""However many events come: so often a chunk of what is due without an event is recomputed."""
BATCH = 400
JOB_S = 20.0
MAX_ATTEMPTS = 8
PUT_OFF_MS = 1_000
DISCONNECTED_MS = 300_000
DISCONNECTED = "waits until the connection has a key that Stripe accepts"
TRIES = 6


@dataclass(slots=True)
class Report:
    """What one drain did."""

    events: int = 0
    recomputed: int = 0
    reads: int = 0
    batches: int = 0


@dataclass(slots=True)
class Tools:
    """What a worker process has in hand. `now_ms` is the wall clock unless a test says otherwise."""

    settings: AppSettings
    database: Database
    bell: Bell
    keyring: Keyring
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    put_off: PutOff = field(init=False, default_factory=PutOff)
    worker_count: WorkerCount = field(init=False, default_factory=WorkerCount)
    readers: Readers = field(init=False)
    absorber: Absorber = field(init=False)

    def __post_init__(self) -> None:
        self.readers = Readers(self.database, self.keyring, self.settings)
        self.absorber = Absorber(self)


class Drainer:
    """Drains partitions. One object for one job; `run` holds leases and gives them back."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._database = tools.database
        self._holding = Holding(tools)
        self._floor = 0
        self._absorber = tools.absorber  # what waits for a slow Stripe outlives this drain
        self.report = Report()

    def run(self, partitions: Collection[int], *, company_s: float = COMPANY_S, limit_s: float = JOB_S) -> Report:
        """Drain these partitions and what else is rung and nobody holds, until nothing is left or `limit_s` have passed."""
        deadline = time.monotonic() + limit_s
        time.sleep(company_s)
        wanted = set(partitions)
        while self._holding.take(wanted):
            self._absorber.prove = self._holding.prove
            try:
                self._drain(deadline, company_s)
            except LostLease:
                log.warning("lease_lost")
                self._absorber.forget()
                self._holding.held = set()
            finally:
                self._holding.release()
            wanted = self._left()  # a row may have come between the last claim and the release
            if not wanted or time.monotonic() > deadline:
                self._tools.bell.wake(wanted | (self._holding.held if self._tools.readers.in_flight else set()))
                break
        return self.report

    def _left(self) -> set[int]:
        with session_scope(self._database) as connection:
            return claims.partitions_waiting(connection, self._tools.now_ms()) & self._holding.held

    # --- the loop ----------------------------------------------------------------------------------

    def _drain(self, deadline: float, company_s: float) -> None:
        self._floor = 0
        next_due = 0.0
        while time.monotonic() < deadline:
            rows = self._claim()
            for connection_id in sorted({row.connection_id for row in rows}):
                self._batch(connection_id, [row for row in rows if row.connection_id == connection_id])
            absorbed = self._absorber.take(wait_s=0.0 if rows else company_s)
            due = 0
            if 0 in self._holding.held and (not rows or time.monotonic() >= next_due):  # events must not starve what is due
                due = recompute_due(self._tools, self._holding.prove)
                next_due = time.monotonic() + DUE_S
            self.report.reads += absorbed
            self.report.recomputed += due
            if rows or absorbed or due:
                if len(rows) < BATCH // 2:
                    time.sleep(company_s)
                continue
            if not self._tools.readers.in_flight:
                return

    def _claim(self) -> list[Pending]:
        if self._holding.look():
            self._floor = 0
        with session_scope(self._database) as connection:
            rows = claims.load_pending(connection, self._holding.held, self._tools.now_ms(), floor=self._floor, limit=BATCH)
        fp("after_claim")
        self._floor = rows[-1].seq if len(rows) == BATCH else 0
        return rows

    def _batch(self, connection_id: int, rows: Sequence[Pending]) -> None:
        """Carry out one batch; where it can't be, halve it until the row at fault is alone."""
        try:
            self._carry_out(connection_id, rows)
        except (LostLease, DatabaseAway):
            raise
        except Conflict:  # so much is going on that six tries were not enough: nobody's fault, and nothing is lost
            log.warning("batch_put_off", events=len(rows))
            self._put_off(rows)
        except Exception as error:  # whatever one row does must not stop the others (F59)
            if len(rows) == 1:
                self._failed(rows[0], error)
                return
            middle = len(rows) // 2
            self._batch(connection_id, rows[:middle])
            self._batch(connection_id, rows[middle:])

    def _put_off(self, rows: Sequence[Pending]) -> None:
        later = self._tools.now_ms() + PUT_OFF_MS
        outcomes = [Outcome(row.seq, "pending", row.attempts, later, None, row.missing_since_ms) for row in rows]
        with session_scope(self._database, write=True) as connection:
            self._holding.prove(connection)
            claims.mark_rows(connection, outcomes, later)

    def _carry_out(self, connection_id: int, rows: Sequence[Pending]) -> None:
        for attempt in range(TRIES):
            try:
                return self._once(connection_id, rows)
            except (Conflict, DatabaseAway, DBAPIError) as error:
                if attempt == TRIES - 1 or not _passing(error):
                    raise
                time.sleep(0.005 * 2**attempt * (0.5 + secrets.randbelow(100) / 100))
        return None

    def _once(self, connection_id: int, rows: Sequence[Pending]) -> None:
        now_ms = self._tools.now_ms()
        with session_scope(self._database) as connection:
            record = load_connection(connection, connection_id)
            weighed = weigh(connection, record, rows)
            needs = missing_reads(connection, weighed.draft, weighed.subjects)
            loaded = recompute.load(connection, record, weighed.draft.touched, overlay=weighed.draft.overlay())
        for seq, key in weighed.subjects.items():
            if key in needs and seq not in weighed.failures:
                weighed.waits.setdefault(seq, set()).update(needs[key])
        done = recompute.compute(loaded, now=now_ms // 1000, now_ms=now_ms, cause="event")
        active = record.state == "active"
        hold = (self._tools.settings.hold_ms, None) if active else (DISCONNECTED_MS, DISCONNECTED)
        outcomes = _outcomes(rows, weighed, now_ms, hold)
        fp("before_apply")
        with session_scope(self._database, write=True) as connection:
            self._holding.prove(connection)
            recompute.check_rules(connection, loaded, changing=bool(weighed.draft.fanout))
            weighed.draft.write(connection)
            fp("between_apply_and_recompute")
            recompute.save(connection, done, now_ms=now_ms, checked=True)
            weighed.draft.fan_out(connection, done.computed)
            claims.mark_rows(connection, outcomes, now_ms)
            note_events(connection, connection_id, max(row.received_ms for row in rows))
            if weighed.deauthorized:
                note_deauthorized(connection, connection_id)
            claims.add_counts(connection, [("events", len(rows)), ("recomputes", done.size)], _day(now_ms))
            fp("before_commit_of_batch")
        fp("after_commit_of_batch")
        if weighed.draft.fanout and 0 not in self._holding.held:
            self._tools.bell.wake({0})  # whoever drains partition 0 recomputes what became due
        if active:  # a disconnected account is not called; its events are applied as far as they go (F67)
            self._wait_for(connection_id, rows, weighed)
        for customer_id, problem in done.failed.items():
            log.error("recompute_failed", customer=customer_id, problem=problem)
        self.report.events += len(rows)
        self.report.recomputed += done.size
        self.report.batches += 1

    def _wait_for(self, connection_id: int, rows: Sequence[Pending], weighed: Weighed) -> None:
        by_seq = {row.seq: row for row in rows}
        for seq, keys in weighed.waits.items():
            if seq in weighed.failures:
                continue
            subject = weighed.subjects[seq]
            self._absorber.wait(by_seq[seq], subject, keys)
            for key in sorted(keys):
                self._tools.readers.want(Want(connection_id, key, _purpose(key, subject, weighed)))

    def _failed(self, row: Pending, error: Exception) -> None:
        log.error("event_failed", event_id=row.event_id, problem=type(error).__name__, attempt=row.attempts + 1)
        now_ms = self._tools.now_ms()
        with session_scope(self._database, write=True) as connection:
            self._holding.prove(connection)
            claims.mark_rows(connection, [failure(row, type(error).__name__, now_ms)], now_ms)


def failure(row: Pending, problem: str, now_ms: int) -> Outcome:
    """A failed attempt: tried again with backoff, `dead` after eight (F59)."""
    attempts = row.attempts + 1
    if attempts >= MAX_ATTEMPTS:
        return Outcome(row.seq, "dead", attempts, 0, problem)
    return Outcome(row.seq, "pending", attempts, now_ms + 1000 * 2**attempts, problem)


def _outcomes(rows: Sequence[Pending], weighed: Weighed, now_ms: int, hold: tuple[int, str | None]) -> list[Outcome]:
    """How each row ends. One that waits for a read is left alone for `hold` (ms, why): should its worker die, the sweeper
    finds it."""
    found = []
    for row in rows:
        if row.seq in weighed.failures:
            found.append(failure(row, weighed.failures[row.seq], now_ms))
        elif row.seq in weighed.waits:
            found.append(Outcome(row.seq, "pending", row.attempts, now_ms + hold[0], hold[1], row.missing_since_ms))
        else:
            found.append(Outcome(row.seq, weighed.ends.get(row.seq, "ignored")))
    return found


def _purpose(key: Key, subject: Key, weighed: Weighed) -> str:
    if key != subject:
        return "reference"
    return "failure_reason" if getattr(weighed.draft.value(key), "failed", False) else "refetch"


def _passing(error: Conflict | DatabaseAway | DBAPIError) -> bool:
    """Conflicts, deadlocks, serialization failures and busy databases pass (F43)."""
    cause = error.__cause__ if isinstance(error, DatabaseAway) else error
    if not isinstance(cause, DBAPIError):
        return isinstance(error, Conflict)
    state = getattr(cause.orig, "sqlstate", None)
    return state in {"40001", "40P01", "55P03"} or "locked" in str(cause.orig)


def _day(now_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(now_ms // 1000))
