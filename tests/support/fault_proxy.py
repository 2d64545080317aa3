"""A TCP proxy that can hang, cut and come back: what lies between us and a database or Redis (FAULTS 5, PROXY)."""

import contextlib
import socket
import threading


class FaultProxy:
    """Forwards 127.0.0.1:`port` to a target: a Unix socket's path or (host, port)."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        """Take connections and bytes, forward nothing: a machine that is gone without a word."""
        self._flowing.clear()

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self._refusing = True
        for sock in self._sockets:
            _close(sock)
        self._sockets.clear()

    def resume(self) -> None:
        """As if nothing had been."""
        self._refusing = False
        self._flowing.set()

    def close(self) -> None:
        """End it."""
        self.cut()
        self._listener.close()
        self._flowing.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _close(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._flowing.wait()
        try:
            if isinstance(self._target, str):
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
            else:
                server = socket.create_connection(self._target)
        except OSError:
            _close(client)
            return
        self._sockets += [client, server]
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
        _close(source)
        _close(sink)


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
