"""The only door from web to workers: queue names, `wake`, and long jobs by dotted name. Ids only, JSON only (DESIGN 1).

The inbox is the queue; what is rung here may be lost at any time and is only slow then, never wrong: the sweeper rings for
what was forgotten. So everything on the way of an event is bounded: 250 ms for one `wake` however Redis behaves, and nothing
at all for some seconds once it has failed three times in a row.
"""

import threading
import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from models.errors import Refused
from models.store.failpoints import fp

if TYPE_CHECKING:
    import redis
    import rq

BELL_QUEUE = "bell"
LONG_QUEUE = "backfill"
DRAIN_JOB = "workers.jobs.drain"
LONG_JOBS = ("workers.jobs.backfill",)
JOB_NAMES = (DRAIN_JOB, *LONG_JOBS)  # every dotted name enqueued from here; a test resolves each

FLAG = "pivotal:wake:{}"
FLAG_S = 30
MAX_PARTITIONS = 256  # as in `AppSettings.partitions`
DRAIN_TIMEOUT_S = 60  # a drain ends itself after 20 s and rings for the rest
DRAIN_WAIT_S = 300  # a ring that no worker took for so long is void; the sweeper has rung since
LONG_TIMEOUT_S = 6 * 3600
LONG_WAIT_S = 24 * 3600

WORKER_TTL_S = 35  # an idle worker reports every 15 s less than this, one that works after each job (20 s)
WORKER_ALIVE_S = 45  # one whose last report is older counts as dead

CONNECT_S = 0.05
ANSWER_S = 0.1
LAST_START_S = 0.15  # no command of a ring starts later, so that 250 ms hold in all
LONG_ANSWER_S = 2.0
FAILURES_TO_TRIP = 3
OPEN_S = 3.0


class Breaker:
    """Open for `open_s` after three failures in a row: Redis is left alone and nobody waits for it. Then one caller tries."""

    def __init__(self, failures: int = FAILURES_TO_TRIP, open_s: float = OPEN_S) -> None:
        self._limit = failures
        self._open_s = open_s
        self._failures = 0
        self._closed_at = 0.0
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Whether to try now. When the pause is over, only the first caller hears yes until it reports back."""
        with self._lock:
            if self._failures < self._limit:
                return True
            now = time.monotonic()
            if now < self._closed_at:
                return False
            self._closed_at = now + self._open_s  # the others go on skipping while this one tries
            return True

    def report(self, *, ok: bool) -> None:
        """How the try ended."""
        with self._lock:
            self._failures = 0 if ok else self._failures + 1
            self._closed_at = time.monotonic() + self._open_s


class Bell:
    """Wakes workers over Redis. Cheap to make; connects, and imports redis and rq, on first use."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._breaker = Breaker()
        self._lock = threading.Lock()
        self._queues: dict[str, rq.Queue] = {}
        self._owed: set[int] = set()  # flag set by us, job not enqueued: Redis failed between the two

    # --- ringing ---------------------------------------------------------------------------------

    def wake(self, partitions: Iterable[int]) -> bool:
        """Ring for these partitions: set each flag, and enqueue one drain job for each whose flag was not set.

        Best effort, at most 250 ms in all, never raises; False when a ring may be missing (the sweeper will ring).
        """
        wanted = sorted(set(partitions))
        if not wanted:
            return True
        if not self._breaker.allows():
            return False
        try:
            self._ring(wanted)
        except Exception:  # any trouble of Redis or RQ: the inbox has the rows
            self._breaker.report(ok=False)
            return False
        self._breaker.report(ok=True)
        return True

    def _ring(self, partitions: list[int]) -> None:
        deadline = time.monotonic() + LAST_START_S
        queue = self._queue(BELL_QUEUE)
        queue.get_redis_server_version()  # asked once, kept by the queue
        _in_time(deadline)
        fp("before_flag", queue.connection)
        pipe = queue.connection.pipeline(transaction=False)
        for partition in partitions:
            pipe.set(FLAG.format(partition), 1, nx=True, ex=FLAG_S)
        flags = zip(partitions, pipe.execute(), strict=True)
        won = [partition for partition, fresh in flags if fresh or partition in self._owed]
        if not won:
            return
        self._owed.update(won)
        fp("between_flag_and_enqueue", queue.connection)
        _in_time(deadline)
        self._enqueue_drains(queue, won)
        fp("after_enqueue", queue.connection)
        self._owed.difference_update(won)

    def _enqueue_drains(self, queue: "rq.Queue", partitions: list[int]) -> None:
        from rq import Retry

        jobs = [
            queue.prepare_data(
                DRAIN_JOB,
                args=[partition],
                timeout=DRAIN_TIMEOUT_S,
                result_ttl=0,
                ttl=DRAIN_WAIT_S,
                failure_ttl=3600,
                retry=Retry(max=3),
            )
            for partition in partitions
        ]
        queue.enqueue_many(jobs)

    # --- the workers' side -----------------------------------------------------------------------

    def take_flag(self, partition: int) -> bool:
        """Clear a partition's flag. Whether it was set.

        Raises:
            redis.RedisError: Redis is away; the flag runs out by itself.
        """
        return self.look({partition}, 0)[0]

    def look(self, held: Collection[int], count: int) -> tuple[bool, set[int]]:
        """Clear the flags of `held`, before their rows are claimed: who rings from now on enqueues anew. Whether one was set,
        and which other partitions of `count` are rung.

        Raises:
            redis.RedisError: Redis is away.
        """
        client = self._redis()
        others = [partition for partition in range(count) if partition not in held]
        pipe = client.pipeline(transaction=False)
        pipe.delete(*(FLAG.format(partition) for partition in sorted(held)))
        if others:
            pipe.mget([FLAG.format(partition) for partition in others])
        cleared, *found = pipe.execute()
        fp("after_flag_cleared", client)
        values = found[0] if found else []
        return bool(cleared), {partition for partition, value in zip(others, values, strict=True) if value is not None}

    def rung(self) -> set[int]:
        """Partitions whose flag is set.

        Raises:
            redis.RedisError: Redis is away.
        """
        values = self._redis().mget([FLAG.format(partition) for partition in range(MAX_PARTITIONS)])
        return {partition for partition, value in enumerate(values) if value is not None}

    def enqueue_long(self, name: str, *ids: int) -> None:
        """Enqueue a long job by its dotted name, with ids only, for the workers of the queue `backfill`.

        Raises:
            Refused: Redis is away, so nothing was enqueued.
        """
        from redis import RedisError
        from rq import Retry

        if name not in LONG_JOBS or not all(isinstance(value, int) for value in ids):
            raise ValueError(f"not a long job with ids: {name}")
        try:
            self._queue(LONG_QUEUE, answer_s=LONG_ANSWER_S).enqueue_call(
                name,
                args=list(ids),
                timeout=LONG_TIMEOUT_S,
                result_ttl=0,
                ttl=LONG_WAIT_S,
                failure_ttl=24 * 3600,
                retry=Retry(max=3),
            )
        except RedisError:
            raise Refused("Redis is away: the job could not be queued, try again when it is back") from None

    # --- health ----------------------------------------------------------------------------------

    def ping(self) -> bool:
        """Whether Redis answers now (at most 150 ms)."""
        try:
            return bool(self._redis().ping())
        except Exception:
            return False

    def worker_count(self) -> int | None:
        """Workers that serve the bell and have reported lately, or None while Redis is away."""
        from rq import worker_registration
        from rq.utils import utcparse

        try:
            pipe = self._redis().pipeline(transaction=False)
            for key in worker_registration.get_keys(queue=self._queue(BELL_QUEUE)):  # also of those that were killed
                pipe.hget(key, "last_heartbeat")
            oldest = datetime.now(UTC) - timedelta(seconds=WORKER_ALIVE_S)
            return len([beat for beat in pipe.execute() if beat and utcparse(beat.decode()) >= oldest])
        except Exception:
            return None

    # --- connections -----------------------------------------------------------------------------

    def _redis(self) -> "redis.Redis":
        connection: redis.Redis = self._queue(BELL_QUEUE).connection
        return connection

    def _queue(self, name: str, answer_s: float = ANSWER_S) -> "rq.Queue":
        with self._lock:
            if name not in self._queues:
                from rq import Queue
                from rq.serializers import JSONSerializer

                self._queues[name] = Queue(name, connection=connect(self._url, answer_s), serializer=JSONSerializer)
            return self._queues[name]


def _in_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError("Redis is too slow to ring now")


def connect(url: str, answer_s: float = LONG_ANSWER_S) -> "redis.Redis":
    """A Redis client that gives up: `CONNECT_S` (or a tenth of `answer_s` more for patient ones) to connect, `answer_s` for
    an answer, no retries of its own. RESP2 without handshake commands: each would be one more wait."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "socket_timeout": answer_s,
        "socket_connect_timeout": max(CONNECT_S, answer_s / 2 if answer_s > ANSWER_S else 0),
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "health_check_interval": 0,
    }
    return redis.Redis.from_url(url, **options)
