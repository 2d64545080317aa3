"""Short directories below /tmp for servers (a socket's path is limited to about 100 bytes)."""

import os
import shutil
import tempfile
from pathlib import Path


def temporary_dir(prefix: str) -> Path:
    """A new private directory; what runs that were killed left under the same prefix is removed on the way."""
    for left in Path("/tmp").glob(f"{prefix}*"):
        pid = left.name.removeprefix(prefix).split("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir="/tmp"))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
