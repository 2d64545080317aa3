"""The application and its wiring: `create_app` is the only place where it happens; there are no globals.

`webhook_app.create_app` calls it; the package itself imports nothing, so that `explain` needs no Flask.
"""

import importlib
import importlib.util
import time
from collections.abc import Sequence

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from models.errors import DatabaseAway
from models.settings import AppSettings, load_settings
from models.store.connections import load_connections, load_webhook_secrets
from models.store.failpoints import fp
from models.store.inbox import NewEvent, insert_events
from models.store.keys import Keyring, load_keyring, read_keyring
from models.store.logs import log, set_up_logs
from models.store.session import Database, session_scope, statement_scope
from webhook_app import errors, health, receive
from webhook_app.connection_cache import ConnectionCache, Known
from webhook_app.group_commit import GroupCommit
from webhook_app.ringer import BackgroundRinger
from webhook_app.services import Services
from webhook_app.throttle import Throttle
from workers.queue import Bell

_PARTS = (("webhook_app.auth", "init_auth"), ("webhook_app.api", "register"), ("webhook_app.ui", "register"))
MAX_FORM_BYTES = 64 * 1024  # the webhook route sets its own limit


def create_app(settings: AppSettings | None = None) -> Flask:
    """The application. Starts with the database away too (it answers 503 and is not ready until it is back).

    Raises:
        SettingsError: a setting is missing or wrong.
    """
    settings = settings or load_settings()
    set_up_logs(settings.log_level)
    app = Flask("webhook_app")
    app.config.update(MAX_CONTENT_LENGTH=MAX_FORM_BYTES, MAX_FORM_MEMORY_SIZE=MAX_FORM_BYTES, TRAP_HTTP_EXCEPTIONS=False)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    app.extensions["pivotal"] = make_services(settings)
    app.register_blueprint(receive.blueprint)
    app.register_blueprint(health.blueprint)
    errors.register(app)
    _register_the_rest(app)
    hops = settings.trusted_proxies
    if hops:  # FAULTS S49: believed from exactly so many proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app


def _register_the_rest(app: Flask) -> None:
    for module, function in _PARTS:
        if importlib.util.find_spec(module):
            register = getattr(importlib.import_module(module), function, None)
            if register:
                register(app)


def make_services(settings: AppSettings) -> Services:
    """What this process works with; no connection is opened but the one that proves the keys."""
    database = Database(settings.database, role="web", pool_size=settings.web_threads)
    keyring = _keyring(settings, database)
    bell = Bell(settings.redis)

    def load_known() -> dict[str, Known]:
        return _load_known(database, keyring)

    def write(rows: Sequence[NewEvent]) -> None:
        fp("before_inbox_insert")
        with statement_scope(database) as connection:
            fp("before_inbox_commit")
            insert_events(connection, rows)  # one statement: a group is smaller than what one takes
        fp("after_inbox_commit")

    return Services(
        settings=settings,
        database=database,
        bell=bell,
        keyring=keyring,
        connections=ConnectionCache(load_known),
        inbox=GroupCommit(write, BackgroundRinger(bell.wake)),
        refusals=Throttle(),
    )


def _keyring(settings: AppSettings, database: Database) -> Keyring:
    try:
        return load_keyring(settings, database)
    except DatabaseAway:
        log.warning("started_without_database")
        return read_keyring(settings)
    finally:
        database.dispose()  # gunicorn forks after this, and no connection may be shared over a fork


def _load_known(database: Database, keyring: Keyring) -> dict[str, Known]:
    """All connections whose deliveries are taken: also disconnected ones, whose data is kept (FAULTS F67)."""
    now = int(time.time())
    with session_scope(database) as connection:
        return {
            record.public_id: Known(
                id=record.id,
                livemode=record.livemode,
                account_id=record.account_id,
                secrets=tuple(secret.encode() for secret in load_webhook_secrets(connection, keyring, record.id, now)),
            )
            for record in load_connections(connection)
            if record.state != "removed"
        }
