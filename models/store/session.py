"""The database: engines set up safely, and `session_scope`, which owns the only `commit()`.

SQLite: WAL, `synchronous=FULL`, one writer at a time. Writers queue on a lock file beside the database before they begin
(threads that busy-wait on SQLite's own lock gave p99 of 40 to 390 ms against 14 to 33, STACK.md); `busy_timeout` stays as the
net below. PostgreSQL: short time-outs on the web side, a ping before use after a pause, durable commits required.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError, SQLAlchemyError

from models.errors import DatabaseAway, SettingsError
from models.store import failpoints

BUSY_TIMEOUT_MS = 5_000
LONG_LOG_BYTES = 4 << 20  # a write-ahead log that the clock copies into the database
LONGEST_LOG_PAGES = 16_384  # 64 MB: one that whoever commits copies, should there be no clock
WEB_BUSY_TIMEOUT_MS = 1_500  # as PostgreSQL's statement_timeout on the web side: an answer is due within 2 s (FAULTS 6)


class WriteLock:
    """One writer at a time across threads and processes of this machine: a thread lock, then `flock` on a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread_lock = threading.Lock()
        self._fd: int | None = None
        self._pid = 0

    def _file(self) -> int:
        if self._fd is None or self._pid != os.getpid():  # flock belongs to the open file: never share it over a fork
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._pid = os.getpid()
        return self._fd

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for the block."""
        with self._thread_lock:
            fd = self._file()
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)


class Database:
    """One engine and the way to open transactions on it. Cheap to make; connections open on first use."""

    def __init__(self, url: str, *, role: str = "worker", pool_size: int = 5) -> None:
        self.url = make_url(url)
        self.dialect = self.url.get_backend_name()
        self.on_sqlite = self.dialect == "sqlite"
        if not self.on_sqlite and self.dialect != "postgresql":
            raise SettingsError("DATABASE_URL: takes sqlite:///… or postgresql://…")
        self._lock = WriteLock(Path(f"{self.url.database}.lock")) if self.on_sqlite else None
        self._looked_at = 0
        self.engine = _sqlite_engine(url, role, pool_size) if self.on_sqlite else _postgres_engine(url, role, pool_size)
        failpoints.watch(self.engine)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in one read transaction (a snapshot), rolled back at the end."""
        with self._translated(), self.engine.connect() as connection:
            if self.on_sqlite:
                connection.exec_driver_sql("BEGIN")
                yield connection
            else:
                yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in one write transaction, committed at the end, rolled back on any error."""
        with self._translated():
            if self._lock is None:
                with self.engine.begin() as connection:
                    yield connection
                return
            with self._lock.held(), self.engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection

    @contextmanager
    def at_once(self) -> Iterator[Connection]:
        """A connection on which each statement is a transaction of its own, durable when it returns. Give it one: without BEGIN
        and COMMIT it takes a third of the ways to the database, and the write lock a third of the time."""
        with self._translated(), self.engine.connect() as connection:
            if self._lock is None:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")
                return
            with self._lock.held():
                yield connection

    def checkpoint(self) -> None:
        """SQLite: copy a long write-ahead log into the database, beside everybody's work: nearly all of it without the write
        lock, then the rest with it, so that the log begins anew. Otherwise those who commit would have to, and whoever waits
        for them (15 % of a drain, and the slowest acknowledgements)."""
        if self._lock is None or not self._log_is_long():
            return
        with self._translated(), self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()
            with self._lock.held():
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()

    def _log_is_long(self) -> bool:
        """Whether the log is long (its file never gets shorter) and was written since the last look."""
        try:
            found = Path(f"{self.url.database}-wal").stat()
        except OSError:
            return False
        before, self._looked_at = self._looked_at, found.st_mtime_ns
        return found.st_size >= LONG_LOG_BYTES and found.st_mtime_ns != before

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, DBAPIError) as error:
            if (isinstance(error, OperationalError) and not _at_fault(error)) or error.connection_invalidated:
                raise DatabaseAway(f"database: {type(error.orig).__name__}") from error
            raise

    def dispose(self) -> None:
        """Close all pooled connections (before a fork, and in tests)."""
        self.engine.dispose()


def _at_fault(error: DBAPIError) -> bool:
    """Whether the statement itself is too much for PostgreSQL (class 54: an index key of thousands of bytes, say), which the
    driver counts among the operational errors too. The database is there; trying again would fail for ever (F59)."""
    return str(getattr(error.orig, "sqlstate", None)).startswith("54")


@contextmanager
def session_scope(database: Database, *, write: bool = False) -> Iterator[Connection]:
    """One transaction. The only place where anything is committed (`write=True`).

    Raises:
        DatabaseAway: the database can't be reached, is locked or answered too late; nothing was stored.
    """
    with database.writing() if write else database.reading() as connection:
        yield connection


@contextmanager
def statement_scope(database: Database) -> Iterator[Connection]:
    """One statement that is its own transaction: the hot path of the endpoint.

    Raises:
        DatabaseAway: as `session_scope`; whether it was stored is then not known.
    """
    with database.at_once() as connection:
        yield connection


def _sqlite_engine(url: str, role: str, pool_size: int) -> Engine:
    busy_ms = WEB_BUSY_TIMEOUT_MS if role == "web" else BUSY_TIMEOUT_MS
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=64,
        connect_args={"timeout": busy_ms / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(dbapi: Any, _record: Any) -> None:
        # We say BEGIN ourselves: pysqlite's own rules would start it too late, and a "begin" listener would cost every
        # statement its dispatch, a tenth of a batch.
        dbapi.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"busy_timeout={busy_ms}",
            "foreign_keys=ON",
            "cache_size=-16384",
            "temp_store=MEMORY",
            f"wal_autocheckpoint={LONGEST_LOG_PAGES}",
        ):
            dbapi.execute(f"PRAGMA {pragma}").close()

    return engine


PING_AFTER_S = 1.0


def _ping_when_idle(engine: Engine) -> None:
    """Ask a connection that wasn't used for a second whether it is still there, as SQLAlchemy's `pool_pre_ping` asks each
    time: a way to PostgreSQL and back that a busy connection needn't go."""

    @event.listens_for(engine, "checkin")
    def _used(_dbapi: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _check(dbapi: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("used", 0.0) < PING_AFTER_S:
            return
        try:
            engine.dialect.do_ping(dbapi)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool takes another one


def _postgres_engine(url: str, role: str, pool_size: int) -> Engine:
    options = "-c timezone=UTC -c synchronous_commit=on"
    if role == "worker":  # a worker paused inside a transaction must not hold its successor's rows for ever
        options += " -c idle_in_transaction_session_timeout=30000 -c lock_timeout=15000"
    if role == "web":  # FAULTS 6: far below gunicorn's time-out and Stripe's
        options += " -c statement_timeout=1500 -c lock_timeout=1000"
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=16,
        pool_timeout=2,
        connect_args={
            "options": options,
            "connect_timeout": 2,
            "tcp_user_timeout": 1500 if role == "web" else 20_000,
            "keepalives_idle": 30,
            "application_name": f"pivotal-{role}",
        },
    )
    _ping_when_idle(engine)
    return engine


def check_durability(database: Database) -> None:
    """Refuse a database that may lose a commit (FAULTS 6, F45).

    Raises:
        SettingsError: names the setting that would lose an acknowledged event.
    """
    with session_scope(database) as connection:
        if database.on_sqlite:
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar()
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            if level is None or int(level) < 2 or mode != "wal":
                raise SettingsError(f"SQLite must run WAL with synchronous=FULL, found {mode} and {level}")
            return
        commit = connection.exec_driver_sql("SHOW synchronous_commit").scalar()
        fsync = connection.exec_driver_sql("SHOW fsync").scalar()
        if commit == "off" or (fsync == "off" and not os.environ.get("TESTING")):
            raise SettingsError(f"PostgreSQL must run fsync=on and synchronous_commit=on, found {fsync} and {commit}")


__all__ = ["Database", "SQLAlchemyError", "WriteLock", "check_durability", "session_scope", "statement_scope"]
