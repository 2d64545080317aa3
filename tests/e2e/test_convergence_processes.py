"""Convergence with real processes (FAULTS 8.1): 20 random histories, half of them on each database (HISTORIES=n for n/1000,
SEED=n for those from n on, SEED=random for others), and every one that ever failed. The seed says what happens, not when."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.store.session import Database
from tests.support.process_histories import Installation, diverging

KEPT = Path(__file__).with_name("failing_histories.txt")
SEED = os.environ.get("SEED", "1")
FIRST = random.SystemRandom().randrange(10**9) if SEED == "random" else int(SEED)
PARTS = [(kind, part) for kind in ("sqlite", "postgresql") for part in range(2)]  # each on an installation of its own
COUNT = -(-int(os.environ.get("HISTORIES", "20000")) // 1000 // len(PARTS))
pytestmark = [
    pytest.mark.timeout(max(180, COUNT * 30)),
    pytest.mark.fault("F01", "F03", "F04", "F05", "F08", "F40", "F53", "F55", "F56", "F57", "F61", "F73"),
    pytest.mark.fault("I1", "I2", "I3"),
]


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[Installation]:
    with Installation(database, tmp_path) as place:
        yield place


@pytest.mark.parametrize(("database", "part"), PARTS, indirect=["database"])
def test_random_histories_with_real_processes_converge(
    place: Installation, part: int, record_property: Callable[[str, object], None]
) -> None:
    kind = "sqlite" if place.stack.database.on_sqlite else "postgresql"
    first = FIRST + PARTS.index((kind, part)) * COUNT
    kept = [] if part else sorted({int(line) for line in KEPT.read_text().split()})
    found = diverging(place, [*kept, *range(first, first + COUNT)])
    title = f"convergence with processes on {kind}"
    record_property("counted", [title, {**place.counts, "diverged": len(found)}])
    record_property("said", f"{title}, part {part}: seeds {first} to {first + COUNT - 1} and {len(kept)} kept ones")
    if found:
        with KEPT.open("a") as file:
            file.writelines(f"{seed}\n" for seed in found)
    assert not found, "\n".join(f"SEED={seed}: {what}" for seed, what in found.items())
