"""Connections: one Stripe account in one mode. Secrets go in and come out here only, sealed at rest (FAULTS S12, S21)."""

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from models.domain.credentials import check_api_base, check_api_key, check_webhook_secret
from models.domain.types import Scope, Settings
from models.errors import BadInput, NotFound, Refused
from models.settings import PINNED_API_VERSION, STRIPE_API_BASE
from models.store import bulk
from models.store.keys import Keyring
from models.tables import Connection as Table

PREVIOUS_SECRET_SECONDS = 24 * 3600  # Stripe's own longest overlap when an endpoint's secret is rolled
MODES = ("live", "test")
ALL = Scope()


@dataclass(frozen=True)
class ConnectionRecord:
    """A connection without its secrets: safe to pass around and to log. Times in seconds."""

    id: int
    public_id: str
    name: str
    mode: str
    livemode: bool
    account_id: str | None
    api_base: str
    api_version: str
    settings: Settings
    settings_version: int
    state: str
    state_reason: str | None
    created_at: int
    caught_up_to: int | None
    backfilled_at: int | None
    missing_permissions: tuple[str, ...] = ()

    @property
    def webhook_path(self) -> str:
        """The path of its webhook endpoint, to be given to Stripe."""
        return f"/webhooks/stripe/{self.public_id}"


@dataclass(frozen=True)
class NewConnection:
    """What an admin gives for a connection. `repr` shows no secret."""

    name: str
    mode: str
    api_key: str
    webhook_secret: str
    api_base: str = STRIPE_API_BASE
    account_id: str | None = None
    scope: Scope = ALL
    allow_secret_key: bool = False

    def __repr__(self) -> str:
        return f"NewConnection({self.name!r}, {self.mode!r})"


def create_connection(connection: Connection, keyring: Keyring, new: NewConnection, now: int) -> ConnectionRecord:
    """Check and store a connection; at most one live and one test. The public id has 192 random bits.

    Raises:
        BadInput: mode, name, key, secret or base can't be used; says why.
        Refused: there is a connection of this mode.
    """
    if new.mode not in MODES:
        raise BadInput("mode: takes live or test")
    if not new.name.strip() or len(new.name) > 200:
        raise BadInput("name: takes 1 to 200 characters")
    check_api_key(new.api_key, new.mode, allow_secret_key=new.allow_secret_key)
    check_webhook_secret(new.webhook_secret)
    settings = Settings(livemode=new.mode == "live", scope=new.scope)
    values = {
        "public_id": secrets.token_urlsafe(24),
        "name": new.name.strip(),
        "mode": new.mode,
        "livemode": settings.livemode,
        "account_id": new.account_id,
        "api_base": check_api_base(new.api_base),
        "api_version": PINNED_API_VERSION,
        "key_sealed": keyring.seal(new.api_key),
        "key_hint": new.api_key[-4:],
        "secret_sealed": keyring.seal(new.webhook_secret),
        "secret_hint": new.webhook_secret[-4:],
        "settings": msgspec.json.encode(settings).decode(),
        "created_at": now,
    }
    try:
        row = connection.execute(insert(Table).values(values).returning(*_PLAIN)).mappings().one()
    except IntegrityError:  # the database decides, so that two at once can't both win (FAULTS S68)
        raise Refused(f"there is a {new.mode} connection already; at most one live and one test") from None
    return _record(row)


def load_connection(connection: Connection, connection_id: int) -> ConnectionRecord:
    """One connection.

    Raises:
        NotFound: there is none with this id.
    """
    row = connection.execute(_BY_ID, {"id": connection_id}).mappings().first()
    if row is None:
        raise NotFound(f"there is no connection {connection_id}")
    return _record(row)


def load_connection_by_public_id(connection: Connection, public_id: str) -> ConnectionRecord:
    """The connection whose webhook path ends in `public_id`.

    Raises:
        NotFound: there is none; the text doesn't repeat the id.
    """
    row = connection.execute(select(*_PLAIN).where(Table.public_id == public_id)).mappings().first()
    if row is None:
        raise NotFound("there is no such connection")
    return _record(row)


def load_connections(connection: Connection) -> list[ConnectionRecord]:
    """All connections, oldest first."""
    return [_record(row) for row in connection.execute(select(*_PLAIN).order_by(Table.id)).mappings()]


def load_api_key(connection: Connection, keyring: Keyring, connection_id: int) -> str:
    """The API key in the clear, for the one caller of Stripe.

    Raises:
        NotFound: no such connection.
        SettingsError: it was sealed with a key we don't have.
    """
    sealed = connection.execute(select(Table.key_sealed).where(Table.id == connection_id)).scalar()
    if sealed is None:
        raise NotFound(f"there is no connection {connection_id}")
    return keyring.open(sealed)


def load_webhook_secrets(connection: Connection, keyring: Keyring, connection_id: int, now: int) -> tuple[str, ...]:
    """The signing secrets that are valid at `now`, the newest first; the previous one for 24 h after a roll.

    Raises:
        NotFound: no such connection.
        SettingsError: one was sealed with a key we don't have.
    """
    columns = (Table.secret_sealed, Table.previous_secret_sealed, Table.previous_secret_until)
    row = connection.execute(select(*columns).where(Table.id == connection_id)).first()
    if row is None:
        raise NotFound(f"there is no connection {connection_id}")
    current, previous, until = row
    if previous is None or until is None or now >= until:
        return (keyring.open(current),)
    return keyring.open(current), keyring.open(previous)


def roll_webhook_secret(connection: Connection, keyring: Keyring, connection_id: int, secret: str, now: int) -> None:
    """Take a new signing secret; the one before stays valid for 24 h. Given the current one again, nothing changes.

    Raises:
        BadInput: it is no signing secret.
        NotFound: no such connection.
    """
    check_webhook_secret(secret)
    statement = select(Table.secret_sealed).where(Table.id == connection_id).with_for_update()
    sealed = connection.execute(statement).scalar()
    if sealed is None:
        raise NotFound(f"there is no connection {connection_id}")
    if keyring.open(sealed) == secret:
        return
    connection.execute(
        update(Table)
        .where(Table.id == connection_id)
        .values(
            secret_sealed=keyring.seal(secret),
            secret_hint=secret[-4:],
            previous_secret_sealed=sealed,
            previous_secret_until=now + PREVIOUS_SECRET_SECONDS,
        )
    )


def replace_api_key(
    connection: Connection, keyring: Keyring, connection_id: int, api_key: str, *, allow_secret_key: bool = False
) -> None:
    """Take a new API key of the same account; a disconnected connection is active again. What the key before lacked is
    forgotten.

    Raises:
        BadInput: no key that can be used, or one of the other mode.
        NotFound: no such connection, or it was removed.
    """
    statement = select(Table.mode).where(Table.id == connection_id, Table.state != "removed").with_for_update()
    mode = connection.execute(statement).scalar()
    if mode is None:
        raise NotFound(f"there is no connection {connection_id}")
    check_api_key(api_key, mode, allow_secret_key=allow_secret_key)
    connection.execute(
        update(Table)
        .where(Table.id == connection_id)
        .values(
            key_sealed=keyring.seal(api_key),
            key_hint=api_key[-4:],
            state="active",
            state_reason=None,
            missing_permissions="[]",
        )
    )


def record_permissions(connection: Connection, connection_id: int, missing: Collection[str]) -> None:
    """Keep which permissions the key was seen to lack (words such as rak_product_read), for the pages."""
    words = json.dumps(sorted(missing))
    connection.execute(update(Table).where(Table.id == connection_id).values(missing_permissions=words))


_PLAIN = tuple(getattr(Table, name) for name in ConnectionRecord.__dataclass_fields__)
_BY_ID = select(*_PLAIN).where(Table.id == bindparam("id"))  # built once: every batch asks it


def _record(row: RowMapping) -> ConnectionRecord:
    values: dict[str, Any] = dict(row)
    values["settings"] = msgspec.json.decode(values["settings"], type=Settings)
    values["missing_permissions"] = tuple(msgspec.json.decode(values["missing_permissions"] or "[]", type=list[str]))
    return ConnectionRecord(**values)


def note_events(connection: Connection, connection_id: int, received_ms: int) -> None:
    """Remember when the newest event of a connection came in."""
    bulk.run(
        connection,
        "UPDATE connections SET last_event_ms = ? WHERE id = ? AND (last_event_ms IS NULL OR last_event_ms < ?)",
        [received_ms, connection_id, received_ms],
    )


def note_disconnected(connection: Connection, connection_id: int, reason: str) -> None:
    """Stop calling Stripe for a connection and say why; its data stays and its events are still accepted (F67)."""
    connection.execute(
        update(Table)
        .where(Table.id == connection_id, Table.state == "active")
        .values(state="disconnected", state_reason=reason)
    )


def note_deauthorized(connection: Connection, connection_id: int) -> None:
    """The account took our access back (`account.application.deauthorized`)."""
    note_disconnected(connection, connection_id, "The Stripe account disconnected this application.")


__all__ = [
    "ConnectionRecord",
    "NewConnection",
    "create_connection",
    "load_api_key",
    "load_connection",
    "load_connection_by_public_id",
    "load_connections",
    "load_webhook_secrets",
    "note_deauthorized",
    "note_disconnected",
    "note_events",
    "record_permissions",
    "replace_api_key",
    "roll_webhook_secret",
]
