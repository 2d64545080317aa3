"""The one writer of a backfill: what was read goes through the door of every Stripe object (`apply`), and the run's cursor goes
with it in the same short transaction, which also proves the run's lease (F57, F74)."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from models.domain.types import StripeCustomer, Subscription
from models.errors import Conflict, Refused, Unreadable
from models.store import claims, customers, runs, walked
from models.store.connections import ConnectionRecord
from models.store.failpoints import fp
from models.store.mirror import Key
from models.store.runs import Run
from models.store.session import Database, session_scope
from workers.apply import Draft, apply_read, open_draft, read_object
from workers.call_counter import CallCounter
from workers.needs import missing_reads
from workers.ordering import ReadBounds

T = TypeVar("T")
TRIES = 8
FLUSH_S = 5.0
BEAT_S = 10.0
EARLIER_MS = 2_000
"""Evidence from so long before the run's start counts as the run's own: `Date` has whole seconds."""
_REFERENCES = {"price", "product", "coupon"}


class Row(NamedTuple):
    """An object as Stripe sent it, when it looked so, and whether a list showed it."""

    data: Mapping[str, Any]
    bounds: ReadBounds
    listed: bool = True


@dataclass(slots=True)
class Drafted:
    """A page on its way into the mirror. `refetch`: objects to read one by one; `problems` by Stripe id."""

    draft: Draft
    refetch: set[Key] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    shown: dict[str, set[str]] = field(default_factory=dict)


class Writer:
    """Writes for one run. `run` is the committed state: a write gives the moves of the cursor, which count with the commit."""

    def __init__(
        self,
        database: Database,
        record: ConnectionRecord,
        run: Run,
        token: str,
        *,
        counter: CallCounter,
        now_ms: Callable[[], int],
    ) -> None:
        self.database, self.record, self.run = database, record, run
        self.now_ms = now_ms
        self._token, self._counter = token, counter
        self._calls_before = run.calls
        self._flushed = self._written = time.monotonic()

    # --- the transaction -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self, objects: int = 0, *, state: str = "running", **moves: Any) -> Iterator[Connection]:
        """A write transaction of the run: proves the lease, and saves the run with `moves` in its cursor.

        Raises:
            LostLease: another process has taken the run over; nothing is written.
            Refused: the connection was disconnected meanwhile.
        """
        now_ms, run = self.now_ms(), self.run
        calls = self._calls_before + self._counter.total
        fresh = replace(run, cursor={**run.cursor, **moves}, objects=run.objects + objects, calls=calls, state=state)
        with session_scope(self.database, write=True) as connection:
            claims.renew_leases(connection, [runs.lease_name(run.connection_id)], self._token, now_ms, runs.LEASE_MS)
            yield connection
            if runs.state_of(connection, run.connection_id) != "active":
                raise Refused("the connection was disconnected meanwhile")
            self._flush(connection, now_ms)
            runs.save_run(connection, fresh, now_ms)
            fp("before_backfill_commit")
        for name in ("cursor", "objects", "calls"):
            setattr(run, name, getattr(fresh, name))
        self._written = time.monotonic()
        fp("after_backfill_commit")

    def beat(self) -> None:
        """Keep the lease while nothing comes to be written."""
        if time.monotonic() - self._written > BEAT_S:
            with self.writing():
                pass

    def keeping(self, ask: Callable[[], T]) -> T:
        """What `ask` gives or raises. It runs beside us while we keep the lease: at the very start, before there are readers,
        Stripe may put us off (429) for longer than the lease lasts."""
        answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put((ask(), None))
            except BaseException as error:
                answers.put((None, error))

        threading.Thread(target=work, name="asking", daemon=True).start()
        while True:
            try:
                value, error = answers.get(timeout=BEAT_S)
            except queue.Empty:
                with session_scope(self.database, write=True) as connection:
                    lease = runs.lease_name(self.run.connection_id)
                    claims.renew_leases(connection, [lease], self._token, self.now_ms(), runs.LEASE_MS)
                continue
            if error is not None:
                raise error
            return value  # type: ignore[return-value]  # `ask` gave it

    def flush(self, connection: Connection) -> None:
        """Write the counts of calls now."""
        self._flushed = 0.0
        self._flush(connection, self.now_ms())

    def _flush(self, connection: Connection, now_ms: int) -> None:
        if time.monotonic() - self._flushed < FLUSH_S:
            return
        self._flushed = time.monotonic()
        day = time.strftime("%Y-%m-%d", time.gmtime(now_ms // 1000))
        claims.add_counts(connection, self._counter.take().items(), day)

    # --- objects -------------------------------------------------------------------------------------

    def apply(self, rows: Sequence[Row], moves: Callable[[set[Key]], dict[str, Any]]) -> set[Key]:
        """Apply what was read, in one transaction; returns what must be read one by one, of which `moves` makes the cursor's.

        Raises:
            Conflict: the drain changed the same objects again and again.
        """
        for attempt in range(TRIES):
            drafted = self._drafted(rows)
            try:
                with self.writing(len(rows), **moves(drafted.refetch)) as connection:
                    drafted.draft.write(connection)
                    drafted.draft.fan_out(connection)
                    self._make_due(connection, drafted.draft)
                    self._note_shown(connection, drafted, rows)
                    if drafted.problems:
                        runs.log_problems(connection, self.run, drafted.problems, self.now_ms())
            except Conflict:
                time.sleep(0.005 * 2**attempt)
                continue
            return drafted.refetch
        raise Conflict("the same objects changed again and again while a page was written")

    def _drafted(self, rows: Sequence[Row]) -> Drafted:
        parsed: dict[tuple[Key, bool], tuple[Any, ReadBounds]] = {}
        problems: dict[str, str] = {}
        torn: set[Key] = set()  # two lists showed it differently
        for data, bounds, listed in rows:
            try:
                key, value = read_object(data)
                if getattr(value, "unreadable", False):
                    problems[key[1]] = "it can't be read; its customer is flagged"
            except Unreadable as error:
                problems[error.object_id] = error.problem
                continue
            if parsed.setdefault((key, listed), (value, bounds))[0] != value:
                torn.add(key)
        with session_scope(self.database) as connection:
            draft = open_draft(connection, self.record, [(key, value) for (key, _), (value, _) in parsed.items()])
            drafted = Drafted(draft, torn, problems)
            for (key, listed), (value, bounds) in parsed.items():
                apply_read(draft, key, value, bounds, listed=listed, refetch=drafted.refetch)
                if listed:
                    drafted.shown.setdefault(key[0], set()).add(key[1])
            drafted.refetch |= self._lacking(connection, draft)
        return drafted

    def _lacking(self, connection: Connection, draft: Draft) -> set[Key]:
        """Prices, products and coupons that what is about to be written names and the mirror doesn't know in full."""
        changed = [key for key in draft.rows if key[0] in {"subscription", "customer"} and _names_more(draft.values[key])]
        if not changed:
            return set()
        lacking = missing_reads(connection, draft, dict(enumerate(changed)))
        return {need for needs in lacking.values() for need in needs if need[0] in _REFERENCES}

    def _make_due(self, connection: Connection, draft: Draft) -> None:
        """Whom we know already is recomputed soon, not only at the end of the run: a run may end before it, and the events that
        told of the same change are superseded by what it read."""
        cause = "baseline" if self.run.cursor.get("baseline") else "backfill"
        customers.make_due(connection, self.record.id, draft.touched, cause)

    def _note_shown(self, connection: Connection, drafted: Drafted, rows: Sequence[Row]) -> None:
        dated = all(row.bounds.lo_ms is not None for row in rows if row.listed)
        before_ms = self.run.cursor["start"] * 1000 - EARLIER_MS if dated else None
        for object_type in ("customer", "invoice"):
            if ids := drafted.shown.get(object_type):
                walked.mark_seen(connection, self.run, object_type, ids, before_ms)

    def log(self, problems: Mapping[Any, str], *, level: str = "warning", **moves: Any) -> None:
        """Note problems by Stripe id."""
        with self.writing(**moves) as connection:
            runs.log_problems(connection, self.run, problems, self.now_ms(), level)

    def lack(self, permissions: Collection[str]) -> None:
        """The key lacks these permissions: what needs them is left out from now on."""
        missing = tuple(sorted({*self.record.missing_permissions, *permissions}))
        self.record = replace(self.record, missing_permissions=missing)


def _names_more(value: Any) -> bool:
    return isinstance(value, Subscription) or (isinstance(value, StripeCustomer) and value.discount is not None)
