"""Where the time goes: the CPU that each kind of process used while something was measured, and the steps of a drain."""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.benchmarks.installation import Installation
from workers import drain, recompute
from workers.apply import Draft

STEPS = {
    "claim": (drain.Drainer, "_claim"),
    "read and weigh": (drain, "weigh"),
    "reads still needed": (drain, "missing_reads"),
    "load facts": (recompute, "load"),
    "compute": (recompute, "compute"),
    "write mirror": (Draft, "write"),
    "write figures": (recompute, "save"),
    "mark events": (drain.claims, "mark_rows"),
}


class Shares:
    """`row()` after the work: seconds of CPU by kind of process, as shares of what the cores could give."""

    def __init__(self, installed: Installation) -> None:
        self._installed = installed
        self._before, self._client, self._began = installed.cpu_seconds(), _children(), time.perf_counter()

    def row(self) -> dict[str, float]:
        """Per cent of one core, so that 2 cores give 200."""
        took = time.perf_counter() - self._began
        after = self._installed.cpu_seconds()
        used = {kind: seconds - self._before.get(kind, 0.0) for kind, seconds in after.items()}
        used["load client"] = _children() - self._client
        shares = {kind: round(100 * seconds / took, 1) for kind, seconds in used.items()}
        return {kind: share for kind, share in sorted(shares.items(), key=lambda item: -item[1]) if share >= 1}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def steps_of_a_drain() -> Iterator[dict[str, float]]:
    """Seconds (wall) by step while drains run in this process; `rest` is left to the caller, as is the commit."""
    spent = dict.fromkeys(STEPS, 0.0)

    def timed(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return step(*args, **options)
            finally:
                spent[name] += time.perf_counter() - began

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name, (owner, attribute) in STEPS.items():
            patch.setattr(owner, attribute, timed(name, getattr(owner, attribute)))
        yield spent
