"""Runs a target: the corpus first, then fresh inputs; counts them, and notices what is new, slow or broken."""

import itertools
import random
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from tests.fuzz import keeping
from tests.fuzz.coverage import Coverage

TRACE_ONE_IN = 100
SETTLE_EVERY = 2_000
NOISE_S = 0.02  # of a clock on the wall; what takes longer is run once more by a better one
SLOW_S = 10.0  # CPU for one input of at most 1 MiB; the slowest take two
STUCK_S = 40.0  # CPU after which an input is given up
MOST_BUGS = 20


class Source(Protocol):
    """Makes inputs. The same seed gives the same ones."""

    def next(self) -> tuple[bytes, bool]:
        """An input, and whether it may be kept."""

    def learn(self, data: bytes) -> None:
        """An input that reached something new, to make others from."""


class Target(Protocol):
    """What is fuzzed. `watched`: the code whose lines count as new."""

    name: str
    watched: tuple[str, ...]

    def source(self, rng: random.Random) -> Source:
        """Where fresh inputs come from."""

    def run(self, data: bytes) -> tuple[str, ...]:
        """Words for what came of one input. Raises whatever broke a promise, `AssertionError` for what only we check."""

    def settle(self) -> None:
        """Checks that are made now and then, and tidying up."""

    def close(self) -> None:
        """The end."""


class TooSlow(AssertionError):
    """An input that takes more time than any may."""


@dataclass
class Report:
    """What came of a run. `words`: outcomes and how often; `bugs`: what broke, by signature, with an input."""

    target: str
    replayed: int = 0
    inputs: int = 0
    kept: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    lines: int = 0
    words: Counter[str] = field(default_factory=Counter)
    bugs: dict[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        rate = self.inputs / self.seconds if self.seconds else 0.0
        return (
            f"fuzz {self.target}: {self.inputs} inputs ({rate:,.0f}/s), corpus of {self.replayed} replayed, {self.kept} kept,"
            f" {len(self.words)} outcomes, slowest {self.slowest_s * 1000:.0f} ms, {len(self.bugs)} broke"
        )


class Engine:
    """One target in one process."""

    def __init__(self, target: Target, seed: int, *, keep: bool = False) -> None:
        self._target = target
        self._keep = keep
        self._coverage = Coverage(target.watched)
        self._source = target.source(random.Random(seed))
        self._ticks = -1
        self._replaying = True
        self.report = Report(target.name)

    def replay(self, *, traced: bool) -> None:
        """The whole corpus. `traced`: know its lines, so that only what reaches others is new (slower)."""
        for data in keeping.stored(self._target.name).values():
            self._source.learn(data)
            self.report.replayed += 1
            if traced:
                self._traced(data, keepable=False)
            else:
                self._plain(data)
        self._target.settle()
        self._replaying = False

    def run(self, *, count: int | None = None, seconds: float | None = None) -> Report:
        """`count` fresh inputs, or as many as `seconds` allow."""
        self._replaying = False
        started = time.monotonic()
        deadline = None if seconds is None else started + seconds
        with self._watch():
            for number in itertools.count() if count is None else range(count):
                data, keepable = self._source.next()
                if self._keep and number % TRACE_ONE_IN == 0:
                    self._traced(data, keepable=keepable)
                else:
                    new = self._plain(data)
                    if self._keep and keepable and new:
                        self._traced(data, keepable=True, words=new)
                self.report.inputs += 1
                if number % SETTLE_EVERY == SETTLE_EVERY - 1:
                    self._target.settle()
                if deadline is not None and number % 32 == 31 and time.monotonic() > deadline:
                    break
            self._target.settle()
        self.report.seconds = time.monotonic() - started
        return self.report

    # --- one input -----------------------------------------------------------------------------------

    def _plain(self, data: bytes) -> list[str]:
        """Run it; the words that are new."""
        began = time.perf_counter()
        try:
            words = self._target.run(data)
        except Exception as error:
            self._broke(data, error)
            return []
        took = time.perf_counter() - began
        if took > self.report.slowest_s + NOISE_S:
            self._time(data)
        counted = self.report.words
        new = [word for word in words if word not in counted]
        for word in words:
            counted[word] += 1
        return new

    def _traced(self, data: bytes, *, keepable: bool, words: list[str] | None = None) -> None:
        try:
            found, lines = self._coverage.traced(lambda: self._target.run(data))
        except Exception as error:
            self._broke(data, error)
            return
        new = set(words or ()) | {word for word in found if word not in self.report.words}
        self.report.words.update(found)
        if (lines or new) and keepable and self._keep:
            small = keeping.shrunk(data, lambda candidate: self._same(candidate, lines, new))
            if len(small) <= keeping.LARGEST:
                keeping.save(self._target.name, small)
                self._source.learn(small)
                self.report.kept += 1
        self._coverage.lines |= lines
        self.report.lines = len(self._coverage.lines)

    def _same(self, data: bytes, lines: set[tuple[str, int]], words: set[str]) -> bool:
        try:
            found, reached = self._coverage.traced(lambda: self._target.run(data))
        except Exception:
            return False
        return lines <= reached and words <= set(found)

    def _time(self, data: bytes) -> None:
        """Once more, by this thread's own clock: the machine is busy with other things too."""
        began = time.thread_time()
        self._target.run(data)
        took = time.thread_time() - began
        self.report.slowest_s = max(self.report.slowest_s, took)
        if took > SLOW_S:
            self._broke(data, TooSlow(f"{took:.1f} s"))

    def _broke(self, data: bytes, error: Exception) -> None:
        where = signature(error)
        if where in self.report.bugs or len(self.report.bugs) >= MOST_BUGS:
            return
        if self._replaying:  # it is kept already
            self.report.bugs[where] = data
            return
        small = data if isinstance(error, TooSlow) else keeping.shrunk(data, lambda candidate: self._breaks(candidate, where))
        self.report.bugs[where] = small
        if self._keep and len(small) <= keeping.LARGEST_BUG:
            keeping.save(self._target.name, small, bug=True)

    def _breaks(self, data: bytes, where: str) -> bool:
        try:
            self._target.run(data)
        except Exception as error:
            return signature(error) == where
        return False

    # --- an input that never ends --------------------------------------------------------------------

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Give up an input that takes `STUCK_S` of CPU. Only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, STUCK_S, STUCK_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    def _tick(self, _signal: int, _frame: object) -> None:
        if self._ticks == self.report.inputs:
            raise TooSlow(f"more than {STUCK_S:.0f} s")
        self._ticks = self.report.inputs


def signature(error: Exception) -> str:
    """What broke and where: the class and the last lines of ours on the way."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/site-packages/" not in frame.filename]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames[-2:]]
    told = f": {error}"[:200] if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__} at {' < '.join(reversed(places))}{told}"
