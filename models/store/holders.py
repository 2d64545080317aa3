"""Who holds a lease: a token that names its process, so that whoever comes after a `kill -9` on the same machine need not wait
until the lease runs out. Only a process that can be seen to be gone counts: same boot, same process namespace, no such process
(or another one under its number). Of any other holder nothing is known, and its lease stands."""

import functools
import os
import secrets
from pathlib import Path

_PROC = Path("/proc")


def holder_token() -> str:
    """A token for a lease of this process; unique, and made anew for every holder within it."""
    return f"{_place()}:{os.getpid()}:{_started(os.getpid()) or 0}:{secrets.token_hex(8)}"


def is_gone(token: str) -> bool:
    """Whether the process that made this token is certainly no more."""
    parts = token.split(":")
    if len(parts) != 4 or not _place() or parts[0] != _place() or not parts[1].isdigit():
        return False
    return _started(int(parts[1])) != int(parts[2])


@functools.cache
def _place() -> str:
    """This boot of this machine and this process namespace; empty where they can't be told (then no holder is ever gone)."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{(_PROC / 'self/ns/pid').readlink()}".replace(":", "")
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process began (in ticks since boot); None when there is none, or it has ended and waits to be reaped."""
    try:
        words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in {"Z", "X"} else int(words[19])
