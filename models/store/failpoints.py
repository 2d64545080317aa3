"""Failpoints: named places where a test makes a process fail (FAULTS 8.2). Absent unless `TESTING=1`.

    FAILPOINTS="after_inbox_commit=exit"            exit 137 as SIGKILL would, at every hit
    FAILPOINTS="before_inbox_commit=raise@3"        raise `FailpointError` at the third hit, only then
    FAILPOINTS="in_sweep=sleep:1.5@2,after_flag=kill"   several, by commas; sleep 1.5 s at the second hit
    FAILPOINTS_DIR=/some/directory                  whoever first comes by the name of a file in it does what the file says,
                                                    once, whichever process it is (`order`, `done`)

Actions: `exit` (status 137), `kill` (a real SIGKILL), `raise`, `sleep:SECONDS`, and `drop`, which cuts the connection in hand:
what the point names (Redis, Stripe), else the database connection of this thread, else all idle ones of this process.
Without anything set `fp` costs one test.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

STEPS: dict[str, tuple[str, ...]] = {
    "ingest": ("event_read", "before_inbox_insert", "before_inbox_commit", "after_inbox_commit", "before_answer"),
    "bell": ("before_flag", "between_flag_and_enqueue", "after_enqueue", "after_flag_cleared", "in_sweep"),
    "claim": ("before_drain", "lease_taken", "after_claim", "rows_marked", "before_lease_release", "after_drain"),
    "apply": (
        "apply_*", "before_apply", "between_apply_and_recompute", "before_commit_of_batch", "after_commit_of_batch",
        "before_refetch", "stripe_answering", "after_refetch", "before_refetch_write",
        "between_apply_and_recompute_of_refetch", "after_refetch_write",
    ),
    "recompute": ("before_figures", "before_due_write", "before_commit_of_due", "after_due_write"),
    "publish": ("before_change_rows", "after_change_rows", "before_fan_out"),
    "backfill": (
        "backfill_begun", "before_backfill_fetch", "after_backfill_fetch", "before_cursor", "before_backfill_commit",
        "after_backfill_commit", "backfill_recompute", "before_backfill_end", "before_commit_of_backfill_end",
        "after_backfill_end",
    ),
    "migration": (
        "before_migration", "between_migration_statements", "after_migration_step", "before_migration_commit",
        "after_migration_commit", "before_key_file", "after_key_file",
    ),
}  # fmt: skip
"""Every name, by the step it belongs to. `apply_*` stands for `apply_` and an event's type."""

NAMES = tuple(name for names in STEPS.values() for name in names)
FAMILIES = tuple(name.removesuffix("*") for name in NAMES if name.endswith("*"))


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


def testing() -> bool:
    """Whether failpoints may do anything in this process."""
    return os.environ.get("TESTING") == "1"


_points = parse_failpoints(os.environ.get("FAILPOINTS", "")) if testing() else {}
_directory = os.environ.get("FAILPOINTS_DIR", "") if testing() else ""
_hits: dict[str, int] = {}
_lock = threading.Lock()


def fp(name: str, over: Any = None) -> None:
    """Fail here if a test asked for it; else nothing. `over`: a Redis client or an HTTP answer whose connection `drop` cuts."""
    if not _points and not _directory:
        return
    action = _planned(name) or (_ordered(name) if _directory else None)
    if action is not None:
        _act(name, action, over)


def _planned(name: str) -> str | None:
    """What `FAILPOINTS` says for this hit."""
    if name not in _points:
        return None
    action, wanted = _points[name]
    with _lock:
        _hits[name] = hit = _hits.get(name, 0) + 1
    return action if wanted is None or hit == wanted else None


def _ordered(name: str) -> str | None:
    """What a file in `FAILPOINTS_DIR` says. Taking it is one rename: of several processes one does it, once."""
    for family in FAMILIES:
        name = f"{family}*" if name.startswith(family) else name
    taken = f"{_directory}/{name}.done"
    try:
        os.rename(f"{_directory}/{name}", taken)  # noqa: PTH104  # on the way of every hit: no objects
    except FileNotFoundError:
        return None
    return Path(taken).read_text()


def order(directory: Path, name: str, action: str) -> None:
    """Let whoever first comes by `name` do `action`."""
    (directory / f"{name}.done").unlink(missing_ok=True)
    draft = directory / f".{name}"
    draft.write_text(action)
    draft.rename(directory / name)


def done(directory: Path, name: str) -> bool:
    """Whether somebody came by."""
    return (directory / f"{name}.done").exists()


def _act(name: str, action: str, over: Any) -> None:
    os.write(2, f"failpoint {name} {action}\n".encode())  # so that a test can tell that it really happened
    if action == "exit":
        os._exit(137)
    elif action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "drop":
        drop(over)
    elif action.startswith("sleep:"):
        time.sleep(float(action.removeprefix("sleep:")))
    else:
        raise FailpointError(name)


# --- connections that `drop` cuts --------------------------------------------------------------------


class _Connections:
    """The driver's database connections of this process, each with the thread that has it in hand (None: it is idle)."""

    def __init__(self) -> None:
        self._held: dict[Any, int | None] = {}

    def watch(self, engine: Any) -> None:
        """Follow an engine's pool."""
        from sqlalchemy import event

        event.listen(engine, "connect", lambda dbapi, _record: self._note(dbapi, None))
        event.listen(engine, "checkout", lambda dbapi, _record, _proxy: self._note(dbapi, threading.get_ident()))
        event.listen(engine, "checkin", lambda dbapi, _record: self._note(dbapi, None))
        event.listen(engine, "close", lambda dbapi, _record: self._held.pop(dbapi, None))

    def _note(self, dbapi: Any, thread: int | None) -> None:
        if dbapi is not None:  # one that was invalidated comes back as None
            self._held[dbapi] = thread

    def in_hand(self) -> list[Any]:
        """This thread's, else the idle ones."""
        me = threading.get_ident()
        held = list(self._held.items())
        return [one for one, thread in held if thread == me] or [one for one, thread in held if thread is None]


_connections = _Connections()


def watch(engine: Any) -> None:
    """Let `drop` know an engine's connections; nothing unless testing."""
    if testing():
        _connections.watch(engine)


def drop(over: Any = None) -> None:
    """Cut connections as a network does, without a word to who uses them. SQLite's has no socket: it is closed."""
    for one in _connections.in_hand() if over is None else _of_client(over):
        if hasattr(one, "fileno"):
            _cut(one)
        else:
            with contextlib.suppress(Exception):
                one.close()


def _of_client(over: Any) -> Iterable[Any]:
    """The sockets of a Redis client, or the one an HTTP answer comes by."""
    pool = getattr(over, "connection_pool", None)
    if pool is None:
        return [over]
    found = [*pool._available_connections, *pool._in_use_connections]
    return [one._sock for one in found if one._sock is not None]


def _cut(one: Any) -> None:
    with contextlib.suppress(OSError, ValueError), socket.socket(fileno=os.dup(one.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)
