"""RQ entry functions: take the process's tools, call one step, nothing else. Their names stand in `workers.queue`."""

import contextlib
import threading
from collections.abc import Iterator

from models.errors import PivotalError
from models.settings import load_settings
from models.store.failpoints import fp
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
    with _no_payload_in_redis():
        fp("before_drain")
        Drainer(tools()).run({partition})
        fp("after_drain")


def backfill(connection_id: int) -> None:
    """Run, or go on with, the initial full sync of a connection."""
    from workers.backfill import run_backfill

    own = tools()
    with _no_payload_in_redis():
        run_backfill(own.database, own.keyring, own.settings, connection_id)


@contextlib.contextmanager
def _no_payload_in_redis() -> Iterator[None]:
    """RQ keeps a failed job's traceback in Redis: only our own errors, or the class of another's, may get there (FAULTS I8)."""
    try:
        yield
    except PivotalError:
        raise
    except Exception as error:
        raise PivotalError(f"the job failed: {type(error).__name__}") from None
