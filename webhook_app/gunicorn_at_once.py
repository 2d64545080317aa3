"""Deliveries served in gunicorn's main loop, without a thread: the busy half of `webhook_app.gunicorn_worker`.

A delivery is read and verified at once, and its answer, which waits for a commit, is an iterable that tells when it is settled
(`webhook_app.receive.Waiting`); one call tells the loop of all answers of a commit. Handing each request to a thread and back
cost more than the request itself. What could wait for anything else goes to a thread. An answer leaves in one piece: two would
wake the client twice.
"""

import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import TConn, ThreadWorker

MOST_HELD_BYTES = 1 << 16  # of an answer, before it leaves piece by piece


class OneSend:
    """A socket that sends an answer's head and body together: two packets would wake the client twice. Whatever else is asked
    of it is asked of the socket, once all that was held is sent."""

    __slots__ = ("_held", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = bytearray()

    def sendall(self, data: bytes) -> None:
        """Take a piece of the answer."""
        self._held += data
        if len(self._held) > MOST_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            held, self._held = self._held, bytearray()
            self._sock.sendall(held)

    def __getattr__(self, name: str) -> Any:
        self.flush()
        return getattr(self._sock, name)


class Begun(NamedTuple):
    """A request whose answer waits for its commit."""

    request: Any
    response: Any
    answer: Any


class ServesAtOnce(ThreadWorker):  # type: ignore[misc,unused-ignore]
    """What its subclass hands to `_serve`, it answers by `_next_request`, `_linger` or `_drop`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.committing: dict[TConn, Begun] = {}
        self._is_at_once: Callable[[bytes | bytearray], bool] = lambda _request: False
        self._wake_key = ""

    def _watch(self, conn: TConn) -> None:
        raise NotImplementedError

    def _next_request(self, conn: TConn) -> None:
        raise NotImplementedError

    def _linger(self, conn: TConn) -> None:
        raise NotImplementedError

    def _drop(self, conn: TConn) -> None:
        raise NotImplementedError

    def answers_at_once(self, is_at_once: Callable[[bytes | bytearray], bool], wake_key: str) -> None:
        """Serve the requests of which `is_at_once` is true in the main loop. The application finds under `wake_key` of their
        environ what to call when an answer that waits (it has `settled` and `deadline`) is settled."""
        self._is_at_once, self._wake_key = is_at_once, wake_key

    def _serve(self, conn: TConn) -> None:
        """Have the application begin with the request, all of which is here, and end it if that waits for nothing."""
        if not conn.initialized:
            conn.init()
            conn.sock.setblocking(False)
        conn.parser.unreader.unread(conn.gathered.take())
        request = None
        try:
            request = next(conn.parser)
            begun = self._begin(request, conn)
            if getattr(begun.answer, "settled", True):
                self._end(conn, begun)
            else:
                self.committing[conn] = begun
        except (OSError, StopIteration, NoMoreData):
            self._drop(conn)
        except Exception as error:
            self._failed(conn, request, error)

    def _begin(self, request: Any, conn: TConn) -> Begun:
        """As `handle_request` of gunicorn's, up to the application's answer."""
        response, environ = wsgi.create(request, OneSend(conn.sock), conn.client, conn.server, self.cfg)
        environ["wsgi.multithread"] = True
        environ[self._wake_key] = self._wake
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        if not self.alive:
            response.force_close()
        return Begun(request, response, self.wsgi(environ, response.start_response))

    def _end(self, conn: TConn, begun: Begun) -> None:
        """Send the answer, and wait for the next request."""
        _request, response, answer = begun
        try:
            for piece in answer:
                response.write(piece)
            response.close()
        finally:
            if hasattr(answer, "close"):
                answer.close()
        response.sock.flush()
        if not conn.watched:
            self._watch(conn)
        if response.should_close() or not _drained(begun.request):
            self._linger(conn)
        else:
            self._next_request(conn)

    def _wake(self) -> None:
        """An answer is settled. From any thread."""
        self.method_queue.defer(self._end_settled)

    def _end_settled(self, until: float = 0.0) -> None:
        """Send all answers that are settled, and those whose deadline was before `until`."""
        for conn, begun in list(self.committing.items()):
            if not begun.answer.settled and begun.answer.deadline >= until:
                break
            del self.committing[conn]
            try:
                self._end(conn, begun)
            except OSError:
                self._drop(conn)
            except Exception as error:
                self._failed(conn, begun.request, error)

    def _failed(self, conn: TConn, request: Any, error: Exception) -> None:
        """Answer what the parser refused (400) or what nobody foresaw (500), and close."""
        self.handle_error(request, conn.sock, conn.client, error)
        if not conn.watched:
            self._watch(conn)
        self._linger(conn)


def _drained(request: Any) -> bool:
    """Whether what the application left of the body, all of which is here, could be skipped: else nobody knows where the next
    request starts."""
    while not getattr(request.body, "failed", False):
        if not request.body.read(MOST_HELD_BYTES):
            return True
    return False
