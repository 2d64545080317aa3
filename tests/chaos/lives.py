"""Lives: what is killed after every step it commits, until it comes to its end (F50, F74)."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy import inspect

from models.migrations.run import schema_is_current
from models.store import bulk
from models.store.session import session_scope
from tests.chaos.cells import migration_environment, run_command
from tests.chaos.nemesis import Nemesis
from tests.chaos.scene import Place, Scene
from tests.chaos.storm import rage
from tests.fake_stripe.generate import Shape
from tests.support.web_process import ROOT
from workers.processes import spawn

ACCOUNT = Shape(ours=220, unmatched=20, personal=20, no_email=5, collisions=10, subdomains=10)
MOST = 400
PACE_S, PER_SECOND = 1.0, 30.0
"""Slower than in a storm of its own: a life of the backfill takes about a second to start."""


class Backfills:
    """A backfill of the scene's account, killed after each page it commits and taken up by the next. Objects that are read one
    by one are committed a few at a time: while many are wanted it may commit some of them before it is killed. Call `turn` in
    turns."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._process: subprocess.Popen[str] | None = None
        self.codes: list[int] = []

    @property
    def over(self) -> bool:
        """Whether the run has come to its end: it may be killed in the very moment after."""
        return self._process is None and bool(self.codes) and self._run()[0] == "complete"

    def turn(self) -> None:
        """Start the next life when one has ended."""
        if self.over:
            return
        if self._process is None:
            assert len(self.codes) < MOST, f"it never comes to its end: {self.codes}"
            stack, point = self._scene.stack, f"after_backfill_commit=kill@{1 + self._run()[1] // 4}"
            command = [sys.executable, "-m", "webhook_app", "backfill", "--connection", str(stack.record.id)]
            with (stack.dir / "backfill.log").open("a") as log:
                self._process = spawn(command, env={**stack.env, "FAILPOINTS": point}, out=log, cwd=ROOT)
        elif (code := self._process.poll()) is not None:
            self.codes.append(code)
            self._process = None

    def _run(self) -> tuple[str, int]:
        """The state of the newest run, and how many objects it means to read one by one."""
        with session_scope(self._scene.stack.database) as connection:
            row = bulk.run(connection, "SELECT state, cursor FROM sync_runs ORDER BY id DESC").first()
        return (row[0], len(json.loads(row[1] or "{}").get("wanted", ()))) if row else ("", 0)


def backfill_in_a_storm(scene: Scene, place: Place, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """A backfill that is killed after every page, with everything else under the nemesis meanwhile."""
    lives = Backfills(scene)
    nemesis = Nemesis(scene.stack, seed, place.postgres)
    storm = rage(scene, nemesis, seed=seed, over=lambda: lives.over, pace_s=PACE_S, per_second=PER_SECOND, beside=lives.turn,
                 say=lambda line: say(f"{len(lives.codes)} lives of a backfill, {line}"))  # fmt: skip
    with session_scope(scene.stack.database) as connection:
        runs = [tuple(row) for row in bulk.run(connection, "SELECT state, error, objects FROM sync_runs ORDER BY id")]
    wrong = "" if storm.verdict.good and len(runs) == 1 else f"{runs}, {storm.verdict}"
    return {"codes": lives.codes, "objects": runs[-1][2], "storm": storm.to_json(), "wrong": wrong}


def migration_at_every_statement(place: Place, say: Callable[[str], None]) -> dict[str, Any]:
    """A migration killed before its first statement, then before its second, until it comes to its end."""
    directory = place.directory()
    database = place.empty(directory)
    codes = list[int]()
    wrong = ""
    while not codes or codes[-1] != 0:
        point = f"between_migration_statements=kill@{len(codes) + 1}"
        codes.append(run_command(migration_environment(place, directory, FAILPOINTS=point), "migrate"))
        say(f"{place.kind}: {len(codes)} lives of a migration")
        with session_scope(database) as connection:
            tables = set(inspect(connection).get_table_names())
        if codes[-1] != 0 and not tables <= {"alembic_version"}:
            wrong = wrong or f"half a migration after {len(codes)} kills: {sorted(tables)}"
        if len(codes) > MOST:
            wrong = wrong or "it never comes to its end"
            break
    if not schema_is_current(database):
        wrong = wrong or "the schema is not current"
    return {"codes": codes, "wrong": wrong}
