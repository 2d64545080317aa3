"""`python -m tests.benchmarks [--quick] [--database …] [--only …] [--runs N] [--json FILE]`."""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import measures
from tests.benchmarks.events import EventMaker
from tests.benchmarks.installation import Installation, installation

PARTS = ("backfill", "burst", "drain", "sustained", "visible", "reads", "memory")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--runs", type=int, default=1, help="repeat each measure and give the median")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load")
    parser.add_argument("--objects", type=int, default=10_000, help="objects in the account (a quarter are customers)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for database in ("sqlite", "postgresql") if options.database == "both" else (options.database,):
        rows += [{"database": database, **row} for row in _measure(database, options)]
    _table(rows)
    if options.json:
        Path(options.json).write_text(json.dumps({"cores": os.cpu_count(), "at": int(time.time()), "rows": rows}, indent=1))
    return 0


def _measure(database: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    scale = 0.1 if options.quick else 1.0
    rows: list[dict[str, Any]] = []

    def add(part: str, measure: Callable[[], dict[str, Any]], runs: int = options.runs) -> None:
        if part in options.only:
            rows.append(_median([measure() for _ in range(runs)]))
            print(f"{database}: {rows[-1]}", file=sys.stderr, flush=True)

    with installation(database, objects=options.objects, workers=options.workers) as installed:
        idle = installed.memory_mb()
        installed.import_customers(_domains(installed))
        found = installed.backfill()
        rows.append({"measure": "backfill, instant API", "objects": found["objects"], "calls": found["calls"],
                     "per_second": round(found["objects"] / found["seconds"])})  # fmt: skip
        maker = EventMaker(installed, int(time.time()) + 10)
        calls = installed.counter("stripe_calls")
        for connections in (1, 8, 32, 64):
            count = int(scale * (12_000 if connections >= 32 else 3_000))
            add("burst", lambda c=connections, n=count: measures.acknowledgements(installed, maker, connections=c, count=n))
        add("drain", lambda: measures.drain(installed, maker, count=int(scale * 12_000)))
        for rate in (1200, 900) if database == "sqlite" else (900, 600):
            add("sustained", lambda r=rate: measures.sustained(installed, maker, rate=r, seconds=60 * scale))
        for rate in (100, 200):
            add("visible", lambda r=rate: measures.visible(installed, maker, rate=r, seconds=20 * scale))
        if "reads" in options.only:
            rows += measures.reads(installed)
        rows.append({"measure": "calls to Stripe for all events above", "calls": installed.counter("stripe_calls") - calls})
        if "memory" in options.only:
            rows.append({"measure": "memory idle (PSS, MB)", "sum": round(sum(idle.values())),
                         **{k: round(v) for k, v in sorted(idle.items())}})  # fmt: skip
    return rows


def _domains(installed: Installation) -> list[str]:
    """Our customers: the domains of the first Stripe customers."""
    rows = EventMaker._walk(installed, "/v1/customers?limit=100", most=25)
    found = {str(row["email"]).rpartition("@")[2] for row in rows if row.get("email")}
    return sorted(domain for domain in found if "." in domain)


def _median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the figures of several runs of one measure."""
    return {
        key: statistics.median(run[key] for run in runs) if isinstance(value, (int, float)) and len(runs) > 1 else value
        for key, value in runs[0].items()
    }


def _table(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        figures = "  ".join(f"{key} {value}" for key, value in row.items() if key not in ("database", "measure"))
        print(f"{row['database']:<11} {row['measure']:<42} {figures}")


if __name__ == "__main__":
    raise SystemExit(main())
