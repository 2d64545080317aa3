"""gunicorn's main loop with deliveries in it: one look of the poller may tell of a connection that an earlier event of the same
look has dropped or handed on."""

import selectors
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import PollableMethodQueue, TConn

from webhook_app.framing import Gathered
from webhook_app.gunicorn_at_once import Begun, OneSend
from webhook_app.gunicorn_worker import WholeRequestWorker

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Loop:
    """A worker's main loop without its process. `threads` are the connections that were given to one."""

    def __init__(self, closing: ExitStack) -> None:
        worker = WholeRequestWorker.__new__(WholeRequestWorker)
        rooms: dict[str, Any] = {name: {} for name in ("idle", "gathering", "lingering", "committing")}
        vars(worker).update(rooms, gathered_bytes=0, stopping_at=None, accepts_at=0.0, alive=True, nr_conns=0, cfg=Config())
        worker.poller, worker.method_queue = selectors.DefaultSelector(), PollableMethodQueue()
        worker.method_queue.init()
        worker.poller.register(worker.method_queue.fileno(), selectors.EVENT_READ, worker.method_queue.run_callbacks)
        worker.answers_at_once(lambda _request: False, "wake")
        self.threads: list[TConn] = []
        worker.enqueue_req = self.threads.append
        self.worker, self._closing = worker, closing
        closing.callback(worker.poller.close)
        closing.callback(worker.method_queue.close)
        self._listener = closing.enter_context(socket.create_server(("127.0.0.1", 0)))

    def delivery(self) -> tuple[socket.socket, TConn]:
        """A client that waits for its answer, which is settled and not sent yet."""
        client = self._closing.enter_context(socket.create_connection(self._listener.getsockname()))
        server, address = self._listener.accept()
        self._closing.callback(server.close)
        conn = TConn(self.worker.cfg, server, address, self._listener.getsockname())
        conn.gathered = Gathered()
        self.worker._watch(conn)
        self.worker.nr_conns += 1
        conn.init()
        conn.sock.setblocking(False)
        self.worker.committing[conn] = Begun(
            SimpleNamespace(body=SimpleNamespace(read=lambda _n: b"")), Answer(conn), Settled()
        )
        self.worker._wake()
        return client, conn

    def look(self) -> None:
        time.sleep(0.05)  # until the client's bytes are here
        self.worker.wait_for_and_dispatch_events(1.0)


class Settled:
    settled, deadline = True, 0.0

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])


class Answer:
    def __init__(self, conn: TConn) -> None:
        self.sock = OneSend(conn.sock)
        self.write = self.sock.sendall

    def close(self) -> None:
        """Nothing is left."""

    def should_close(self) -> bool:
        return False


@pytest.fixture
def loop() -> Iterator[Loop]:
    with ExitStack() as closing:
        yield Loop(closing)


def test_a_client_that_is_gone_when_its_answer_is_sent_is_counted_off_once(loop: Loop) -> None:
    client, _ = loop.delivery()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    loop.look()
    assert loop.worker.nr_conns == 0


def test_a_connection_that_went_to_a_thread_is_not_read_any_more(loop: Loop) -> None:
    client, conn = loop.delivery()
    conn.parser.unreader.unread(REQUEST)  # came with the delivery
    client.sendall(REQUEST)  # and one more meanwhile
    loop.look()
    assert loop.threads == [conn]
    assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert conn.sock.recv(100) == REQUEST, "the next one waits until the thread is done"
