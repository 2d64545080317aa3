"""`make chaos`: every failpoint in every way, storms of kills, and what is killed until it comes to its end.

What was found is kept in var/chaos as it goes on (`--resume` takes it up) and written to docs/reliability.md at the end.
"""

import argparse
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.chaos.cells import ACTIONS, names_of, run_cell
from tests.chaos.lives import ACCOUNT, backfill_in_a_storm, migration_at_every_statement
from tests.chaos.nemesis import Nemesis
from tests.chaos.results import DATABASES, Results, complete
from tests.chaos.scene import Place, Scene, place
from tests.chaos.storm import rage

FAULTS = ("F40", "F42", "F50", "F51", "F53", "F55", "F56", "F57", "F61", "F66", "F74", "F81", "F92")
PARTS = ("matrix", "lives", "storms")
KILLS_A_STORM = 50


def main() -> int:
    """Run; 0 when nothing was lost and nothing differs."""
    options = _options()
    signal.signal(signal.SIGTERM, _end)
    results = Results(options.seed, resume=options.resume)
    databases = DATABASES if options.database == "both" else (options.database,)
    say = Progress()
    say.line(f"seed {results.data['seed']} (SEED for another run of the same acts: --seed {results.data['seed']})")
    wrong = 0
    try:
        for kind in databases:
            with place(kind) as where:
                for part in PARTS:
                    if part in options.only:
                        wrong += {"matrix": _matrix, "lives": _lives, "storms": _storms}[part](where, options, results, say)
    except TimeIsOver:
        say.line("the time is over; --resume goes on from here")
        return 3
    whole = complete(results.data, DATABASES)
    if options.report or (whole and not options.only_some):
        results.write_report()
        say.line("docs/reliability.md is written")
    say.line("nothing lost, nothing different" if not wrong else f"{wrong} went wrong: var/chaos has the logs")
    return 1 if wrong else 0


class TimeIsOver(Exception):
    """Nothing new may begin."""


def _end(*_: object) -> None:
    """SIGTERM: what was started ends in order, undisturbed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(130)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--kills", type=int, default=1000, help="in storms, over all databases chosen (default 1,000)")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing new after so long; --resume goes on then")
    parser.add_argument("--seed", default="1", help="a number, or random")
    parser.add_argument("--resume", action="store_true", help="go on where the last run was left")
    parser.add_argument("--report", action="store_true", help="write docs/reliability.md even of a part")
    options = parser.parse_args()
    options.seed = secrets.randbelow(10**6) if options.seed == "random" else int(options.seed)
    options.only_some = set(options.only) != set(PARTS)
    options.until = time.monotonic() + options.seconds
    options.share = options.kills if options.database != "both" else -(-options.kills // len(DATABASES))
    return options


class Progress:
    """One line that is written over (on a terminal), and lines that stay."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, text: str) -> None:
        """What goes on; not more often than is readable."""
        now = time.monotonic()
        if now - self._last < (0.2 if self._terminal else 15.0):
            return
        self._last = now
        sys.stderr.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def line(self, text: str) -> None:
        """What stays."""
        sys.stderr.write(f"\r\x1b[K{text}\n" if self._terminal else f"{text}\n")
        sys.stderr.flush()


@contextmanager
def _scene(where: Place, **options: object) -> Iterator[Scene]:
    with ExitStack() as closing:
        directory = where.directory()
        yield Scene(where.migrated(directory), directory, closing, **options)  # type: ignore[arg-type]


def _still_time(options: argparse.Namespace) -> None:
    if time.monotonic() > options.until:
        raise TimeIsOver


def _matrix(where: Place, options: argparse.Namespace, results: Results, say: Progress) -> int:
    """Every failpoint of this database in every way; an installation that a cell left wrong is not used again."""
    cells = results.part("matrix", where.kind)
    wanted = [(name, action) for name in names_of(where.kind) for action in ACTIONS if f"{name} {action}" not in cells]
    while wanted:
        with _scene(where, seed=options.seed) as scene:
            while wanted and scene.clean:
                _still_time(options)
                name, action = wanted.pop(0)
                cell = run_cell(scene, where, name, action)
                cells[f"{name} {action}"] = {"wrong": cell.wrong[:2000], "seconds": cell.seconds}
                results.save()
                say(f"{where.kind}: {len(cells)} cells, {len(wanted)} to go")
                if cell.wrong:
                    log = results.keep_logs(f"{where.kind}-{name.strip('*')}-{action}", f"{cell.wrong}\n{scene.stack.logs()}")
                    say.line(f"{where.kind}: {name} {action} did not converge, see {log}")
    return sum(bool(cell["wrong"]) for cell in cells.values())


def _lives(where: Place, options: argparse.Namespace, results: Results, say: Progress) -> int:
    """What is killed until it comes to its end."""
    lives = results.part("lives", where.kind)
    if (name := "a migration, before each statement") not in lives:
        _still_time(options)
        lives[name] = migration_at_every_statement(where, say)
        results.save()
        say.line(f"{where.kind}: {name}: {len(lives[name]['codes'])} lives {lives[name]['wrong']}")
    if (name := "a backfill, after each page, in a storm") not in lives:
        _still_time(options)
        with _scene(where, seed=options.seed, account=ACCOUNT, workers=2, proxied=True) as scene:
            lives[name] = backfill_in_a_storm(scene, where, options.seed, say)
            if lives[name]["wrong"]:
                results.keep_logs(f"{where.kind}-backfill", f"{lives[name]['wrong']}\n{scene.stack.logs()}")
        results.save()
        say.line(f"{where.kind}: {name}: {len(lives[name]['codes'])} lives {lives[name]['wrong']}")
    return sum(bool(life["wrong"]) for life in lives.values())


def _storms(where: Place, options: argparse.Namespace, results: Results, say: Progress) -> int:
    """Storms one after another, each on an installation of its own, until there were kills enough."""
    storms = results.part("storms", where.kind)
    while (left := options.share - sum(sum(storm["kills"].values()) for storm in storms.values())) > 0:
        seed = options.seed + len(storms)
        _still_time(options)
        with _scene(where, seed=seed, workers=2, proxied=True) as scene:
            nemesis, wanted = Nemesis(scene.stack, seed, where.postgres), min(left, KILLS_A_STORM)
            told = f"{where.kind}, storm {len(storms) + 1}, seed {seed}"
            storm = rage(scene, nemesis, seed=seed, over=lambda n=nemesis, w=wanted: n.killed >= w,
                         say=lambda line, told=told: say(f"{told}: {line}"))  # fmt: skip
            if not storm.verdict.good:
                results.keep_logs(
                    f"{where.kind}-storm-{seed}", f"{storm.verdict}\n{scene.stack.problems()}\n{scene.stack.logs()}"
                )
        storms[str(seed)] = storm.to_json()
        results.save()
        say.line(f"{told}: {storm.killed} kills, {storm.acknowledged} events, settled in {storm.settled_s:.1f} s, "
                 + ("right" if storm.verdict.good else f"WRONG: {storm.verdict}"[:1000]))  # fmt: skip
    return sum(any(storm[key] for key in ("lost", "dead", "different", "untold")) for storm in storms.values())


if __name__ == "__main__":
    raise SystemExit(main())
