"""Absorb: what Stripe answered goes into the mirror, and the events that waited for it end (FAULTS 4.2, after a refetch)."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection

from models.errors import (
    Conflict,
    DatabaseAway,
    LostLease,
    StripeKeyRefused,
    StripeNotFound,
    StripePermissionMissing,
    Unreadable,
)
from models.store import claims, mirror
from models.store.claims import Outcome, Pending
from models.store.connections import ConnectionRecord, load_connection, note_disconnected, record_permissions
from models.store.failpoints import fp
from models.store.logs import log
from models.store.mirror import Key
from models.store.session import session_scope
from workers import ordering, recompute
from workers.apply import Draft, apply_read, buried, open_draft, read_object
from workers.needs import PERMISSION_OF, missing_reads
from workers.objects import READERS, status_of
from workers.ordering import ReadBounds
from workers.reading import Answer, Want

if TYPE_CHECKING:
    from workers.drain import Tools

TRIES = 6
MISSING_AGAIN_MS = 61_000
STALE_AGAIN_MS = (5_000, 30_000, 120_000)
"""A read that contradicts an end the mirror holds is tried again so late (FAULTS 4.5 a)."""
REFERENCES = {"price", "product", "coupon"}


@dataclass(slots=True)
class Waiting:
    """A row that waits for reads."""

    row: Pending
    subject: Key
    keys: set[Key]


class Absorber:
    """Keeps which rows wait for which objects, and ends them as the answers come. One for a process: a drain that ends leaves
    what Stripe is slow to answer to the next. `prove` shows, inside a write transaction, that the drain still holds its lease.
    """

    def __init__(self, tools: "Tools") -> None:
        self._tools = tools
        self.prove: Callable[[Connection], None] = lambda _connection: None
        self._waiting: dict[int, Waiting] = {}

    def forget(self) -> None:
        """Wait for nothing any more: somebody else holds the rows now."""
        self._waiting.clear()

    def wait(self, row: Pending, subject: Key, keys: set[Key]) -> None:
        """Let a row wait for reads of these objects."""
        self._waiting[row.seq] = Waiting(row, subject, set(keys))

    def take(self, *, wait_s: float) -> int:
        """Absorb the answers that have come; returns how many."""
        answers = self._tools.readers.answers(wait_s)
        for answer in answers:
            self._absorb(answer)
        return len(answers)

    def _absorb(self, answer: Answer) -> None:
        for attempt in range(TRIES):
            try:
                self._note_missing(answer)
                if answer.read is None or answer.bounds is None:
                    self._refused(answer)
                else:
                    self._answered(answer.want, answer.read.data, answer.bounds)
            except Conflict:
                time.sleep(0.005 * 2**attempt)
                continue
            except (LostLease, DatabaseAway):
                raise
            except Exception as error:  # what one answer does must not stop the others (F59)
                self._broken(answer.want, type(error).__name__)
            return
        log.warning("read_not_absorbed", object=answer.want.key[1])  # its rows come back when their hold is over

    def _note_missing(self, answer: Answer) -> None:
        """Name the permissions without which Stripe left something out (F68)."""
        if not answer.missing:
            return
        with session_scope(self._tools.database) as connection:
            held = set(load_connection(connection, answer.want.connection_id).missing_permissions)
        if not answer.missing <= held:
            with session_scope(self._tools.database, write=True) as connection:
                record_permissions(connection, answer.want.connection_id, held | answer.missing)

    def _broken(self, want: Want, problem: str) -> None:
        """An answer our code can't take: a failed attempt of every row that waited for it."""
        log.error("answer_failed", object=want.key[1], problem=problem)
        now_ms = self._tools.now_ms()
        self._end(want, lambda w: _failed(w.row, problem, now_ms), now_ms)

    def _rows(self, want: Want) -> list[Waiting]:
        return [
            waiting
            for waiting in self._waiting.values()
            if want.key in waiting.keys and waiting.row.connection_id == want.connection_id
        ]

    # --- an answer -----------------------------------------------------------------------------------

    def _answered(self, want: Want, data: Mapping[str, Any], bounds: ReadBounds) -> None:
        now_ms, key = self._tools.now_ms(), want.key
        try:
            _, value = read_object(data)
        except Unreadable as error:
            problem = str(error)
            self._end(want, lambda w: _failed(w.row, problem, now_ms), now_ms)
            return
        again: set[Key] = set()
        with session_scope(self._tools.database) as connection:
            record = load_connection(connection, want.connection_id)
            draft = open_draft(connection, record, [(key, value)])
            stale = self._is_stale(draft, key, value, want)
            if not stale:
                apply_read(draft, key, value, bounds, listed=False, refetch=again)
                needs = missing_reads(connection, draft, {0: key}).get(key, set()) - {key}
                loaded = recompute.load(connection, record, draft.touched, overlay=draft.overlay())
        if stale:
            self._end(want, lambda w: _stale(w.row, now_ms), now_ms)
        elif again:
            self._tools.readers.want(want)
        else:
            self._write(want, draft, loaded, needs, bounds.cover_seq)

    def _write(self, want: Want, draft: Draft, loaded: recompute.Loaded, needs: set[Key], cover: int | None) -> None:
        """Write what a read brought. A row above `cover` joined a read that was sent before it came: it waits for another."""
        now_ms = self._tools.now_ms()
        record = draft.record
        done = recompute.compute(loaded, now=now_ms // 1000, now_ms=now_ms, cause="refetch")
        waiting = self._rows(want)
        rows = [w for w in waiting if cover is None or w.row.seq <= cover or w.subject != want.key]
        ended = [w.row.seq for w in rows if w.keys == {want.key} and not needs]
        fp("before_refetch_write")
        with session_scope(self._tools.database, write=True) as connection:
            self.prove(connection)
            recompute.check_rules(connection, loaded, changing=bool(draft.fanout))
            draft.write(connection)
            fp("between_apply_and_recompute_of_refetch")
            recompute.save(connection, done, now_ms=now_ms, checked=True)
            draft.fan_out(connection, done.computed)
            claims.mark_rows(connection, [Outcome(seq, "applied") for seq in ended], now_ms)
            calls = self._tools.readers.take_calls()
            claims.add_counts(connection, [("recomputes", done.size), *calls.items()], _day(now_ms))
        fp("after_refetch_write")
        if draft.fanout:
            self._tools.bell.wake({0})
        for one in rows:
            one.keys.discard(want.key)
            one.keys |= needs
            if not one.keys:
                self._waiting.pop(one.row.seq, None)
        for key in sorted(needs) if rows else ():
            self._tools.readers.want(Want(record.id, key, "reference"))
        if len(rows) < len(waiting):
            self._tools.readers.want(want)

    def _is_stale(self, draft: Draft, key: Key, value: Any, want: Want) -> bool:
        """Whether the answer undoes an end that nothing undoes: Stripe's reads lag then, and it is asked again later."""
        ends = ordering.TERMINAL.get(key[0], frozenset())
        if status_of(draft.value(key)) not in ends or status_of(value) in ends:
            return False
        return any(waiting.row.attempts < len(STALE_AGAIN_MS) for waiting in self._rows(want))

    # --- no answer -----------------------------------------------------------------------------------

    def _refused(self, answer: Answer) -> None:
        want, error, now_ms = answer.want, answer.error, self._tools.now_ms()
        with session_scope(self._tools.database) as connection:
            record = load_connection(connection, want.connection_id)
        reference = want.key[0] in REFERENCES and any(w.subject != want.key for w in self._rows(want))
        if isinstance(error, StripeNotFound):
            self._not_found(answer, record, now_ms, reference=reference)
        elif isinstance(error, StripePermissionMissing) and reference:
            with session_scope(self._tools.database, write=True) as connection:
                held = load_connection(connection, record.id).missing_permissions
                record_permissions(connection, record.id, {*held, error.permission or PERMISSION_OF[want.key[0]]})
            self._end(want, lambda w: Outcome(w.row.seq, "applied"), now_ms)
        else:
            if isinstance(error, StripeKeyRefused):
                with session_scope(self._tools.database, write=True) as connection:
                    note_disconnected(connection, record.id, "Stripe refused the key (401). Give the connection a new one.")
            log.warning("read_failed", object=want.key[1], problem=str(error))
            self._end(want, lambda w: _later(w.row, str(error), now_ms), now_ms, uncertain=True)

    def _not_found(self, answer: Answer, record: ConnectionRecord, now_ms: int, *, reference: bool) -> None:
        """404: a reference is remembered as absent; anything else is believed gone only the second time (F69)."""
        key = answer.want.key
        rows = self._rows(answer.want)
        seen = min((w.row.missing_since_ms for w in rows if w.row.missing_since_ms is not None), default=None)
        problem = "Stripe doesn't know this object (404); asked again"
        gone = reference or (seen is not None and now_ms - seen >= 60_000 and answer.account_alive)
        if not gone:
            self._end(answer.want, lambda w: Outcome(w.row.seq, "pending", w.row.attempts, now_ms + MISSING_AGAIN_MS,
                                                     problem, w.row.missing_since_ms or now_ms), now_ms)  # fmt: skip
            return
        with session_scope(self._tools.database) as connection:
            draft = open_draft(connection, record, [(key, None)])
            known = draft.known(key)
            if known is not None or reference:
                held = draft.value(key)
                value = buried(key, held, held if held is not None else _absent(key))
                draft.put(key, value, ordering.after_tombstone(known, None, final=not reference), None)
            loaded = recompute.load(connection, record, draft.touched, overlay=draft.overlay())
        self._write(answer.want, draft, loaded, set(), None)

    def _end(self, want: Want, outcome: Callable[[Waiting], Outcome], now_ms: int, *, uncertain: bool = False) -> None:
        """Write `outcome` for every row that waits for `want`, and let them go."""
        rows = self._rows(want)
        outcomes = [outcome(waiting) for waiting in rows]
        with session_scope(self._tools.database, write=True) as connection:
            self.prove(connection)
            claims.mark_rows(connection, outcomes, now_ms)
            if uncertain:
                mirror.note_uncertain(connection, want.connection_id, want.key, now_ms)
            claims.add_counts(connection, self._tools.readers.take_calls().items(), _day(now_ms))
        for waiting in rows:
            self._waiting.pop(waiting.row.seq, None)


def _stale(row: Pending, now_ms: int) -> Outcome:
    number = min(row.attempts, len(STALE_AGAIN_MS) - 1)
    problem = "Stripe's answer is older than an event we hold; asked again"
    return Outcome(row.seq, "pending", row.attempts + 1, now_ms + STALE_AGAIN_MS[number], problem, row.missing_since_ms)


def _later(row: Pending, problem: str, now_ms: int) -> Outcome:
    """Stripe can't be asked now: the row stays pending, and the older it is the longer it waits (2 s to 5 min)."""
    wait = min(max((now_ms - row.received_ms) // 2, 2_000), 300_000)
    return Outcome(row.seq, "pending", row.attempts, now_ms + wait, problem, row.missing_since_ms)


def _failed(row: Pending, problem: str, now_ms: int) -> Outcome:
    from workers.drain import failure

    return failure(row, problem, now_ms)


def _absent(key: Key) -> Any:
    """A stand-in for an object that Stripe doesn't have."""
    if key[0] == "price":
        return msgspec.structs.replace(READERS["price"]({"id": key[1], "object": "price"}), stub=True)
    return READERS[key[0]]({"id": key[1], "object": key[0]})


def _day(now_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(now_ms // 1000))
