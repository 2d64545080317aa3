"""SIGKILL, FLUSHALL and failpoints at the moments that matter, on real processes: nothing acknowledged is lost, and the final
figures are what Stripe's current objects give (issue 2, FAULTS 1 and 8.2).

One installation serves all tests of a database, each of which adds a chapter to its story; one that fails takes its
installation with it.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from models.store.session import Database
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.stack import Ledger, Stack, wait_for
from tests.support.story import DOMAINS, Story

SINCE = 12 * 3600  # the story begins so long ago, and its clock only moves by its acts: no event is from the future


class Scene:
    """An installation and its story. `clean`: the last test that used it has passed."""

    def __init__(self, database: Database, directory: Path, closing: ExitStack) -> None:
        self.closing = closing
        self.fake = closing.enter_context(FakeStripe(seed=7, clock=Clock(time.time() - SINCE)))
        self.story = Story(self.fake)
        self.stack = closing.enter_context(Stack(database, self.fake, directory, domains=DOMAINS))
        self.ledger = Ledger(self.stack)
        self.clean = True
        self.ledger.send(self.story.begin())
        self.stack.settle()

    def play(self, at: Mapping[int, Callable[[], None]] | None = None, **web: str) -> None:
        """A chapter, delivered in any order and partly twice. `at`: what happens at which acknowledgement; `web`: gunicorn's
        further environment."""
        if web != self.stack.web_env:
            self.stack.start_web(**web)
        self.stack.deaths.clear()
        self.ledger.send(self.story.shuffled(self.story.chapter()), at=at)

    def end(self) -> None:
        """Everything is worked off, and right."""
        self.stack.settle()
        self.stack.judge(self.ledger)
        self.clean = True


@pytest.fixture(scope="module")
def scenes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Scene]]:
    """The installation of a kind of database, a new one after a failure."""
    made: dict[str, Scene] = {}

    def find(kind: str) -> Scene:
        if kind in made and not made[kind].clean:
            made.pop(kind).closing.close()
        if kind not in made:
            closing, directory = ExitStack(), tmp_path_factory.mktemp(f"stack-{kind}")
            made[kind] = Scene(_database(kind, request, directory, closing), directory, closing)
        made[kind].clean = False
        return made[kind]

    yield find
    for scene in made.values():
        scene.closing.close()


def _database(kind: str, request: pytest.FixtureRequest, directory: Path, stack: ExitStack) -> Database:
    if kind == "sqlite":
        path = directory / "data" / "pivotal.db"
        path.parent.mkdir(mode=0o700)
        path.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
        database = Database(f"sqlite:///{path}")
    else:
        server = request.getfixturevalue("postgres_server")
        name = server.create(request.getfixturevalue("postgres_template"))
        stack.callback(server.drop, name)
        database = Database(server.url(name).replace("postgresql://", "postgresql+psycopg://"))
    stack.callback(database.dispose)
    return database


@pytest.fixture
def scene(request: pytest.FixtureRequest, scenes: Callable[[str], Scene]) -> Scene:
    return scenes(getattr(request, "param", "sqlite"))


def on(*kinds: str) -> pytest.MarkDecorator:
    """Run on these databases."""
    return pytest.mark.parametrize("scene", kinds, indirect=True)


both = on("sqlite", "postgresql")


# --- the endpoint ------------------------------------------------------------------------------------------------


@pytest.mark.fault("F40", "I1", "I3")
@pytest.mark.parametrize(
    ("scene", "point"),
    [
        ("sqlite", "before_inbox_commit=exit@3"),
        ("sqlite", "after_inbox_commit=exit@3"),
        ("sqlite", "before_answer=exit@3"),
        ("sqlite", "between_flag_and_enqueue=exit@1"),
        ("postgresql", "before_inbox_commit=exit@3,between_flag_and_enqueue=exit@2"),
    ],
    indirect=["scene"],
)
def test_a_web_process_that_dies_on_the_way_of_an_event_loses_nothing(scene: Scene, point: str) -> None:
    scene.stack.start_web(FAILPOINTS=point, WEB_PROCESSES="1")
    first = {process.pid for process in scene.stack.web_workers()}
    scene.play(FAILPOINTS=point, WEB_PROCESSES="1")
    wait_for(lambda: first - {process.pid for process in scene.stack.web_workers()})  # it has died, and another runs
    scene.end()


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


@pytest.mark.fault("F55", "F42", "I3")
@pytest.mark.parametrize(
    ("scene", "points"),
    [
        ("sqlite", ("after_claim", "before_apply", "between_apply_and_recompute")),
        ("sqlite", ("before_commit_of_batch", "after_commit_of_batch", "before_refetch_write")),
        ("postgresql", ("between_apply_and_recompute", "after_commit_of_batch", "before_refetch_write")),
    ],
    indirect=["scene"],
    ids=str,
)
def test_a_worker_that_dies_inside_a_batch_is_succeeded_with_the_same_result(scene: Scene, points: tuple[str, ...]) -> None:
    """The successor of each dies at the next point, after another chapter has come in."""
    stack = scene.stack
    stack.next_env = [{"FAILPOINTS": f"{point}=exit@{2 if point == 'after_claim' else 1}"} for point in points]
    stack.start_again("worker1", **stack.next_env.pop(0))
    for _ in points:
        scene.play()
        wait_for(stack.tend, 20)
        assert stack.deaths == [("worker1", 137)], stack.logs()
    scene.end()


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
