"""The bell on a real Valkey: one job for one flag, ids only, never in the way."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import utcformat

from models.errors import Refused
from workers.embedded_valkey import EmbeddedValkey
from workers.queue import BELL_QUEUE, DRAIN_JOB, FLAG, LONG_QUEUE, Bell, connect


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as found:
        yield found


@pytest.fixture
def stopped(valkey_server: EmbeddedValkey, redis_url: str) -> Iterator[str]:
    """The same Valkey, hanging: it takes connections and never answers."""
    assert valkey_server.process is not None
    os.kill(valkey_server.process.pid, signal.SIGSTOP)
    yield redis_url
    os.kill(valkey_server.process.pid, signal.SIGCONT)


def jobs(client: redis.Redis, name: str = BELL_QUEUE) -> list[Job]:
    return Queue(name, connection=client, serializer=JSONSerializer).jobs


def test_one_ring_enqueues_one_job_for_each_partition_and_rings_on_top_of_it_enqueue_nothing(
    client: redis.Redis, redis_url: str
) -> None:
    bell = Bell(redis_url)
    assert bell.wake([3, 1, 3])
    assert bell.wake({1, 3})
    assert Bell(redis_url).wake([1])
    assert [(job.func_name, job.args) for job in jobs(client)] == [(DRAIN_JOB, [1]), (DRAIN_JOB, [3])]
    assert bell.rung() == {1, 3}
    assert 0 < client.ttl(FLAG.format(1)) <= 30


def test_once_the_flag_is_taken_the_next_ring_enqueues_again(client: redis.Redis, redis_url: str) -> None:
    bell = Bell(redis_url)
    bell.wake([0])
    assert bell.take_flag(0)
    assert not bell.take_flag(0)
    bell.wake([0])
    assert len(jobs(client)) == 2


@pytest.mark.fault("S25", "F58", "F64")
def test_jobs_carry_ids_only_as_json_and_are_tried_again(client: redis.Redis, redis_url: str) -> None:
    bell = Bell(redis_url)
    bell.wake([2])
    bell.enqueue_long("workers.jobs.backfill", 7)
    drain, backfill = jobs(client)[0], jobs(client, LONG_QUEUE)[0]
    assert (drain.retries_left, drain.result_ttl, drain.timeout) == (3, 0, 60)
    assert (backfill.func_name, backfill.args, backfill.retries_left) == ("workers.jobs.backfill", [7], 3)
    for job in (drain, backfill):
        assert b"pickle" not in job.data
        assert JSONSerializer.loads(job.data)[2] == list(job.args)
    with pytest.raises(ValueError, match="not a long job"):
        bell.enqueue_long("os.system", 1)
    with pytest.raises(ValueError, match="not a long job"):
        bell.enqueue_long("workers.jobs.backfill", "somebody@example.com")  # type: ignore[arg-type]


def test_only_workers_that_reported_lately_are_counted(client: redis.Redis, redis_url: str) -> None:
    queue = Queue(BELL_QUEUE, connection=client, serializer=JSONSerializer)
    workers = [SimpleWorker([queue], connection=client, serializer=JSONSerializer) for _ in range(3)]
    assert Bell(redis_url).worker_count() == 0
    for worker in workers:
        worker.register_birth()
    assert Bell(redis_url).worker_count() == 3
    client.hset(workers[0].key, "last_heartbeat", utcformat(datetime.now(UTC) - timedelta(seconds=50)))  # killed
    client.delete(workers[1].key)  # killed long ago: only its name is left
    assert Bell(redis_url).worker_count() == 1


@pytest.mark.fault("F51")
def test_without_redis_a_ring_is_lost_quietly_and_a_long_job_is_refused() -> None:
    bell = Bell("unix:///nowhere/at/all.sock")
    assert not bell.wake([0])
    with pytest.raises(Refused, match="Redis is away"):
        bell.enqueue_long("workers.jobs.backfill", 1)
    assert not bell.ping()
    assert bell.worker_count() is None


@pytest.mark.fault("F52")
def test_a_redis_that_hangs_costs_three_rings_a_quarter_of_a_second_and_the_next_nothing(stopped: str) -> None:
    bell = Bell(stopped)
    bell.ping()  # the imports of redis and rq are not what is measured
    took = []
    for _ in range(5):
        started = time.monotonic()
        assert not bell.wake([0, 1])
        took.append(time.monotonic() - started)
    assert max(took) < 0.35, "250 ms and some room for a busy machine"
    assert max(took[3:]) < 0.01


@pytest.mark.fault("F52")
def test_a_job_that_could_not_follow_its_flag_is_enqueued_by_the_next_ring(
    client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bell = Bell(redis_url)
    whole = bell._enqueue_drains
    monkeypatch.setattr(bell, "_enqueue_drains", lambda queue, partitions: (_ for _ in ()).throw(redis.TimeoutError()))
    assert not bell.wake([5])
    monkeypatch.setattr(bell, "_enqueue_drains", whole)
    assert bell.wake([5])
    assert [job.args for job in jobs(client)] == [[5]]


@pytest.mark.fault("F54")
def test_a_full_redis_is_no_error_of_ours(client: redis.Redis, redis_url: str) -> None:
    limit = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", "1")
    try:
        assert not Bell(redis_url).wake([0])
    finally:
        client.config_set("maxmemory", limit)
    assert Bell(redis_url).wake([0])


def test_a_patient_client_waits_longer_than_a_ringing_one(redis_url: str) -> None:
    for client, answer_s in ((connect(redis_url, 0.1), 0.1), (connect(redis_url), 2.0)):
        assert client.connection_pool.connection_kwargs["socket_timeout"] == answer_s
        client.close()
