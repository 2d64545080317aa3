"""Children that die with their parent, and a private directory for sockets: what the supervisor and the tests share."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from models.errors import SettingsError

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent(with_signal: int = signal.SIGTERM) -> Callable[[], None]:
    """What the child runs before its program: on Linux the kernel sends it `with_signal` when the thread that started it ends,
    SIGKILL included. So start children from a thread that lasts. Elsewhere it does nothing."""
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def prepare() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, with_signal)
            if os.getppid() != parent:  # it died in between
                os._exit(0)

    return prepare


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    out: int | IO[Any] | None = None,
    when_orphaned: int = signal.SIGTERM,
    **more: Any,
) -> "subprocess.Popen[str]":
    """Start a child in a process group of its own (Ctrl-C reaches the supervisor alone, which stops things in order). Its
    output and errors go to `out` as lines of text."""
    return subprocess.Popen(
        [str(part) for part in command],
        env=dict(env) if env is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT if out is not None else None,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=die_with_parent(when_orphaned),  # noqa: PLW1509  # one prctl, no lock; we start from the main thread
        **more,
    )


def private_dir(directory: Path) -> Path:
    """Make `directory` for us alone (0700) and return it.

    Raises:
        SettingsError: it is there and is somebody else's, or open to others: a socket in it would be too.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if directory.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SettingsError(f"{directory} must be ours alone (mode 0700): remove it or choose another DATA_DIR")
    return directory
