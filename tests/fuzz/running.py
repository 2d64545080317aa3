"""One target in one process for a while, and what it leaves in the corpus."""

from tests.fuzz import CORPUS, keeping
from tests.fuzz.coverage import Coverage
from tests.fuzz.engine import Engine, Report
from tests.fuzz.targets import make


def run_slice(name: str, seed: int, count: int | None, seconds: float | None) -> Report:
    """Replay the corpus, then fresh inputs; what reaches something new is kept."""
    target = make(name)
    try:
        engine = Engine(target, seed, keep=True)
        engine.replay(traced=True)
        return engine.run(count=count, seconds=seconds)
    finally:
        target.close()


def prune(name: str, before: set[str]) -> None:
    """Of what several processes kept in this run, leave only what adds something to the rest."""
    target = make(name)
    coverage = Coverage(target.watched)
    words: set[str] = set()
    try:
        files = keeping.stored(name)
        for file in sorted(files, key=lambda file: (file not in before, len(files[file]))):
            try:
                found, lines = coverage.traced(lambda file=file: target.run(files[file]))  # type: ignore[misc]
            except Exception:
                continue
            if not lines and words.issuperset(found) and file not in before and not file.startswith("bug-"):
                (CORPUS / name / file).unlink(missing_ok=True)
            coverage.lines |= lines
            words |= set(found)
    finally:
        target.close()
