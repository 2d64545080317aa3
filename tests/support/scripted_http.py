"""A tiny HTTP server that answers as the test says, down to broken bytes. Loopback only."""

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DATE = 1_795_000_000
Answer = Callable[[Any], None]


class Scripted:
    """Serves `answers` in turn (each a function of the handler), then `last` for ever. `requests` records what came."""

    def __init__(self) -> None:
        self.answers: deque[Callable[[Any], None]] = deque()
        self.last: Callable[[Any], None] = reply({"object": "list", "data": [], "has_more": False})
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                scripted.connections += 1
                super().setup()

            def handle(self):
                with contextlib.suppress(ConnectionError, TimeoutError):
                    super().handle()

            def do_GET(self):
                parts = urlsplit(self.path)
                scripted.requests.append(
                    {"method": self.command, "path": parts.path, "query": parse_qsl(parts.query), "headers": dict(self.headers)}
                )
                answer = scripted.answers.popleft() if scripted.answers else scripted.last
                answer(self)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815 - names of http.server

            def log_message(self, *args):
                pass

            def date_time_string(self, timestamp=None):
                return ""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def then(self, *answers: Callable[[Any], None]) -> "Scripted":
        self.answers.extend(answers)
        return self

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def reply(body: Any, status: int = 200, *, date: int | None = DATE, headers: dict[str, str] | None = None) -> Answer:
    """A whole answer; `body` JSON, or text or bytes as they are."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()

    def answer(handler: Any) -> None:
        handler.send_response_only(status)
        if date is not None:
            handler.send_header("Date", formatdate(date, usegmt=True))
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


def refuse(status: int, code: str | None = None, *, headers: dict[str, str] | None = None, **error: Any) -> Answer:
    """An error of Stripe's."""
    body = {"error": {"type": "invalid_request_error", "message": "secret words of jane@acme.com", **error}}
    if code:
        body["error"]["code"] = code
    return reply(body, status, headers=headers)


def listing(rows: list[dict[str, Any]], *, more: bool = False, date: int | None = DATE) -> Answer:
    return reply({"object": "list", "data": rows, "has_more": more}, date=date)


def cut(handler: Any) -> None:
    """Half a body, then the connection ends."""
    handler.send_response_only(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"object": "list", "da')
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def reset(handler: Any) -> None:
    """No answer at all: a reset."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    handler.close_connection = True
    handler.connection.close()


def hang(seconds: float) -> Answer:
    """Nothing for a while, then the connection ends."""

    def answer(handler: Any) -> None:
        threading.Event().wait(seconds)
        handler.close_connection = True

    return answer
