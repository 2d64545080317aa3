"""The pure targets: the whole corpus, then some thousands of fresh mutations, the same in every run (SEED=n for others,
SEED=random for any; FUZZ=n for n times as many). `make fuzz` goes on from here."""

import os
import random
from collections.abc import Callable

import pytest

from tests.fuzz.engine import Engine
from tests.fuzz.targets import PURE

SEED = os.environ.get("SEED", "1")
TIMES = int(os.environ.get("FUZZ", "1"))
COUNTS = {"verifier": 60_000, "envelope": 40_000, "reader": 50_000, "mrr": 12_000, "framing": 50_000}
_FAULTS = {
    "verifier": ("F20", "S03", "I9"),
    "envelope": ("F19", "S09", "I10"),
    "reader": ("F22", "F29", "I10"),
    "mrr": ("F22", "F27", "F29", "F30", "I9", "I10"),
    "framing": ("F16", "S10"),
}


def seed() -> int:
    """The run's seed."""
    return random.SystemRandom().randrange(10**9) if SEED == "random" else int(SEED)


def check(engine: Engine, count: int, number: int, record_property: Callable[[str, object], None]) -> None:
    """Replay, add `count` fresh inputs of seed `number`, say so, and fail on what broke."""
    engine.replay(traced=False)
    report = engine.run(count=count)
    record_property("said", f"{report}, seed {number}")
    assert not report.bugs, "\n".join(f"SEED={number}: {where}\n  {data[:2000]!r}" for where, data in report.bugs.items())


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.fault(*_FAULTS[name])) for name in PURE])
def test_hostile_input_breaks_no_promise(name: str, record_property: Callable[[str, object], None]) -> None:
    number = seed()
    check(Engine(PURE[name](), number), COUNTS[name] * TIMES, number, record_property)
