"""The HTTP around the API: HTTP/1.1 with keep-alive on one thread, quick, and able to break its answers on order."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus

from tests.fake_stripe.api import Request, Response

MAX_HEAD = 64 * 1024


class HttpServer:
    """Serves `answer` on loopback. `latency`: seconds that every answer takes longer."""

    def __init__(self, answer: Callable[[Request], Response], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._answer = answer
        self._socket = socket.create_server((host, port))
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.latency = 0.0
        self.running = 0
        self.most_running = 0
        self.on_start: Callable[[Request], None] = lambda request: None
        self.on_end: Callable[[Request], None] = lambda request: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fake-stripe", daemon=True)
        self._connections: set[asyncio.Task] = set()

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, sock=self._socket, limit=MAX_HEAD))
        self._loop.run_forever()
        server.close()
        for task in list(self._connections):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._connections, return_exceptions=True))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._connections.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        request = _read(head)
        if (length := int(request.headers.get("content-length", "0"))) > 0:
            request = request._replace(body=await reader.readexactly(length))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.on_start(request)
        try:
            response = self._answer(request)
            return await self._send(writer, response) and request.headers.get("connection", "").lower() != "close"
        finally:
            self.running -= 1
            self.on_end(request)

    async def _send(self, writer: asyncio.StreamWriter, response: Response) -> bool:
        fault = response.fault
        kind = fault.kind if fault is not None else None
        delay = self.latency + (fault.seconds if fault is not None and kind in {"slow", "hang"} else 0)
        if delay:
            await asyncio.sleep(delay)
        if kind == "hang":
            return False
        if kind == "reset":
            writer.transport.abort()
            return False
        body = response.body
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + (body[: len(body) // 2] if kind == "truncate" else body))
        await writer.drain()
        return kind != "truncate"


def _read(head: bytes) -> Request:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers)
