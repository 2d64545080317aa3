"""Token buckets of STRIPE 5.2, in the process and in a real Redis (F65, F87)."""

import os

import pytest

from models.settings import AppSettings
from workers.rate_limit import LocalBuckets, Rate, SharedBuckets, open_limiter


def granted(buckets, clock, endpoint, until):
    """Calls sent by somebody who always has one to send, until that second of the clock."""
    sent = []
    while clock[0] < until:
        wait = buckets.take(endpoint)
        if wait <= 0:
            sent.append(clock[0])
        else:
            clock[0] += wait
    return sent


def local(per_endpoint, in_all):
    buckets, clock = LocalBuckets(Rate(per_endpoint), Rate(in_all)), [1000.0]
    buckets.clock = lambda: clock[0]
    return buckets, clock


@pytest.mark.fault("F65")
@pytest.mark.parametrize("rate", [1.0, 8.0, 15.0, 0.5])
def test_no_second_ever_holds_more_than_the_rate_and_a_small_burst(rate):
    buckets, clock = local(rate, 1000)
    sent = granted(buckets, clock, "/v1/customers", 1020.0)
    assert len(sent) == pytest.approx(rate * 20, abs=rate * 0.3 + 1)
    for start in sent:
        assert sum(1 for at in sent if start <= at < start + 1) <= rate * 1.3 + 1


def test_endpoints_have_their_own_bucket_and_share_the_one_of_all():
    buckets, _clock = local(10, 10_000)
    while buckets.take("/v1/customers") <= 0:
        pass
    assert buckets.take("/v1/customers/{id}") == 0.0
    buckets, _clock = local(10_000, 10)
    while buckets.take("/v1/customers") <= 0:
        pass
    assert buckets.take("/v1/customers/{id}") > 0


def test_a_refused_call_takes_nothing():
    buckets, _clock = local(1, 1000)
    assert buckets.take("/v1/prices") == 0.0
    waits = {buckets.take("/v1/prices") for _ in range(50)}
    assert waits == {1.0}


def test_rates_come_from_the_settings_and_the_mode():
    settings = AppSettings(live_calls_per_second=40, live_calls_per_second_per_endpoint=15)
    live, trial = open_limiter(settings, 1, "live"), open_limiter(settings, 2, "test")
    assert live._rates == (Rate(15), Rate(40))
    assert trial._rates == (Rate(8), Rate(15))


@pytest.mark.fault("F65")
def test_workers_share_one_bucket_through_redis(redis_url):
    one, two = (SharedBuckets(redis_url, 1, "live", Rate(10), Rate(1000)) for _ in range(2))
    other = SharedBuckets(redis_url, 2, "live", Rate(10), Rate(1000))
    taken = [buckets.take("/v1/customers") for buckets in (one, two) * 5]
    assert 3 <= sum(1 for wait in taken if wait == 0) <= 4, "three at once, and what a slow machine lets through meanwhile"
    assert max(taken) <= 0.1
    assert other.take("/v1/customers") == 0.0, "another connection has buckets of its own"
    assert two._script is not None, "it was Redis that answered"
    for buckets in (one, two, other):
        buckets.close()


@pytest.mark.fault("F65")
def test_without_redis_the_process_keeps_its_own_buckets():
    buckets = SharedBuckets(f"unix:///nowhere-{os.getpid()}.sock", 1, "live", Rate(10), Rate(1000))
    taken = [buckets.take("/v1/customers") for _ in range(6)]
    assert taken.count(0.0) == 3
    assert max(taken) > 0
