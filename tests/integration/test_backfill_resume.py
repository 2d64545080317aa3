"""A backfill that is killed, doubled, paused or left: FAULTS F57, F74, F75, F92; and where its cursor stands meanwhile."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from models.errors import Refused
from models.settings import AppSettings
from models.store import bulk, runs
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.generate import Shape
from tests.fake_stripe.server import FakeStripe
from tests.support.backfilled import START, backfill, dies_at, fill, lifted, on_first, rows
from tests.support.environment import environment
from tests.support.pipeline import Pipeline
from workers import backfill_stages, walks

TINY = Shape(ours=12, unmatched=2, personal=2, no_email=1, collisions=2, subdomains=2)
LEASE_S = 61
PAGE = 10


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        yield fake


@pytest.fixture
def pipeline(database: Database, settings: AppSettings, keyring: Keyring, fake: FakeStripe) -> Iterator[Pipeline]:
    line = Pipeline(database, lifted(settings), keyring, fake)
    yield line
    line.close()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pages of ten, each written by itself, in windows."""
    monkeypatch.setattr("workers.stripe_api.PAGE", PAGE)
    monkeypatch.setattr(backfill_stages, "BATCH", 1)
    monkeypatch.setattr(walks, "WORTH_CUTTING", PAGE)


@pytest.mark.fault("F74")
@pytest.mark.fault("F92")
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("name", ["before_backfill_commit", "after_backfill_commit"])
def test_killed_at_every_commit_it_goes_on_without_a_gap(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One life after another, each killed at its second commit, until one gets through."""
    fill(fake, pipeline, TINY)
    lives = 0
    while rows(pipeline, "SELECT state FROM sync_runs") != [("complete",)]:
        with dies_at(monkeypatch, name, 2 if name.startswith("before") else 1):
            backfill(pipeline)
        lives += 1
        assert lives < 200
        if rows(pipeline, "SELECT count(*) FROM leases WHERE name LIKE ?", "backfill:%") != [(0,)]:
            with pytest.raises(Refused, match=r"running \(run 1, started 20"):
                backfill(pipeline)
        fake.clock.advance(LEASE_S)
    assert lives > 20
    assert pipeline.stored() == pipeline.expected()
    listed = {kind: len([*fake.state.of(kind)]) for kind in ("customer", "subscription", "price", "product", "coupon")}
    held = {kind: rows(pipeline, f"SELECT count(*) FROM stripe_{kind}s")[0][0] for kind in listed}
    assert held == listed


@pytest.mark.fault("F74")
@pytest.mark.usefixtures("small_pages")
def test_what_was_committed_is_not_read_again(pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(fake, pipeline)
    with dies_at(monkeypatch, "after_backfill_commit", 20):
        backfill(pipeline)
    ((read,),) = rows(pipeline, "SELECT objects FROM sync_runs")
    fake.clock.advance(LEASE_S)
    result = backfill(pipeline)
    assert result.state == "complete"
    assert result.objects > read > 50
    uninterrupted = 280
    assert result.objects < uninterrupted + 8 * PAGE


@pytest.mark.fault("F75")
def test_a_second_start_is_refused_and_told_which_run_it_is(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)
    told = []

    def again() -> None:
        with pytest.raises(Refused) as caught:
            backfill(pipeline)
        told.append(str(caught.value))

    assert backfill(pipeline, progress=on_first(again)).state == "complete"
    assert told == ["a backfill of this connection is running (run 1, started 2026-09-21 14:13:20 UTC)"]
    assert rows(pipeline, "SELECT count(*) FROM sync_runs") == [(1,)]


@pytest.mark.fault("F57")
@pytest.mark.fault("F92")
def test_who_was_paused_past_its_lease_writes_nothing_more(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline)
    second = []

    def sleep_through() -> None:
        fake.clock.advance(LEASE_S)
        second.append(backfill(pipeline))

    first = backfill(pipeline, progress=on_first(sleep_through))
    assert second[0].state == "complete"
    assert second[0].resumed
    assert (first.state, first.error) == ("failed", "another process has taken this run over")
    assert rows(pipeline, "SELECT id, state, error FROM sync_runs") == [(1, "complete", None)]
    assert rows(pipeline, "SELECT name FROM leases WHERE name LIKE ?", "backfill:%") == []
    assert pipeline.stored() == pipeline.expected()


def test_an_old_unfinished_run_is_given_up_and_a_new_one_begins(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(fake, pipeline, TINY)
    with dies_at(monkeypatch, "after_backfill_commit", 3):
        backfill(pipeline)
    fake.clock.advance(25 * 3600)
    result = backfill(pipeline)
    assert (result.state, result.resumed, result.run_id) == ("complete", False, 2)
    assert rows(pipeline, "SELECT state, error FROM sync_runs ORDER BY id") == [
        ("failed", "given up: it was cut short"), ("complete", None),
    ]  # fmt: skip
    assert pipeline.stored() == pipeline.expected()


@pytest.mark.fault("F92")
def test_a_run_that_nobody_carries_on_is_found(pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    def left_off() -> list[int]:
        with session_scope(pipeline.database) as connection:
            return runs.left_off(connection, pipeline.tools.now_ms())

    fill(fake, pipeline, TINY)
    assert left_off() == []
    with dies_at(monkeypatch, "after_backfill_commit", 3):
        backfill(pipeline, progress=on_first(lambda: left_off() == [] or pytest.fail("it is being carried on")))
    assert left_off() == [], "its lease may still be somebody's"
    fake.clock.advance(LEASE_S)
    assert left_off() == [pipeline.record.id]
    fake.faults.order("status", status=503, count=None)
    assert backfill(pipeline).state == "failed"
    assert left_off() == [], "it is left alone for five minutes"
    fake.clock.advance(301)
    assert left_off() == [pipeline.record.id]
    fake.faults.clear()
    assert backfill(pipeline).state == "complete"
    assert left_off() == []


def test_a_bug_of_ours_fails_the_run_and_gives_the_lease_back(
    pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(fake, pipeline, TINY)
    with monkeypatch.context() as patch:
        patch.setattr("workers.backfill_writer.apply_read", lambda *args, **options: 1 / 0)
        result = backfill(pipeline)
    assert (result.state, result.error, result.exit_code) == ("failed", "ZeroDivisionError", 1)
    assert backfill(pipeline).state == "complete", "at once: the lease was given back"


def test_a_kill_leaves_no_reader_behind(pipeline: Pipeline, fake: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    fill(fake, pipeline, TINY)
    with dies_at(monkeypatch, "before_backfill_commit", 3):
        backfill(pipeline)
        pytest.fail("it was to be killed")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("walk-")]


CHILD = """
import os, sys, time
from models.settings import load_settings
from models.store.keys import load_keyring
from models.store.session import Database
from workers.backfill import run_backfill
settings = load_settings()
database = Database(settings.database)
shift = int(sys.argv[2]) * 61_000
result = run_backfill(database, load_keyring(settings, database), settings, int(sys.argv[1]),
                      now_ms=lambda: time.time_ns() // 1_000_000 + shift)
sys.exit(result.exit_code)
"""


@pytest.mark.fault("F74")
def test_real_processes_killed_for_real(pipeline: Pipeline, fake: FakeStripe) -> None:
    fill(fake, pipeline, TINY)
    env = environment(pipeline.tools.settings)
    points = ["after_backfill_commit=exit@1", "before_backfill_commit=exit@3", "backfill_recompute=exit@1", ""]
    codes = []
    for number, failpoints in enumerate(points):
        child = [sys.executable, "-c", CHILD, str(pipeline.record.id), str(number)]
        codes.append(subprocess.run(child, env={**env, "FAILPOINTS": failpoints}, timeout=60, check=False).returncode)
    assert codes == [137, 137, 137, 0]
    assert pipeline.stored() == pipeline.expected()
    with session_scope(pipeline.database) as connection:
        assert bulk.run(connection, "SELECT count(*) FROM sync_runs").scalar() == 1
