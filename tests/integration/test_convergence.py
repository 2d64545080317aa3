"""Convergence through store and apply in one process (FAULTS 8.1): 2,000 random histories, 85 % of them on SQLite, the same in
every run (HISTORIES=n for n/10, SEED=n for those from n on, SEED=random for others), and every one that ever failed."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.settings import AppSettings
from models.store.keys import Keyring
from models.store.session import Database
from tests.support.environment import COOKIE_KEY, ENCRYPTION_KEY
from tests.support.histories import History, diverging
from tests.support.world import World

KEPT = Path(__file__).with_name("failing_histories.txt")
COUNT = int(os.environ.get("HISTORIES", "20000")) // 10
SEED = os.environ.get("SEED", "1")  # the same histories in every run, so that a run says something of the change; SEED=random
FIRST = None if SEED == "random" else int(SEED)
PARTS = {"sqlite": 12, "postgresql": 4}  # so that several test processes share them, and each is far from its time-out
SHARE = {"sqlite": 85, "postgresql": 15}  # per cent
pytestmark = [
    pytest.mark.timeout(max(180, COUNT // 8)),
    pytest.mark.fault("F01", "F03", "F04", "F05", "F06", "F07", "F08", "F23", "F24", "F55", "F56", "F70", "F72", "F73", "F83"),
    pytest.mark.fault("I1", "I2", "I3", "I4", "I5", "I6"),
]


@pytest.fixture
def world(database: Database, data_dir: Path, keyring: Keyring) -> Iterator[World]:
    settings = AppSettings(data_dir=data_dir, encryption_keys=ENCRYPTION_KEY, cookie_key=COOKIE_KEY, testing=True)
    with World(database, settings, keyring).installed() as world:
        yield world


COUNTS = {(kind, part): -(-COUNT * SHARE[kind] // 100 // number) for kind, number in PARTS.items() for part in range(number)}


def seeds(kind: str, part: int) -> range:
    """Each part has seeds of its own, one after the other."""
    places = list(COUNTS)
    before = sum(COUNTS[place] for place in places[: places.index((kind, part))])
    first = random.SystemRandom().randrange(10**9) if FIRST is None else FIRST + before
    return range(first, first + COUNTS[kind, part])


@pytest.mark.parametrize(("database", "part"), [(kind, n) for kind in PARTS for n in range(PARTS[kind])], indirect=["database"])
def test_random_histories_converge(world: World, part: int, record_property: Callable[[str, object], None]) -> None:
    kind = "sqlite" if world.database.on_sqlite else "postgresql"
    chosen = seeds(kind, part)
    found = diverging(world, chosen)
    world.counts["diverged"] = len(found)
    record_property("counted", [f"convergence on {kind}", dict(world.counts)])
    whole = f"seeds {FIRST} to {FIRST + sum(COUNTS.values()) - 1}" if FIRST is not None else None
    record_property("said", f"convergence: {whole or f'{kind}, part {part}: seeds {chosen.start} to {chosen.stop - 1}'}")
    if found:
        with KEPT.open("a") as file:
            file.writelines(f"{seed}\n" for seed in found)
    assert not found, "\n".join(f"SEED={seed}: {what}" for seed, what in found.items())[:5000]


def test_histories_that_once_failed_converge(world: World) -> None:
    assert diverging(world, sorted({int(line) for line in KEPT.read_text().split()})) == {}


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_a_seed_tells_all_of_a_history(world: World, seed: int) -> None:
    def trace() -> list[str]:
        history = History(world, seed)
        history.run()
        return history.trace

    assert trace() == trace()
