"""`python -m tests.benchmarks [--quick] [--database …] [--only …] [--runs N] [--json FILE]`: docs/performance.md says how to
read what it prints."""

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import measures, mixes
from tests.benchmarks.backfill import full_sync_speed
from tests.benchmarks.backlog import backlog
from tests.benchmarks.events import EventMaker
from tests.benchmarks.installation import Installation, durable_postgres, installation
from tests.benchmarks.targets import shortfalls

LIVE = ("memory", "burst", "drain", "drain2", "sustained", "visible", "reads", "backlog")
COUNTED = ("mixes", "steps", "throttled", "full-sync")
PARTS = (*LIVE, *COUNTED, "backfill")
READ_OBJECTS = 40_000
Row = dict[str, Any]


class Bench:
    """One run over one database: every measure is a row, printed as it comes."""

    def __init__(self, database: str, options: argparse.Namespace) -> None:
        self.database, self.options = database, options
        self.scale = 0.1 if options.quick else 1.0
        self.rows: list[Row] = []

    def add(self, part: str, measure: Callable[[], Row], *, once: bool = False) -> None:
        """Measure, several times where asked for, and keep the medians."""
        if part in self.options.only:
            self.keep(_median([measure() for _ in range(1 if once else self.options.runs)]))

    def keep(self, row: Row) -> None:
        self.rows.append({"database": self.database, **row})
        _print(self.rows[-1])

    # --- on the processes of `make run` ---------------------------------------------------------------

    def live(self, *, workers: int) -> None:
        """What is measured on a running installation."""
        scale, options = self.scale, self.options
        with installation(self.database, objects=options.objects, workers=workers) as installed:
            idle = installed.memory_mb()
            installed.import_customers(_domains(installed))
            installed.backfill()
            maker = EventMaker(installed, int(time.time()) + 10)
            if workers > 1:
                self.add("drain2", lambda: measures.drain(installed, maker, count=int(scale * 12_000)))
                return
            if "memory" in options.only:
                figures = {f"{kind}_mb": round(size) for kind, size in sorted(idle.items())}
                self.keep({"measure": "memory, idle", "sum_mb": round(sum(idle.values())), **figures})
            self._under_load(installed, maker)

    def _under_load(self, installed: Installation, maker: EventMaker) -> None:
        scale, calls = self.scale, installed.counter("stripe_calls")
        for connections in (1, 8, 32, 64):
            count = int(scale * (12_000 if connections >= 32 else 3_000))
            self.add(
                "burst", lambda c=connections, n=count: measures.acknowledgements(installed, maker, connections=c, count=n)
            )
        self.add("drain", lambda: measures.drain(installed, maker, count=int(scale * 12_000)))
        rate = 1200 if self.database == "sqlite" else 900
        self.add("sustained", lambda: measures.sustained(installed, maker, rate=rate, seconds=60 * scale))
        for rate in (100, 200):
            self.add("visible", lambda r=rate: measures.visible(installed, maker, rate=r, seconds=20 * scale))
        self.keep({"measure": "calls to Stripe, all of the above", "calls": installed.counter("stripe_calls") - calls})
        self.add("backlog", lambda: backlog(installed, maker, rows=int(scale * 1_000_000), count=int(scale * 6_000)), once=True)

    def read(self) -> None:
        """Reads of the API beside 10,000 Stripe customers, each with a customer of ours where it has a domain."""
        with installation(self.database, objects=int(self.scale * READ_OBJECTS)) as installed:
            installed.import_customers(_domains(installed))
            installed.backfill()
            for row in measures.reads(installed):
                self.keep(row)

    # --- in this process ------------------------------------------------------------------------------

    def counted(self) -> None:
        """Counts, and where the time of a drain goes."""
        scale, only = self.scale, self.options.only
        changes = int(scale * 1_000)
        if "mixes" in only:
            for row in mixes.bursts(self._fresh()):
                self.keep(row)
        for hostile in (False, True):
            self.add("mixes", lambda h=hostile: mixes.mix(self._fresh(), hostile=h, changes=changes), once=True)
        self.add("steps", lambda: mixes.drain_steps(self._fresh()))
        self.add("throttled", lambda: mixes.throttled(self._fresh()), once=True)
        self.add("full-sync", lambda: mixes.full_sync(self._fresh(), customers=int(scale * 10_000)), once=True)

    def backfills(self) -> None:
        """Objects a second from an instant and from a slow API."""
        companies = int(self.scale * self.options.companies)
        for latency in (0.0, 0.3):
            self.add("backfill", lambda s=latency: full_sync_speed(companies, s, self._fresh()))

    def run(self) -> list[Row]:
        """Everything that was asked for."""
        only = set(self.options.only)
        with contextlib.ExitStack() as stack:
            if self.database == "postgresql" and only & {*COUNTED, "backfill"}:
                self._server = stack.enter_context(durable_postgres())
            if only & {*COUNTED}:
                self.counted()
            if "backfill" in only:
                self.backfills()
        if only & {*LIVE} - {"drain2", "reads"}:
            self.live(workers=self.options.workers)
        if "drain2" in only:
            self.live(workers=2)
        if "reads" in only:
            self.read()
        return self.rows

    def _fresh(self) -> str | None:
        """An empty database: a URL, or None for SQLite."""
        return None if self.database == "sqlite" else self._server.url(self._server.create())


def main() -> int:
    """Measure what was asked for; 0 whatever comes out: a speed is no test."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--runs", type=int, default=1, help="repeat each measure and give the median")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load")
    parser.add_argument("--objects", type=int, default=10_000, help="objects in the account (a quarter are customers)")
    parser.add_argument("--companies", type=int, default=12_000, help="companies in the account of the backfills")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", help="write the figures to this file too")
    options = parser.parse_args()
    rows = [row for database in _databases(options.database) for row in Bench(database, options).run()]
    short = [row for row in rows if shortfalls(row)]
    print(
        f"{len(rows)} rows; short of a target: {len(short)}; rate limits towards Stripe lifted (but for the throttled backfill)"
    )
    for row in short:
        print(f"  {row['database']}: {row['measure']}: {'; '.join(shortfalls(row))}")
    if options.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
        Path(options.json).write_text(
            json.dumps({**machine, "at": int(time.time()), "runs": options.runs, "rows": rows}, indent=1)
        )
    return 0


def _databases(chosen: str) -> Iterator[str]:
    yield from ("sqlite", "postgresql") if chosen == "both" else (chosen,)


def _domains(installed: Installation) -> list[str]:
    """Our customers: the domains of the first Stripe customers."""
    rows = EventMaker._walk(installed, "/v1/customers?limit=100", most=25)
    found = {str(row["email"]).rpartition("@")[2] for row in rows if row.get("email")}
    return sorted(domain for domain in found if "." in domain)


def _median(runs: list[Row]) -> Row:
    """Medians of the figures of several runs of one measure, with the range of what is a rate."""
    if len(runs) == 1:
        return runs[0]
    row = {
        key: statistics.median(run[key] for run in runs)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else value
        for key, value in runs[0].items()
    }
    if "per_second" in row:
        row["range"] = f"{min(run['per_second'] for run in runs)}-{max(run['per_second'] for run in runs)}"
    return row


def _print(row: Row) -> None:
    """A line; of a row that is short of its target also where the time went."""
    figures = "  ".join(f"{key} {value}" for key, value in row.items() if key not in ("database", "measure", "cpu"))
    print(f"{row['database']:<11} {row['measure']:<34} {figures}", flush=True)
    if missed := shortfalls(row):
        shares = ", ".join(f"{kind} {share:g} %" for kind, share in row.get("cpu", {}).items())
        print(
            f"{'':<11} short: {'; '.join(missed)}" + (f"; CPU of a core: {shares}" if shares else ""),
            file=sys.stdout,
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
