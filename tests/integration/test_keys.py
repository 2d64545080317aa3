"""Keys: made once, on the embedded database only, and never in place of a lost one."""

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from models.errors import SettingsError
from models.migrations.run import set_up
from models.settings import AppSettings
from models.store.connections import ConnectionRecord, NewConnection, create_connection, load_api_key
from models.store.keys import Keyring, load_cookie_key, load_keyring, make_missing_keys, read_keyring
from models.store.session import Database, session_scope
from tests.support import only_postgres, only_sqlite
from tests.support.environment import API_KEY, COOKIE_KEY, ENCRYPTION_KEY, NOW, WEBHOOK_SECRET


@pytest.fixture
def bare(tmp_path: Path) -> AppSettings:
    """The embedded defaults: no key is given, nothing is there yet."""
    return AppSettings(data_dir=tmp_path / "new" / "data")


@pytest.fixture
def fresh(bare: AppSettings) -> Database:
    """The embedded database after `migrate`."""
    database = Database(bare.database) if bare.data_dir.exists() else None
    assert database is None
    bare.data_dir.parent.mkdir()
    database = Database(bare.database)
    set_up(bare, database)
    return database


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.fault("S12")
def test_migrate_makes_private_keys_on_the_embedded_database(bare: AppSettings, fresh: Database) -> None:
    assert _mode(bare.data_dir) == 0o700
    files = sorted(path.name for path in bare.data_dir.iterdir() if not path.name.endswith(("-shm", "-wal")))
    assert files == ["cookie.key", "pivotal.db", "pivotal.db.lock", "secret.key"]
    assert {_mode(bare.data_dir / name) for name in files} == {0o600}
    assert load_keyring(bare, fresh).open(read_keyring(bare).seal("x")) == "x"
    assert len(load_cookie_key(bare)) >= 32


def test_migrate_again_keeps_the_keys(bare: AppSettings, fresh: Database) -> None:
    before = {name: (bare.data_dir / name).read_bytes() for name in ("secret.key", "cookie.key")}
    set_up(bare, fresh)
    assert before == {name: (bare.data_dir / name).read_bytes() for name in before}


@pytest.mark.fault("S12")
def test_ciphertext_without_its_key_refuses_and_makes_no_new_one(bare: AppSettings, fresh: Database) -> None:
    with session_scope(fresh, write=True) as connection:
        create_connection(connection, read_keyring(bare), NewConnection("L", "live", API_KEY, WEBHOOK_SECRET), NOW)
    (bare.data_dir / "secret.key").unlink()
    with pytest.raises(SettingsError, match="put it back or set ENCRYPTION_KEYS"):
        set_up(bare, fresh)
    with pytest.raises(SettingsError, match="ENCRYPTION_KEYS: not set"):
        load_keyring(bare, fresh)
    assert not (bare.data_dir / "secret.key").exists()


@pytest.mark.fault("S13")
def test_another_key_than_the_one_that_sealed_refuses_to_start(
    database: Database, settings: AppSettings, connection_record: ConnectionRecord
) -> None:
    other = settings.model_copy(update={"encryption_keys": type(settings.encryption_keys)(Fernet.generate_key().decode())})
    with pytest.raises(SettingsError, match="sealed with another key"):
        load_keyring(other, database)
    assert "1 keys" in repr(load_keyring(settings, database))


@pytest.mark.fault("S13")
def test_the_newest_key_seals_and_older_ones_still_open() -> None:
    new = Fernet.generate_key().decode()
    old_ring, ring = Keyring([ENCRYPTION_KEY]), Keyring([new, ENCRYPTION_KEY])
    assert ring.open(old_ring.seal("secret")) == "secret"
    sealed = ring.seal("secret")
    assert sealed.startswith(ring.newest_id.encode())
    with pytest.raises(SettingsError, match="another key"):
        old_ring.open(sealed)


@pytest.mark.fault("S21")
def test_neither_key_nor_secret_stands_in_a_repr_or_an_error() -> None:
    ring = Keyring([ENCRYPTION_KEY])
    assert ENCRYPTION_KEY not in repr(ring) + str(vars(ring))
    sealed = bytearray(ring.seal("whsec_secret"))
    sealed[-5] ^= 1
    with pytest.raises(SettingsError) as caught:
        ring.open(bytes(sealed))
    assert "whsec" not in str(caught.value)
    with pytest.raises(SettingsError) as wrong:
        Keyring(["not-a-key-but-secret"])
    assert "not-a-key-but-secret" not in str(wrong.value)


@pytest.mark.fault("F91")
@only_postgres
def test_a_server_database_gets_no_key_by_itself(database: Database, settings: AppSettings) -> None:
    bare = AppSettings(data_dir=settings.data_dir, database_url=settings.database_url)
    make_missing_keys(bare, database)
    assert list(bare.data_dir.glob("*.key")) == []
    with pytest.raises(SettingsError, match=r"ENCRYPTION_KEYS: not set, and .* holds none; set ENCRYPTION_KEYS"):
        load_keyring(bare, database)
    with pytest.raises(SettingsError, match="COOKIE_KEY: not set"):
        load_cookie_key(bare)


@pytest.mark.fault("F91")
@pytest.mark.parametrize("key", ["false", "true", "secret", "0"])
def test_a_short_cookie_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError, match="32 characters"):
        load_cookie_key(AppSettings(data_dir=tmp_path, cookie_key=key))
    assert load_cookie_key(AppSettings(data_dir=tmp_path, cookie_key=COOKIE_KEY)) == COOKIE_KEY.encode()


@only_sqlite
def test_the_key_of_a_connection_opens_only_through_the_ring(
    database: Database, keyring: Keyring, connection_record: ConnectionRecord
) -> None:
    with session_scope(database) as connection:
        assert load_api_key(connection, keyring, connection_record.id) == API_KEY


def test_a_data_dir_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = AppSettings(data_dir=tmp_path / "file" / "data")
    with pytest.raises(SettingsError, match="DATA_DIR"):
        set_up(settings, Database(settings.database))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
