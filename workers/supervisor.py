"""`make run`: one process that starts everything on this machine, starts again what dies, and ends all in order.

One thread, one loop: the kernel ends a child with the thread that started it (`workers.processes`), so nothing is left behind
when the supervisor itself is killed. It imports no database, no Flask and no Redis client, to stay small beside its children.
"""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from models.errors import PivotalError, SettingsError
from models.settings import AppSettings, load_settings
from workers.embedded_valkey import EmbeddedValkey
from workers.host import check_port, only_one, signals, web_answers
from workers.processes import spawn
from workers.programs import LONGEST_LINE, ROOT, Child, Program, child_environment, python, standard_programs

STOP_PLAN = ((1, 5.0), (2, 7.5), (3, 9.0))  # phase, and seconds after the signal when who is left is killed


class Supervisor:
    """Everything on the settings' defaults, and `extra_processes` beside it. `run` returns when all has ended."""

    def __init__(
        self, settings: AppSettings, extra_processes: Sequence[Program] = (), *, say: Callable[[str], None] | None = None
    ) -> None:
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

    # --- start ------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start, watch until a signal comes, end in order. Call it from the main thread.

        Raises:
            PivotalError: it can't start; nothing is left running.
        """
        with only_one(self.settings.data_dir), signals(self._selector, self._asked_to_end):
            check_port(self.settings.host, self.settings.port)
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
        valkey = EmbeddedValkey(self.settings.run_dir, self.settings.data_dir.resolve() / "valkey")
        program = Program("valkey", tuple(valkey.command()), phase=3)
        for _ in (1, 2):
            child = Child(program, self._env, self._tell)
            self._listen(child.start(), program)
            valkey.process = child.process
            if valkey.wait_ready():
                self._children.append(child)
                return
            child.kill()
            self._turn(0)
            valkey.forget()  # rings alone are lost by that, and the sweeper rings again
        raise SettingsError("the embedded Valkey doesn't start; set REDIS_URL to use another")

    def _prepare(self) -> str | None:
        process = spawn(python("workers.first_run"), env=self._env, out=subprocess.PIPE, cwd=ROOT)
        while process.poll() is None and not self._stopping:
            self._turn(0.1)
        if self._stopping:
            process.kill()  # a migration is one transaction: nothing has happened
        said, _ = process.communicate()
        if self._stopping:
            return None
        if process.returncode:
            raise SettingsError(" ".join(said.split())[-LONGEST_LINE:] or "the database could not be prepared")
        link: str | None = json.loads(said.splitlines()[-1])["link"]
        return link

    # --- the loop ---------------------------------------------------------------------------------

    def _turn(self, timeout_s: float) -> None:
        """Read what children say, notice who died, start who is due."""
        for key, _ in self._selector.select(timeout_s):
            key.data(key.fd)
        now = time.monotonic()
        for child in self._children:
            child.check(now)
            if not self._stopping and child.due(now) and (self._web_up or not child.program.after_web):
                self._listen(child.start(), child.program)
        if not self._web_up and not self._stopping and web_answers(self.settings.host, self.settings.port):
            self._web_up = True
            self._announce()

    def _listen(self, fd: int, program: Program) -> None:
        self._partial[fd] = b""
        self._selector.register(fd, selectors.EVENT_READ, lambda ready: self._read(ready, program))

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

    def _announce(self) -> None:
        self._print(f"Pivotal Stripe is at {self.settings.address} (Ctrl-C stops it)")
        if self.link:
            who, url = self.settings.admin_email, f"{self.settings.address}/welcome/{self.link}"
            self._print(f"First admin: set a password for {who} within 24 hours at {url}")

    # --- the end ----------------------------------------------------------------------------------

    def _asked_to_end(self) -> None:
        self._hurry = self._stopping  # asked twice: don't wait
        self._stopping = True

    def _end(self) -> None:
        """Web first: no new deliveries are taken. Workers finish their batch. Valkey, which they need, goes last. Whoever is
        late is killed: nothing acknowledged is lost by that, and claims run out by themselves."""
        self._stopping = True
        begun = time.monotonic()
        for phase, until_s in STOP_PLAN:
            group = [child for child in self._children if child.program.phase == phase]
            for child in group:
                child.terminate()
            while any(child.running for child in group):
                if self._hurry or time.monotonic() - begun > until_s:
                    for child in group:
                        child.kill()
                self._turn(0.05)
        self._turn(0)
        with contextlib.suppress(OSError):  # a short one in the temporary directory; only an empty one goes
            self.settings.run_dir.rmdir()
        self._print("stopped")


def _print(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # whoever read our output has gone
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


HELP = """usage: python -m workers.supervisor

Starts everything on this machine (Valkey, web, workers and clock) and ends it all on Ctrl-C, as `make run` does.
Settings come from the environment: PORT, HOST, DATA_DIR, DATABASE_URL, REDIS_URL, WORKERS (docs/settings.md).
"""


def main(arguments: Sequence[str] = ()) -> int:
    """Run on the settings of the environment. Exit status 0 after a signal, 2 when it can't start."""
    if arguments:
        asked = arguments[0] in {"-h", "--help"}
        (sys.stdout if asked else sys.stderr).write(HELP)
        return 0 if asked else 2
    try:
        return Supervisor(load_settings()).run()
    except PivotalError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
