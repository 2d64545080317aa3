"""How fast a backfill is: `python -m tests.benchmarks.backfill [--companies N] [--latency S] [--database URL]`.

A fake Stripe in a process of its own, buckets lifted, a fresh database (SQLite in a temporary directory unless a URL is given).
Prints one JSON line: objects a second, calls, seconds of CPU by stage, peak memory. Runs on a shared machine vary widely:
compare the CPU first.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models.migrations.run import migrate
from models.settings import AppSettings
from models.store import customers
from models.store.connections import NewConnection, create_connection
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fake_stripe.generate import Generator, Shape
from tests.fake_stripe.server import FakeStripe
from tests.support.environment import COOKIE_KEY, ENCRYPTION_KEY, WEBHOOK_SECRET
from workers.backfill import RunResult, run_backfill


def serve(companies: int, latency: float) -> None:
    """The fake Stripe: prints its address, key and our companies' domains, then serves until it is ended."""
    fake = FakeStripe(seed=7)
    shape = Shape(ours=companies, unmatched=companies // 10, personal=companies // 10)
    made = Generator(fake.state, shape, seed=3)
    made.run()
    fake.start()
    fake.server.latency = latency
    print(json.dumps([fake.url, fake.api_key, [(one.name, one.domain) for one in made.companies]]), flush=True)
    sys.stdin.read()


def measure(url: str, key: str, companies: list[list[str]], database_url: str | None) -> dict[str, object]:
    """One backfill into an empty database."""
    with tempfile.TemporaryDirectory() as directory:
        settings = AppSettings(
            data_dir=Path(directory), database_url=database_url, redis_url=f"unix://{directory}/none.sock",
            encryption_keys=ENCRYPTION_KEY, cookie_key=COOKIE_KEY, live_calls_per_second=1e6,
            live_calls_per_second_per_endpoint=1e6,
        )  # fmt: skip
        database, keyring, now = Database(settings.database), Keyring([ENCRYPTION_KEY]), int(time.time())
        migrate(database)
        with session_scope(database, write=True) as connection:
            record = create_connection(connection, keyring, NewConnection("L", "live", key, WEBHOOK_SECRET, api_base=url), now)
            for name, domain in companies:
                customers.import_customer(connection, {"name": name, "domain": domain}, now)
        cpu: dict[str, float] = {}
        last = [time.thread_time()]

        def tell(phase: str, _done: int, _expected: int | None) -> None:
            spent = time.thread_time()
            cpu[phase] = cpu.get(phase, 0.0) + spent - last[0]
            last[0] = spent

        all_cpu = time.process_time()
        result = run_backfill(database, keyring, settings, record.id, progress=tell)
        figures = _figures(result, time.process_time() - all_cpu, cpu)
        database.dispose()
    return figures


def _figures(result: RunResult, all_cpu: float, cpu: dict[str, float]) -> dict[str, object]:
    return {
        "state": result.state, "objects": result.objects, "calls": result.calls, "seconds": round(result.seconds, 1),
        "objects_per_second": round(result.objects / result.seconds), "cpu_seconds": round(all_cpu, 1),
        "writer_cpu_by_phase": {phase: round(seconds, 1) for phase, seconds in cpu.items()},
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "load": os.getloadavg(),
        "buckets": "lifted",
    }  # fmt: skip


def full_sync_speed(companies: int, latency: float, database_url: str | None) -> dict[str, object]:
    """One backfill in a process of its own, as a row."""
    command = [sys.executable, "-m", "tests.benchmarks.backfill", "--companies", str(companies), "--latency", str(latency)]
    command += ["--database", database_url] if database_url else []
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = json.loads(told.splitlines()[-1])
    assert found["state"] == "complete", found
    name = f"backfill, {latency * 1000:.0f} ms a call" if latency else "backfill, instant API"
    kept = ("objects", "calls", "seconds", "cpu_seconds", "peak_memory_mb")
    return {"measure": name, **{key: found[key] for key in kept}, "per_second": found["objects_per_second"],
            "shares": found["writer_cpu_by_phase"]}  # fmt: skip


def main() -> int:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--companies", type=int, default=12_000)
    options.add_argument("--latency", type=float, default=0.0)
    options.add_argument("--database")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.serve:
        serve(chosen.companies, chosen.latency)
        return 0
    command = [sys.executable, "-m", "tests.benchmarks.backfill", "--serve", "--companies", str(chosen.companies)]
    command += ["--latency", str(chosen.latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as fake:
        url, key, companies = json.loads(fake.stdout.readline())
        try:
            print(json.dumps(measure(url, key, companies, chosen.database)))
        finally:
            fake.stdin.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
