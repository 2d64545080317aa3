"""What a supervisor asks of its machine: one of us per data directory, a free port, a web server that answers, and signals."""

import contextlib
import errno
import fcntl
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from models.errors import Refused, SettingsError

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Hold `directory` for this process alone; the kernel lets go of it whatever happens to us.

    Raises:
        Refused: another supervisor runs on it.
        SettingsError: it can't be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(directory / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"DATA_DIR: {directory} can't be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(fd, 20).decode("ascii", "replace").strip()
            told = f"another one runs on {directory} already (process {pid}); a second needs its own DATA_DIR and PORT"
            raise Refused(told) from None
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        yield
    finally:
        os.close(fd)


def check_port(host: str, port: int) -> None:
    """Make sure that we may listen there.

    Raises:
        SettingsError: the port is in use, or not ours to use.
    """
    with socket.socket(_family(host)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingsError(f"PORT: {port} is in use on {host}; set another") from None
            raise SettingsError(f"HOST, PORT: can't listen on {host}:{port}: {error.strerror}") from None


def web_answers(host: str, port: int) -> bool:
    """Whether a web server speaks there now."""
    with socket.socket(_family(host)) as client:
        client.settimeout(0.5)
        try:
            client.connect((_EVERYWHERE.get(host, host), port))
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return client.recv(16).startswith(b"HTTP/1.")
        except OSError:
            return False


@contextlib.contextmanager
def signals(selector: selectors.BaseSelector, on_end: Callable[[], None]) -> Iterator[None]:
    """Call `on_end` for Ctrl-C, SIGTERM and SIGHUP, and let any signal (a child's end too) wake `selector`."""
    reader, writer = os.pipe()
    for fd in (reader, writer):
        os.set_blocking(fd, False)
    selector.register(reader, selectors.EVENT_READ, lambda fd: os.read(fd, 4096))
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it stays ignored
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: on_end()) for number in numbers}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    earlier = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler)
        selector.unregister(reader)
        os.close(reader)
        os.close(writer)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
