"""Failpoints: named places where a test makes a process fail (FAULTS 8.2). Absent unless `TESTING=1`.

    FAILPOINTS="after_inbox_commit=exit"            exit 137 as SIGKILL would, at the first hit
    FAILPOINTS="before_inbox_commit=raise@3"        raise `FailpointError` at the third hit, only then
    FAILPOINTS="in_drain=sleep:1.5@2,after_flag=exit"   several, by commas; sleep 1.5 s at the second hit

Without `@n` the action happens at every hit. `fp` costs one dictionary test when nothing is set.
"""

import os
import threading
import time


class FailpointError(RuntimeError):
    """What `raise` raises: no error of ours, so that the last-resort paths are tried too."""


def parse_failpoints(text: str) -> dict[str, tuple[str, int | None]]:
    """`name=action[@n]` by commas -> name: (action, hit number or None for every hit)."""
    points = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, action = part.partition("=")
        action, _, hit = action.partition("@")
        points[name] = (action or "exit", int(hit) if hit else None)
    return points


_points = parse_failpoints(os.environ.get("FAILPOINTS", "")) if os.environ.get("TESTING") == "1" else {}
_hits: dict[str, int] = {}
_lock = threading.Lock()


def fp(name: str) -> None:
    """Fail here if a test asked for it; else nothing."""
    if not _points or name not in _points:
        return
    action, wanted = _points[name]
    with _lock:
        _hits[name] = hit = _hits.get(name, 0) + 1
    if wanted is not None and hit != wanted:
        return
    os.write(2, f"failpoint {name} {action}\n".encode())  # so that a test can tell that it really happened
    if action == "exit":
        os._exit(137)
    if action.startswith("sleep:"):
        time.sleep(float(action.removeprefix("sleep:")))
        return
    raise FailpointError(name)
