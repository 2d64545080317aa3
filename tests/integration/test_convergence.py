"""Convergence through store and apply in one process (FAULTS 8.1): 150 random histories on both databases, the same ones in
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
from tests.support.histories import diverging
from tests.support.world import World

KEPT = Path(__file__).with_name("failing_histories.txt")
COUNT = int(os.environ.get("HISTORIES", "1500")) // 10
SEED = os.environ.get("SEED", "1")  # the same histories in every run, so that a run says something of the change; SEED=random
FIRST = None if SEED == "random" else int(SEED)
PARTS = {"sqlite": 8, "postgresql": 2}  # so that several test processes share them
SHARE = {"sqlite": 85, "postgresql": 15}  # per cent
pytestmark = [
    pytest.mark.timeout(max(170, COUNT // 2)),
    pytest.mark.fault("F01", "F03", "F04", "F05", "F06", "F07", "F08", "F23", "F24", "F55", "F56", "F70", "F72", "F73", "F83"),
    pytest.mark.fault("I1", "I2", "I3", "I4", "I5", "I6"),
]


@pytest.fixture
def world(database: Database, data_dir: Path, keyring: Keyring) -> Iterator[World]:
    settings = AppSettings(data_dir=data_dir, encryption_keys=ENCRYPTION_KEY, cookie_key=COOKIE_KEY, testing=True)
    with World(database, settings, keyring).installed() as world:
        yield world


@pytest.mark.parametrize(("database", "part"), [(kind, n) for kind in PARTS for n in range(PARTS[kind])], indirect=["database"])
def test_random_histories_converge(world: World, part: int, record_property: Callable[[str, object], None]) -> None:
    kind = "sqlite" if world.database.on_sqlite else "postgresql"
    count = max(COUNT * SHARE[kind] // 100 // PARTS[kind], 1)
    first = random.SystemRandom().randrange(10**9) if FIRST is None else FIRST + part * count
    found = diverging(world, range(first, first + count))
    record_property("said", f"convergence on {kind}: {count} histories from seed {first}, {len(found)} diverged")
    if found:
        with KEPT.open("a") as file:
            file.writelines(f"{seed}\n" for seed in found)
    assert not found, "\n".join(f"SEED={seed}: {what}" for seed, what in found.items())[:5000]


def test_histories_that_once_failed_converge(world: World) -> None:
    assert diverging(world, sorted({int(line) for line in KEPT.read_text().split()})) == {}
