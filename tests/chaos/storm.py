"""A storm: a load of events from a story, a nemesis meanwhile, and the judge when it is over."""

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from models.store import bulk
from models.store.session import session_scope
from tests.chaos.nemesis import Nemesis
from tests.chaos.scene import Scene
from tests.support.judge import Verdict

THREADS = 8
MOST_WAITING = 120
"""Events that may wait to be delivered: while so many do, the story is not told on."""
ACKED_WITHIN_S = 180.0
SETTLED_WITHIN_S = 300.0


class Storm(NamedTuple):
    """What one was. Times in seconds: the whole of it, until all was settled after it, the slowest acknowledgement (from the
    first try), and the longest from an event's receipt to its end."""

    seed: int
    kills: dict[str, int]
    others: dict[str, int]
    acknowledged: int
    deliveries: int
    verdict: Verdict
    lasted_s: float
    settled_s: float
    slowest_ack_s: float
    slowest_event_s: float

    @property
    def killed(self) -> int:
        """How often in all."""
        return sum(self.kills.values())

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        found = {name: value for name, value in self._asdict().items() if name != "verdict"}
        problems = self.verdict
        return found | {"lost": len(problems.lost), "dead": problems.dead, "different": len(problems.different),
                        "untold": len(problems.untold)}  # fmt: skip


def rage(
    scene: Scene,
    nemesis: Nemesis,
    *,
    seed: int,
    over: Callable[[], bool],
    pace_s: float = 0.3,
    per_second: float = 100.0,
    beside: Callable[[], object] = lambda: None,
    say: Callable[[str], None] = lambda _line: None,
) -> Storm:
    """Rage until it is `over`, and judge. An act every `pace_s` on average, at most `per_second` events; `beside` is
    called in turns."""
    rng, stack, ledger = random.Random(seed), scene.stack, scene.ledger
    started = next_act = next_chapter = time.monotonic()
    waiting: set[Future[bool]] = set()

    def turn() -> None:
        nonlocal waiting
        stack.tend()
        nemesis.tend()
        beside()
        waiting = _undone(waiting)
        time.sleep(0.02)

    with ThreadPoolExecutor(THREADS) as pool:
        while not over():
            turn()
            now = time.monotonic()
            if len(waiting) < MOST_WAITING and now >= next_chapter:
                bodies = scene.story.shuffled(scene.story.chapter())
                next_chapter = now + len(bodies) / per_second
                waiting |= {pool.submit(ledger.deliver, body, now + ACKED_WITHIN_S) for body in bodies}
            if now >= next_act:
                nemesis.act()
                say(f"{nemesis.killed} kills, {sum(nemesis.done.values())} other acts, {len(ledger.acked)} events acknowledged")
                next_act = time.monotonic() + rng.uniform(0.2, 1.8) * pace_s
        ended = time.monotonic()
        nemesis.heal()
        while waiting:
            turn()
    stack.settle(within_s=SETTLED_WITHIN_S)
    return Storm(
        seed=seed, kills=dict(nemesis.kills), others=dict(nemesis.done),
        acknowledged=len(ledger.acked), deliveries=sum(ledger.statuses.values()), verdict=stack.verdict(ledger.acked),
        lasted_s=ended - started, settled_s=time.monotonic() - ended,
        slowest_ack_s=ledger.slowest_s, slowest_event_s=_slowest_event_s(scene),
    )  # fmt: skip


def _undone(waiting: set[Future[bool]]) -> set[Future[bool]]:
    """What is still being delivered.

    Raises:
        AssertionError: an event was never acknowledged.
    """
    for one in waiting:
        assert not one.done() or one.result(), "an event was never acknowledged"
    return {one for one in waiting if not one.done()}


def _slowest_event_s(scene: Scene) -> float:
    with session_scope(scene.stack.database) as connection:
        longest = bulk.run(connection, "SELECT max(status_ms - received_ms) FROM inbox WHERE status <> 'pending'").scalar()
    return float(longest or 0) / 1000
