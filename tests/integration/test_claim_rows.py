"""How pending rows are found: by status, along an index, whatever their numbers (FAULTS F48, F62)."""

from collections.abc import Iterator

import pytest

from models.settings import AppSettings
from models.store import bulk, claims, inbox
from models.store.keys import Keyring
from models.store.session import Database, session_scope
from tests.fake_stripe.clock import Clock
from tests.fake_stripe.server import FakeStripe
from tests.support.backfilled import START, lifted
from tests.support.pipeline import Pipeline
from workers import drain

BACKLOG = 20_000
ROW = (
    'INSERT INTO inbox (seq, connection_id, event_id, type, created, "partition", body, received_ms, status_ms, status,'
    " attempts, next_attempt_ms) VALUES (?, ?, ?, 'customer.updated', ?, 0, ?, ?, 0, ?, 0, 0)"
)


@pytest.fixture
def line(database: Database, settings: AppSettings, keyring: Keyring) -> Iterator[Pipeline]:
    with FakeStripe(seed=7, clock=Clock(START)) as fake:
        line = Pipeline(database, lifted(settings), keyring, fake)
        yield line
        line.close()


def body_of(line: Pipeline, event_id: str, created: int, name: str) -> bytes:
    customer = f'{{"id":"cus_1","object":"customer","created":{START},"livemode":true,"email":"a@a.com","name":"{name}"}}'
    return (
        f'{{"id":"{event_id}","object":"event","api_version":"2026-10-28.endive","created":{created},"livemode":true,'
        f'"type":"customer.updated","data":{{"object":{customer}}}}}'
    ).encode()


def put(line: Pipeline, seq: int, event_id: str, name: str) -> None:
    body = body_of(line, event_id, START + seq, name)
    with session_scope(line.database, write=True) as connection:
        bulk.run(connection, ROW, [seq, line.record.id, event_id, START + seq, body, START * 1000, "pending"])


@pytest.mark.fault("F48")
def test_a_lower_number_that_commits_later_is_found_by_the_drain_that_is_past_it(
    line: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(line, 1_000, "evt_higher", "later")
    done: list[str] = []

    def fp(name: str) -> None:
        if name == "after_commit_of_batch" and not done:
            done.append(name)
            put(line, 900, "evt_lower", "earlier")  # its transaction took the number first; it didn't ring yet

    monkeypatch.setattr(drain, "fp", fp)
    line.drain()
    assert done
    assert line.counts() == {"applied": 1, "superseded": 1}


@pytest.mark.fault("F62")
def test_a_backlog_is_claimed_along_the_index_of_what_is_pending(line: Pipeline) -> None:
    with session_scope(line.database, write=True) as connection:
        for start in range(1, BACKLOG, 1_000):
            values = [
                (seq, line.record.id, f"evt_{seq}", START, b"{}", START * 1000, "pending" if seq % 40 == 0 else "applied")
                for seq in range(start, start + 1_000)
            ]
            connection.exec_driver_sql(ROW.replace("?", bulk.mark(connection)), values)
        if not line.database.on_sqlite:
            connection.exec_driver_sql("ANALYZE inbox")
    explain = "EXPLAIN QUERY PLAN " if line.database.on_sqlite else "EXPLAIN "
    sql = (
        "SELECT seq, body FROM inbox WHERE status = 'pending' AND \"partition\" IN (0) AND seq > 0 AND next_attempt_ms <= 1"
        " ORDER BY seq LIMIT 300"
    )
    with session_scope(line.database) as connection:
        plan = " ".join(str(row) for row in connection.exec_driver_sql(explain + sql))
        rows = claims.load_pending(connection, {0}, line.tools.now_ms())
        age = line.tools.now_ms() - (inbox.oldest_pending_ms(connection) or 0)
    assert "ix_inbox_pending" in plan
    assert [row.seq for row in rows] == list(range(40, 12_001, 40))
    assert age == line.tools.now_ms() - START * 1000
