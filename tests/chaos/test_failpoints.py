"""Every failpoint is known, and a process is killed once at each (FAULTS 8.2); every way and database in `make chaos`."""

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from models.errors import DatabaseAway
from models.store import failpoints
from models.store.failpoints import NAMES, STEPS
from models.store.session import Database, session_scope
from tests.chaos.cells import APART, EMBEDDED_ONLY, backfill, come_by, migrate, names_of
from tests.chaos.scene import Place, Scene
from tests.support.web_process import ROOT
from workers.queue import Bell, connect

ONLINE = tuple(name for name in NAMES if name not in APART)
pytestmark = pytest.mark.timeout(400)  # a slow machine starts some forty processes here
BACKFILL, MIGRATION = STEPS["backfill"], STEPS["migration"]
DATABASES = ("sqlite", "postgresql")
on_both_databases = pytest.mark.parametrize("scene", DATABASES, indirect=True)


def shared(names: tuple[str, ...], kind: str) -> list[str]:
    """The names that are killed at on this database here: every other one."""
    on_both = [name for name in names if name not in EMBEDDED_ONLY]
    alone = [name for name in names if name in EMBEDDED_ONLY] if kind == "sqlite" else []
    return on_both[DATABASES.index(kind) :: 2] + alone


def in_the_code() -> dict[str, list[str]]:
    """Every failpoint in the sources, with where it stands."""
    found: dict[str, list[str]] = {}
    for folder in ("models", "workers", "webhook_app"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "fp":
                    found.setdefault(_name(node.args[0]), []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def _name(argument: ast.expr) -> str:
    """A constant, or the constant beginning of an f-string with * for the rest."""
    if isinstance(argument, ast.Constant):
        return str(argument.value)
    assert isinstance(argument, ast.JoinedStr), ast.dump(argument)
    first = argument.values[0]
    assert isinstance(first, ast.Constant), "a name that could be anything"
    return f"{first.value}*"


def test_every_failpoint_in_the_code_is_known_and_stands_in_one_place() -> None:
    found = in_the_code()
    assert sorted(found) == sorted(NAMES)
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_every_failpoint_is_killed_at_on_some_database_here_and_on_each_in_chaos() -> None:
    killed = [name for kind in DATABASES for group in (ONLINE, BACKFILL, MIGRATION) for name in shared(group, kind)]
    assert sorted(killed) == sorted(NAMES)
    assert set(names_of("sqlite")) == set(NAMES)
    assert set(names_of("postgresql")) == set(NAMES) - set(EMBEDDED_ONLY)


# --- what a failpoint does ---------------------------------------------------------------------------------------


def ends(directory: Path, **env: str) -> int:
    """How a process ends that comes by the failpoint `before_apply` twice."""
    program = "from models.store.failpoints import fp\nfp('before_apply')\nfp('before_apply')"
    env = {"PYTHONPATH": str(ROOT), "FAILPOINTS_DIR": str(directory), **env}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=False).returncode


def test_a_failpoint_does_nothing_unless_testing(tmp_path: Path) -> None:
    failpoints.order(tmp_path, "before_apply", "kill")
    assert ends(tmp_path, FAILPOINTS="before_apply=exit") == 0
    assert not failpoints.done(tmp_path, "before_apply")


def test_a_failpoint_acts_once_for_all_processes_where_it_is_ordered(tmp_path: Path) -> None:
    failpoints.order(tmp_path, "before_apply", "kill")
    assert [ends(tmp_path, TESTING="1") for _ in range(2)] == [-signal.SIGKILL, 0]
    assert failpoints.done(tmp_path, "before_apply")
    failpoints.order(tmp_path, "before_apply", "exit")
    assert not failpoints.done(tmp_path, "before_apply")
    assert ends(tmp_path, TESTING="1") == 137
    failpoints.order(tmp_path, "before_apply", "raise")
    assert ends(tmp_path, TESTING="1") == 1
    assert ends(tmp_path, TESTING="1", FAILPOINTS="before_apply=exit@3") == 0


def test_an_order_for_a_family_is_met_by_any_of_its_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    failpoints.order(tmp_path, "apply_*", "raise")
    with pytest.raises(failpoints.FailpointError, match=r"apply_invoice\.paid"):
        failpoints.fp("apply_invoice.paid")
    failpoints.fp("apply_invoice.paid")


@pytest.mark.fault("F42", "F81")
def test_drop_cuts_the_database_connection_in_hand_and_what_was_begun_is_rolled_back(database: Database) -> None:
    def begin() -> None:
        with session_scope(database, write=True) as connection:
            connection.exec_driver_sql("INSERT INTO app_state (key, value) VALUES ('cut', 'off')")
            failpoints.drop()

    with pytest.raises(DatabaseAway):
        begin()
    with session_scope(database) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM app_state WHERE key = 'cut'").scalar() == 0


@pytest.mark.fault("F81")
def test_drop_between_transactions_cuts_what_is_idle(database: Database) -> None:
    with session_scope(database) as connection:
        raw = connection.connection.dbapi_connection
    failpoints.drop()
    assert raw is not None
    with pytest.raises(Exception, match=r"closed|terminat|server|socket"):
        raw.execute("SELECT 1")
    database.dispose()
    with session_scope(database) as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


@pytest.mark.fault("F61")
def test_drop_at_a_point_of_the_bell_cuts_redis_and_the_bell_rings_by_another_connection(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoints, "_directory", str(tmp_path))
    with connect(redis_url) as client:
        in_use = client.connection_pool.get_connection()
        failpoints.drop(client)
        with pytest.raises(redis.ConnectionError):
            in_use.read_response()
        client.connection_pool.release(in_use)
    bell = Bell(redis_url)
    failpoints.order(tmp_path, "between_flag_and_enqueue", "drop")
    assert bell.wake({0})
    assert failpoints.done(tmp_path, "between_flag_and_enqueue")
    bell._redis().connection_pool.disconnect()


# --- kills -------------------------------------------------------------------------------------------------------


@on_both_databases
@pytest.mark.fault("F40", "F42", "F55", "F61", "I1", "I3")
def test_a_process_killed_at_any_step_from_the_endpoint_to_the_changes_loses_nothing(scene: Scene) -> None:
    """Whoever comes first by each failpoint is killed, then whoever takes its place comes by the next."""
    come_by(scene, shared(ONLINE, scene.stack.database.dialect), "kill")
    scene.end()


@on_both_databases
@pytest.mark.fault("F74", "F92", "I3")
def test_a_backfill_killed_at_any_step_is_taken_up_where_it_was(scene: Scene) -> None:
    names = shared(BACKFILL, scene.stack.database.dialect)
    scene.play(acts=2)
    for name in names:
        assert backfill(scene, name, "kill")[0] == -signal.SIGKILL
    scene.end()


@pytest.mark.parametrize("place", DATABASES, indirect=True)
@pytest.mark.fault("F50")
def test_a_migration_killed_at_any_step_has_happened_or_not_and_runs_again(place: Place) -> None:
    for name in shared(MIGRATION, place.kind):
        assert migrate(place, name, "kill") == [-signal.SIGKILL, 0]
