"""What is aimed at (FAULTS 9, issue 3), on 2 cores that the load client, the server and the database share."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Target(NamedTuple):
    """A figure of a measure: at least `bound`, or at most when `most`."""

    figure: str
    bound: float
    most: bool = False

    def missed(self, row: Mapping[str, Any]) -> str | None:
        """In words, by how much a row is short of it; None when it isn't."""
        value = row.get(self.figure)
        if value is None or (value <= self.bound if self.most else value >= self.bound):
            return None
        return f"{self.figure} {value:g}, aimed at {'at most' if self.most else 'at least'} {self.bound:g}"


TARGETS: dict[tuple[str, str], tuple[Target, ...]] = {
    ("burst, 32 connections", "sqlite"): (Target("per_second", 1800), Target("p99_ms", 50, most=True)),
    ("burst, 32 connections", "postgresql"): (Target("per_second", 1500), Target("p99_ms", 50, most=True)),
    ("sustained", "sqlite"): (
        Target("per_second", 1188), Target("p99_ms", 60, most=True), Target("drained_after_s", 2, most=True),
    ),
    ("sustained", "postgresql"): (
        Target("per_second", 891), Target("p99_ms", 60, most=True), Target("drained_after_s", 2, most=True),
    ),
    ("drain, 1 worker", "sqlite"): (Target("per_second", 4000),),
    ("drain, 1 worker", "postgresql"): (Target("per_second", 2500),),
    ("visible, 100/s", "*"): (Target("p50_ms", 150, most=True), Target("p95_ms", 500, most=True)),
    ("visible, 200/s", "*"): (Target("p50_ms", 60, most=True), Target("p99_ms", 300, most=True)),
    ("backfill, instant API", "*"): (Target("per_second", 5000), Target("peak_memory_mb", 300, most=True)),
    ("backfill, 300 ms a call", "*"): (Target("per_second", 1500),),
    ("memory, idle", "*"): (Target("sum_mb", 350, most=True),),
    ("calls to Stripe, realistic mix", "*"): (Target("calls_per_event", 0.1, most=True),),
    ("calls to Stripe, hostile mix", "*"): (Target("calls_per_event", 0.53, most=True),),
    ("recomputes, 50 events pending", "*"): (Target("recomputes", 1, most=True),),
}  # fmt: skip
"""By measure and database (`*`: either). Of a rate that is offered, 99 % count as reached."""


def shortfalls(row: Mapping[str, Any]) -> list[str]:
    """What a row is short of."""
    name = str(row["measure"])
    found = TARGETS.get((name, str(row["database"]))) or TARGETS.get((name, "*")) or ()
    return [words for target in found if (words := target.missed(row))]
