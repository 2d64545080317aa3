"""Deliveries that arrive together share one commit (STACK.md, at its end).

A request puts its row in a list and waits; one committer thread per process takes all waiting rows, writes them by one
statement in one transaction, and lets their requests go after the COMMIT. While that commit is under way the next rows gather,
so the slower the disk, the larger the groups.

A thread of its own, not a leader among the requests: no request ever stands inside a database call, so none can be held there
(a lock, a machine that stopped answering); it gives up at its deadline whatever the database does.

A request waits in its thread (`store`), or leaves its ticket and the way to be told (`begin`): then it holds no thread, and
the many requests of one commit are told together.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from models.errors import DatabaseAway
from models.store.inbox import NewEvent
from models.store.logs import log

DEADLINE_S = 1.7  # from a request's start to its answer, whatever happens: 503 is promised within 2 s
DOUBTFUL_S = 0.4  # once a commit failed or hung, until one succeeds: so that waiting requests don't fill all threads
LEAST_S = 0.1  # however late a request is, its row gets a chance: only a commit shows that the database is back
MAX_GROUP = 256


class Ringer(Protocol):
    """What is told of each commit, after its requests were let go; must not block."""

    def __call__(self, partitions: set[int]) -> None:
        """These partitions have new pending rows."""


class Ticket:
    """One waiting request: its row, when it gives up (by the monotonic clock), and how its commit ended."""

    __slots__ = ("_done", "deadline", "error", "row", "settled", "wake")

    def __init__(self, row: NewEvent, wake: Callable[[], None] | None) -> None:
        self.row = row
        self.wake = wake
        self.deadline = 0.0
        self.settled = False
        self.error: Exception | None = None
        self._done: threading.Lock | None = None
        if wake is None:
            self._done = threading.Lock()
            self._done.acquire()

    def finish(self, error: Exception | None) -> None:
        """Let the request go."""
        self.error = error
        self.settled = True
        if self._done is not None:
            self._done.release()

    def wait(self) -> bool:
        """Whether it was settled before its deadline. Who is told by `wake` comes when it is, or at the deadline."""
        if self._done is not None:
            return self._done.acquire(timeout=max(0.0, self.deadline - time.monotonic())) or self.settled
        return self.settled


class GroupCommit:
    """`store(row)` returns after the COMMIT that holds the row. `write(rows)` is one transaction, committed when it returns."""

    def __init__(
        self,
        write: Callable[[Sequence[NewEvent]], None],
        ring: Ringer,
        *,
        deadline_s: float = DEADLINE_S,
        doubtful_s: float = DOUBTFUL_S,
    ) -> None:
        self._write = write
        self.ring = ring
        self._deadline_s = deadline_s
        self._doubtful_s = doubtful_s
        self._lock = threading.Lock()
        self._start(os.getpid())

    def _start(self, pid: int) -> None:
        """A clean state for this process (threads don't survive a fork), and its committer."""
        self._waiting: list[Ticket] = []
        self._wanted = threading.Semaphore(0)
        self._idle = True
        self._healthy = True
        self._busy_since: float | None = None
        self._thread: threading.Thread | None = None
        self._pid = pid

    def store(self, row: NewEvent, spent_s: float = 0.0) -> None:
        """Store `row` durably, for a request that has already taken `spent_s`.

        Raises:
            DatabaseAway: not known to be stored; within the deadline, whatever the database does.
        """
        self.end(self.begin(row, spent_s))

    def begin(self, row: NewEvent, spent_s: float = 0.0, wake: Callable[[], None] | None = None) -> Ticket:
        """Have `row` stored; `end` tells how it went. With `wake`, which must not block, nobody need wait: it is called when
        this ticket, and others that named the same one, are settled, from another thread.

        Raises:
            DatabaseAway: a commit hangs, so this one is not even tried.
        """
        if self._pid != os.getpid():
            self._lock = threading.Lock()
            self._start(os.getpid())
        ticket = Ticket(row, wake)
        with self._lock:
            ticket.deadline = time.monotonic() + max(LEAST_S, self._limit() - spent_s)
            self._waiting.append(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
                self._thread.start()
            if self._idle:
                self._idle = False
                self._wanted.release()
        return ticket

    def end(self, ticket: Ticket) -> None:
        """Return after the COMMIT that holds the ticket's row.

        Raises:
            DatabaseAway: not known to be stored; within the deadline, whatever the database does.
        """
        if not ticket.wait():
            self._give_up(ticket)
        if ticket.error is not None:
            raise ticket.error

    def _limit(self) -> float:
        """How long a new row may wait, in s. Fails at once while a commit hangs that nobody waits for any more."""
        if self._healthy:
            return self._deadline_s
        if self._busy_since is not None and time.monotonic() - self._busy_since > self._doubtful_s:
            raise DatabaseAway("database: a commit is hanging")
        return self._doubtful_s

    def _give_up(self, ticket: Ticket) -> None:
        with self._lock:
            self._healthy = False
            if ticket in self._waiting:
                self._waiting.remove(ticket)
        if not ticket.settled:  # else it was committed in this very moment
            raise DatabaseAway("database: no commit in time")

    def _run(self) -> None:
        while True:
            with self._lock:
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                self._idle = not group
                self._busy_since = time.monotonic() if group else None
            if group:
                self._commit(group)
            else:
                self._wanted.acquire()

    def _commit(self, group: list[Ticket]) -> None:
        error = self._attempt([ticket.row for ticket in group])
        if error is not None and len(group) > 1 and not isinstance(error, DatabaseAway):
            self._one_by_one(group)  # one row's fault is not its neighbours'
            return
        self._finish(group, error)

    def _one_by_one(self, group: list[Ticket]) -> None:
        for ticket in group:
            self._finish([ticket], self._attempt([ticket.row]))

    def _attempt(self, rows: Sequence[NewEvent]) -> Exception | None:
        try:
            self._write(rows)
        except Exception as error:
            log.error("inbox_commit_failed", problem=type(error).__name__, rows=len(rows))
            return error
        return None

    def _finish(self, group: Sequence[Ticket], error: Exception | None) -> None:
        self._healthy = error is None or not isinstance(error, DatabaseAway)
        for ticket in group:
            ticket.finish(error)
        for wake in {ticket.wake for ticket in group}:
            if wake is not None:
                wake()
        if error is None:
            partitions = {ticket.row.partition for ticket in group if ticket.row.status == "pending"}
            if partitions:
                self.ring(partitions)
