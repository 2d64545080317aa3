"""The report of `make chaos`: what is wrong stands out, what wasn't tried doesn't look tried."""

from typing import Any

from models.store.failpoints import NAMES
from tests.chaos.cells import ACTIONS, names_of
from tests.chaos.results import BEGIN, END, REPORT, complete, report

STORM = {"kills": {"worker": 30, "Valkey": 20}, "others": {"FLUSHALL": 7}, "acknowledged": 1200, "lost": 0, "dead": 0,
         "different": 0, "untold": 0, "slowest_ack_s": 4.25, "slowest_event_s": 12.0, "settled_s": 3.5}  # fmt: skip
MACHINE = {"cores": 2, "cpu": "some", "memory_gb": 8, "python": "3.11"}


def data() -> dict[str, Any]:
    return {
        "machine": MACHINE, "at": "2026-11-26", "commit": "abc", "seed": 7, "seconds": 120.0,
        "matrix": {
            kind: {f"{name} {action}": {"wrong": "", "seconds": 1.0} for name in names_of(kind) for action in ACTIONS}
            for kind in ("sqlite", "postgresql")
        },
        "storms": {"sqlite": {"1": STORM, "2": STORM}, "postgresql": {"1": STORM}},
        "lives": {"sqlite": {"a backfill": {"codes": [-9, -9, 0], "wrong": "", "storm": STORM}}},
    }  # fmt: skip


def test_it_adds_up_what_was_done_and_names_every_failpoint() -> None:
    lines = list(report(data()))
    assert "| kills in storms | 150 | 50 | 200 |" in lines
    assert "| events acknowledged | 3,600 | 1,200 | 4,800 |" in lines
    assert "| kills of backfills and migrations, one after another | 2 | 0 | 2 |" in lines
    assert "| killed: worker | 90 | 30 |" in lines
    assert all(any(f"`{name}`" in line for line in lines) for name in NAMES)
    assert complete(data(), ("sqlite", "postgresql"))


def test_what_went_wrong_and_what_was_not_tried_is_told() -> None:
    found = data()
    found["matrix"]["sqlite"]["before_apply kill"]["wrong"] = "lost"
    del found["matrix"]["sqlite"]["before_apply drop"]
    found["storms"]["postgresql"]["1"] = {**STORM, "lost": 2}
    lines = list(report(found))
    assert "| acknowledged and lost | 0 | 2 | 2 |" in lines
    assert "| of them not converged | 1 | 0 | 1 |" in lines
    assert any("`before_apply`" in line and "| WRONG ok (1.0 s) ok (1.0 s) - |" in line for line in lines)
    assert not complete(found, ("sqlite", "postgresql"))


def test_the_committed_report_has_its_place() -> None:
    text = REPORT.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
