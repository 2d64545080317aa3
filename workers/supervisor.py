"""`make run`: one process that starts everything on this machine, starts again what dies, and ends all in order.

One thread, one loop: the kernel ends a child with the thread that started it (`workers.processes`), so nothing is left behind
when the supervisor itself is killed. It imports no database, no Flask and no Redis client, to stay small beside its children.
"""

import contextlib
import errno
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import PivotalError, Refused, SettingsError
from models.settings import AppSettings, load_settings
from workers.embedded_valkey import EmbeddedValkey
from workers.processes import private_dir
from workers.programs import LONGEST_LINE, Child, Program, child_environment, python, standard_programs

# When a phase of the end begins and when its children are killed, seconds after the signal: together under 10.
STOP_PLAN = ((1, 0.0, 5.0), (2, 0.0, 7.5), (3, 0.0, 9.0))
SETUP_S = 300.0  # a migration of a large database takes its time


class Supervisor:
    """Everything on the settings' defaults, and `extra_processes` beside it. `run` returns when all has ended."""

    def __init__(self, settings: AppSettings, extra_processes: Sequence[Program] = (), *, say: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self.link: str | None = None
        self._print = say or _print
        self._env = child_environment(settings)
        self._extra = tuple(extra_processes)
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._partial: dict[int, bytes] = {}
        self._stopping = False
        self._hurry = False
        self._web_up = False
        self._valkey: EmbeddedValkey | None = None

    # --- start ------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start, watch until a signal comes, end in order. Call it from the main thread.

        Raises:
            PivotalError: it can't start; nothing is left running.
        """
        _check_port(self.settings)
        with self._only_one(), self._signals():
            try:
                self._start_valkey()
                self.link = self._prepare()
                for program in (*standard_programs(self.settings), *self._extra):
                    self._children.append(Child(program, self._env, self._tell))
                while not self._stopping:
                    self._turn(0.25)
            finally:
                self._end()
        return 0

    def _start_valkey(self) -> None:
        if self.settings.redis_url is not None:
            return
        store = self.settings.data_dir.resolve() / "valkey"
        self._valkey = EmbeddedValkey(self.settings.run_dir, store)
        self._valkey.start()
        self._valkey.stop()  # it can read its file; from here on it is a child like the others
        child = Child(Program("valkey", tuple(self._valkey.command()), phase=3), self._env, self._tell)
        self._children.append(child)
        self._turn(0)
        if not self._valkey.wait_ready():
            raise SettingsError("the embedded Valkey doesn't answer; set REDIS_URL to use another")

    def _prepare(self) -> str | None:
        done = subprocess.run(
            python("workers.first_run"), env=self._env, capture_output=True, text=True, timeout=SETUP_S, check=False
        )
        if done.returncode:
            raise SettingsError(" ".join(done.stderr.split())[-LONGEST_LINE:] or "the database could not be prepared")
        link: str | None = json.loads(done.stdout)["link"]
        return link

    @contextlib.contextmanager
    def _only_one(self):  # type: ignore[no-untyped-def]
        directory = self.settings.data_dir
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(directory / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(fd, 20).decode("ascii", "replace").strip()
            os.close(fd)
            raise Refused(f"another one runs on {directory} already (process {pid}); set DATA_DIR and PORT for a second") from None
        try:
            os.ftruncate(fd, 0)
            os.write(fd, str(os.getpid()).encode())
            yield
        finally:
            os.close(fd)

    # --- the loop ---------------------------------------------------------------------------------

    def _turn(self, timeout_s: float) -> None:
        """Read what children say, notice who died, start who is due."""
        for key, _ in self._selector.select(timeout_s):
            key.data(key.fd)
        now = time.monotonic()
        for child in self._children:
            child.check(now)
            if not self._stopping and child.due(now) and (self._web_up or not child.program.after_web):
                child.start()
                self._listen(child)
        if not self._web_up and not self._stopping and self._web_answers():
            self._web_up = True
            self._announce()

    def _listen(self, child: Child) -> None:
        fd = child.output
        assert fd is not None  # noqa: S101  # children are started with a pipe
        fd = os.dup(fd)  # its own object may go before all is read
        os.set_blocking(fd, False)
        self._partial[fd] = b""
        program = child.program

        def read(ready: int) -> None:
            self._read(ready, program)

        self._selector.register(fd, selectors.EVENT_READ, read)

    def _read(self, fd: int, program: Program) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        *lines, rest = (self._partial[fd] + data).split(b"\n")
        if not data or len(rest) > LONGEST_LINE:
            lines, rest = [*lines, rest] if rest else lines, b""
        self._partial[fd] = rest
        for line in lines:
            text = line.decode("utf-8", "replace").rstrip("\r")
            self._print(text) if program.plain else self._tell(program.name, text)
        if not data:
            self._selector.unregister(fd)
            del self._partial[fd]
            os.close(fd)

    def _tell(self, name: str, text: str) -> None:
        self._print(f"{name:<8} | {text[:LONGEST_LINE]}")

    def _web_answers(self) -> bool:
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.host, self.settings.host)  # noqa: S104
        with socket.socket(family) as client:
            client.settimeout(0.5)
            try:
                client.connect((host, self.settings.port))
                client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                return client.recv(16).startswith(b"HTTP/1.")
            except OSError:
                return False

    def _announce(self) -> None:
        self._print(f"Pivotal Stripe is at {self.settings.address} (Ctrl-C stops it)")
        if self.link:
            who, url = self.settings.admin_email, f"{self.settings.address}/welcome/{self.link}"
            self._print(f"First admin: set a password for {who} within 24 hours at {url}")

    # --- the end ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self):  # type: ignore[no-untyped-def]
        reader, writer = os.pipe()
        for fd in (reader, writer):
            os.set_blocking(fd, False)
        self._selector.register(reader, selectors.EVENT_READ, lambda fd: os.read(fd, 4096))
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._asked_to_end) for number in numbers}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the loop
        earlier_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(earlier_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(reader)
            os.close(writer)

    def _asked_to_end(self, _number: int, _frame: object) -> None:
        self._hurry = self._stopping  # asked twice: don't wait
        self._stopping = True

    def _end(self) -> None:
        """Web first: no new deliveries are taken. Workers finish their batch. Valkey, which they need, goes last. Whoever is
        late is killed: nothing acknowledged is lost by that, and claims run out by themselves."""
        self._stopping = True
        begun = time.monotonic()
        for phase, _, until_s in STOP_PLAN:
            group = [child for child in self._children if child.program.phase == phase]
            for child in group:
                child.terminate()
            while any(child.running for child in group):
                if self._hurry or time.monotonic() - begun > until_s:
                    for child in group:
                        child.kill()
                self._turn(0.05)
        self._turn(0)
        if self._valkey is not None:
            self._valkey.stop()
        self._print("stopped")


def _check_port(settings: AppSettings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingsError(f"PORT: {settings.port} is in use on {settings.host}; set another") from None
            raise SettingsError(f"HOST, PORT: can't listen on {settings.host}:{settings.port}: {error.strerror}") from None


def _print(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # whoever read our output has gone
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def main() -> int:
    """Run on the settings of the environment. Exit status 0 after a signal, 2 when it can't start."""
    try:
        return Supervisor(load_settings()).run()
    except PivotalError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
