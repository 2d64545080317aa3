"""What `make chaos` found, kept as it goes on, so that a run that was cut short can be taken up; and the report made of it."""

import json
import os
import platform
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.store.failpoints import NAMES, STEPS
from tests.chaos.cells import ACTIONS, names_of
from tests.support.web_process import ROOT

KEPT = ROOT / "var" / "chaos"
REPORT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- begin: written by `make chaos` -->", "<!-- end: written by `make chaos` -->"
DATABASES = ("sqlite", "postgresql")
NAMED = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class Results:
    """Results by part and database: `matrix` a cell by its name, `storms` and `lives` one by one."""

    def __init__(self, seed: int, *, resume: bool) -> None:
        self._file = KEPT / "results.json"
        KEPT.mkdir(parents=True, exist_ok=True)
        if resume and self._file.exists():
            self.data: dict[str, Any] = json.loads(self._file.read_text())
        else:
            self.data = {
                "seed": seed,
                "machine": machine(),
                "at": time.strftime("%Y-%m-%d"),
                "commit": commit(),
                "seconds": 0.0,
            }
        self._since = time.monotonic()

    def part(self, name: str, database: str) -> dict[str, Any]:
        """The results of a part so far."""
        found: dict[str, Any] = self.data.setdefault(name, {}).setdefault(database, {})
        return found

    def save(self) -> None:
        """Keep what there is, and write the report."""
        self.data["seconds"] += time.monotonic() - self._since
        self._since = time.monotonic()
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(self.data, indent=1))
        draft.replace(self._file)

    def keep_logs(self, name: str, text: str) -> Path:
        """Keep what processes said, where something was wrong."""
        path = KEPT / f"{name}.log"
        path.write_text(text)
        return path

    def write_report(self) -> None:
        """Write the generated part of the report anew."""
        head, _, rest = REPORT.read_text().partition(BEGIN)
        _, _, tail = rest.partition(END)
        REPORT.write_text(f"{head}{BEGIN}\n\n" + "\n".join(report(self.data)) + f"\n{END}{tail}")


def machine() -> dict[str, Any]:
    """What it ran on."""
    import psutil
    import sqlalchemy

    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    return {"cores": os.cpu_count(), "cpu": model, "memory_gb": round(psutil.virtual_memory().total / 1e9),
            "python": platform.python_version(), "sqlalchemy": sqlalchemy.__version__}  # fmt: skip


def commit() -> str:
    """The commit that was tried."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


# --- the report --------------------------------------------------------------------------------------


def report(data: dict[str, Any]) -> Iterator[str]:
    """The generated part of docs/reliability.md, in lines."""
    found = data["machine"]
    yield f"Run on {data['at']} at commit `{data['commit']}`: {found['cores']} cores ({found['cpu']}), {found['memory_gb']} GB,"
    yield f"Python {found['python']}, load, servers and databases on the same machine; seed {data['seed']},"
    yield f"{data['seconds'] / 60:.0f} minutes in all."
    yield ""
    yield from _summary(data)
    yield ""
    yield from _storms(data)
    yield ""
    yield from _lives(data)
    yield ""
    yield from _matrix(data)


def _all(data: dict[str, Any], part: str, database: str) -> list[dict[str, Any]]:
    return list(data.get(part, {}).get(database, {}).values())


def _summary(data: dict[str, Any]) -> Iterator[str]:
    yield "| | SQLite | PostgreSQL | together |"
    yield "|---|---:|---:|---:|"
    rows: list[tuple[str, list[float]]] = []
    for name, key in (("events acknowledged", "acknowledged"), ("kills in storms", "killed"), ("acknowledged and lost", "lost"),
                      ("dead events", "dead"), ("customers whose figures differ", "different"),
                      ("changes told wrongly", "untold")):  # fmt: skip
        rows.append((name, [sum(storm[key] for storm in _storms_of(data, kind)) for kind in DATABASES]))
    lives = [sum(life["codes"].count(-signal.SIGKILL) for life in _all(data, "lives", kind)) for kind in DATABASES]
    cells = [len(_all(data, "matrix", kind)) for kind in DATABASES]
    wrong = [sum(bool(cell["wrong"]) for cell in _all(data, "matrix", kind)) for kind in DATABASES]
    rows.insert(2, ("kills of backfills and migrations, one after another", lives))
    rows += [("failpoints x ways tried", cells), ("of them not converged", wrong)]
    for name, figures in rows:
        yield f"| {name} | {figures[0]:,} | {figures[1]:,} | {sum(figures):,} |"
    for name, key in (("slowest acknowledgement, retries included (s)", "slowest_ack_s"),
                      ("slowest event from receipt to figures (s)", "slowest_event_s"),
                      ("slowest recovery: all worked off after a storm (s)", "settled_s")):  # fmt: skip
        each = [max((storm[key] for storm in _storms_of(data, kind)), default=0.0) for kind in DATABASES]
        yield f"| {name} | {each[0]:.1f} | {each[1]:.1f} | {max(each):.1f} |"


def _storms_of(data: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    lives = [life["storm"] for life in _all(data, "lives", kind) if life.get("storm")]
    return [{**storm, "killed": sum(storm["kills"].values())} for storm in [*_all(data, "storms", kind), *lives]]


def _storms(data: dict[str, Any]) -> Iterator[str]:
    kills, others = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for kind in DATABASES:
        for storm in _storms_of(data, kind):
            kills.update({(name, kind): count for name, count in storm["kills"].items()})
            others.update({(name, kind): count for name, count in storm["others"].items()})
    yield "| what the nemesis did | SQLite | PostgreSQL |"
    yield "|---|---:|---:|"
    for word, counts in (("killed: ", kills), ("", others)):
        for name in sorted({name for name, _ in counts}, key=lambda one: (-counts[one, DATABASES[0]], one)):
            yield f"| {word}{name} | {counts[name, 'sqlite']:,} | {counts[name, 'postgresql']:,} |"


def _lives(data: dict[str, Any]) -> Iterator[str]:
    yield "| killed again and again | database | lives until it came to its end | right in the end |"
    yield "|---|---|---:|---|"
    for kind in DATABASES:
        for name, life in data.get("lives", {}).get(kind, {}).items():
            yield f"| {name} | {NAMED[kind]} | {len(life['codes'])} | {'no: ' + life['wrong'] if life['wrong'] else 'yes'} |"


def _matrix(data: dict[str, Any]) -> Iterator[str]:
    ways = [action.partition(":")[0] for action in ACTIONS]
    yield "| step | failpoint | " + " | ".join(f"{NAMED[kind]}: {', '.join(ways)}" for kind in DATABASES) + " |"
    yield "|---|---|---|---|"
    for step, names in STEPS.items():
        for name in names:
            yield f"| {step} | `{name}` | " + " | ".join(_marks(data, kind, name) for kind in DATABASES) + " |"


def _marks(data: dict[str, Any], kind: str, name: str) -> str:
    if name not in names_of(kind):
        return "not there"
    cells = data.get("matrix", {}).get(kind, {})
    return " ".join(_mark(cells.get(f"{name} {action}")) for action in ACTIONS)


def _mark(cell: dict[str, Any] | None) -> str:
    return "-" if cell is None else "WRONG" if cell["wrong"] else f"ok ({cell['seconds']:.1f} s)"


def complete(data: dict[str, Any], databases: Sequence[str]) -> bool:
    """Whether every cell of the matrix was tried."""
    return all(len(_all(data, "matrix", kind)) == len(names_of(kind)) * len(ACTIONS) for kind in databases) and bool(NAMES)
