"""Token buckets for Stripe's rate limits, shared by all workers of a connection through Redis (STRIPE 5.2).

GCRA: one number per bucket, the moment at which it would be full again. A call is granted when every bucket it needs lets it
through; else nothing is taken and the caller hears how long to wait, and waits outside of any database transaction (F87).
Without Redis each process keeps its own buckets: a little too fast with several workers, and Stripe's 429 is then the brake.
"""

import math
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from models.settings import AppSettings
from workers.queue import ANSWER_S, Breaker, connect

if TYPE_CHECKING:
    from redis.commands.core import Script

KEY = "pivotal:rate:{}:{}:{}"
BURST_S = 0.3
"""What may be sent at once after a pause, in seconds of the rate: 15/s gives 4, so no second ever holds 25 (STRIPE 5.1)."""
REDIS_REST_S = 5.0

_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local wait, full = 0, {}
for i, key in ipairs(KEYS) do
  local step, slack = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local at = math.max(tonumber(redis.call('GET', key) or now), now)
  wait = math.max(wait, at - slack - now)
  full[i] = at + step
end
if wait > 0 then return math.ceil(wait) end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.0f', full[i]), 'PX', math.ceil((full[i] - now) / 1000) + 1000)
end
return 0
"""


class Rate(NamedTuple):
    """Calls per second; `step_us` between two of them, `slack_us` how much may be sent ahead."""

    per_second: float

    @property
    def step_us(self) -> int:
        """Microseconds that one call takes of the bucket."""
        return math.ceil(1_000_000 / self.per_second)

    @property
    def slack_us(self) -> int:
        """How far ahead of a steady rate a burst may run."""
        return max(math.floor(self.per_second * BURST_S), 1) * self.step_us - self.step_us


class Limiter(Protocol):
    """What the caller of Stripe asks before each request."""

    def take(self, endpoint: str) -> float:
        """0.0: go. Else the seconds to wait before asking again; nothing was taken."""

    def close(self) -> None:
        """Give back what is held."""


class NoLimit:
    """Lets everything through (tests, and reads of files)."""

    def take(self, endpoint: str) -> float:
        """Always 0.0."""
        return 0.0

    def close(self) -> None:
        """Nothing is held."""


class LocalBuckets:
    """Buckets of this process. `clock` gives seconds that never go back."""

    def __init__(self, per_endpoint: Rate, in_all: Rate) -> None:
        self._rates = (per_endpoint, in_all)
        self._full_at: dict[str, int] = {}
        self._lock = threading.Lock()
        self.clock = time.monotonic

    def take(self, endpoint: str) -> float:
        """See `Limiter.take`."""
        with self._lock:
            now = int(self.clock() * 1_000_000)
            keys = tuple(zip((endpoint, ""), self._rates, strict=True))
            full = [max(self._full_at.get(key, now), now) for key, _ in keys]
            wait = max(at - rate.slack_us - now for at, (_, rate) in zip(full, keys, strict=True))
            if wait > 0:
                return wait / 1_000_000
            for at, (key, rate) in zip(full, keys, strict=True):
                self._full_at[key] = at + rate.step_us
            return 0.0


class SharedBuckets:
    """Buckets in Redis for one connection and mode; those of this process while Redis is away."""

    def __init__(self, redis_url: str, connection_id: int, mode: str, per_endpoint: Rate, in_all: Rate) -> None:
        self._url = redis_url
        self._scope = (connection_id, mode)
        self._rates = (per_endpoint, in_all)
        self._local = LocalBuckets(per_endpoint, in_all)
        self._breaker = Breaker(failures=1, open_s=REDIS_REST_S)
        self._script: Script | None = None

    def take(self, endpoint: str) -> float:
        """See `Limiter.take`. Redis costs at most a quarter of a second, once in `REDIS_REST_S` while it is away."""
        if not self._breaker.allows():
            return self._local.take(endpoint)
        try:
            wait = self._take_shared(endpoint)
        except Exception:  # any trouble of Redis: a limit of our own is better than none and than no reads
            self._breaker.report(ok=False)
            return self._local.take(endpoint)
        self._breaker.report(ok=True)
        return wait

    def _take_shared(self, endpoint: str) -> float:
        if self._script is None:
            self._script = connect(self._url, ANSWER_S).register_script(_TAKE)
        keys = [KEY.format(*self._scope, endpoint), KEY.format(*self._scope, "all")]
        numbers = [number for rate in self._rates for number in (rate.step_us, rate.slack_us)]
        return int(self._script(keys=keys, args=numbers)) / 1_000_000

    def close(self) -> None:
        """Give the connection to Redis back."""
        if self._script is not None:
            self._script.registered_client.close()
            self._script = None


def open_limiter(settings: AppSettings, connection_id: int, mode: str) -> SharedBuckets:
    """The buckets of a connection at the rates of the settings (STRIPE 5.2; the rest is left to the company's own traffic)."""
    if mode == "live":
        per_endpoint, in_all = settings.live_calls_per_second_per_endpoint, settings.live_calls_per_second
    else:
        per_endpoint, in_all = settings.test_calls_per_second_per_endpoint, settings.test_calls_per_second
    return SharedBuckets(settings.redis, connection_id, mode, Rate(per_endpoint), Rate(in_all))
