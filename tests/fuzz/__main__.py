"""`make fuzz`: fuzz for long, in several processes, and keep what reaches something new.

`python -m tests.fuzz [target …] [--seconds N | --count N] [--processes N] [--seed N]`; without a target all of them, one after
the other. Exit status 1 when something broke; its inputs are in the corpus then (`bug-…`).
"""

import argparse
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.fuzz import keeping
from tests.fuzz.engine import Report
from tests.fuzz.running import prune, run_slice
from tests.fuzz.targets import names

SLICE_S, SLICE_COUNT = 60.0, 250_000  # so that what one process found reaches the others, and so often something is printed


def main(arguments: list[str]) -> int:
    """Run what is asked for."""
    asked = _parser().parse_args(arguments)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**9)
    broke = 0
    for name in asked.targets or names():
        broke += _fuzz(name, asked, seed)
    return 1 if broke else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[*names(), []], metavar="target", help=f"of {', '.join(names())}")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--seconds", type=float, default=60.0, help="for each target (60)")
    how_long.add_argument("--count", type=int, help="inputs for each target")
    parser.add_argument("--processes", type=int, default=2, help="at once (2)")
    parser.add_argument("--seed", type=int, help="the same seed and corpus make the same inputs (random)")
    return parser


def _fuzz(name: str, asked: argparse.Namespace, seed: int) -> int:
    """One target, in slices; how many things broke."""
    before = set(keeping.stored(name))
    total = Report(name)
    started = time.monotonic()
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        while (left := _left(total, asked, started)) is not None:
            count, seconds = left
            jobs = [pool.submit(run_slice, name, seed + number, count, seconds) for number in range(asked.processes)]
            for job in jobs:
                _add(total, job.result())
            seed += asked.processes
            total.seconds = time.monotonic() - started
            prune(name, before)
            print(f"{total} (next seed {seed})", flush=True)
    for where, data in total.bugs.items():
        print(f"  broke: {where}\n    {data[:200]!r}", flush=True)
    return len(total.bugs)


def _left(total: Report, asked: argparse.Namespace, started: float) -> tuple[int | None, float | None] | None:
    """What each process does next: a count or seconds; None at the end."""
    if asked.count is not None:
        left = asked.count - total.inputs
        return (min(-(-left // asked.processes), SLICE_COUNT), None) if left > 0 else None
    seconds = asked.seconds - (time.monotonic() - started)
    return (None, min(seconds, SLICE_S)) if seconds > 0 else None


def _add(total: Report, part: Report) -> None:
    total.replayed = part.replayed
    total.inputs += part.inputs
    total.kept += part.kept
    total.slowest_s = max(total.slowest_s, part.slowest_s)
    total.words.update(part.words)
    total.bugs |= part.bugs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
