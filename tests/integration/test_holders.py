"""Leases of processes that are gone need not run out."""

import os
import subprocess
import sys

from models.store import claims
from models.store.holders import holder_token, is_gone
from models.store.session import Database, session_scope
from tests.support.web_process import ROOT


def token_of_a_dead_process() -> str:
    code = "from models.store.holders import holder_token; print(holder_token())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()


def test_a_living_holder_keeps_its_lease_and_a_dead_one_does_not() -> None:
    assert not is_gone(holder_token())
    assert is_gone(token_of_a_dead_process())


def test_of_a_holder_elsewhere_nothing_is_known() -> None:
    place, pid, started, unique = holder_token().split(":")
    assert not is_gone(f"another{place}:{pid}:{started}:{unique}")
    assert not is_gone("some-other-token")
    assert is_gone(f"{place}:{pid}:{int(started) + 1}:{unique}")  # the number of a process that ended is used again
    assert os.getpid() == int(pid)


def test_the_lease_of_a_dead_process_is_taken_at_once(sqlite_database: Database) -> None:
    dead, living = token_of_a_dead_process(), holder_token()
    with session_scope(sqlite_database, write=True) as connection:
        assert claims.acquire_lease(connection, "partition:0", dead, 1_000, 60_000)
        assert claims.acquire_lease(connection, "partition:0", living, 2_000, 60_000)
        assert not claims.acquire_lease(connection, "partition:0", holder_token(), 3_000, 60_000)
