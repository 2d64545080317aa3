"""The corpus: small inputs that reached something new, and every one that ever broke something (`bug-…`), for ever.

A file's name is the hash of its content. All are made up: what is derived from templates that aren't ours is never kept.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import CORPUS
from tests.fuzz.spans import Template

LARGEST = 6_000  # a file of the corpus
LARGEST_BUG = 60_000
SHRINK_TRIES = 500


def stored(target: str, root: Path = CORPUS) -> dict[str, bytes]:
    """The corpus of a target by file name, bugs first, then the small ones."""
    files = (root / target).glob("*")
    files = sorted(files, key=lambda path: (not path.name.startswith("bug-"), path.stat().st_size, path.name))
    return {path.name: path.read_bytes() for path in files}


def save(target: str, data: bytes, *, bug: bool = False, root: Path = CORPUS) -> Path:
    """Keep an input; its path."""
    name = hashlib.sha256(data).hexdigest()[:16]
    path = root / target / (f"bug-{name}" if bug else name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)
    return path


def shrunk(data: bytes, still: Callable[[bytes], bool], tries: int = SHRINK_TRIES) -> bytes:
    """A smaller input for which `still` holds as well: whole values go first, then bytes from the end."""
    candidates, at = _smaller(data), 0
    for _ in range(tries):
        if at >= len(candidates):
            break
        if still(candidates[at]):
            data = candidates[at]
            candidates = _smaller(data)
        else:
            at += 1
    return data


def _smaller(data: bytes) -> list[bytes]:
    slots = Template(data).slots
    cuts = sorted(slots, key=lambda slot: slot.cut_start - slot.cut_end)
    plain = Template(data).raw
    found = [plain[: slot.cut_start] + plain[slot.cut_end :] for slot in cuts]
    if not slots:
        sizes = [len(data) // part for part in (2, 4, 8) if len(data) // part]
        found = [data[:at] + data[at + size :] for size in sizes for at in range(0, len(data), size)]
    return [candidate for candidate in found if len(candidate) < len(data)]
