"""The processes of one installation: what each is started with, and one running child with its restarts."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.settings import AppSettings
from workers.processes import spawn

ROOT = Path(__file__).resolve().parents[1]
STEADY_S = 10.0  # a child that lived this long and ends is started again at once
LONGEST_PAUSE_S = 30.0
LONGEST_LINE = 4000


@dataclass(frozen=True)
class Program:
    """One kind of child. `phase` orders the end: 1 takes no more work in, 2 finishes what it holds, 3 is needed by the others.

    `after_web`: started once the pages answer. `once`: its end is no fault. `plain`: its output is shown without a prefix.
    """

    name: str
    command: tuple[str, ...]
    phase: int = 2
    env: Mapping[str, str] = field(default_factory=dict)
    after_web: bool = False
    once: bool = False
    plain: bool = False


def child_environment(settings: AppSettings) -> dict[str, str]:
    """The environment of every child: the settings, UTC (RQ's times are local ones), and few memory arenas per process."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    fixed = {"TZ": "UTC", "PYTHONUNBUFFERED": "1", "PYTHONPATH": path, "MALLOC_ARENA_MAX": "2"}
    return {**os.environ, **settings.as_environment(), **fixed}


def python(*arguments: str) -> tuple[str, ...]:
    """The command for a module of ours."""
    return (sys.executable, "-m", *arguments)


def standard_programs(settings: AppSettings) -> list[Program]:
    """Web, workers, the worker for long jobs, and the clock."""
    gunicorn = python("gunicorn", "-c", str(ROOT / "webhook_app/gunicorn_conf.py"), "--graceful-timeout", "4")
    workers = [Program(f"worker{n + 1}" if n else "worker", python("workers", "worker")) for n in range(settings.workers)]
    return [
        Program("web", (*gunicorn, "webhook_app:create_app()"), phase=1),
        *workers,
        Program("long", python("workers", "long")),
        Program("clock", python("workers", "clock")),
    ]


class Child:
    """One program, running or about to run again. Never blocks; `check` is called in turns."""

    def __init__(self, program: Program, env: Mapping[str, str], say: Callable[[str, str], None]) -> None:
        self.program = program
        self.process: subprocess.Popen[str] | None = None
        self.finished = False
        self._env = {**env, **program.env}
        self._say = say
        self._started = 0.0
        self._next_start = 0.0
        self._falls = 0

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def due(self, now: float) -> bool:
        """Whether it is to be started now."""
        return not self.finished and self.process is None and now >= self._next_start

    def start(self) -> int:
        """Start it; returns the file descriptor of its output, which the caller reads to its end and closes."""
        self._started = time.monotonic()
        reader, writer = os.pipe()
        try:
            self.process = spawn(self.program.command, env=self._env, out=writer, cwd=ROOT)
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        return reader

    def check(self, now: float) -> None:
        """Notice its end, clear up what it left, and plan the next start: at once, or after a pause that grows."""
        if self.process is None or (status := self.process.poll()) is None:
            return
        self._send_group(signal.SIGTERM)  # children of its own finish what they hold
        self.process = None
        if self.program.once or self.finished:
            if status and not self.finished:
                self._say(self.program.name, f"ended with status {status}")
            self.finished = True
            return
        self._falls = 0 if now - self._started > STEADY_S else self._falls + 1
        pause = 0.0 if self._falls <= 1 else min(0.5 * 2.0 ** (self._falls - 2), LONGEST_PAUSE_S)
        self._next_start = now + pause
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        self._say(self.program.name, f"{how}; starting it again" + (f" in {pause:g} s" if pause else ""))

    def terminate(self) -> None:
        """Ask it to end, for good."""
        self.finished = True
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it and what it started, now and for good."""
        self.finished = True
        self._send_group(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def _send_group(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # all have ended
                os.killpg(self.process.pid, number)

    def __repr__(self) -> str:
        return f"Child({self.program.name}: {shlex.join(self.program.command)})"
