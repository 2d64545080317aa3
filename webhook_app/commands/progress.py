"""A progress bar with the time left, for people; a line per phase where nobody watches."""

import sys
import time
from typing import TextIO

WIDTH = 28
STEP_S = 0.1


class Progress:
    """Shows (phase, done, expected) on `out`. `expected` is an estimate that may move, or None. Never raises."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._live = self._out.isatty()
        self._phase = ""
        self._began = 0.0
        self._shown = 0.0
        self._wide = 0

    def __call__(self, phase: str, done: int, expected: int | None) -> None:
        """Called for every page; draws ten times a second at most."""
        now = time.monotonic()
        if phase != self._phase:
            self.end()
            self._phase, self._began, self._shown = phase, now, 0.0
            if not self._live:
                self._write(f"{phase} …\n")
        if self._live and (now - self._shown >= STEP_S or done == expected):
            self._shown = now
            self._draw(line(phase, done, expected, now - self._began))

    def end(self) -> None:
        """Leave the last state standing."""
        if self._live and self._wide:
            self._write("\n")
        self._wide = 0

    def _draw(self, text: str) -> None:
        self._write("\r" + text + " " * (self._wide - len(text)))
        self._wide = len(text)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:  # nobody watches any more
            self._live = False


def line(phase: str, done: int, expected: int | None, elapsed_s: float) -> str:
    """`reading      [#######·····]  1,200 of about 3,400   0:12 left`."""
    if not expected:
        return f"{phase:<12} {done:,}"
    expected = max(done, expected)
    filled = WIDTH * done // expected
    bar = "#" * filled + "·" * (WIDTH - filled)
    return f"{phase:<12} [{bar}] {done:>9,} of about {expected:,}{_left(done, expected, elapsed_s)}"


def _left(done: int, expected: int, elapsed_s: float) -> str:
    if done in {0, expected} or elapsed_s < 1:
        return ""
    minutes, seconds = divmod(round(elapsed_s * (expected - done) / done), 60)
    return f"  {minutes}:{seconds:02} left"
