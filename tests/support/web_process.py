"""A real gunicorn with our configuration, as `make run` starts it, and requests to it, also broken ones."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.settings import AppSettings
from tests.support.deliveries import sign
from tests.support.environment import environment
from workers.processes import spawn

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WebProcess:
    """gunicorn on a port of its own. `log` is what it wrote."""

    def __init__(self, settings: AppSettings, log_path: Path, **env: str) -> None:
        self.port = free_port()
        self._env = environment(settings, PORT=str(self.port), HOST="127.0.0.1", TZ="UTC", PYTHONUNBUFFERED="1") | env
        self._log_path = log_path
        self.process: subprocess.Popen[str] | None = None

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def start(self, *, wait: bool = True) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "gunicorn", "-c", "webhook_app/gunicorn_conf.py", "--graceful-timeout", "2"]
        with self._log_path.open("a") as log:
            self.process = spawn([*command, "webhook_app:create_app()"], env=self._env, out=log, cwd=ROOT)
        deadline = time.monotonic() + 60
        while wait:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/healthz", timeout=5)[0] == 200:
                    return
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL for all of it at once, as a crash of the machine would be."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def memory(self) -> int:
        """Resident bytes of all its processes (Linux)."""
        assert self.process is not None
        parent = self.process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (parent, *children)]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def connection(self, timeout: float = 10) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method: str, path: str, body: Any = None, timeout: float = 10, **headers: str) -> tuple[int, bytes]:
        """One request on a connection of its own (chunked where `body` is an iterator): its status and body."""
        connection = self.connection(timeout)
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=fields)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def deliver(self, path: str, body: bytes, timeout: float = 10, **headers: str) -> int:
        """A signed delivery; its status, 0 when there was no answer."""
        try:
            return self.ask("POST", path, body, timeout, Stripe_Signature=sign(body), **headers)[0]
        except (OSError, http.client.HTTPException):
            return 0

    def raw(self, *pieces: bytes, timeout: float = 5) -> bytes:
        """All that is answered to these bytes until the server closes (or has nothing more to say)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as sock:
            answer = b""
            with contextlib.suppress(OSError):
                for piece in pieces:
                    sock.sendall(piece)
            with contextlib.suppress(OSError):
                while piece := sock.recv(65536):
                    answer += piece
            return answer


@contextlib.contextmanager
def running(settings: AppSettings, directory: Path, **env: str) -> Iterator[WebProcess]:
    """A started gunicorn, killed at the end."""
    web = WebProcess(settings, directory / "web.log", **env)
    try:
        web.start()
        yield web
    finally:
        web.kill()
