"""Real gunicorn, real databases, a real Valkey: what a kill, a hanging part or a hostile client can do to the endpoint."""

import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from models.settings import AppSettings
from models.store.connections import ConnectionRecord
from models.store.session import Database, session_scope
from tests.support import only_postgres, only_sqlite
from tests.support.deliveries import body_of, event, sign
from tests.support.fault_proxy import FaultProxy
from tests.support.web_process import WebProcess, running
from workers.embedded_valkey import EmbeddedValkey

ANSWER_S = 2.4  # 503 is promised within 2 s; the rest is for a busy machine


@pytest.fixture
def web(settings: AppSettings, connection_record: ConnectionRecord, tmp_path: Path) -> Iterator[WebProcess]:
    with running(settings, tmp_path) as found:
        yield found


def stored_ids(database: Database) -> list[str]:
    with session_scope(database) as connection:
        return list(connection.execute(text("SELECT event_id FROM inbox")).scalars())


def deliver_until_acked(web: WebProcess, path: str, ids: list[str], seconds: float = 60) -> set[str]:
    """Deliver each event, again and again as Stripe would, until all are acknowledged. The acknowledged ones."""
    acked: set[str] = set()
    deadline = time.monotonic() + seconds
    while len(acked) < len(ids) and time.monotonic() < deadline:
        for event_id in ids:
            if event_id not in acked and web.deliver(path, body_of(event(event_id))) == 200:
                acked.add(event_id)
    return acked


def timed_deliveries(web: WebProcess, path: str, count: int) -> list[tuple[int, float]]:
    """Statuses and seconds of `count` deliveries at once."""

    def one(_: int) -> tuple[int, float]:
        started = time.monotonic()
        return web.deliver(path, body_of(event())), time.monotonic() - started

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def settled_memory(web: WebProcess) -> int:
    """Its memory once the threads have run and what is imported behind the scenes is there."""
    found = web.memory()
    for _ in range(40):
        time.sleep(0.5)
        before, found = found, web.memory()
        if abs(found - before) < 1 << 19:
            break
    return found


POINTS = ["before_inbox_commit", "after_inbox_commit", "before_answer", "between_flag_and_enqueue"]


@pytest.mark.fault("F40")
@pytest.mark.parametrize("point", POINTS)
def test_a_process_killed_anywhere_on_the_way_loses_no_acknowledged_event(
    point: str, settings: AppSettings, database: Database, connection_record: ConnectionRecord, tmp_path: Path
) -> None:
    deliver_with_failures(f"{point}=exit@{hit_of(point)}", settings, database, connection_record, tmp_path)


@only_sqlite
@pytest.mark.fault("F40", "F39")
@pytest.mark.parametrize("point", POINTS)
def test_an_error_anywhere_on_the_way_loses_no_acknowledged_event(
    point: str, settings: AppSettings, database: Database, connection_record: ConnectionRecord, tmp_path: Path
) -> None:
    deliver_with_failures(f"{point}=raise@{hit_of(point)}", settings, database, connection_record, tmp_path)


def hit_of(point: str) -> int:
    """The third hit, so that some were acknowledged before; a flag is won once only while no worker takes it."""
    return 1 if point == "between_flag_and_enqueue" else 3


def deliver_with_failures(
    failpoint: str, settings: AppSettings, database: Database, record: ConnectionRecord, directory: Path
) -> None:
    ids = [f"evt_{n}" for n in range(12)]
    with running(settings, directory, FAILPOINTS=failpoint, WEB_PROCESSES="1") as web:
        acked = deliver_until_acked(web, record.webhook_path, ids)
        assert acked == set(ids), web.log
        deadline = time.monotonic() + 10  # the ring comes after the answer
        while f"failpoint {failpoint.partition('=')[0]} " not in web.log:
            assert time.monotonic() < deadline, "the failpoint was never reached"
            time.sleep(0.05)
    assert sorted(stored_ids(database)) == sorted(ids), "each once, none lost"


@pytest.mark.fault("F40", "F45")
def test_sigkill_of_everything_under_load_loses_no_acknowledged_event(
    settings: AppSettings, database: Database, connection_record: ConnectionRecord, tmp_path: Path
) -> None:
    acked: set[str] = set()
    ending = threading.Event()

    def send(web: WebProcess, sender: int) -> None:
        number = 0
        while not ending.is_set():
            event_id = f"evt_{web.port}_{sender}_{number}"
            number += 1
            if web.deliver(connection_record.webhook_path, body_of(event(event_id)), timeout=3) == 200:
                acked.add(event_id)

    for _ in range(2):
        ending.clear()
        with running(settings, tmp_path) as web:
            senders = [threading.Thread(target=send, args=(web, sender)) for sender in range(8)]
            for sender in senders:
                sender.start()
            time.sleep(1.0)
            web.kill()
            ending.set()
            for sender in senders:
                sender.join()
    assert len(acked) > 50
    assert acked <= set(stored_ids(database))


@pytest.mark.fault("F02")
def test_fifty_deliveries_of_one_event_at_once_are_fifty_times_200_and_one_row(
    web: WebProcess, database: Database, connection_record: ConnectionRecord
) -> None:
    body = body_of(event("evt_same"))
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: web.deliver(connection_record.webhook_path, body), range(50)))
    assert statuses == [200] * 50
    assert stored_ids(database) == ["evt_same"]


@only_sqlite
@pytest.mark.fault("F17", "S07")
@pytest.mark.fault("I10")
def test_five_megabytes_are_refused_with_413_chunked_or_not_and_memory_stays(
    web: WebProcess, database: Database, connection_record: ConnectionRecord
) -> None:
    path = connection_record.webhook_path

    def pieces() -> Iterator[bytes]:
        for _ in range(80):
            yield b"x" * 65_536

    def refused(rounds: int) -> None:
        for _ in range(rounds):
            assert web.ask("POST", path, pieces())[0] == 413
            assert web.ask("POST", path, b"x" * (5 << 20))[0] == 413

    timed_deliveries(web, path, 60)
    refused(2)
    growths = []
    for _ in range(3):  # kept bodies would show each time, a thread that ran late but once
        before = settled_memory(web)
        refused(10)
        growths.append(web.memory() - before)
    assert min(growths) < 10 << 20, growths
    assert web.deliver(path, body_of(event())) == 200
    assert len(stored_ids(database)) == 61


@only_sqlite
@pytest.mark.fault("F18", "F20", "S08", "S52")
def test_odd_bytes_and_encodings_are_refused_without_a_traceback_or_a_version(
    web: WebProcess, connection_record: ConnectionRecord
) -> None:
    path = connection_record.webhook_path
    assert web.deliver(path, b"\x1f\x8b" * 50, Content_Encoding="gzip") == 415
    assert web.ask("POST", path, b"\xff\xfe\x00", Stripe_Signature="t=1,v1=00")[0] == 400
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n".encode()
    answer = web.raw(head + b"Stripe-Signature: t=\xff\xfe,v1=\xc3\x28\r\nConnection: close\r\n\r\n{}")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Server: gunicorn\r\n" in answer
    assert "Traceback" not in web.log
    status, page = web.ask("GET", "/nothing/here", Accept="application/json")
    assert (status, b"Werkzeug" in page) == (404, False)


@only_sqlite
@pytest.mark.fault("S50")
def test_a_request_whose_end_is_in_doubt_is_refused_and_its_connection_closed(web: WebProcess) -> None:
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    for framing in (
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5;a=\rb\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length : 5\r\n\r\nhello",
    ):
        answer = web.raw(b"POST /webhooks/stripe/x HTTP/1.1\r\nHost: a\r\n" + framing + smuggled)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), framing
        assert answer.count(b"HTTP/1.1 ") == 1, "what followed was not taken for a request"


@only_sqlite
@pytest.mark.fault("F16", "S10")
def test_two_hundred_slow_clients_do_not_hold_up_a_real_event(web: WebProcess, connection_record: ConnectionRecord) -> None:
    path = connection_record.webhook_path
    for kind, start in {
        "trickled head": b"P",
        "trickled body": f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n".encode(),
        "silent": b"",
        "answer not read": f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode(),
    }.items():
        slow = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(200)]
        try:
            took = []
            for piece in (start, b"O", b"S"):
                for sock in slow if kind.startswith("trickled") or piece == start else ():
                    sock.sendall(piece)
                started = time.monotonic()
                assert web.deliver(path, body_of(event())) == 200
                took.append(time.monotonic() - started)
                time.sleep(0.2)
            assert max(took) < 1.0, kind
        finally:
            for sock in slow:
                sock.close()


@only_sqlite
@pytest.mark.fault("F51", "F52")
def test_a_redis_that_hangs_or_is_gone_delays_no_answer(
    web: WebProcess, database: Database, connection_record: ConnectionRecord, valkey_server: EmbeddedValkey
) -> None:
    path = connection_record.webhook_path
    assert web.deliver(path, body_of(event())) == 200
    assert valkey_server.process is not None
    os.kill(valkey_server.process.pid, signal.SIGSTOP)
    try:
        took = []
        for _ in range(12):
            started = time.monotonic()
            assert web.deliver(path, body_of(event())) == 200
            took.append(time.monotonic() - started)
    finally:
        os.kill(valkey_server.process.pid, signal.SIGCONT)
    assert max(took) < 0.5
    assert len(stored_ids(database)) == 13


@only_sqlite
@pytest.mark.fault("F38", "F43")
def test_a_locked_sqlite_is_503_within_two_seconds_and_200_when_it_is_free(
    web: WebProcess, database: Database, connection_record: ConnectionRecord
) -> None:
    path = connection_record.webhook_path
    assert web.deliver(path, body_of(event("evt_before"))) == 200
    other = sqlite3.connect(str(database.url.database), isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(2):
            answers = timed_deliveries(web, path, 60)
            assert {status for status, _ in answers} == {503}
            assert max(took for _, took in answers) < ANSWER_S
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert deliver_until_acked(web, path, ["evt_after"], 15) == {"evt_after"}


@pytest.fixture
def proxied(
    settings: AppSettings, database: Database, connection_record: ConnectionRecord, tmp_path: Path
) -> Iterator[tuple[WebProcess, FaultProxy]]:
    """gunicorn whose PostgreSQL lies behind a proxy that can fail."""
    directory = database.url.query.get("host")
    target = f"{directory}/.s.PGSQL.5432" if directory else (database.url.host or "localhost", database.url.port or 5432)
    proxy = FaultProxy(target)
    url = database.url.set(host="127.0.0.1", port=proxy.port, query={}).render_as_string(hide_password=False)
    try:
        # One process: whichever answers has read the connections by then.
        with running(settings, tmp_path, DATABASE_URL=url, WEB_PROCESSES="1") as web:
            yield web, proxy
    finally:
        proxy.close()


@only_postgres
@pytest.mark.fault("F38", "F41", "F81", "F85")
@pytest.mark.parametrize("fault", ["hang", "cut"])
def test_a_postgres_that_is_gone_is_503_within_two_seconds_and_200_when_it_is_back(
    fault: str, proxied: tuple[WebProcess, FaultProxy], database: Database, connection_record: ConnectionRecord
) -> None:
    web, proxy = proxied
    path = connection_record.webhook_path
    assert web.deliver(path, body_of(event("evt_before"))) == 200
    assert web.ask("GET", "/readyz")[0] == 200
    getattr(proxy, fault)()
    for _ in range(2):
        answers = timed_deliveries(web, path, 60)
        assert {status for status, _ in answers} == {503}
        assert max(took for _, took in answers) < ANSWER_S
    started = time.monotonic()
    assert web.ask("GET", "/readyz")[0] == 503
    assert web.ask("GET", "/healthz")[0] == 200
    assert time.monotonic() - started < ANSWER_S
    time.sleep(1.2)  # the connections known are older than a second now
    unsigned = web.ask("POST", path, b"{}", Stripe_Signature=sign(b"{}", "whsec_wrong"))
    assert unsigned[0] == 400, "what is known of the connections stays in force"
    proxy.resume()
    assert deliver_until_acked(web, path, ["evt_after"], 15) == {"evt_after"}
    assert "evt_after" in stored_ids(database)


@only_postgres
@pytest.mark.fault("F38", "F43")
def test_a_locked_table_is_503_within_two_seconds(
    web: WebProcess, database: Database, connection_record: ConnectionRecord
) -> None:
    path = connection_record.webhook_path
    assert web.deliver(path, body_of(event())) == 200
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE")
        answers = timed_deliveries(web, path, 40)
        other.rollback()
    assert {status for status, _ in answers} == {503}
    assert max(took for _, took in answers) < ANSWER_S
    assert deliver_until_acked(web, path, ["evt_after"], 15) == {"evt_after"}


@only_sqlite
@pytest.mark.fault("S11")
def test_an_address_that_only_fails_is_told_to_wait_and_valid_traffic_from_it_is_not(
    settings: AppSettings, connection_record: ConnectionRecord, tmp_path: Path
) -> None:
    path = connection_record.webhook_path
    with running(settings, tmp_path, TRUSTED_PROXIES="1", WEB_PROCESSES="1") as web:
        connection = web.connection()
        statuses = []
        for _ in range(620):
            headers = {"Stripe-Signature": "t=1,v1=" + "0" * 64, "X-Forwarded-For": "203.0.113.9"}
            connection.request("POST", path, body=b"{}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        assert statuses[:600] == [400] * 600
        assert set(statuses[600:]) == {429}
        assert web.deliver(path, body_of(event()), X_Forwarded_For="203.0.113.9") == 200
        assert web.ask("POST", path, b"{}", X_Forwarded_For="203.0.113.10")[0] == 400
        assert web.log.count("delivery_refused") < 60


@only_sqlite
@pytest.mark.fault("F63", "S53")
def test_sigterm_ends_it_quickly_with_every_request_answered_and_strangers_hear_only_ok(
    web: WebProcess, connection_record: ConnectionRecord
) -> None:
    assert web.ask("GET", "/readyz", X_Forwarded_For="203.0.113.9")[1] == b"ok\n"
    assert b'"pending":0' in web.ask("GET", "/readyz")[1]
    idle = web.connection()
    idle.request("GET", "/healthz")
    assert idle.getresponse().read() == b"ok\n"
    started = time.monotonic()
    assert web.stop() == 0
    assert time.monotonic() - started < 8
    idle.close()
