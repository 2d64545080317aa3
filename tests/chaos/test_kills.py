"""SIGKILL and FLUSHALL under load, on real processes: nothing acknowledged is lost, and the final figures are what Stripe's
current objects give (issue 2, FAULTS 1)."""

import os
import signal
import time

import pytest
import redis

from tests.chaos.scene import Scene
from tests.support.stack import wait_for


def on(*kinds: str) -> pytest.MarkDecorator:
    """Run on these databases."""
    return pytest.mark.parametrize("scene", kinds, indirect=True)


both = on("sqlite", "postgresql")


# --- the endpoint ------------------------------------------------------------------------------------------------


@both
@pytest.mark.fault("F40", "I1", "I3")
def test_sigkill_of_a_gunicorn_worker_and_then_of_gunicorn_itself_loses_nothing(scene: Scene) -> None:
    stack = scene.stack

    def kill_worker() -> None:
        stack.web_workers()[0].send_signal(signal.SIGKILL)

    def kill_master() -> None:
        assert stack.web is not None
        assert stack.web.process is not None
        os.kill(stack.web.process.pid, signal.SIGKILL)

    scene.play({5: kill_worker, 15: kill_master})
    wait_for(lambda: stack.tend() and ("web", -signal.SIGKILL) in stack.deaths)
    scene.end()


# --- the worker --------------------------------------------------------------------------------------------------


@both
@pytest.mark.fault("F55", "I3")
def test_sigkill_of_the_worker_again_and_again_under_load_changes_no_figure(scene: Scene) -> None:
    worker = scene.stack.workers["worker1"]

    def kill() -> None:
        worker.send(signal.SIGKILL)

    scene.play({3: kill, 10: kill, 20: kill})
    wait_for(scene.stack.tend)
    assert ("worker1", -signal.SIGKILL) in scene.stack.deaths
    scene.end()


@pytest.mark.fault("F63")
def test_sigterm_in_the_middle_of_a_batch_lets_the_worker_finish_it(scene: Scene) -> None:
    scene.stack.start_again("worker1", FAILPOINTS="before_apply=sleep:1@1")
    worker = scene.stack.workers["worker1"]
    scene.play()
    assert worker.process is not None
    pid = worker.process.pid
    wait_for(lambda: scene.stack.leases(pid))  # not of another worker, while this one is still starting
    assert worker.stop(signal.SIGTERM) == 0, worker.log
    worker.wanted = True
    worker.start()
    scene.end()


# --- Valkey and the clock ----------------------------------------------------------------------------------------


@both
@pytest.mark.fault("F51", "I3")
def test_sigkill_of_valkey_under_load_is_slow_at_most(scene: Scene) -> None:
    scene.play({8: scene.stack.valkey.kill})
    wait_for(scene.stack.tend)
    assert scene.stack.deaths[0][0] == "valkey"
    scene.end()


@pytest.mark.fault("F51")
def test_without_valkey_every_event_is_acknowledged_and_applied_once_an_empty_one_is_back(scene: Scene) -> None:
    scene.stack.valkey_wanted = False
    scene.stack.valkey.kill()
    scene.stack.valkey.forget()
    scene.play()
    assert scene.stack.waiting() > 0
    scene.stack.valkey_wanted = True
    scene.end()


@both
@pytest.mark.fault("F53", "I3")
def test_flushall_with_everything_queued_and_flagged_is_made_good_by_the_sweep(scene: Scene) -> None:
    worker = scene.stack.workers["worker1"]
    worker.pause()
    try:
        scene.play()
        with redis.Redis.from_url(scene.stack.valkey.url) as client:
            wait_for(lambda: client.keys("pivotal:wake:*") and client.llen("rq:queue:bell"))
            client.flushall()
    finally:
        worker.send(signal.SIGCONT)
    scene.end()


@pytest.mark.fault("F61", "I3")
def test_rings_that_all_get_lost_wait_for_the_clock_and_one_that_was_killed_for_its_successor(scene: Scene) -> None:
    clock = scene.stack.workers["clock"]
    clock.stop()
    scene.play(FAILPOINTS="between_flag_and_enqueue=raise")
    time.sleep(0.5)
    assert scene.stack.waiting() > 0, "nobody has rung"
    clock.wanted = True
    clock.start()
    scene.end()


@both
@pytest.mark.fault("F40", "F53", "F55", "I1", "I3")
def test_sigkill_of_everything_at_once_loses_nothing(scene: Scene) -> None:
    stack = scene.stack

    def kill() -> None:
        assert stack.web is not None
        for worker in stack.workers.values():
            worker.send(signal.SIGKILL)
        stack.web.kill()
        stack.valkey.kill()
        stack.valkey.forget()

    scene.play({10: kill})
    wait_for(lambda: stack.tend() and {name for name, _ in stack.deaths} == {"web", "worker1", "clock", "valkey"})
    scene.end()
