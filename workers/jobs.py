"""RQ entry functions: take the process's tools, call one step, nothing else. Their names stand in `workers.queue`."""

import threading

from models.settings import load_settings
from models.store.keys import load_keyring
from models.store.session import Database
from workers.drain import Drainer, Tools
from workers.queue import Bell

_lock = threading.Lock()
_tools: list[Tools] = []


def tools() -> Tools:
    """This process's tools, made on first use: imports have no effects."""
    with _lock:
        if not _tools:
            settings = load_settings()
            database = Database(settings.database)
            _tools.append(Tools(settings, database, Bell(settings.redis), load_keyring(settings, database)))
        return _tools[0]


def drain(partition: int) -> None:
    """Drain a rung partition and every other rung one that nobody holds."""
    Drainer(tools()).run({partition})


def backfill(connection_id: int) -> None:
    """Run, or go on with, the initial full sync of a connection."""
    from workers.backfill import run_backfill

    own = tools()
    run_backfill(own.database, own.keyring, own.settings, connection_id)
