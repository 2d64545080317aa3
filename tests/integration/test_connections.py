"""Connections: what is accepted, what is stored, what comes out."""

import pytest
from sqlalchemy import text

from models.domain.credentials import check_api_base, check_api_key, read_scope
from models.domain.types import Scope
from models.errors import BadInput, NotFound, Refused
from models.store.connections import (
    ConnectionRecord,
    NewConnection,
    create_connection,
    load_connection,
    load_connection_by_public_id,
    load_connections,
    load_webhook_secrets,
    roll_webhook_secret,
)
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.support.environment import API_KEY, NOW, WEBHOOK_SECRET

DAY = 24 * 3600


def test_a_connection_is_found_by_its_ids(database: Database, connection_record: ConnectionRecord) -> None:
    with session_scope(database) as connection:
        assert load_connection(connection, connection_record.id) == connection_record
        assert load_connection_by_public_id(connection, connection_record.public_id) == connection_record
        assert load_connections(connection) == [connection_record]
        with pytest.raises(NotFound):
            load_connection(connection, connection_record.id + 1)
        with pytest.raises(NotFound):
            load_connection_by_public_id(connection, "guess")
    assert connection_record.livemode
    assert connection_record.settings.environment == "production"
    assert len(connection_record.public_id) == 32


def test_a_second_connection_of_a_mode_is_refused_and_the_other_mode_is_not(
    database: Database, keyring: Keyring, connection_record: ConnectionRecord
) -> None:
    with session_scope(database, write=True) as connection:
        test_key = API_KEY.replace("live", "test")
        other = create_connection(connection, keyring, NewConnection("T", "test", test_key, WEBHOOK_SECRET), NOW)
    assert other.settings.environment == "staging"
    with pytest.raises(Refused, match="a live connection already"), session_scope(database, write=True) as connection:
        create_connection(connection, keyring, NewConnection("L2", "live", API_KEY, WEBHOOK_SECRET), NOW)


@pytest.mark.fault("S12")
def test_no_secret_is_in_the_database_in_the_clear(database: Database, connection_record: ConnectionRecord) -> None:
    with session_scope(database) as connection:
        rows = connection.execute(text("SELECT * FROM connections")).all()
    dump = repr([[bytes(cell) if isinstance(cell, memoryview) else cell for cell in row] for row in rows])
    assert connection_record.public_id in dump
    for word in ("rk_", "sk_", "whsec_", API_KEY, WEBHOOK_SECRET):
        assert word not in dump
    assert API_KEY not in repr(NewConnection("L", "live", API_KEY, WEBHOOK_SECRET)) + repr(connection_record)


@pytest.mark.fault("F31")
def test_a_rolled_secret_stays_valid_for_a_day(
    database: Database, keyring: Keyring, connection_record: ConnectionRecord
) -> None:
    new = WEBHOOK_SECRET + "new"
    with session_scope(database, write=True) as connection:
        roll_webhook_secret(connection, keyring, connection_record.id, WEBHOOK_SECRET, NOW)  # the same again: no roll
        assert load_webhook_secrets(connection, keyring, connection_record.id, NOW) == (WEBHOOK_SECRET,)
        roll_webhook_secret(connection, keyring, connection_record.id, new, NOW)
        assert load_webhook_secrets(connection, keyring, connection_record.id, NOW + DAY - 1) == (new, WEBHOOK_SECRET)
        assert load_webhook_secrets(connection, keyring, connection_record.id, NOW + DAY) == (new,)


@pytest.mark.fault("S14")
@pytest.mark.parametrize(
    ("key", "mode", "reason"),
    [
        ("pk_live_" + "abcdefgh", "live", "publishable"),
        ("sk_org_" + "live_abcdefgh", "live", "organisation"),
        ("sk_live_" + "abcdefgh", "live", "--allow-secret-key"),
        ("rk_test_" + "abcdefgh", "live", "test mode doesn't fit a connection of live mode"),
        ("rk_live_" + "abcdefgh", "test", "live mode doesn't fit a connection of test mode"),
        (WEBHOOK_SECRET, "live", "signing secret"),
        ("", "live", "no Stripe key"),
        ("rk_live_" + "abc\ndef", "live", "no Stripe key"),
        ("rk_live_" + "é" * 9, "live", "no Stripe key"),
    ],
)
@pytest.mark.fault("S21")
def test_keys_that_are_refused_say_why_and_never_the_key(key: str, mode: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_api_key(key, mode)
    assert reason in str(caught.value)
    assert not key or key not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.fault("S14")
def test_restricted_keys_pass_and_secret_keys_on_demand() -> None:
    check_api_key("rk_test_" + "51abcDEF", "test")
    check_api_key("sk_live_" + "51abcDEF", "live", allow_secret_key=True)
    with pytest.raises(BadInput, match="organisation"):
        check_api_key("sk_org_" + "live_51abcDEF", "live", allow_secret_key=True)


@pytest.mark.fault("S15")
@pytest.mark.parametrize(
    "url",
    [
        "http://api.stripe.com",
        "ftp://x",
        "https://",
        "https://u:p@host",
        "https://h/?q",
        "https://api.stripe.com/v1",
        "https://[::1",
        "https://api.stripe.com:443000",
        "http://10.0.0.1",
        "",
        "api.stripe.com",
    ],
)
def test_an_api_base_that_would_show_the_key_or_find_nothing_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="API base"):
        check_api_base(url)


def test_api_bases_that_are_taken() -> None:
    assert check_api_base("https://api.stripe.com/") == "https://api.stripe.com"
    assert check_api_base("http://127.0.0.1:9999") == "http://127.0.0.1:9999"


def test_scopes_are_read() -> None:
    assert read_scope("all") == Scope()
    assert read_scope("products:prod_1, prod_2,prod_1") == Scope("products", ("prod_1", "prod_2"))
    assert read_scope("lookup_keys:pro") == Scope("lookup_keys", ("pro",))
    for wrong in ("", "products", "products:", "plans:x", "all:x"):
        with pytest.raises(BadInput, match="scope"):
            read_scope(wrong)
