"""Raw bytes at a real gunicorn: garbage gets no 5xx, holds nobody, and the next good delivery is taken."""

import random
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from models.settings import AppSettings
from models.store.connections import ConnectionRecord
from tests.fuzz import keeping
from tests.fuzz.targets.framing import FramingSource
from tests.fuzz.test_pure import TIMES, seed
from tests.support import only_sqlite
from tests.support.deliveries import body_of, event
from tests.support.web_process import WebProcess, running

FRESH = 150
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@only_sqlite
@pytest.mark.fault("S64")
def test_garbage_at_the_socket_gets_no_5xx_and_the_next_delivery_is_taken(
    settings: AppSettings, connection_record: ConnectionRecord, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    number = seed()
    source = FramingSource(random.Random(number))
    fresh = [source.next()[0] for _ in range(FRESH * TIMES)]
    inputs = [b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", *keeping.stored("framing").values(), *fresh]
    statuses: list[int] = []
    with running(settings, tmp_path) as web:
        for data in inputs:
            found = [int(status) for status in _STATUS.findall(_answer(web, data))]
            assert not [status for status in found if status >= 500], f"SEED={number}: {data[:500]!r}"
            statuses += found
        assert web.deliver(connection_record.webhook_path, body_of(event("evt_after"))) == 200
        assert "Traceback" not in web.log
    counts = {status: statuses.count(status) for status in sorted(set(statuses))}
    record_property("said", f"fuzz sockets: {len(inputs)} connections, answers {counts}, no 5xx, seed {number}")
    assert {200, 400} <= counts.keys()


def _answer(web: WebProcess, data: bytes) -> bytes:
    """All that comes back; we say that we have no more to send, so that nobody waits for us."""
    answer = b""
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(65_536):
                answer += piece
        except ConnectionError:  # it was closed before all was sent
            return answer
    return answer
