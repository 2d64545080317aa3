"""The line to the database is cut at any byte of what it answers (FAULTS F39)."""

import itertools
import time

import pytest

from models.errors import DatabaseAway
from models.store import bulk
from models.store.connections import ConnectionRecord
from models.store.inbox import insert_events
from models.store.session import Database, session_scope
from tests.support import only_postgres
from tests.support.deliveries import body_of, event
from tests.support.fault_proxy import FaultProxy
from webhook_app.connection_cache import Known
from webhook_app.group_commit import GroupCommit
from webhook_app.receive import read_event


@only_postgres
@pytest.mark.fault("F39", "I1")
def test_a_line_cut_at_any_byte_of_the_answers_to_a_commit_loses_nothing_and_stores_nothing_twice(
    database: Database, connection_record: ConnectionRecord
) -> None:
    """Each byte k: what was answered well is on disk; what wasn't is delivered again, whether or not it was committed."""
    directory = database.url.query.get("host")
    target = f"{directory}/.s.PGSQL.5432" if directory else (database.url.host or "localhost", database.url.port or 5432)
    proxy = FaultProxy(target)
    url = database.url.set(host="127.0.0.1", port=proxy.port, query={}).render_as_string(hide_password=False)
    web = Database(url, role="web", pool_size=1)
    known = Known(connection_record.id, connection_record.livemode, None, ())

    def write(rows: list) -> None:
        with session_scope(web, write=True) as connection:
            insert_events(connection, rows)

    inbox = GroupCommit(write, lambda _partitions: None)

    def acked(event_id: str) -> bool:
        try:
            inbox.store(read_event(known, body_of(event(event_id)), time.time_ns() // 1_000_000, 1))
        except DatabaseAway:
            return False
        return True

    def stored(event_id: str) -> int:
        with session_scope(database) as connection:
            return int(bulk.run(connection, "SELECT count(*) FROM inbox WHERE event_id = ?", [event_id]).scalar())

    try:
        for warm in range(8):  # its statements are prepared by then
            assert acked(f"evt_warm{warm}")
        unanswered = 0
        for k in itertools.count():
            event_id = f"evt_{k}"
            proxy.cut_after(k)
            first, whole = acked(event_id), proxy.to_be_cut
            proxy.resume()
            if whole:  # all was answered in fewer bytes
                break
            assert stored(event_id) == 1 or not first, f"byte {k}: acknowledged and lost"
            unanswered += not first and stored(event_id)
            while not acked(event_id):
                time.sleep(0.01)
            assert stored(event_id) == 1, f"byte {k}"
        assert k > 50
        assert unanswered, "no commit was cut off from its answer"
    finally:
        web.dispose()
        proxy.close()
