"""The keys: what seals Stripe's secrets at rest, and what signs the sign-in cookies (DESIGN 4, FAULTS S12, S13, F91).

Keys come from `ENCRYPTION_KEYS` (newest first, comma separated) or from the file `DATA_DIR/secret.key`. With neither, and only
on the embedded database that holds no ciphertext yet, `migrate` makes the file. Ciphertext without its key: refuse to start,
never make a new one. Whoever has the database without the key has no secret of Stripe's; keep the two apart in backups.
"""

import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import select

from models.errors import SettingsError
from models.settings import AppSettings
from models.store.failpoints import fp
from models.store.session import Database, session_scope
from models.tables import Connection as ConnectionTable

HOW = 'make one with `python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"`'
HOW_COOKIE = 'make one with `python -c "import secrets; print(secrets.token_urlsafe(32))"`'


class Keyring:
    """Seals with the newest key, opens with any. Sealed bytes are `<key id>:<Fernet token>`: the id (8 hex digits of the key's
    SHA-256) tells which key a row needs, so that a missing one is named and an old one can be rotated out."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise SettingsError(f"ENCRYPTION_KEYS: not set; {HOW}")
        self._keys: dict[str, Fernet] = {}
        for key in keys:
            try:
                self._keys[_key_id(key)] = Fernet(key)
            except (ValueError, binascii.Error):
                raise SettingsError(f"ENCRYPTION_KEYS: holds something that is no Fernet key; {HOW}") from None
        self._newest = next(iter(self._keys))

    @property
    def newest_id(self) -> str:
        """Id of the key that seals; safe to show."""
        return self._newest

    def seal(self, secret: str) -> bytes:
        """Ciphertext of `secret` under the newest key."""
        return self._newest.encode() + b":" + self._keys[self._newest].encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """The secret in `sealed`.

        Raises:
            SettingsError: its key isn't in the ring, or it was tampered with.
        """
        key_id, _, token = bytes(sealed).partition(b":")
        fernet = self._keys.get(key_id.decode("ascii", "replace"))
        if fernet is None:
            raise SettingsError("ENCRYPTION_KEYS: the stored secrets were sealed with another key; give back the old one")
        try:
            return fernet.decrypt(token).decode()
        except InvalidToken:
            raise SettingsError("a stored secret is damaged: it doesn't open with the key it names") from None

    def __repr__(self) -> str:
        return f"Keyring({len(self._keys)} keys, newest {self._newest})"


def _key_id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def prepare_data_dir(settings: AppSettings) -> None:
    """Make `DATA_DIR` and the embedded database's file, for us alone. A directory that is there already keeps its mode: it may
    be shared on purpose.

    Raises:
        SettingsError: it can't be made or written.
    """
    directory = settings.data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.embedded_database:  # SQLite's other files take the mode of this one
            os.close(os.open(directory / "pivotal.db", os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise SettingsError(f"DATA_DIR: {directory} can't be made: {error.strerror}") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise SettingsError(f"DATA_DIR: {directory} can't be written")


def make_missing_keys(settings: AppSettings, database: Database) -> None:
    """First run only (`migrate`): make `secret.key` and `cookie.key` where nobody gave one. Only on the embedded database: a
    key file on one of several machines would be a trap. Never beside ciphertext that a lost key sealed.

    Raises:
        SettingsError: the database holds ciphertext and its key is gone.
    """
    if not settings.embedded_database:
        return
    if settings.encryption_keys is None and not _secret_file(settings).exists():
        if _one_sealed(database) is not None:
            raise SettingsError(
                f"{_secret_file(settings)} is gone and the database holds secrets sealed with it: "
                "put it back or set ENCRYPTION_KEYS"
            )
        _make_file(_secret_file(settings), Fernet.generate_key().decode())
    if settings.cookie_key is None:
        _make_file(_cookie_file(settings), secrets.token_urlsafe(32))


def read_keyring(settings: AppSettings) -> Keyring:
    """The keys as configured, without a look at the database.

    Raises:
        SettingsError: there is none, or one isn't a Fernet key.
    """
    if settings.encryption_keys is not None:
        text = settings.encryption_keys.get_secret_value()
    else:
        text = _read_file(_secret_file(settings), "ENCRYPTION_KEYS", settings)
    return Keyring([key.strip() for key in text.split(",") if key.strip()])


def load_keyring(settings: AppSettings, database: Database) -> Keyring:
    """The keys, proven to open what the database holds. Called once at the start of every process.

    Raises:
        SettingsError: no key, or not the one that sealed the stored secrets: refuse to start.
        DatabaseAway: the database can't be reached.
    """
    keyring = read_keyring(settings)
    with session_scope(database) as connection:
        rows = connection.execute(select(ConnectionTable.key_sealed, ConnectionTable.secret_sealed)).all()
    for row in rows:
        for sealed in row:
            if sealed:
                keyring.open(sealed)
    return keyring


def load_cookie_key(settings: AppSettings) -> bytes:
    """The key of the sign-in cookies: `COOKIE_KEY`, else `DATA_DIR/cookie.key`.

    Raises:
        SettingsError: neither is there, or it is shorter than 32 characters (there is no default, FAULTS F91).
    """
    if settings.cookie_key is not None:
        key = settings.cookie_key.get_secret_value()
    else:
        key = _read_file(_cookie_file(settings), "COOKIE_KEY", settings)
    if len(key) < 32:
        raise SettingsError(f"COOKIE_KEY: takes 32 characters or more; {HOW_COOKIE}")
    return key.encode()


def _secret_file(settings: AppSettings) -> Path:
    return settings.data_dir / "secret.key"


def _cookie_file(settings: AppSettings) -> Path:
    return settings.data_dir / "cookie.key"


def _one_sealed(database: Database) -> bytes | None:
    with session_scope(database) as connection:
        sealed = connection.execute(select(ConnectionTable.secret_sealed).where(ConnectionTable.secret_sealed != b"").limit(1))
        found: bytes | None = sealed.scalar()
        return found


def _read_file(path: Path, variable: str, settings: AppSettings) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{path} can't be read") from None
    if not text:
        made = "run `python -m webhook_app migrate` or " if settings.embedded_database else ""  # it makes none elsewhere
        raise SettingsError(f"{variable}: not set, and {path} holds none; {made}set {variable}")
    return text


def _make_file(path: Path, text: str) -> None:
    """Write a key that no reader sees half-written and no second maker replaces."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fp("before_key_file")
        os.link(draft, path)  # unlike a rename it fails where a key is
    except FileExistsError:
        pass  # another migrate was first: its key counts
    finally:
        draft.unlink()
    fp("after_key_file")
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


__all__ = ["Keyring", "load_cookie_key", "load_keyring", "make_missing_keys", "prepare_data_dir", "read_keyring"]
