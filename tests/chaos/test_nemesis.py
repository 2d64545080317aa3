"""A short storm over real gunicorn, RQ, Valkey and both databases (FAULTS 8.3); `make chaos` makes a long one."""

import os
import random
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.chaos.nemesis import Nemesis
from tests.chaos.scene import Place, Scene
from tests.chaos.storm import rage

pytestmark = pytest.mark.timeout(400)
KILLS = 20
SEED = os.environ.get("SEED", "1")


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.fault("F40", "F42", "F51", "F53", "F55", "F56", "F57", "F61", "F66", "F81", "I1", "I2", "I3")
def test_a_storm_of_kills_stops_and_cut_lines_loses_nothing_and_changes_no_figure(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    seed = random.SystemRandom().randrange(10**6) if SEED == "random" else int(SEED)
    with ExitStack() as closing:
        directory = place.directory()
        scene = Scene(place.migrated(directory), directory, closing, seed=seed, workers=2, proxied=True)
        nemesis = Nemesis(scene.stack, seed, place.postgres)
        storm = rage(scene, nemesis, seed=seed, over=lambda: nemesis.killed >= KILLS)
        said = f"storm on {place.kind}, seed {seed}: {storm.killed} kills, {sum(storm.others.values())} other acts"
        record_property("said", f"{said}, {storm.acknowledged} events acknowledged, {len(storm.verdict.lost)} lost")
        assert storm.verdict.good, f"SEED={seed}: {storm.verdict}\n{scene.stack.problems()}\n{scene.stack.logs()}"
        assert storm.killed >= KILLS
