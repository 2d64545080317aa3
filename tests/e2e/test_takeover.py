"""Workers that sleep past their lease, work side by side, or lose their database in a batch."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from models.store import bulk
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support import only_postgres
from tests.support.ledger import Ledger
from tests.support.stack import Stack, wait_for
from tests.support.story import DOMAINS, Story
from workers.queue import DRAIN_JOB, connect

SINCE = 12 * 3600


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(time.time() - SINCE)) as fake:
        yield fake


def versions(database: Database) -> list[tuple]:
    """What any write of a batch would move."""
    with session_scope(database) as connection:
        sql = "SELECT id, mirror_version, computed_version, changed_ms FROM customers ORDER BY id"
        rows = bulk.run(connection, sql).fetchall()
        rows += bulk.run(connection, "SELECT name, day, n FROM counters WHERE name IN ('events', 'recomputes')").fetchall()
        return [tuple(row) for row in rows]


@pytest.mark.fault("F57")
def test_a_worker_that_wakes_after_its_lease_was_taken_writes_nothing(
    database: Database, fake: FakeStripe, tmp_path: Path
) -> None:
    story = Story(fake)
    with Stack(database, fake, tmp_path, workers=2, domains=DOMAINS) as stack:
        ledger, sleeper, other = Ledger(stack), stack.workers["worker1"], stack.workers["worker2"]
        other.stop()
        stack.start_again("worker1", FAILPOINTS="before_apply=sleep:1.5@1")
        ledger.send(story.shuffled(story.begin()))
        wait_for(stack.leases)
        time.sleep(0.3)
        sleeper.pause()
        other.wanted = True
        other.start()
        stack.settle()
        stack.judge(ledger.acked)
        before = versions(database)
        time.sleep(1.2)  # its sleep in the failpoint is over: it acts as soon as it may
        sleeper.send(signal.SIGCONT)
        wait_for(lambda: "lease_lost" in sleeper.log)
        assert versions(database) == before
        ledger.send(story.shuffled(story.chapter()))
        stack.settle()
        stack.judge(ledger.acked)


@pytest.mark.fault("F43", "F56", "F58")
def test_three_workers_on_one_customer_agree_with_stripe(database: Database, fake: FakeStripe, tmp_path: Path) -> None:
    """Six accounts of one customer, in as many partitions as there are; and rings that nobody asked for, of partitions that
    don't exist too."""
    story = Story(fake, domains=("acme.com", "globex.com"))
    slow = ",".join(f"{point}=sleep:0.03" for point in ("before_apply", "before_commit_of_batch", "before_refetch_write"))
    with Stack(database, fake, tmp_path, workers=3, domains=("acme.com", "globex.com"), partitions=4) as stack:
        for name in ("worker1", "worker2", "worker3"):
            stack.start_again(name, FAILPOINTS=slow)
        ledger = Ledger(stack)
        ledger.send(story.begin())
        with connect(stack.valkey.url) as client:
            queue = Queue("bell", connection=client, serializer=JSONSerializer)
            for _ in range(3):
                ledger.send(story.shuffled(story.chapter()))
                for partition in (0, 1, 2, 3, 3, 3, 99):
                    queue.enqueue_call(DRAIN_JOB, args=[partition], result_ttl=0)
        stack.settle()
        stack.judge(ledger.acked)
        assert not stack.deaths


@only_postgres
@pytest.mark.fault("F42", "F81")
@pytest.mark.parametrize("point", ["between_apply_and_recompute", "before_commit_of_batch", "before_refetch_write"])
def test_a_connection_that_is_cut_in_a_batch_rolls_it_back_and_it_comes_again(
    database: Database, fake: FakeStripe, tmp_path: Path, point: str
) -> None:
    story = Story(fake)
    with Stack(database, fake, tmp_path, domains=DOMAINS) as stack:
        stack.start_again("worker1", FAILPOINTS=f"{point}=sleep:1@1")
        ledger = Ledger(stack)
        ledger.send(story.shuffled(story.begin() + story.chapter()))
        wait_for(stack.leases)
        time.sleep(0.2)
        with session_scope(database, write=True) as connection:
            sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pivotal-worker'"
            mine = " AND datname = current_database() AND pid <> pg_backend_pid()"
            assert bulk.run(connection, sql + mine).scalar()
        stack.settle()
        stack.judge(ledger.acked)
