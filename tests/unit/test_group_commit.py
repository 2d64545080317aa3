"""The group commit, with a database made of functions."""

import threading
import time
from collections.abc import Sequence

import pytest

from models.errors import DatabaseAway
from models.store.inbox import NewEvent
from webhook_app.group_commit import GroupCommit


def row(event_id: str, partition: int = 0, status: str = "pending") -> NewEvent:
    return NewEvent(
        1, event_id, "customer.updated", None, True, 1, "customer", "cus_1", "cus_1", partition, 1, 1, b"{}", status
    )


class FakeDatabase:
    """`write` as the real one: notes each commit; can be held, can fail."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.going = threading.Event()
        self.going.set()
        self.entered = threading.Event()
        self.poison: set[str] = set()
        self.away = False

    def write(self, rows: Sequence[NewEvent]) -> None:
        self.entered.set()
        assert self.going.wait(10)
        if self.away:
            raise DatabaseAway("database: gone")
        ids = [found.event_id for found in rows]
        if self.poison & set(ids):
            raise ValueError("a row the database refuses")
        self.commits.append(ids)

    @property
    def stored(self) -> list[str]:
        return [event_id for commit in self.commits for event_id in commit]


class Outcomes:
    """Stores rows on threads and keeps how each ended, and after how many seconds."""

    def __init__(self, inbox: GroupCommit) -> None:
        self.inbox = inbox
        self.ended: dict[str, str] = {}
        self.took: dict[str, float] = {}
        self._threads: list[threading.Thread] = []

    def start(self, *ids: str) -> None:
        for event_id in ids:
            thread = threading.Thread(target=self._store, args=(event_id,))
            thread.start()
            self._threads.append(thread)

    def _store(self, event_id: str) -> None:
        started = time.monotonic()
        try:
            self.inbox.store(row(event_id))
            self.ended[event_id] = "stored"
        except Exception as error:
            self.ended[event_id] = type(error).__name__
        self.took[event_id] = time.monotonic() - started

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def waits_for(inbox: GroupCommit, waiting: int) -> None:
    deadline = time.monotonic() + 5
    while len(inbox._waiting) != waiting:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_rows_that_come_while_a_commit_is_under_way_share_the_next_one() -> None:
    database = FakeDatabase()
    inbox = GroupCommit(database.write, lambda partitions: None)
    outcomes = Outcomes(inbox)
    database.going.clear()
    outcomes.start("first")
    assert database.entered.wait(5)
    outcomes.start(*(f"evt_{n}" for n in range(20)))
    waits_for(inbox, 20)
    assert not outcomes.ended, "nobody is answered before a commit"
    database.going.set()
    outcomes.join()
    assert len(database.commits) == 2
    assert set(outcomes.ended.values()) == {"stored"}
    assert sorted(database.stored) == sorted(outcomes.ended)


def test_one_row_the_database_refuses_does_not_take_its_neighbours_along() -> None:
    database = FakeDatabase()
    inbox = GroupCommit(database.write, lambda partitions: None)
    outcomes = Outcomes(inbox)
    database.poison = {"bad"}
    database.going.clear()
    outcomes.start("first")
    assert database.entered.wait(5)
    outcomes.start("a", "bad", "b")
    waits_for(inbox, 3)
    database.going.set()
    outcomes.join()
    assert outcomes.ended == {"first": "stored", "a": "stored", "b": "stored", "bad": "ValueError"}


@pytest.mark.fault("F38", "F41")
def test_a_commit_that_hangs_holds_no_request_beyond_its_deadline_and_later_ones_hardly_wait() -> None:
    database = FakeDatabase()
    inbox = GroupCommit(database.write, lambda partitions: None, deadline_s=0.2, doubtful_s=0.05)
    outcomes = Outcomes(inbox)
    database.going.clear()
    outcomes.start("a", "b")
    outcomes.join()
    assert outcomes.ended == {"a": "DatabaseAway", "b": "DatabaseAway"}
    with pytest.raises(DatabaseAway):
        inbox.store(row("c"))
    assert not inbox._waiting, "what was given up is not kept"
    database.going.set()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            inbox.store(row("d"))
            break
        except DatabaseAway:
            time.sleep(0.01)
    assert "d" in database.stored
    assert inbox._healthy


@pytest.mark.fault("F38")
def test_a_database_that_is_away_refuses_all_of_a_group_and_is_asked_once_for_it() -> None:
    database = FakeDatabase()
    inbox = GroupCommit(database.write, lambda partitions: None)
    outcomes = Outcomes(inbox)
    database.going.clear()
    outcomes.start("first")
    assert database.entered.wait(5)
    outcomes.start("a", "b", "c")
    waits_for(inbox, 3)
    database.away = True
    database.going.set()
    outcomes.join()
    assert set(outcomes.ended.values()) == {"DatabaseAway"}
    database.away = False
    inbox.store(row("later"))
    assert database.commits == [["later"]]


@pytest.mark.fault("F40")
def test_each_commit_rings_once_for_its_pending_rows_after_letting_its_requests_go() -> None:
    database = FakeDatabase()
    rung: list[set[int]] = []
    inbox = GroupCommit(database.write, rung.append)
    inbox.store(row("a", partition=3))
    inbox.store(row("b", partition=5))
    inbox.store(row("kept aside", status="quarantined"))
    inbox.store(row("c", partition=3))
    deadline = time.monotonic() + 5
    while len(rung) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert rung == [{3}, {5}, {3}]


def test_a_forked_process_starts_its_own_committer() -> None:
    import os

    database = FakeDatabase()
    inbox = GroupCommit(database.write, lambda partitions: None)
    inbox.store(row("in the parent"))
    inbox._pid = os.getpid() + 1  # as a child sees it: the thread is not there
    inbox._thread = None
    inbox.store(row("in the child"))
    assert database.commits == [["in the parent"], ["in the child"]]
    assert inbox._pid == os.getpid()


def test_who_leaves_a_way_to_be_told_holds_no_thread_and_is_told_once_a_commit() -> None:
    database = FakeDatabase()
    inbox = GroupCommit(database.write, lambda partitions: None)
    told = threading.Semaphore(0)
    database.going.clear()
    first = inbox.begin(row("first"), wake=told.release)
    assert database.entered.wait(5)
    later = [inbox.begin(row(f"evt_{n}"), wake=told.release) for n in range(20)]
    assert not first.settled
    database.going.set()
    assert told.acquire(timeout=5)
    assert told.acquire(timeout=5)
    for ticket in (first, *later):
        assert ticket.settled
        inbox.end(ticket)
    assert not told.acquire(timeout=0.1), "twice for two commits"
    assert [len(commit) for commit in database.commits] == [1, 20]


@pytest.mark.fault("F38", "F41")
def test_who_comes_at_the_deadline_of_a_commit_that_hangs_is_refused_and_forgotten() -> None:
    database = FakeDatabase()
    inbox = GroupCommit(database.write, lambda partitions: None, deadline_s=0.2, doubtful_s=0.05)
    database.going.clear()
    inbox.begin(row("held"), wake=lambda: None)
    assert database.entered.wait(5)
    ticket = inbox.begin(row("behind"), spent_s=0.05, wake=lambda: None)
    assert 0.1 < ticket.deadline - time.monotonic() <= 0.15
    with pytest.raises(DatabaseAway):
        inbox.end(ticket)
    assert not inbox._waiting
    database.going.set()
