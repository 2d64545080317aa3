"""The stages of a backfill, in the order of STRIPE 5.4: the lists; owners nobody listed; customers whose payment status lies
further back; what a complete walk didn't list; then matching and recomputing everybody. Each can be taken up where it was left.
"""

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from models.errors import Conflict, Refused, StripeStopped
from models.store import runs, walked
from models.store.connections import ConnectionRecord, record_permissions
from models.store.failpoints import fp
from models.store.mirror import Key, load_owned
from models.store.runs import Run
from models.store.session import Database, session_scope
from workers import recompute
from workers.account_age import guess_oldest
from workers.backfill_pages import Pages
from workers.backfill_writer import EARLIER_MS, TRIES, Writer
from workers.call_counter import CallCounter
from workers.lists import FIRST_STRIPE_SECOND, RECENT_S
from workers.stripe_api import StripeApi
from workers.stripe_objects import Read, rows_of
from workers.undecided import next_chunk, undecided
from workers.walk_readers import Item, WalkReaders, size_of
from workers.walks import Plan

UNDATED_START_S = 300
PAGE = 100
BATCH = 400
"""Objects in one write transaction: some 15 ms; a page is never cut in two."""
_OVER = {"canceled", "incomplete_expired", "paid", "void"}


class Stages:
    """Carries out one run; `close` ends its readers."""

    def __init__(
        self,
        database: Database,
        record: ConnectionRecord,
        api: StripeApi,
        run: Run,
        token: str,
        *,
        counter: CallCounter,
        now_ms: Callable[[], int],
        stop: threading.Event,
        reading: threading.Event,
        progress: Callable[[str, int, int | None], None],
    ) -> None:
        self._database, self._api, self._run, self._stop = database, api, run, stop
        self._reading, self._progress, self._now_ms = reading, progress, now_ms
        self._writer = Writer(database, record, run, token, counter=counter, now_ms=now_ms)
        self._readers: WalkReaders | None = None
        self._plan = Plan(0)

    @property
    def _cursor(self) -> dict[str, Any]:
        return self._run.cursor

    def close(self) -> None:
        """End the readers; quiet when there are none."""
        self._reading.set()
        if self._readers is not None:
            self._readers.close()

    def run_all(self) -> None:
        """All stages from where the run stands."""
        stages: dict[str, Callable[[], None]] = {
            "reading": self._read_lists,
            "owners": self._read_owners,
            "deciding": self._decide,
            "checking": self._check,
            "recomputing": self._recompute,
        }
        self._begin()
        names = [*stages, "done"]
        for name, following in pairwise(names):
            if self._cursor["stage"] == name:
                self._run.phase = name
                stages[name]()
                self._check_stop()
                with self._writer.writing(stage=following, after=""):
                    pass
        self._finish()

    # --- the beginning -------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Prove that the account answers this key, learn Stripe's time and about when the account began."""
        first = self._writer.keeping(lambda: self._api.read("/v1/customers", {"limit": 1}, "probe"))
        rows = rows_of(first)
        if any(row.get("livemode") is not self._writer.record.livemode for row in rows):
            raise Refused(f"the key doesn't read the {self._writer.record.mode} mode of the account")
        if self._cursor.get("start"):
            self._plan = Plan.from_json(self._cursor["start"], self._cursor["oldest"], self._cursor["walks"])
        else:
            self._begin_anew(first)
        self._pages = Pages(self._writer, self._plan, self._api)
        self._pages.readers = self._readers = WalkReaders(self._database, self._api, self._plan, self._reading)
        self._readers.want([(kind, key) for kind, key in self._cursor["wanted"]])
        self._readers.start()

    def _begin_anew(self, first: Read) -> None:
        start = first.lo_ms // 1000 if first.lo_ms is not None else self._now_ms() // 1000 - UNDATED_START_S
        oldest = self._writer.keeping(lambda: guess_oldest(self._api, first))
        self._plan = Plan(start, oldest)
        with session_scope(self._database) as connection:
            before = runs.last_complete_run(connection, self._run.connection_id)
        moves = {
            "start": start, "oldest": oldest, "stage": "reading", "after": "", "walks": self._plan.to_json(), "wanted": [],
            "missing": before.cursor.get("missing", {}) if before else {}, "passing": False,
            "baseline": self._writer.record.backfilled_at is None, "lacking": [],
        }  # fmt: skip
        with self._writer.writing(**moves) as connection:
            runs.note_reconnected(connection, self._run.connection_id)

    # --- the lists -----------------------------------------------------------------------------------

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StripeStopped("stopped; the next start goes on from here")

    def _read_lists(self) -> None:
        self._pump(lambda: self._plan.done, lambda: self._tell("reading"))
        with session_scope(self._database) as connection:
            mirrored = walked.count_mirrored(connection, self._run.connection_id, "customer")
        if mirrored and not self._plan.progress["customers"].rows:
            raise Refused(f"Stripe lists no customer while {mirrored} are known: does the key belong to another account?")

    def _tell(self, phase: str) -> None:
        self._run.expected_objects = self._plan.expected()
        self._progress(phase, self._run.objects, self._run.expected_objects)

    def _pump(self, done: Callable[[], bool], tell: Callable[[], None] = lambda: None) -> None:
        """Write what the readers bring until `done` and nothing wanted is outstanding."""
        assert self._readers is not None  # noqa: S101 - `_begin` made them
        while not (done() and not self._readers.wanted):
            self._check_stop()
            item = self._readers.next(0.25)
            if item is None:
                self._writer.beat()
                continue
            self._pages.take([item, *self._more(item)])
            tell()

    def _more(self, item: Item) -> list[Item]:
        """What is there already, as far as one short transaction takes it."""
        assert self._readers is not None  # noqa: S101
        items, size = list[Item](), size_of(item)
        while size < BATCH and (more := self._readers.next(0.0)) is not None:
            items.append(more)
            size += size_of(more)
        return items

    # --- one by one ----------------------------------------------------------------------------------

    def _in_chunks(self, load: Callable[[str], tuple[list[Key], str | None]], tell: Callable[[int], None]) -> None:
        """Read objects by id, a chunk at a time: `load(after)` gives the keys and the last id looked at (None: the end).

        What is wanted is saved with how far we looked before it is read, so that every commit is a step forward.
        """
        assert self._readers is not None  # noqa: S101
        self._pump(lambda: True)
        done = 0
        while True:
            keys, last = load(self._cursor["after"])
            if last is None:
                return
            with self._writer.writing(after=last, wanted=sorted({*self._readers.wanted, *keys})):
                pass
            self._readers.want(keys)
            self._pump(lambda: True)
            done += len(keys)
            tell(done)

    def _read_owners(self) -> None:
        """Stripe customers that live subscriptions or unpaid invoices name and no list showed (made or deleted meanwhile)."""

        def load(after: str) -> tuple[list[Key], str | None]:
            with session_scope(self._database) as connection:
                ids = walked.owners_unknown(connection, self._run.connection_id, after)
                owned = load_owned(connection, self._run.connection_id, "subscription", ids)
                owned += load_owned(connection, self._run.connection_id, "invoice", ids)
            alive = {entry.customer_id for entry in owned if entry.value.status not in _OVER}
            return [("customer", key) for key in ids if key in alive], ids[-1] if ids else None

        self._in_chunks(load, lambda done: self._progress("checking", done, None))

    def _decide(self) -> None:
        """Customers without a word on their payments in the last 35 days: their paid invoices, however it costs fewer reads."""
        if self._plan.denied("invoices_open") or self._plan.denied("invoices_recent"):
            return
        if "invoices_older" not in self._plan.progress:
            open_ = self._undecided()
            if self._pages_of_older_invoices() >= len(open_):
                self._in_chunks(
                    lambda after: next_chunk(open_, after), lambda done: self._progress("deciding", done, len(open_))
                )
                return
            self._plan.add("invoices_older")
        self._pump(lambda: self._plan.done, lambda: self._tell("deciding"))

    def _undecided(self) -> list[str]:
        """Ids of all customers still undecided, sorted."""
        found, after = list[str](), ""
        while True:
            self._writer.beat()
            with session_scope(self._database) as connection:
                open_, last = undecided(connection, self._writer.record, self._cursor["start"], after)
            found += open_
            if last is None:
                return found
            after = last

    def _pages_of_older_invoices(self) -> int:
        """How many pages a walk over all paid invoices older than 35 days would take, at the pace of the last 35."""
        recent: int = self._plan.progress["invoices_recent"].rows
        age: int = max(self._cursor["start"] - RECENT_S - (self._cursor["oldest"] or FIRST_STRIPE_SECOND), 0)
        return recent * age // RECENT_S // PAGE + 1

    def _check(self) -> None:
        """What was mirrored before the run and no list showed: deleted, paid or voided meanwhile."""
        before_ms = self._cursor["start"] * 1000 - EARLIER_MS
        lists = ("invoices_open", "invoices_uncollectible", "invoices_recent")
        complete = {"customer": True, "invoice": not any(self._plan.denied(name) for name in lists)}

        def load(after: str) -> tuple[list[Key], str | None]:
            kind, _, key = after.partition(" ") if after else ("customer", "", "")
            with session_scope(self._database) as connection:
                ids = walked.unlisted(connection, self._run, kind, before_ms, key) if complete[kind] else []
            following = f"{kind} {ids[-1]}" if ids else "invoice " if kind == "customer" else None
            return [(kind, name) for name in ids], following

        self._in_chunks(load, lambda done: self._progress("checking", done, None))

    # --- the end -------------------------------------------------------------------------------------

    def _recompute(self) -> None:
        """Match every Stripe customer and recompute ours, a chunk at a time; what is due beside is left to the clock."""
        self.close()
        with session_scope(self._database) as connection:
            total = walked.count_mirrored(connection, self._run.connection_id, "customer")
        done = 0
        while True:
            with session_scope(self._database) as connection:
                ids = walked.stripe_customer_ids(connection, self._run.connection_id, self._cursor["after"])
            if not ids:
                return
            self._check_stop()
            self._recompute_chunk(ids)
            done += len(ids)
            self._progress("recomputing", min(done, total), total)

    def _recompute_chunk(self, ids: list[str]) -> None:
        """Halved where others change the same customers, or the prices of all, sooner than it is computed."""
        for attempt in range(TRIES if len(ids) == 1 else 2):
            if self._recomputed(ids):
                return
            time.sleep(0.005 * 2**attempt)
        if len(ids) == 1:
            raise Conflict("the same customer changed again and again while it was recomputed")
        self._recompute_chunk(ids[: len(ids) // 2])
        self._recompute_chunk(ids[len(ids) // 2 :])

    def _recomputed(self, ids: list[str]) -> bool:
        now_ms = self._now_ms()
        with session_scope(self._database) as connection:
            loaded = recompute.load(connection, self._writer.record, ids)
        cause = "baseline" if self._cursor["baseline"] else "backfill"
        computed = recompute.compute(loaded, now=now_ms // 1000, now_ms=now_ms, cause=cause)
        fp("backfill_recompute")
        try:
            with self._writer.writing(after=ids[-1]) as connection:
                recompute.save(connection, computed, now_ms=now_ms)
        except Conflict:
            return False
        if computed.failed:
            self._writer.log({str(key): f"customer not computed: {name}" for key, name in computed.failed.items()})
        return True

    def _finish(self) -> None:
        """Counts, permissions, and how far the mirror is caught up: one transaction."""
        record, start = self._writer.record, self._cursor["start"]
        lacking = {*self._cursor["lacking"], *self._api.missing}
        with self._writer.writing(state="complete", walks={}, wanted=[]) as connection:
            runs.note_backfilled(connection, record.id, start)
            record_permissions(connection, record.id, lacking)
            self._run.counts |= runs.count_result(connection, record.id, record.mode)
            self._run.counts["missing_permissions"] = sorted(lacking)
            mirrored = walked.count_mirrored(connection, record.id, "customer")
            if mirrored != self._run.counts["stripe_customers"]:
                problem = {None: "some Stripe customers have no outcome"}
                runs.log_problems(connection, self._run, problem, self._now_ms(), "error")
            self._writer.flush(connection)
        self._run.expected_objects = self._run.objects
