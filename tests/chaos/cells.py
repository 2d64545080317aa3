"""The matrix: each failpoint in each way (FAULTS 8.2). A cell orders one failpoint, makes somebody come by, and sees that
everything converges: nothing acknowledged is lost and every figure is what Stripe's current objects give.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import inspect

from models.migrations.run import schema_is_current
from models.store import failpoints
from models.store.failpoints import NAMES, STEPS
from models.store.session import session_scope
from tests.chaos.scene import Place, Scene
from tests.support.environment import environment
from tests.support.web_process import ROOT

ACTIONS = ("kill", "raise", "sleep:2", "drop")
"""`sleep` is longer than the leases of the installation (`stack.QUICK`): whoever wakes finds its lease gone."""
EMBEDDED_ONLY = ("before_key_file", "after_key_file")
"""The key files are made beside the embedded database alone (DESIGN 4)."""
APART = (*STEPS["backfill"], *STEPS["migration"])
TRIES = 12
COME_BY_S = 120.0
LIFE_S = 120.0


class Cell(NamedTuple):
    """How one went. `wrong`: what didn't hold, empty when all did. `seconds`: until everything was right again."""

    name: str
    action: str
    wrong: str
    seconds: float


def names_of(kind: str) -> tuple[str, ...]:
    """The failpoints that there are on a kind of database."""
    return tuple(name for name in NAMES if kind == "sqlite" or name not in EMBEDDED_ONLY)


class Missed(AssertionError):
    """Nobody came by the failpoint."""


def come_by(scene: Scene, names: Iterable[str], action: str) -> None:
    """Order these failpoints of web, workers and clock, and tell the story until somebody has come by all of them."""
    wanted = list(names)
    for name in wanted:
        scene.stack.order(name, action)
    deadline = time.monotonic() + COME_BY_S
    while time.monotonic() < deadline:
        scene.play(acts=2)
        scene.stack.settle()
        if all(scene.stack.came_by(name) for name in wanted):
            return
    raise Missed(f"nobody came by {[name for name in wanted if not scene.stack.came_by(name)]}")


def backfill(scene: Scene, name: str, action: str) -> list[int]:
    """A backfill that comes by this failpoint, and those that follow until one ends well: how each ended."""
    scene.stack.order(name, action)
    command = ["backfill", "--connection", str(scene.stack.record.id)]
    codes = _lives(lambda: run_command(scene.stack.env, *command))
    if not scene.stack.came_by(name):
        raise Missed(f"the backfill didn't come by {name}")
    return codes


def migrate(place: Place, name: str, action: str) -> list[int]:
    """A migration of an empty database that comes by this failpoint, and those that follow until one ends well. After each,
    all of it has happened or nothing."""
    with ExitStack() as closing:
        directory = place.directory()
        database = place.empty(directory)
        closing.callback(database.dispose)
        failpoints.order(directory, name, action)
        env = migration_environment(place, directory, FAILPOINTS_DIR=str(directory))

        def life() -> int:
            code = run_command(env, "migrate")
            with session_scope(database) as connection:
                tables = set(inspect(connection).get_table_names())
            assert tables <= {"alembic_version"} or schema_is_current(database), f"half a migration: {sorted(tables)}"
            return code

        codes = _lives(life)
        if not failpoints.done(directory, name):
            raise Missed(f"the migration didn't come by {name}")
        assert schema_is_current(database)
        if place.kind == "sqlite":
            for key in ("secret.key", "cookie.key"):
                assert len((directory / "data" / key).read_text().split()) == 1
        return codes


def migration_environment(place: Place, directory: Path, **more: str) -> dict[str, str]:
    """For `migrate` on the database of this directory, its keys still to be made."""
    from models.settings import AppSettings

    settings = AppSettings(data_dir=directory / "data", testing=True)
    env = environment(settings, **more)
    if place.kind == "postgresql":
        env["DATABASE_URL"] = place.url_of(directory)
    return env


def run_command(env: dict[str, str], *arguments: str) -> int:
    """`python -m webhook_app …`; its status."""
    command = [sys.executable, "-m", "webhook_app", *arguments]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, timeout=LIFE_S, check=False)
    return done.returncode


def _lives(life: Callable[[], int]) -> list[int]:
    codes = list[int]()
    while not codes or codes[-1] != 0:
        assert len(codes) < TRIES, f"it never ends well: {codes}"
        codes.append(life())
    return codes


def run_cell(scene: Scene, place: Place, name: str, action: str) -> Cell:
    """One cell of the matrix."""
    started = time.monotonic()
    wrong = ""
    try:
        if name in STEPS["migration"]:
            migrate(place, name, action)
        else:
            if name in STEPS["backfill"]:
                scene.play(acts=2)
                backfill(scene, name, action)
            else:
                come_by(scene, [name], action)
            scene.end()
    except (AssertionError, subprocess.TimeoutExpired) as error:
        wrong = f"{type(error).__name__}: {error}"
        scene.clean = False
    return Cell(name, action, wrong, time.monotonic() - started)
