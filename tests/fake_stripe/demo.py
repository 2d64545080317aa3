"""`make demo`: the product as `make run` starts it, beside a fake Stripe with a life of its own.

Embedded database and Valkey in a directory of the demo's own, which each start makes anew; whatever DATABASE_URL or REDIS_URL
say is left alone. This process holds the fake Stripe and tells what happens; the supervisor is its child.
"""

import argparse
import csv
import fcntl
import json
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TextIO

from tests.fake_stripe.delivery import Deliveries
from tests.fake_stripe.faults import Limits
from tests.fake_stripe.generate import Shape, generate
from tests.fake_stripe.life import Life
from tests.fake_stripe.names import OWNERS, Company, company
from tests.fake_stripe.server import FakeStripe
from workers.processes import spawn
from workers.programs import ROOT, python

OURS = 300
MARK = "made-by-make-demo"
CSM = "csm@example.com"
NOT_OURS = ("DATABASE_URL", "REDIS_URL", "ENCRYPTION_KEYS", "COOKIE_KEY", "HTTPS", "ALLOWED_HOSTS", "HOST", "TESTING")


class DemoError(Exception):
    """Why the demo can't go on, in a line."""


class Demo:
    """One run of the demo, from an empty directory to Ctrl-C."""

    def __init__(self, directory: Path, port: int, *, seed: int = 1, pace_s: float = 1.5, ticks: int | None = None) -> None:
        self.seed, self.pace_s, self.ticks = seed, pace_s, ticks
        self.directory = directory
        self.env = {
            **{k: v for k, v in os.environ.items() if k not in NOT_OURS},
            "DATA_DIR": str(self.directory),
            "LOG_LEVEL": os.environ.get("LOG_LEVEL") or "WARNING",
            "PYTHONUNBUFFERED": "1",
        }
        self._take_port(port)
        self.fake = FakeStripe(seed=seed, limits=Limits.live())
        self.rest = [company(n, random.Random(seed)) for n in range(OURS)]
        self.supervisor: subprocess.Popen[str] | None = None
        self._held: TextIO | None = None
        self.welcome: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, name="supervisor-output", daemon=True)

    def run(self) -> None:
        """All of it; returns when it is told to stop."""
        began = time.monotonic()
        self._fresh_directory()
        generator = generate(self.fake.state, Shape(), seed=self.seed)
        self.fake.state.keep_history = False
        companies = [*generator.companies, *self.rest[len(generator.companies) :]]
        self.fake.start()
        say(
            f"A pretended Stripe answers at {self.fake.url} ({len(self.fake.state.of('customer'))} customers, "
            f"{len(self.fake.state.of('subscription'))} subscriptions, {len(self.fake.state.of('invoice'))} invoices)."
        )
        self.command("migrate", quiet=True)
        connection = self._connect()
        say(f"\nImporting {OURS} customers of ours …")
        self.command("customers", "import", str(self._write_customers(companies)))
        self._start_everything()
        deliveries = self.fake.deliver_to(self.address + connection["webhook_path"], concurrency=2)
        say("\nReading Stripe in (the backfill) …")
        self.command("backfill", "--connection", str(connection["connection_id"]))
        self._how_to_sign_in(time.monotonic() - began)
        self._live(Life(self.fake, generator, self.rest[len(generator.companies) :], seed=self.seed), deliveries)

    def _take_port(self, wanted: int) -> None:
        self.port = free_port(wanted)
        self.address = f"http://127.0.0.1:{self.port}"
        self.env["PORT"] = str(self.port)

    # --- preparations ---------------------------------------------------------------------------------

    def _fresh_directory(self) -> None:
        """Only a directory that a demo made before, and that none uses now, is emptied."""
        mark = self.directory / MARK
        if self.directory.exists() and any(self.directory.iterdir()):
            if not mark.exists():
                raise DemoError(f"{self.directory} isn't a demo's; set DATA_DIR to another directory")
            self._hold(mark)
            shutil.rmtree(self.directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._hold(mark)

    def _hold(self, mark: Path) -> None:
        """Keep the mark locked as long as this process lives."""
        if self._held is not None:
            self._held.close()
        self._held = mark.open("a")
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(f"a demo runs in {self.directory} already; set DATA_DIR to another directory") from None

    def command(self, *arguments: str, quiet: bool = False, secrets: dict[str, str] | None = None) -> str:
        """One of our own commands, as a user would type it. `quiet`: its output is returned, not shown."""
        env = {**self.env, **(secrets or {})}
        told = subprocess.PIPE if quiet else None
        done = subprocess.run(python("webhook_app", *arguments), env=env, cwd=ROOT, stdout=told, text=True, check=False)
        if done.returncode:
            raise DemoError(f"`python -m webhook_app {' '.join(arguments[:2])}` ended with status {done.returncode}")
        return done.stdout or ""

    def _connect(self) -> dict:
        secrets = {"STRIPE_API_KEY": self.fake.api_key, "STRIPE_WEBHOOK_SECRET": self.fake.webhook_secret}
        name = ("--name", "Northwind (pretended)", "--mode", "live")
        return json.loads(self.command("connect", *name, "--api-base", self.fake.url, quiet=True, secrets=secrets))

    def _write_customers(self, companies: list[Company]) -> Path:
        path = self.directory / "customers.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("name", "domain", "aliases", "environment", "owner", "external_id"))
            for number, one in enumerate(companies):
                alias = one.domain.rpartition(".")[0].partition(".")[0] + ".app" if number % 12 == 5 else ""
                owner = OWNERS[number % len(OWNERS)]
                rows.writerow((one.name, one.domain, alias, "production", owner, f"crm-{10_000 + number}"))
        return path

    def _start_everything(self) -> None:
        """Valkey, web, workers, clock; what they say goes to a file, their first words to us."""
        self._take_port(self.port)  # somebody may have taken it while we prepared: what answers there must be ours
        self.supervisor = spawn(python("workers.supervisor"), env=self.env, out=subprocess.PIPE, cwd=ROOT)
        self._listener.start()
        end = time.monotonic() + 40
        while not answers(self.address + "/healthz"):
            if self.supervisor.poll() is not None or time.monotonic() > end:
                raise DemoError(f"the processes don't start; see {self.directory / 'pivotal.log'}")
            time.sleep(0.1)

    def _listen(self) -> None:
        assert self.supervisor is not None
        assert self.supervisor.stdout is not None
        with self.supervisor.stdout, (self.directory / "pivotal.log").open("a", encoding="utf-8") as log:
            for line in self.supervisor.stdout:
                if line.startswith("First admin:"):
                    self.welcome.put(line.strip())  # a secret: shown once, not logged
                else:
                    log.write(line)
                    log.flush()

    def _how_to_sign_in(self, seconds: float) -> None:
        csm = self.command("users", "create", "--email", CSM, "--role", "csm", quiet=True).strip()
        try:
            admin = self.welcome.get(timeout=5)
        except queue.Empty:
            admin = "First admin: `python -m webhook_app users link --email admin@example.com` prints a link"
        say(f"\nReady after {seconds:.0f} s: {self.address}")
        say(f"  {admin}")
        say(f"  CSM:         set a password for {CSM} at {csm}")
        say(f"  What the processes say is in {self.directory / 'pivotal.log'}. Ctrl-C stops everything.\n")

    # --- life -----------------------------------------------------------------------------------------

    def _live(self, life: Life, deliveries: Deliveries) -> None:
        """A change every moment, told with what came of its events."""
        ticks = 0
        while self.ticks is None or ticks < self.ticks:
            known = len(deliveries.acked)
            began = time.monotonic()
            text = life.tick()
            deliveries.wait_idle(5)
            took = (time.monotonic() - began) * 1000
            late = len(deliveries.pending())
            good = len(deliveries.acked) - known
            note = f"{good} event{'s' if good != 1 else ''} taken in {took:.0f} ms"
            note += f", {late} to be sent again" if late else ""
            say(f"{time.strftime('%H:%M:%S')}  {text:<64} {note}")
            ticks += 1
            if self.supervisor is None or self.supervisor.poll() is not None:
                raise DemoError(f"the supervisor has ended; see {self.directory / 'pivotal.log'}")
            time.sleep(self.pace_s * life.rng.uniform(0.7, 1.3))

    def stop(self) -> None:
        """Deliveries first, then the product, then the fake Stripe."""
        for deliveries in self.fake.deliveries:
            deliveries.stop()
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.terminate()
            try:
                self.supervisor.wait(12)
            except subprocess.TimeoutExpired:
                self.supervisor.kill()
                self.supervisor.wait(5)
        if self._listener.is_alive():
            self._listener.join(5)  # it ends with the pipe
        self.fake.stop()
        if self._held is not None:
            self._held.close()


def say(line: str) -> None:
    """One line for whoever watches."""
    print(line, flush=True)


def free_port(wanted: int) -> int:
    """The wanted port, or the next one that is free."""
    for port in range(wanted, min(wanted + 50, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise DemoError(f"no free port from {wanted} on")


def answers(url: str) -> bool:
    """Does something answer 200 there?"""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    """Until Ctrl-C or SIGTERM: 0. What goes wrong is one line and status 1."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a script's `&` leaves SIGINT ignored: it must end the demo there too
        signal.signal(number, signal.default_int_handler)
    parser = argparse.ArgumentParser(
        prog="make demo", description="PORT and DATA_DIR (a directory of the demo's own) say where."
    )
    parser.add_argument("--pace", type=float, default=1.5, metavar="SECONDS", help="between two changes")
    parser.add_argument("--ticks", type=int, help="end after so many changes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    directory = Path(os.environ.get("DATA_DIR") or ROOT / "var" / "demo")
    port = os.environ.get("PORT") or "8000"
    if not (port.isascii() and port.isdigit()):
        say("error: PORT: takes a number")
        return 1
    try:
        demo = Demo(directory, int(port), seed=options.seed, pace_s=options.pace, ticks=options.ticks)
    except DemoError as error:
        say(f"error: {error}")
        return 1
    try:
        demo.run()
    except KeyboardInterrupt:
        say("\nStopping …")
    except DemoError as error:
        say(f"error: {error}")
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # it is stopping: asked twice, it goes on with that
            signal.signal(number, signal.SIG_IGN)
        demo.stop()
    say("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
