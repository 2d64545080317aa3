"""Connections to Stripe accounts, what is counted about them, and the leases that let one worker at a time do a thing."""

from sqlalchemy import Boolean, CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, auto_id, big, big_null, blob_null, text, text_key, text_null


class Connection(Base):
    """One Stripe account in one mode whose events we accept. `state`: active or disconnected (with `state_reason`).

    Secrets are Fernet ciphertext (`*_sealed`); `*_hint` holds the last four characters for the pages.
    `settings` is the JSON of `domain.types.Settings`.
    """

    __tablename__ = "connections"
    __table_args__ = (
        CheckConstraint("mode IN ('live', 'test')", name="mode"),
        CheckConstraint("(mode = 'live') = livemode", name="livemode"),
        Index(
            "uq_connections_mode_open",
            "mode",
            unique=True,
            sqlite_where=sql("state <> 'removed'"),
            postgresql_where=sql("state <> 'removed'"),
        ),
    )
    id: Mapped[auto_id]
    public_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[text]
    mode: Mapped[text]
    livemode: Mapped[bool] = mapped_column(Boolean)
    account_id: Mapped[text_null]
    api_base: Mapped[text]
    api_version: Mapped[text]
    key_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    key_hint: Mapped[text]
    secret_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    secret_hint: Mapped[text]
    previous_secret_sealed: Mapped[blob_null]
    previous_secret_until: Mapped[big_null]
    settings: Mapped[text]
    settings_version: Mapped[int] = mapped_column(default=1)
    state: Mapped[str] = mapped_column(default="active")
    state_reason: Mapped[text_null]
    missing_permissions: Mapped[str] = mapped_column(default="[]")
    created_at: Mapped[big]
    last_event_ms: Mapped[big_null]
    caught_up_to: Mapped[big_null]  # start (s) of the last complete backfill, catch-up scan or census
    backfilled_at: Mapped[big_null]


class Lease(Base):
    """Who may do a thing now: a partition's drainer, the clock's job, a connection's backfill."""

    __tablename__ = "leases"
    name: Mapped[text_key]
    token: Mapped[text]
    until_ms: Mapped[big]


class Counter(Base):
    """Counts per day (UTC, ISO date): calls to Stripe by purpose, recomputes, events applied."""

    __tablename__ = "counters"
    name: Mapped[text_key]
    day: Mapped[text_key]
    n: Mapped[big]


class SyncRun(Base):
    """One run of a backfill (or reconcile). `cursor` and `counts` are JSON; the lease shows whether it is alive.

    `state`: running, complete, failed (with `error`), stopped.
    """

    __tablename__ = "sync_runs"
    id: Mapped[auto_id]
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id"), index=True)
    kind: Mapped[text]
    state: Mapped[text]
    phase: Mapped[text_null]
    cursor: Mapped[str] = mapped_column(default="{}")
    counts: Mapped[str] = mapped_column(default="{}")
    error: Mapped[text_null]
    calls: Mapped[int] = mapped_column(default=0)
    objects: Mapped[int] = mapped_column(default=0)
    expected_objects: Mapped[int | None]
    started_ms: Mapped[big]
    updated_ms: Mapped[big]
    finished_ms: Mapped[big_null]


class SyncSeen(Base):
    """What a running walk was shown of objects mirrored before it began; what is missing here was not listed (STRIPE 5.4)."""

    __tablename__ = "sync_seen"
    run_id: Mapped[int] = mapped_column(ForeignKey("sync_runs.id"), primary_key=True)
    stripe_id: Mapped[text_key]


class SyncLog(Base):
    """One problem met in a run or an event, with the Stripe id it concerns. Kept 30 days."""

    __tablename__ = "sync_log"
    id: Mapped[auto_id]
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id"), index=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("sync_runs.id"))
    at_ms: Mapped[big]
    level: Mapped[text]
    stripe_id: Mapped[text_null]
    problem: Mapped[text]


class FxRate(Base):
    """USD for one unit of a currency on a day. `source`: admin, ecb or peg. `usd_per` is an exact decimal as text."""

    __tablename__ = "fx_rates"
    currency: Mapped[text_key]
    date: Mapped[text_key]
    source: Mapped[text_key]
    usd_per: Mapped[text]


class AppState(Base):
    """Small facts of the installation: the FX table in force, the version of the rules last applied to all."""

    __tablename__ = "app_state"
    key: Mapped[text_key]
    value: Mapped[text]
