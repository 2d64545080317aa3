"""Who may ask: users, their login sessions, one-time links, API tokens, and the record of what was done."""

from sqlalchemy import Boolean, CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, auto_id, big, big_null, text, text_key, text_null


class User(Base):
    """A person who signs in. `email` lower-cased; `password_hash` argon2id, null until the one-time link was used."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role IN ('admin', 'csm')", name="role"),)
    id: Mapped[auto_id]
    email: Mapped[str] = mapped_column(unique=True)
    role: Mapped[text]
    password_hash: Mapped[text_null]
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[big]


class OneTimeLink(Base):
    """A link that sets a password once. Only the SHA-256 of its token is kept."""

    __tablename__ = "one_time_links"
    token_hash: Mapped[text_key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    expires_at: Mapped[big]
    used_at: Mapped[big_null]


class LoginSession(Base):
    """A login session on the server; the cookie's id only as SHA-256. `active_at` moves with real use, not with polling."""

    __tablename__ = "sessions"
    id_hash: Mapped[text_key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    csrf_token: Mapped[text]
    created_at: Mapped[big]
    active_at: Mapped[big]
    ended_at: Mapped[big_null]


class ApiToken(Base):
    """A bearer token, shown once, kept as SHA-256."""

    __tablename__ = "api_tokens"
    __table_args__ = (CheckConstraint("role IN ('admin', 'csm')", name="role"),)
    id: Mapped[auto_id]
    name: Mapped[text_null]
    role: Mapped[text]
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[big]
    last_used_at: Mapped[big_null]
    revoked_at: Mapped[big_null]


class LoginAttempt(Base):
    """A failed sign-in, for throttling; keyed by a hash of account and address, never the address itself."""

    __tablename__ = "login_attempts"
    key_hash: Mapped[text_key]
    failures: Mapped[int]
    last_at: Mapped[big]


class AuditEntry(Base):
    """What was done by whom; append-only, each entry hashed over the one before."""

    __tablename__ = "audit_log"
    id: Mapped[auto_id]
    at: Mapped[big]
    actor: Mapped[text]
    action: Mapped[text]
    subject: Mapped[text_null]
    details: Mapped[str] = mapped_column(default="{}")
    hash: Mapped[text]
