"""The real thing as processes: gunicorn, workers and the clock on a given database, with a Valkey of its own.

Any of them can be killed, paused or started with failpoints; `tend` starts again what died, as the supervisor does, and keeps
how it died. `judge` compares what is stored with Stripe itself (`tests.support.judge`).
"""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr

from models.settings import AppSettings
from models.store import bulk, customers, failpoints
from models.store.connections import ConnectionRecord, NewConnection, create_connection
from models.store.keys import Keyring, prepare_data_dir
from models.store.session import Database, session_scope
from tests.fake_stripe.server import FakeStripe
from tests.support.directories import temporary_dir
from tests.support.environment import COOKIE_KEY, ENCRYPTION_KEY, WEBHOOK_SECRET, environment
from tests.support.fault_proxy import FaultProxy
from tests.support.judge import Verdict, verdict
from tests.support.web_process import ROOT, WebProcess
from workers.embedded_valkey import EmbeddedValkey
from workers.processes import spawn

QUICK: dict[str, Any] = {"sweep_s": 1, "lease_ms": 1_500, "hold_ms": 1_500}
"""What else would take a minute: the sweep, a dead worker's lease, an event that waits for a dead worker's read."""
WITHIN_S = 60.0
NO_LIMIT = {f"{mode}_calls_per_second{of}": 1e6 for mode in ("live", "test") for of in ("", "_per_endpoint")}


def wait_for(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


class Worker:
    """`python -m workers worker` or `clock`."""

    def __init__(self, kind: str, name: str, env: dict[str, str], log: Path) -> None:
        self.name, self._env, self._log = name, env, log
        self._command = [sys.executable, "-m", "workers", kind]
        self.process: subprocess.Popen[str] | None = None
        self.wanted = True

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def start(self, **env: str) -> None:
        """Start it; from the main thread, with which it dies."""
        with self._log.open("a") as log:
            self.process = spawn(self._command, env=self._env | env, out=log, cwd=ROOT)

    def send(self, number: int) -> None:
        """Send it a signal, if it lives."""
        assert self.process is not None
        self.process.send_signal(number)

    def pause(self) -> None:
        """SIGSTOP, but not while it holds SQLite's only write lock: that would stop everybody, which is another test."""
        while True:
            self.send(signal.SIGSTOP)
            if not self._in_a_write():
                return
            self.send(signal.SIGCONT)
            time.sleep(0.01)

    def _in_a_write(self) -> bool:
        assert self.process is not None
        files = [file for file in Path(f"/proc/{self.process.pid}/fd").iterdir() if file.exists()]
        inodes = {str(file.stat().st_ino) for file in files if str(file.readlink()).endswith(".db.lock")}
        held = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]
        return any(words[4] == str(self.process.pid) and words[5].split(":")[-1] in inodes for words in held)

    def died(self) -> int | None:
        """How it ended, or None while it runs."""
        return self.process.poll() if self.process is not None else None

    def stop(self, number: int = signal.SIGKILL) -> int:
        """End it for good; its status."""
        self.wanted = False
        assert self.process is not None
        self.send(signal.SIGCONT)
        self.send(number)
        return self.process.wait(20)


class Stack:
    """One installation. Use `with`; `database` must be migrated. `proxied`: its processes reach PostgreSQL, Redis and Stripe
    through `proxies`, by these names. Failpoints can be ordered while it runs (`order`, `came_by`)."""

    def __init__(
        self, database: Database, fake: FakeStripe, directory: Path, *, workers: int = 1, web: bool = True, clock: bool = True,
        domains: Sequence[str] = (), proxied: bool = False, **more: Any,
    ) -> None:  # fmt: skip
        self.database, self.fake = database, fake
        self.dir = directory
        self._short = temporary_dir("pv-")  # a socket's path is limited to about 100 bytes
        self.valkey = EmbeddedValkey(self._short / "run", self._short / "store")
        self.proxies = self._proxies() if proxied else {}
        self.settings = self._settings(more)
        prepare_data_dir(self.settings)
        self.record = self._connect(domains)
        self.deaths: list[tuple[str, int]] = []
        self.web: WebProcess | None = None
        self.web_env: dict[str, str] = {}
        self.valkey_wanted = True
        self.orders = directory / "failpoints"
        self.orders.mkdir()
        self.env = environment(self.settings, TZ="UTC", PYTHONUNBUFFERED="1", FAILPOINTS_DIR=str(self.orders))
        names = [("worker", f"worker{n}") for n in range(1, workers + 1)] + ([("clock", "clock")] if clock else [])
        self.workers = {name: Worker(kind, name, self.env, directory / f"{name}.log") for kind, name in names}
        self._with_web = web

    def _proxies(self) -> dict[str, FaultProxy]:
        found = {"redis": FaultProxy(str(self.valkey.socket)), "stripe": FaultProxy(self.fake.server.address)}
        url = self.database.url
        if not self.database.on_sqlite:
            directory = url.query.get("host")
            found["database"] = FaultProxy(f"{directory}/.s.PGSQL.5432" if directory else (url.host or "", url.port or 5432))
        return found

    def _settings(self, more: dict[str, Any]) -> AppSettings:
        url, redis_url = self.database.url, self.valkey.url
        if self.proxies:
            redis_url = f"redis://127.0.0.1:{self.proxies['redis'].port}/0"
        if "database" in self.proxies:
            url = url.set(host="127.0.0.1", port=self.proxies["database"].port, query={})
        database_url = None if self.database.on_sqlite else SecretStr(url.render_as_string(hide_password=False))
        directory = Path(str(self.database.url.database)).parent if self.database.on_sqlite else self.dir
        values = {**QUICK, **NO_LIMIT, "web_threads": 8, **more}
        return AppSettings(data_dir=directory, database_url=database_url, redis_url=SecretStr(redis_url), testing=True,
                           encryption_keys=SecretStr(ENCRYPTION_KEY), cookie_key=SecretStr(COOKIE_KEY), **values)  # fmt: skip

    def _connect(self, domains: Sequence[str]) -> ConnectionRecord:
        now = int(time.time())
        mode, environment_ = ("live", "production") if self.fake.state.livemode else ("test", "staging")
        api_base = f"http://127.0.0.1:{self.proxies['stripe'].port}" if self.proxies else self.fake.url
        new = NewConnection(mode.title(), mode, self.fake.api_key, WEBHOOK_SECRET, api_base=api_base)
        with session_scope(self.database, write=True) as connection:
            for domain in domains:
                row = {"name": domain.partition(".")[0].title(), "domain": domain, "environment": environment_}
                customers.import_customer(connection, row, now)
            return create_connection(connection, Keyring([ENCRYPTION_KEY]), new, now)

    def __enter__(self) -> "Stack":
        self.valkey.start()
        for worker in self.workers.values():
            worker.start()
        if self._with_web:
            self.start_web()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            if worker.process is not None:
                worker.stop()
        if self.web is not None:
            self.web.kill()
        self.valkey.stop()
        for proxy in self.proxies.values():
            proxy.close()
        shutil.rmtree(self._short, ignore_errors=True)

    # --- one by one -----------------------------------------------------------------------------------

    def start_web(self, *, wait: bool = True, **env: str) -> None:
        """gunicorn, anew on another port, when the one before has ended; until it answers or, without `wait`, at once."""
        if self.web is not None:
            self.web.kill()
        self.web_env = env
        self.web = WebProcess(self.settings, self.dir / "web.log", FAILPOINTS_DIR=str(self.orders), **env)
        self.web.start(wait=wait)

    def web_workers(self) -> list[psutil.Process]:
        """gunicorn's workers."""
        assert self.web is not None
        assert self.web.process is not None
        return psutil.Process(self.web.process.pid).children()

    def start_again(self, name: str, **env: str) -> None:
        """Stop one worker and start it with further environment, such as FAILPOINTS."""
        worker = self.workers[name]
        worker.stop()
        worker.wanted = True
        worker.start(**env)

    def tend(self) -> bool:
        """Start again what died, without its failpoints; whether anything has died so far. Call it from the main thread."""
        for worker in self.workers.values():
            status = worker.died()
            if worker.wanted and status is not None:
                self.deaths.append((worker.name, status))
                worker.start()
        if self.web is not None and self.web.process is not None and self.web.process.poll() is not None:
            self.deaths.append(("web", self.web.process.returncode))
            self.start_web(wait=False)
        if self.valkey_wanted and self.valkey.process is not None and self.valkey.process.poll() is not None:
            self.deaths.append(("valkey", self.valkey.process.returncode))
            self.valkey.start()
        return bool(self.deaths)

    # --- failpoints -------------------------------------------------------------------------------------

    def order(self, name: str, action: str) -> None:
        """Whichever process first comes by this failpoint does `action`, once."""
        failpoints.order(self.orders, name, action)

    def came_by(self, name: str) -> bool:
        """Whether one has."""
        return failpoints.done(self.orders, name)

    # --- the judge --------------------------------------------------------------------------------------

    def waiting(self, *, unless_told_why: bool = False) -> int:
        """Events and customers that wait for a worker; of the events perhaps only those of which nobody says why they wait."""
        now_ms = time.time_ns() // 1_000_000
        with session_scope(self.database) as connection:
            silent = " AND error IS NULL" if unless_told_why else ""
            events = bulk.run(connection, f"SELECT count(*) FROM inbox WHERE status = 'pending'{silent}").scalar()
            due = customers.due_stripe_customers(connection, 1000), customers.due_ids(connection, now_ms // 1000, 1000)
            return int(events) + sum(len(part) for part in due)

    def leases(self, pid: int | None = None) -> list[str]:
        """Partitions that somebody (the process `pid`) works on."""
        now_ms = time.time_ns() // 1_000_000
        with session_scope(self.database) as connection:
            sql = "SELECT name FROM leases WHERE name LIKE ? AND until_ms > ? AND token LIKE ?"
            whose = "%" if pid is None else f"%:{pid}:%"
            return list(bulk.run(connection, sql, ["partition:%", now_ms, whose]).scalars())

    def settle(self, *, unless_told_why: bool = False, within_s: float = WITHIN_S) -> None:
        """Wait until nothing waits any more."""
        deadline = time.monotonic() + within_s
        while waiting := self.waiting(unless_told_why=unless_told_why):
            self.tend()
            assert time.monotonic() < deadline, f"{waiting} still wait: {self.problems()}\n{self.logs()}"
            time.sleep(0.05)

    def judge(self, acked: Collection[str]) -> None:
        """Nothing acknowledged is lost, nothing is dead, and every figure is what Stripe's current objects give."""
        assert acked, "nothing was delivered"
        found = self.verdict(acked)
        assert found.good, f"{found}\n{self.problems()}\n{self.logs()}"

    def verdict(self, acked: Collection[str]) -> Verdict:
        """What is wrong now."""
        return verdict(self.database, self.fake, acked, int(time.time()))

    def problems(self) -> list[Any]:
        """The events that aren't through."""
        sql = "SELECT event_id, type, status, attempts, error FROM inbox WHERE status IN ('pending', 'dead') LIMIT 20"
        with session_scope(self.database) as connection:
            return [tuple(row) for row in bulk.run(connection, sql)]

    def logs(self) -> str:
        """The end of what each process wrote."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(self.dir.glob("*.log")))
