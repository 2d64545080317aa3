"""Login sessions and the throttling of sign-ins (FAULTS S11, S28, S31, S32, S39).

A session is 256 random bits in a cookie and their SHA-256 in the store. Its role is the user's role of this moment.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from models.tables import LoginAttempt, LoginSession, User

# Seconds of idleness and of life, by role.
IDLE = {"admin": 30 * 60, "csm": 12 * 3600}
ABSOLUTE = {"admin": 12 * 3600, "csm": 7 * 86400}
TOUCH_STEP = 60  # how exactly idleness is measured: a write a minute at most

FREE_FAILURES = 5
FREE_FAILURES_OF_ADDRESS = 30
FIRST_WAIT = 5
LONGEST_WAIT = 15 * 60
FORGET_AFTER = 60 * 60


@dataclass(frozen=True)
class SignedIn:
    """Who a session is, now."""

    id_hash: str
    user_id: int
    email: str
    role: str
    csrf_token: str
    active_at: int


def _hash(session_id: str) -> str:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def create_session(conn: Connection, user_id: int, now: int) -> str:
    """Begin a session; returns the id for the cookie. Sessions long over are cleared away."""
    oldest = now - max(ABSOLUTE.values())
    conn.execute(delete(LoginSession).where(LoginSession.created_at < oldest))
    session_id = secrets.token_urlsafe(32)
    values = {
        "id_hash": _hash(session_id),
        "user_id": user_id,
        "csrf_token": secrets.token_urlsafe(32),
        "created_at": now,
        "active_at": now,
    }
    conn.execute(insert(LoginSession).values(**values))
    return session_id


def load_session(conn: Connection, session_id: str, now: int) -> SignedIn | None:
    """Who is signed in with this id, or None when it is unknown, ended, too old or idle for too long."""
    query = (
        select(
            LoginSession.id_hash,
            LoginSession.user_id,
            LoginSession.csrf_token,
            LoginSession.created_at,
            LoginSession.active_at,
            User.email,
            User.role,
        )
        .join(User, User.id == LoginSession.user_id)
        .where(LoginSession.id_hash == _hash(session_id), LoginSession.ended_at.is_(None), User.disabled.is_(False))
    )
    row = conn.execute(query).one_or_none()
    if row is None or now >= row.created_at + ABSOLUTE[row.role] or now >= row.active_at + IDLE[row.role]:
        return None
    return SignedIn(row.id_hash, row.user_id, row.email, row.role, row.csrf_token, row.active_at)


def touch_session(conn: Connection, id_hash: str, now: int) -> None:
    """Note real use (never polling)."""
    statement = update(LoginSession).where(LoginSession.id_hash == id_hash, LoginSession.active_at < now)
    conn.execute(statement.values(active_at=now))


def end_session(conn: Connection, id_hash: str, now: int) -> None:
    """Sign one session out."""
    statement = update(LoginSession).where(LoginSession.id_hash == id_hash, LoginSession.ended_at.is_(None))
    conn.execute(statement.values(ended_at=now))


def end_sessions_of(conn: Connection, user_id: int, now: int) -> None:
    """Sign a user out everywhere."""
    statement = update(LoginSession).where(LoginSession.user_id == user_id, LoginSession.ended_at.is_(None))
    conn.execute(statement.values(ended_at=now))


# --- Throttling ---------------------------------------------------------------------------------------


def attempt_keys(secret: bytes, account: str, address: str) -> tuple[str, str]:
    """The two keys a sign-in is counted under: account with address, and address alone. Keyed hashes (`secret`: the key of
    the sign-in cookies), so that the table tells nobody who tried."""
    both = hmac.digest(secret, f"both|{account}|{address}".encode("utf-8", "replace"), "sha256").hex()
    alone = hmac.digest(secret, f"address|{address}".encode("utf-8", "replace"), "sha256").hex()
    return both, alone


def reserve_attempt(conn: Connection, keys: Sequence[str], now: int) -> int:
    """Count an attempt as failed before the password is looked at, so that many at once can't slip through.

    Returns 0 when it may go on, else the seconds to wait (nothing is counted then). `clear_attempts` undoes it on success.
    """
    conn.execute(delete(LoginAttempt).where(LoginAttempt.last_at < now - FORGET_AFTER))
    for key in keys:  # a row to lock, in a fixed order
        upsert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
        conn.execute(upsert(LoginAttempt).values(key_hash=key, failures=0, last_at=now).on_conflict_do_nothing())
    query = select(LoginAttempt.key_hash, LoginAttempt.failures, LoginAttempt.last_at)
    query = query.where(LoginAttempt.key_hash.in_(keys)).order_by(LoginAttempt.key_hash).with_for_update()
    rows = {row.key_hash: row for row in conn.execute(query)}
    free = dict(zip(keys, (FREE_FAILURES, FREE_FAILURES_OF_ADDRESS), strict=True))
    waits = [rows[key].last_at + _wait(rows[key].failures - free[key]) - now for key in keys if key in rows]
    if (wait := max(waits, default=0)) > 0:
        return wait
    counted = update(LoginAttempt).where(LoginAttempt.key_hash.in_(keys))
    conn.execute(counted.values(failures=LoginAttempt.failures + 1, last_at=now))
    return 0


def _wait(failures_over: int) -> int:
    """Seconds after the last failure: 0 while free, then 5, 10, 20 … up to 15 minutes."""
    return 0 if failures_over < 0 else min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures_over, 12))


def clear_attempts(conn: Connection, keys: Sequence[str]) -> None:
    """A sign-in succeeded: forget the account's failures from this address, and take this one off the address."""
    both, alone = keys
    conn.execute(delete(LoginAttempt).where(LoginAttempt.key_hash == both))
    fewer = update(LoginAttempt).where(LoginAttempt.key_hash == alone, LoginAttempt.failures > 0)
    conn.execute(fewer.values(failures=func.coalesce(LoginAttempt.failures, 1) - 1))
