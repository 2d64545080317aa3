"""Who drains which partitions, on real databases and a real Valkey: all that is rung, shared where several workers live."""

import time
from collections.abc import Iterator

import pytest
import redis

from models.settings import AppSettings
from models.store.claims import acquire_lease, lease_until, leases_to_take
from models.store.holders import holder_token
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from workers import holding
from workers.drain import Tools
from workers.holding import Holding
from workers.queue import Bell

PARTITIONS = 8


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as found:
        yield found
        found.flushdb()


def tools(settings: AppSettings, database: Database, keyring: Keyring, redis_url: str, workers: int) -> Tools:
    """A worker of so many."""
    found = Tools(settings.model_copy(update={"partitions": PARTITIONS}), database, Bell(redis_url), keyring)
    found.worker_count._workers, found.worker_count._asked_at = workers, time.monotonic() + 60
    return found


@pytest.fixture
def alone(settings: AppSettings, database: Database, keyring: Keyring, redis_url: str, client: redis.Redis) -> Tools:
    return tools(settings, database, keyring, redis_url, 1)


@pytest.fixture
def one_of_two(settings: AppSettings, database: Database, keyring: Keyring, redis_url: str, client: redis.Redis) -> Tools:
    return tools(settings, database, keyring, redis_url, 2)


def test_a_worker_alone_takes_all_that_is_rung_and_what_is_rung_while_it_works(alone: Tools) -> None:
    """Partitions that were rung later once waited until those taken first were quiet: seconds under steady load."""
    alone.bell.wake({1, 3})
    mine = Holding(alone)
    assert mine.take({3})
    assert mine.held == {1, 3}
    assert mine.look(), "flags were set: rows below any claimed before may be there"
    assert not mine.look()
    alone.bell.wake({5})
    assert mine.look()
    assert mine.held == {1, 3, 5}
    assert alone.bell.rung() == set(), "what was taken is cleared before it is claimed, so the next ring enqueues anew"
    with session_scope(alone.database, write=True) as connection:
        assert lease_until(connection, "partition:5") > alone.now_ms()
        mine.prove(connection)
    mine.release()
    with session_scope(alone.database) as connection:
        assert lease_until(connection, "partition:5") == 0


def test_one_of_two_takes_its_share_and_the_rest_only_when_nobody_comes_for_it(
    one_of_two: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_of_two.bell.wake(range(PARTITIONS))
    mine = Holding(one_of_two)
    assert mine.take({6})
    assert mine.held == {0, 1, 2, 6}
    mine.look()
    assert mine.held == {0, 1, 2, 6}
    other = Holding(one_of_two)
    assert other.take({4})
    assert other.held == {3, 4, 5, 7}
    other.release()
    one_of_two.bell.wake({3, 4, 5, 7})
    mine.look()
    assert mine.held == {0, 1, 2, 6}
    monkeypatch.setattr(holding.time, "monotonic", lambda moment=time.monotonic: moment() + holding.LEFT_S)
    mine.look()
    assert mine.held == {0, 1, 2, 3, 4, 5, 6, 7}, "what nobody came for"
    mine.release()


def test_what_somebody_else_holds_is_left_to_them_and_asked_for_now_and_then_only(alone: Tools) -> None:
    now_ms = alone.now_ms()
    with session_scope(alone.database, write=True) as connection:
        assert acquire_lease(connection, "partition:2", "somebody", now_ms, 30_000)
    alone.bell.wake({2, 7})
    mine = Holding(alone)
    assert mine.take({7})
    assert mine.held == {7}
    asked = []
    mine._acquire = lambda wanted: asked.append(set(wanted)) or set()  # type: ignore[method-assign,func-returns-value]
    for _ in range(5):
        mine.look()
    assert asked == []
    mine.release()


def test_a_flag_that_came_while_its_partition_was_held_does_not_keep_the_bell_silent(alone: Tools) -> None:
    """Its job found the partition held and ended; the flag would have kept the next ring from calling anybody."""
    mine = Holding(alone)
    assert mine.take({3})
    alone.bell.wake({3})
    mine.release()
    assert alone.bell.rung() == set()


def test_leases_that_ran_out_are_ours_or_whose_holder_is_dead_can_be_taken(alone: Tools) -> None:
    place, pid, started, unique = holder_token().split(":")
    leases = {"out": ("x", -1), "ours": ("me", 1), "held": ("x", 1), "dead": (f"{place}:{pid}:{int(started) + 1}:{unique}", 1)}
    now_ms = alone.now_ms()
    with session_scope(alone.database, write=True) as connection:
        for name, (token, left_ms) in leases.items():
            assert acquire_lease(connection, name, token, now_ms + left_ms - 30_000, 30_000)
        assert leases_to_take(connection, {*leases, "none"}, "me", now_ms) == {"out", "ours", "dead", "none"}


@pytest.mark.fault("F51")
def test_without_redis_a_worker_takes_what_it_was_called_for(alone: Tools) -> None:
    alone.bell = Bell("redis://127.0.0.1:9/0")
    mine = Holding(alone)
    assert mine.take({5})
    assert mine.look(), "nobody can say what was rung"
    assert mine.held == {5}
    mine.release()
