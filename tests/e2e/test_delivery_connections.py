"""Deliveries on real connections: in pieces, in a row, beside other requests, and from clients that don't wait."""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from models.settings import AppSettings
from models.store.connections import ConnectionRecord
from models.store.session import Database, session_scope
from tests.support import only_sqlite
from tests.support.deliveries import body_of, event, sign
from tests.support.web_process import WebProcess, running

pytestmark = only_sqlite


@pytest.fixture
def web(settings: AppSettings, connection_record: ConnectionRecord, tmp_path: Path) -> Iterator[WebProcess]:
    with running(settings, tmp_path, WEB_PROCESSES="1", LOG_LEVEL="INFO") as found:
        assert found.deliver(connection_record.webhook_path, body_of(event())) == 200
        yield found


def delivery(path: str, body: bytes, *fields: str, signature: str | None = None) -> bytes:
    """The bytes of one signed delivery."""
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Stripe-Signature: {signature or sign(body)}", *fields]
    if not any(line.startswith("Transfer-Encoding") for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def stored(database: Database) -> set[str]:
    with session_scope(database) as connection:
        return set(connection.execute(text("SELECT event_id FROM inbox")).scalars())


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def test_hundreds_of_deliveries_sent_in_a_row_are_answered_in_their_order(
    web: WebProcess, database: Database, connection_record: ConnectionRecord
) -> None:
    path = connection_record.webhook_path
    many = [body_of(event(f"evt_row_{n}")) for n in range(300)]
    requests = [delivery(path, body) for body in many]
    requests[7] = delivery(path, many[7], signature="t=1,v1=00")
    requests[9] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    requests[-1] = delivery(path, many[-1], "Connection: close")
    answered = statuses(web.raw(b"".join(requests)))
    assert answered == [400 if n == 7 else 200 for n in range(300)]
    assert {f"evt_row_{n}" for n in range(300)} - stored(database) == {"evt_row_7", "evt_row_9"}


def test_a_delivery_in_pieces_and_one_in_chunks_are_stored(
    web: WebProcess, database: Database, connection_record: ConnectionRecord
) -> None:
    path, body = connection_record.webhook_path, body_of(event("evt_pieces"))
    whole = delivery(path, body, "Connection: close")
    with socket.create_connection(("127.0.0.1", web.port), timeout=5) as sock:
        for piece in (whole[:9], whole[9:200], whole[200:-1], whole[-1:]):
            sock.sendall(piece)
            time.sleep(0.05)
        assert statuses(sock.recv(65536)) == [200]
    body = body_of(event("evt_chunks"))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:50], body[50:])) + b"0\r\n\r\n"
    head = delivery(path, b"", "Transfer-Encoding: chunked", "Connection: close", signature=sign(body))
    assert statuses(web.raw(head + chunks)) == [200]
    assert {"evt_pieces", "evt_chunks"} <= stored(database)


def test_clients_that_leave_before_their_answer_cost_nobody_else_anything(
    web: WebProcess, database: Database, connection_record: ConnectionRecord
) -> None:
    path = connection_record.webhook_path
    for n in range(100):
        with socket.create_connection(("127.0.0.1", web.port), timeout=5) as sock:
            sock.sendall(delivery(path, body_of(event(f"evt_gone_{n}"))))
    with contextlib.closing(web.connection()) as connection:
        for turn in range(40):
            body = body_of(event())
            asked = ("POST", path, body, {"Stripe-Signature": sign(body)}) if turn % 2 else ("GET", "/healthz")
            connection.request(*asked)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
    assert "Traceback" not in web.log
    assert {f"evt_gone_{n}" for n in range(100)} <= stored(database)


@pytest.mark.fault("S49")
def test_a_scheme_that_a_client_claims_is_not_believed_without_a_trusted_proxy(web: WebProcess) -> None:
    for field in (b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: on", b"X-Forwarded-Proto: http\r\nX-Forwarded-Ssl: on"):
        answer = web.raw(b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + field + b"\r\n\r\n")
        assert statuses(answer) == [200]
        assert b"Strict-Transport-Security" not in answer
