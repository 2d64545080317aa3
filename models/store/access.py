"""Users, one-time links and API tokens (FAULTS S28 to S33, S39, S68). Login sessions: `models.store.logins`.

Tokens are 256 random bits and stand in the store as SHA-256 only: what is random needs no slow hash. `now`: unix seconds.
Check and act are one statement, so that two of a thing at once are told apart by the database.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from sqlalchemy import Connection, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from models.errors import BadInput, NotFound, Refused
from models.store.audit import append_audit
from models.store.logins import end_sessions_of
from models.tables import ApiToken, OneTimeLink, User

Role = Literal["admin", "csm"]
ROLES: tuple[str, ...] = get_args(Role)
LINK_SECONDS = 24 * 3600
TOKEN_PREFIX = "pst_"  # noqa: S105  # the visible start of a token, so that scanners find a leaked one
LAST_USED_STEP = 3600
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}")


@dataclass(frozen=True)
class Account:
    """A user as sign-in needs one. `password_hash` None: the one-time link hasn't been used yet."""

    user_id: int
    email: str
    role: str
    password_hash: str | None
    disabled: bool


@dataclass(frozen=True)
class TokenIdentity:
    """Who a bearer token is. `last_used_at` is kept to the hour."""

    token_id: int
    role: str
    last_used_at: int | None


def hash_token(token: str) -> str:
    """SHA-256 of a random token, as the store keeps it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def has_users(conn: Connection) -> bool:
    """Whether anybody can sign in or has been invited."""
    return bool(conn.execute(select(exists(select(User.id)))).scalar())


def create_user(conn: Connection, email: str, role: str, now: int) -> int:
    """Add a user without a password; a one-time link lets them set one. Returns the user's id.

    Raises:
        BadInput: not an e-mail address, or no such role.
        Refused: somebody has this address already.
    """
    address = email.strip().lower()
    if not _EMAIL.fullmatch(address):
        raise BadInput("email: takes an address such as dana@example.com")
    checked = _role(role)
    try:
        with conn.begin_nested():
            statement = insert(User).values(email=address, role=checked, disabled=False, created_at=now).returning(User.id)
            user_id = int(conn.execute(statement).scalar_one())
    except IntegrityError:
        raise Refused("email: there is a user with this address already") from None
    append_audit(conn, "system", "user_created", now, subject=f"user:{user_id}", details={"role": checked})
    return user_id


def find_account(conn: Connection, email: str) -> Account | None:
    """The user with this address (any case), disabled ones too."""
    return _account(conn, User.email == email.strip().lower())


def load_account(conn: Connection, user_id: int) -> Account | None:
    """The user with this id."""
    return _account(conn, User.id == user_id)


def _account(conn: Connection, condition: object) -> Account | None:
    columns = (User.id, User.email, User.role, User.password_hash, User.disabled)
    row = conn.execute(select(*columns).where(condition)).one_or_none()  # type: ignore[arg-type]  # a column expression
    return None if row is None else Account(row.id, row.email, row.role, row.password_hash, row.disabled)


def set_password_hash(conn: Connection, user_id: int, password_hash: str) -> None:
    """Store a new hash (after a rehash with newer parameters)."""
    conn.execute(update(User).where(User.id == user_id).values(password_hash=password_hash))


def set_role(conn: Connection, user_id: int, role: str, now: int, actor: str = "system") -> None:
    """Change a role; it holds from the user's next request. The last admin keeps theirs.

    Raises:
        BadInput: no such role.
        Refused: this is the last admin, or there is no such user.
    """
    checked = _role(role)
    _change_user(conn, user_id, {"role": checked}, keeps_admin=checked == "admin")
    append_audit(conn, actor, "role_changed", now, subject=f"user:{user_id}", details={"role": checked})


def disable_user(conn: Connection, user_id: int, now: int, actor: str = "system") -> None:
    """Shut a user out: no sign-in, and every session of theirs ends.

    Raises:
        Refused: this is the last admin, or there is no such user.
    """
    _change_user(conn, user_id, {"disabled": True}, keeps_admin=False)
    end_sessions_of(conn, user_id, now)
    append_audit(conn, actor, "user_disabled", now, subject=f"user:{user_id}")


def _change_user(conn: Connection, user_id: int, values: dict[str, object], *, keeps_admin: bool) -> None:
    if conn.dialect.name == "postgresql":  # two admins who demote each other: the second must see the first
        conn.execute(select(User.id).where(User.role == "admin").order_by(User.id).with_for_update()).all()
    other = User.__table__.alias("other")
    another_admin = exists(
        select(other.c.id).where(other.c.role == "admin", other.c.disabled.is_(False), other.c.id != user_id)
    )
    statement = update(User).where(User.id == user_id)
    if not keeps_admin:
        statement = statement.where((User.role != "admin") | User.disabled.is_(True) | another_admin)
    if conn.execute(statement.values(**values)).rowcount != 1:
        raise Refused("user: the last admin stays one, or there is no such user")


# --- One-time links -----------------------------------------------------------------------------------


def create_one_time_link(conn: Connection, user_id: int, now: int) -> str:
    """The token of a new link `/welcome/<token>`, good once and for 24 hours; the user's earlier ones end.

    Raises:
        NotFound: no such user.
    """
    if load_account(conn, user_id) is None:
        raise NotFound(f"user {user_id}: there is none")
    conn.execute(update(OneTimeLink).where(OneTimeLink.user_id == user_id, OneTimeLink.used_at.is_(None)).values(used_at=now))
    token = secrets.token_urlsafe(32)
    values = {"token_hash": hash_token(token), "user_id": user_id, "expires_at": now + LINK_SECONDS}
    conn.execute(insert(OneTimeLink).values(**values))
    append_audit(conn, "system", "link_created", now, subject=f"user:{user_id}")
    return token


def account_of_link(conn: Connection, token: str, now: int) -> Account | None:
    """Whose link this is, while it can still be used. Doesn't use it."""
    query = select(OneTimeLink.user_id).where(
        OneTimeLink.token_hash == hash_token(token), OneTimeLink.used_at.is_(None), OneTimeLink.expires_at > now
    )
    user_id = conn.execute(query).scalar()
    account = None if user_id is None else load_account(conn, user_id)
    return None if account is None or account.disabled else account


def use_one_time_link(conn: Connection, token: str, password_hash: str, now: int) -> Account | None:
    """Use a link up and set the password: of many at once exactly one succeeds. Ends the user's other sessions.

    Returns None for a link that is unknown, used or expired.
    """
    statement = (
        update(OneTimeLink)
        .where(OneTimeLink.token_hash == hash_token(token), OneTimeLink.used_at.is_(None), OneTimeLink.expires_at > now)
        .values(used_at=now)
        .returning(OneTimeLink.user_id)
    )
    user_id = conn.execute(statement).scalar()
    account = None if user_id is None else load_account(conn, user_id)
    if account is None or account.disabled:
        return None
    set_password_hash(conn, account.user_id, password_hash)
    end_sessions_of(conn, account.user_id, now)
    append_audit(conn, f"user:{account.user_id}", "password_set", now, subject=f"user:{account.user_id}")
    return account


# --- API tokens ---------------------------------------------------------------------------------------


def create_token(conn: Connection, role: str, name: str | None, now: int) -> str:
    """A new bearer token `pst_…`; this is the only time it can be seen.

    Raises:
        BadInput: no such role.
    """
    checked = _role(role)
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    values = {"name": name, "role": checked, "token_hash": hash_token(token), "created_at": now}
    token_id = conn.execute(insert(ApiToken).values(**values).returning(ApiToken.id)).scalar_one()
    append_audit(conn, "system", "token_created", now, subject=f"token:{token_id}", details={"role": checked})
    return token


def load_token(conn: Connection, token: str) -> TokenIdentity | None:
    """Who this bearer token is, or None. Found by its hash, so the time taken says nothing about stored tokens."""
    if not token.startswith(TOKEN_PREFIX) or len(token) > 128:
        return None
    query = select(ApiToken.id, ApiToken.role, ApiToken.last_used_at).where(
        ApiToken.token_hash == hash_token(token), ApiToken.revoked_at.is_(None)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else TokenIdentity(row.id, row.role, row.last_used_at)


def touch_token(conn: Connection, token_id: int, now: int) -> None:
    """Note that a token was used; callers do so at most once an hour (`LAST_USED_STEP`)."""
    earlier = func.coalesce(ApiToken.last_used_at, 0)
    conn.execute(update(ApiToken).where(ApiToken.id == token_id, earlier < now).values(last_used_at=now))


def revoke_token(conn: Connection, token_id: int, now: int, actor: str = "system") -> None:
    """End a token at once.

    Raises:
        NotFound: no such token in use.
    """
    statement = update(ApiToken).where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None)).values(revoked_at=now)
    if conn.execute(statement).rowcount != 1:
        raise NotFound(f"token {token_id}: there is none in use")
    append_audit(conn, actor, "token_revoked", now, subject=f"token:{token_id}")


def _role(role: str) -> str:
    if role not in ROLES:
        raise BadInput("role: takes admin or csm")
    return role
