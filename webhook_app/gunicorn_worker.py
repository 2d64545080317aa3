"""gunicorn's threaded worker, with whole requests only: no thread ever waits for a client's bytes (F16, S10).

gunicorn 27's own `gthread` hands a connection to a thread as soon as its first byte came, and the thread then waits for the
rest as long as that takes: 32 sockets that send a byte a second hold all threads. It also waits up to 2 s in its main loop for
each client that doesn't close first. Here a thread takes what has come; if that is a whole request, as it nearly always is, it
serves it, else the main loop gathers the rest without blocking, within limits of size, time and memory, and lingers without
blocking too. So a slow client costs a socket and never a thread. A buffering proxy in front does the same; this makes the
product safe without one.

A webhook delivery needs no thread at all (`webhook_app.gunicorn_at_once`).

TLS ends before gunicorn (at the proxy), HTTP/2 as well: the configuration turns on neither.
"""

import contextlib
import selectors
import socket
import struct
import time
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn

from webhook_app.framing import Gathered, Verdict
from webhook_app.gunicorn_at_once import OneSend, ServesAtOnce

REQUEST_S = 10.0  # from a request's first byte (or the connection) to its last
LINGER_S = 2.0  # after an answer that closes, for the client to read it and close
MAX_GATHERED_BYTES = 64 << 20  # of all unfinished requests of this process
SPARE_CONNECTIONS = 64  # kept free by closing the oldest unfinished ones
THREAD_WAIT_S = 5  # net below: no single send or receive of a thread waits longer
READ_BYTES = 1 << 16
BALANCED_CONNECTIONS = 64  # up to so many a process leaves the next connection to one that has fewer

_ANSWERS = {
    Verdict.BAD: b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    Verdict.TOO_LARGE: b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    Verdict.HEAD_TOO_LARGE: b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
}


class WholeRequestWorker(ServesAtOnce):
    """Three waiting rooms, each in order of its deadline: `idle` between requests, `gathering`, `lingering`. A fourth in the
    order of coming, which is that of the commits, is `committing` (`ServesAtOnce`)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.idle: dict[TConn, float] = {}
        self.gathering: dict[TConn, float] = {}
        self.lingering: dict[TConn, float] = {}
        self.gathered_bytes = 0
        self.stopping_at: float | None = None
        self.accepts_at = 0.0

    # --- connections come ------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take a connection and wait for its first request."""
        try:
            client, address = listener.accept()
        except OSError:
            return
        wait = struct.pack("ll", THREAD_WAIT_S, 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, option, wait)
        self.nr_conns += 1
        conn = TConn(self.cfg, client, address, listener.getsockname())
        conn.gathered = Gathered()
        self._watch(conn)
        self.gathering[conn] = time.monotonic() + REQUEST_S
        self._let_others_accept()

    def _let_others_accept(self) -> None:
        """Wait a moment before the next connection, the longer the more there are: so that of several processes the one with
        fewer takes it. Else the one that is awake takes them all, and the other's processor idles."""
        if 4 <= self.nr_conns <= BALANCED_CONNECTIONS:
            self.set_accept_enabled(False)
            self.accepts_at = time.monotonic() + self.nr_conns // 4 / 1000

    def set_accept_enabled(self, enabled: bool) -> None:
        """As gunicorn does it, once the moment has passed."""
        if not enabled or time.monotonic() >= self.accepts_at:
            super().set_accept_enabled(enabled)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """As gunicorn does it, no longer than until connections are accepted again."""
        now = time.monotonic()
        if self.accepts_at > now:
            timeout = min(timeout, self.accepts_at - now)
        if self.committing:
            timeout = min(timeout, max(0.0, next(iter(self.committing.values())).answer.deadline - now))
        super().wait_for_and_dispatch_events(timeout)

    def _watch(self, conn: TConn) -> None:
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_readable, conn))
        conn.watched = True

    def _ignore(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        conn.watched = False

    def _on_readable(self, conn: TConn, _sock: socket.socket) -> None:
        """Bytes came: they are gathered; what lingers is thrown away, and who waits for an answer can wait with the rest."""
        if not conn.watched:  # what came before it in this look of the poller dropped it, or gave it to a thread
            return
        if conn in self.committing:
            self._ignore(conn)
        elif conn in self.lingering:
            if _received(conn) == b"":
                self._drop(conn)
        else:
            self._gather(conn)

    def _gather(self, conn: TConn) -> None:
        data = _received(conn)
        if data:
            self._judge(conn, conn.gathered.add(data))
        elif data is not None:
            self._drop(conn)

    def _to_thread(self, conn: TConn) -> None:
        self._leave_rooms(conn)
        self._ignore(conn)
        self.enqueue_req(conn)

    def _judge(self, conn: TConn, verdict: Verdict) -> None:
        """Serve the request or hand it over, refuse it, or wait for more. The socket is watched."""
        if verdict is Verdict.WHOLE:
            if self._is_at_once(conn.gathered.so_far):
                self._leave_rooms(conn)
                self._serve(conn)
            else:
                self._to_thread(conn)
        elif verdict is Verdict.PART:
            self._wait_for_more(conn)
        else:
            self._say(conn, _ANSWERS[verdict])
            self._leave_rooms(conn)
            self._linger(conn)

    def _wait_for_more(self, conn: TConn) -> None:
        size = conn.gathered.size
        self.gathered_bytes += size - conn.gathered.counted
        conn.gathered.counted = size
        if conn.gathered.wants_continue():
            self._say(conn, b"HTTP/1.1 100 Continue\r\n\r\n")
        if conn not in self.gathering:
            self.idle.pop(conn, None)
            self.gathering[conn] = time.monotonic() + REQUEST_S
        while self.gathered_bytes > MAX_GATHERED_BYTES and self.gathering:
            self._drop(next(iter(self.gathering)))

    # --- a thread serves one whole request ---------------------------------------------------------

    def handle(self, conn: TConn) -> Any:
        """Serve the request, all of which is here. Runs in a thread."""
        conn.data_ready = True
        conn.init()
        conn.parser.unreader.unread(conn.gathered.take())
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """As gunicorn does it, with one send for an answer that isn't large."""
        plain, conn.sock = conn.sock, OneSend(conn.sock)
        try:
            return super().handle_request(req, conn)
        finally:
            whole, conn.sock = conn.sock, plain
            whole.flush()

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Whether the connection can go on. A body nobody read is here already, so there is nothing to wait for."""
        return keepalive and bool(conn.parser.finish_body(deadline=time.monotonic() + 0.05))

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """The thread is done with it: wait for the next request, or close. In the main loop."""
        try:
            goes_on = not fs.cancelled() and fs.exception() is None and fs.result()
            self._watch(conn)
            if goes_on:
                self._next_request(conn)
            else:
                self._linger(conn)
        except (OSError, ValueError, KeyError):
            self._drop(conn)

    def _next_request(self, conn: TConn) -> None:
        self.idle[conn] = time.monotonic() + self.cfg.keepalive
        early = conn.parser.unreader.take_buffered()
        if not early:
            return
        verdict = conn.gathered.add(early)  # the next request was sent before this one's answer
        if verdict is Verdict.WHOLE:
            self._to_thread(conn)  # also a delivery: a loop of our own calls would grow the stack
        else:
            self._judge(conn, verdict)

    def _linger(self, conn: TConn) -> None:
        """Say that no more comes and let the client read its answer: closing at once could reset it (RFC 9112, 9.6)."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        self.lingering[conn] = time.monotonic() + LINGER_S

    # --- connections go --------------------------------------------------------------------------

    def murder_pending(self) -> None:
        """Close what waited too long, and the oldest unfinished requests when there is little room (once a turn)."""
        super().murder_pending()
        now = time.monotonic()
        self._end_settled(until=now)
        if not self.alive and self.stopping_at is None:
            self.stopping_at = now + LINGER_S
        for room in (self.idle, self.gathering, self.lingering):
            while room:
                conn, deadline = next(iter(room.items()))
                if now < min(deadline, self.stopping_at or deadline):
                    break
                self._drop(conn)
        while self.gathering and self.nr_conns > self.worker_connections - SPARE_CONNECTIONS:
            self._drop(next(iter(self.gathering)))

    def _leave_rooms(self, conn: TConn) -> None:
        for room in (self.idle, self.gathering, self.lingering):
            room.pop(conn, None)
        self.gathered_bytes -= conn.gathered.counted
        conn.gathered.counted = 0

    def _drop(self, conn: TConn) -> None:
        self._leave_rooms(conn)
        with contextlib.suppress(OSError, KeyError, ValueError):
            self._ignore(conn)
        self.nr_conns -= 1
        conn.close()

    @staticmethod
    def _say(conn: TConn, answer: bytes) -> None:
        with contextlib.suppress(OSError):
            conn.sock.send(answer)


def _received(conn: TConn) -> bytes | None:
    """What has come, b"" at the end (or an error, the same to us), None if nothing has."""
    try:
        data: bytes = conn.sock.recv(READ_BYTES, socket.MSG_DONTWAIT)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
    return data
