"""`make planted`: plant each bug in a copy of the tree and run its tests; fails when one of them isn't caught.

`python -m tests.planted [words of a name …]` for some. HISTORIES and SEED are set, so that a run can be repeated.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.planted import ROOT, Plant, plants

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "var", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"
)
WITHIN_S = 300
HISTORIES = "4000"  # of which a tenth go through store and apply
FAILED = 1  # pytest's status when tests failed; anything else above 0 means that they didn't run


def main(words: list[str]) -> int:
    """Print a line for each bug; 1 when one survived or couldn't be tried."""
    chosen = [plant for plant in plants() if not words or any(word in plant.name for word in words)]
    bad = []
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        root = Path(name) / "tree"
        for plant in chosen:
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(ROOT, root, ignore=LEFT_OUT)
            began = time.monotonic()
            outcome = _tried(plant, root, Path(name) / "tmp")
            print(f"{outcome:9} {time.monotonic() - began:5.0f} s  {plant.name}", flush=True)
            if outcome != "caught":
                bad.append(plant.name)
    print(f"{len(chosen) - len(bad)} of {len(chosen)} planted bugs caught" + "".join(f"\nnot caught: {name}" for name in bad))
    return 1 if bad or not chosen else 0


def _tried(plant: Plant, root: Path, scratch: Path) -> str:
    """`caught`, `SURVIVED`, or `BROKEN` when the tests couldn't be run on it."""
    try:
        plant.into(root)
    except (LookupError, OSError) as error:
        print(error)
        return "BROKEN"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"--basetemp={scratch}", *plant.tests]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(root), "HISTORIES": HISTORIES, "SEED": "1"}
    try:
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        return "TOO LONG"
    if done.returncode not in {0, FAILED}:
        print(done.stdout[-2000:] + done.stderr[-2000:])
    return {0: "SURVIVED", FAILED: "caught"}.get(done.returncode, "BROKEN")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
