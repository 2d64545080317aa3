"""The endpoint on real databases and a real Valkey, through Flask: what is answered, and what is on disk."""

import gzip
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import EnvironBuilder

from models.settings import AppSettings
from models.store.connections import ConnectionRecord, roll_webhook_secret
from models.store.inbox import NewEvent
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.support import only_sqlite
from tests.support.deliveries import body_of, event, sign
from tests.support.environment import NOW
from webhook_app import create_app
from webhook_app.receive import WAKE
from webhook_app.services import Services

REFUSED = b'{"type":"about:blank","title":"Bad request","status":400}'


@pytest.fixture
def app(settings: AppSettings, connection_record: ConnectionRecord) -> Iterator[Flask]:
    made = create_app(settings)
    parts: Services = made.extensions["pivotal"]
    yield made
    parts.inbox.ring.flush(5)  # type: ignore[attr-defined]
    parts.database.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def deliver(client: FlaskClient, record: ConnectionRecord, body: bytes, header: str | None = None, **more: Any) -> Any:
    headers = {"Stripe-Signature": sign(body) if header is None else header} | more
    return client.post(record.webhook_path, data=body, headers=headers)


def rows(database: Database) -> list[dict[str, Any]]:
    with session_scope(database) as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM inbox ORDER BY seq")).mappings()]


def test_a_signed_event_is_on_disk_when_it_is_answered(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord
) -> None:
    body = body_of(event("evt_1"))
    answer = deliver(client, connection_record, body)
    assert answer.status_code == 200
    (row,) = rows(database)
    assert bytes(row["body"]) == body
    assert (row["event_id"], row["type"], row["status"], row["customer_id"]) == (
        "evt_1",
        "customer.updated",
        "pending",
        "cus_1",
    )
    assert row["connection_id"] == connection_record.id
    assert row["status_ms"] == row["received_ms"]


@pytest.mark.fault("F01", "F34")
def test_the_same_event_again_is_answered_200_and_stored_once(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord
) -> None:
    body = body_of(event("evt_1"))
    assert [deliver(client, connection_record, body).status_code for _ in range(4)] == [200] * 4
    assert len(rows(database)) == 1


@pytest.mark.fault("F21")
def test_an_unknown_type_is_stored_and_ignored(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord
) -> None:
    answer = deliver(client, connection_record, body_of(event(event_type="made.up.yesterday")))
    assert answer.status_code == 200
    (row,) = rows(database)
    assert row["status"] == "ignored"
    assert row["status_ms"] == row["received_ms"]


@only_sqlite
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "HEAD", "PUT"])
def test_only_post_is_taken(client: FlaskClient, connection_record: ConnectionRecord, method: str) -> None:
    answer = client.open(connection_record.webhook_path, method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@only_sqlite
@pytest.mark.fault("F19")
@pytest.mark.parametrize("data", [None, {}, {"object": {}}, {"object": None}, {"object": "sub_1"}], ids=str)
def test_an_event_of_a_used_type_without_its_object_is_quarantined(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord, data: Any
) -> None:
    for number, event_type in enumerate(("customer.subscription.updated", "made.up.yesterday")):
        body = body_of(event(f"evt_{number}", event_type=event_type) | {"data": data})
        assert deliver(client, connection_record, body).status_code == 200
    assert [(row["status"], row["error"]) for row in rows(database)] == [
        ("quarantined", "carries no object"),
        ("ignored", None),
    ]


@pytest.mark.fault("F25")
def test_a_thin_event_is_stored_as_pending(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord
) -> None:
    thin = {
        "id": "evt_thin", "object": "v2.core.event", "type": "v1.customer.subscription.updated", "livemode": True,
        "created": "2026-05-28T20:26:40.000Z", "related_object": {"id": "sub_1", "type": "subscription", "url": "/v1/x"},
    }  # fmt: skip
    assert deliver(client, connection_record, body_of(thin)).status_code == 200
    (row,) = rows(database)
    assert (row["status"], row["object_id"], row["created"]) == ("pending", "sub_1", 1_780_000_000)


@only_sqlite
@pytest.mark.fault("S04", "F33", "F20")
@pytest.mark.fault("I9")
def test_whatever_cannot_be_authenticated_gets_one_constant_400(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord
) -> None:
    body = body_of(event())
    refused = [
        deliver(client, connection_record, body, ""),
        deliver(client, connection_record, body, "nonsense"),
        deliver(client, connection_record, body, sign(body, "whsec_wrong")),
        deliver(client, connection_record, body, sign(body, at=NOW - 10**6)),
        deliver(client, connection_record, b"\xff\xfe\x00 no text", sign(body)),
        deliver(client, connection_record, b"", ""),
        deliver(client, connection_record, body, "t=1,v1=é"),
        client.post("/webhooks/stripe/nobody", data=body, headers={"Stripe-Signature": sign(body)}),
        client.post("/webhooks/stripe/" + "x" * 3000, data=body, headers={"Stripe-Signature": sign(body)}),
        client.post(connection_record.webhook_path, data=body),
    ]
    assert {answer.status_code for answer in refused} == {400}
    assert {answer.data for answer in refused} == {REFUSED}
    assert len({tuple(sorted(answer.headers.items())) for answer in refused}) == 1
    assert not rows(database)


UNUSABLE: list[tuple[bytes, str]] = [
    (b"", "nothing"),
    (b"not json", "no JSON"),
    (b"[]", "a list"),
    (b"null", "null"),
    (b"5", "a number"),
    (b'"evt_1"', "a text"),
    (b"{}", "no id"),
    (b"[" * 100_000 + b"]" * 100_000, "absurd nesting"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "absurd nesting of objects"),
    (
        b'{"id":"evt_1","type":"customer.updated","created":' + b"9" * 5_000 + b',"livemode":true,"data":{"object":{}}}',
        "digits",
    ),
    (b'{"id":"evt_1","type":"customer.updated","created":NaN,"livemode":true,"data":{"object":{}}}', "NaN"),
    (b'{"id":"evt_\x001","type":"customer.updated","created":1,"livemode":true,"data":{"object":{}}}', "NUL byte"),
    (b'{"id":"evt_\\u00001","type":"customer.updated","created":1,"livemode":true,"data":{"object":{}}}', "NUL escape"),
    (b'{"id":"evt_\\ud800","type":"customer.updated","created":1,"livemode":true,"data":{"object":{}}}', "lone surrogate"),
    (b'{"id":"evt_1","type":"customer.\\u0000","created":1,"livemode":true,"data":{"object":{}}}', "NUL in the type"),
    (b'{"id":"evt_1","type":"customer.updated","created":-1,"livemode":true,"data":{"object":{}}}', "negative time"),
    (b'{"id":"' + b"x" * 9_000 + b'","type":"customer.updated","created":1,"livemode":true,"data":{"object":{}}}', "long id"),
    (b"\xff\xfe{}", "no UTF-8"),
    (b'{"id":7,"type":[],"created":{},"livemode":"yes","data":3}', "wrong kinds"),
]


@pytest.mark.fault("F19", "S09")
@pytest.mark.parametrize("body", [body for body, _ in UNUSABLE], ids=[name for _, name in UNUSABLE])
def test_an_authentic_body_that_cannot_be_used_is_kept_aside_and_answered_200(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord, body: bytes
) -> None:
    assert [deliver(client, connection_record, body).status_code for _ in range(2)] == [200, 200]
    (row,) = rows(database)
    assert row["status"] == "quarantined"
    assert row["error"]
    assert bytes(row["body"]) == body
    assert row["event_id"].startswith(("unreadable:", "evt_"))


HARMLESS: list[tuple[dict[str, Any], str]] = [
    ({"data": {"object": {"id": "cus_\x00", "object": "customer"}}}, "NUL in the object's id"),
    ({"data": {"object": {"id": "c" * 9_000, "object": "customer"}}}, "long object id"),
    ({"data": {"object": {"id": "sub_1", "object": "subscription", "customer": "\x00" * 5}}}, "NUL in the customer"),
    ({"api_version": "2020\x00"}, "NUL in the version"),
    ({"data": {"object": {"id": None, "object": None}}}, "an object without id"),
    ({"data": None}, "no data"),
    ({"data": {"object": []}}, "a list for an object"),
]


@pytest.mark.fault("F19")
@pytest.mark.parametrize("odd", [odd for odd, _ in HARMLESS], ids=[name for _, name in HARMLESS])
def test_an_odd_event_never_becomes_a_5xx(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord, odd: dict[str, Any]
) -> None:
    assert deliver(client, connection_record, body_of(event("evt_odd", **odd))).status_code == 200
    (row,) = rows(database)
    assert row["event_id"] == "evt_odd"
    assert row["status"] in ("pending", "quarantined")


@pytest.mark.fault("F37")
def test_an_event_of_the_other_mode_or_another_account_is_quarantined(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord
) -> None:
    with session_scope(database, write=True) as connection:
        connection.execute(text("UPDATE connections SET account_id = 'acct_ours'"))
    assert deliver(client, connection_record, body_of(event("evt_test", livemode=False))).status_code == 200
    assert deliver(client, connection_record, body_of(event("evt_other", account="acct_theirs"))).status_code == 200
    assert deliver(client, connection_record, body_of(event("evt_ours", account="acct_ours"))).status_code == 200
    found = {row["event_id"]: (row["status"], row["error"]) for row in rows(database)}
    assert found["evt_test"] == ("quarantined", "livemode is not the connection's")
    assert found["evt_other"] == ("quarantined", "account is not the connection's")
    assert found["evt_ours"] == ("pending", None)


@only_sqlite
@pytest.mark.fault("F18", "S08")
@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "gzip, identity", "unheard-of"])
def test_a_content_encoding_is_refused_with_415(client: FlaskClient, connection_record: ConnectionRecord, coding: str) -> None:
    body = gzip.compress(body_of(event()))
    answer = deliver(client, connection_record, body, sign(body), **{"Content-Encoding": coding})
    assert answer.status_code == 415
    assert deliver(client, connection_record, body_of(event()), **{"Content-Encoding": "identity"}).status_code == 200


@only_sqlite
@pytest.mark.fault("F17", "S07")
def test_a_body_over_one_mebibyte_is_refused_with_413_and_one_of_just_that_is_not(
    client: FlaskClient, connection_record: ConnectionRecord
) -> None:
    padded = event()
    padded["padding"] = "x" * ((1 << 20) - len(body_of(padded | {"padding": ""})))
    body = body_of(padded)
    assert len(body) == 1 << 20
    assert deliver(client, connection_record, body).status_code == 200
    assert deliver(client, connection_record, body + b" ").status_code == 413


@only_sqlite
@pytest.mark.fault("S06")
def test_only_post_is_answered_and_nothing_ever_sets_a_cookie(client: FlaskClient, connection_record: ConnectionRecord) -> None:
    for method in ("get", "put", "delete", "patch", "head"):
        answer = getattr(client, method)(connection_record.webhook_path)
        assert answer.status_code == 405
        assert "Set-Cookie" not in answer.headers
    body = body_of(event())
    client.set_cookie("session", "somebody's")
    answer = deliver(client, connection_record, body)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


@pytest.mark.fault("F31", "F32")
def test_after_a_roll_both_secrets_are_accepted(
    client: FlaskClient, database: Database, connection_record: ConnectionRecord, keyring: Keyring
) -> None:
    import time

    with session_scope(database, write=True) as connection:
        roll_webhook_secret(connection, keyring, connection_record.id, "whsec_new0123456789abcdef", int(time.time()))
    for secret in ("whsec_new0123456789abcdef", None):
        body = body_of(event())
        header = sign(body, secret) if secret else sign(body)
        assert deliver(client, connection_record, body, header).status_code == 200


def test_every_delivery_rings_for_its_partition(
    app: Flask, client: FlaskClient, connection_record: ConnectionRecord, redis_url: str
) -> None:
    assert deliver(client, connection_record, body_of(event())).status_code == 200
    app.extensions["pivotal"].inbox.ring.flush(5)
    with redis.Redis.from_url(redis_url) as valkey:
        assert valkey.keys("pivotal:wake:*")
        assert valkey.llen("rq:queue:bell") == 1
        (job,) = [key for key in valkey.keys("rq:job:*") if valkey.type(key) == b"hash"]
        stored = valkey.hgetall(job)
    assert json.loads(__import__("zlib").decompress(stored[b"data"])) == ["workers.jobs.drain", None, [_partition(app)], {}]


def later(app: Flask, record: ConnectionRecord, body: bytes, wake: Callable[[], None]) -> tuple[Any, list[Any]]:
    """What a server that can be told gets of the application, and what was said to it so far."""
    headers = {"Stripe-Signature": sign(body)}
    environ = EnvironBuilder(method="POST", path=record.webhook_path, data=body, headers=headers).get_environ()
    said: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
        said.extend([status, dict(headers)])
        return said.append

    return app.wsgi_app(environ | {WAKE: wake}, start_response), said


@pytest.mark.fault("F38")
def test_a_server_that_can_be_told_gets_an_answer_that_waits_and_is_the_same(
    app: Flask, client: FlaskClient, database: Database, connection_record: ConnectionRecord
) -> None:
    told = threading.Event()
    answer, said = later(app, connection_record, body_of(event("evt_later")), told.set)
    assert said == [], "nothing is said before it is known"
    assert told.wait(5)
    assert answer.settled
    assert b"".join(answer) == b'{"received":true}'
    assert [row["event_id"] for row in rows(database)] == ["evt_later"]
    plain = deliver(client, connection_record, body_of(event()))
    assert said == [plain.status, dict(plain.headers)]


@only_sqlite
@pytest.mark.fault("F38", "F41")
def test_an_answer_that_waited_in_vain_is_503_at_its_deadline(
    app: Flask, database: Database, connection_record: ConnectionRecord
) -> None:
    deliver(app.test_client(), connection_record, body_of(event()))
    locked = sqlite3.connect(str(database.url.database), isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    try:
        answer, said = later(app, connection_record, body_of(event("evt_in_vain")), lambda: None)
        assert 0 < answer.deadline - time.monotonic() < 2
        assert not answer.settled
        assert json.loads(b"".join(answer))["status"] == 503
        assert deliver(app.test_client(), connection_record, body_of(event("evt_in_vain"))).status_code == 503
    finally:
        locked.execute("ROLLBACK")
        locked.close()
    status, headers = said
    assert status.startswith("503 ")
    assert headers["Retry-After"]
    assert (headers["X-Content-Type-Options"], headers["Content-Type"]) == ("nosniff", "application/problem+json")


def _partition(app: Flask) -> int:
    from zlib import crc32

    return crc32(b"cus_1") % app.extensions["pivotal"].settings.partition_count


@pytest.mark.fault("F38")
def test_a_row_the_database_refuses_is_503_and_its_neighbours_are_stored(
    app: Flask, database: Database, connection_record: ConnectionRecord
) -> None:
    inbox = app.extensions["pivotal"].inbox
    good = NewEvent(connection_record.id, "evt_good", "a", None, True, 1, None, None, None, 0, 1, 1, b"")
    with pytest.raises(Exception):  # noqa: B017  # whatever the driver raises for a broken foreign key
        inbox.store(good._replace(connection_id=999, event_id="evt_bad"))
    inbox.store(good)
    assert [row["event_id"] for row in rows(database)] == ["evt_good"]
