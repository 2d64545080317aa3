"""What the web process has in hand: one `Services` per application, at `app.extensions["pivotal"]`."""

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

from models.errors import DatabaseAway
from models.settings import AppSettings
from models.store.session import Database
from workers.queue import Bell

if TYPE_CHECKING:
    from models.store.keys import Keyring
    from webhook_app.connection_cache import ConnectionCache
    from webhook_app.group_commit import GroupCommit
    from webhook_app.throttle import Throttle


@dataclass(frozen=True)
class Services:
    """Settings, database, bell and keys, and the parts of the endpoint that live as long as the process."""

    settings: AppSettings
    database: Database
    bell: Bell
    keyring: "Keyring"
    connections: "ConnectionCache"
    inbox: "GroupCommit"
    refusals: "Throttle"


def services(app: Flask | None = None) -> Services:
    """The services of `app`, or of the request's application."""
    return cast(Services, (app or current_app).extensions["pivotal"])


def warm_up(app: object) -> None:
    """Read the connections and import Redis' client, behind the scenes: the first events then wait for neither, and a process
    whose database goes away before its first event still tells a signature from a wrong one."""
    import threading

    parts: Services = getattr(app, "extensions", {})["pivotal"]

    def prepare() -> None:
        with contextlib.suppress(DatabaseAway):
            parts.connections.get("")
        parts.bell.ping()

    threading.Thread(target=prepare, name="warm-up", daemon=True).start()
