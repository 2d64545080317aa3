"""The cache of connections: at most a second old, never in the way, useful while the database is away."""

import threading
import time

import pytest

from models.errors import DatabaseAway
from webhook_app.connection_cache import MAX_AGE_S, ConnectionCache, Known

A = Known(1, True, None, (b"whsec_a",))
B = Known(1, True, None, (b"whsec_b",))


class Source:
    """What the database would say."""

    def __init__(self) -> None:
        self.known: dict[str, Known] = {"a": A}
        self.away = False
        self.reads = 0
        self.going = threading.Event()
        self.going.set()

    def __call__(self) -> dict[str, Known]:
        self.reads += 1
        assert self.going.wait(10)
        if self.away:
            raise DatabaseAway("database: gone")
        return dict(self.known)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def settle(source: Source, reads: int) -> None:
    deadline = time.monotonic() + 5
    while source.reads < reads:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.01)


def test_within_a_second_nothing_is_read_again_and_made_up_ids_cost_nothing() -> None:
    source, clock = Source(), Clock()
    cache = ConnectionCache(source, clock)
    assert cache.get("a") == A
    for n in range(1000):
        assert cache.get(f"made up {n}") is None
    assert source.reads == 1


@pytest.mark.fault("F32")
def test_a_rolled_secret_a_new_and_a_removed_connection_show_within_a_second() -> None:
    source, clock = Source(), Clock()
    cache = ConnectionCache(source, clock)
    assert cache.get("a") == A
    source.known = {"a": B, "new": A}
    clock.now += MAX_AGE_S
    assert cache.get("a") == B
    assert cache.get("new") == A
    source.known = {}
    clock.now += MAX_AGE_S
    assert cache.get("a") is None


def test_shortly_before_the_second_is_over_it_is_read_in_the_background_and_nobody_waits() -> None:
    source, clock = Source(), Clock()
    cache = ConnectionCache(source, clock)
    assert cache.get("a") == A
    source.known = {"a": B}
    source.going.clear()
    clock.now += 0.8
    assert cache.get("a") == A
    assert cache.get("a") == A
    source.going.set()
    settle(source, 2)
    assert cache.get("a") == B
    assert source.reads == 2


@pytest.mark.fault("F38")
def test_with_the_database_away_what_is_known_stays_in_force() -> None:
    source, clock = Source(), Clock()
    cache = ConnectionCache(source, clock)
    assert cache.get("a") == A
    source.away = True
    clock.now += 100
    assert cache.get("a") == A
    source.away, source.known = False, {"a": B}
    clock.now += 1
    assert cache.get("a") == B


@pytest.mark.fault("F38")
def test_nothing_known_and_nothing_to_be_read_is_no_reason_to_call_an_id_unknown() -> None:
    source = Source()
    source.away = True
    cache = ConnectionCache(source)
    with pytest.raises(DatabaseAway):
        cache.get("a")


def test_a_forked_process_reads_for_itself() -> None:
    source = Source()
    cache = ConnectionCache(source)
    assert cache.get("a") == A
    cache._pid += 1
    assert cache.get("a") == A
    assert source.reads == 2
