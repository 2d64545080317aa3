"""A TCP proxy that can hang, slow down, cut and come back: what lies between us and a database, Redis or Stripe (FAULTS 5)."""

import contextlib
import socket
import threading
import time


class FaultProxy:
    """Forwards 127.0.0.1:`port` to a target: a Unix socket's path or (host, port)."""

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._delay_s = 0.0
        self._left: int | None = None
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        """Take connections and bytes, forward nothing: a machine that is gone without a word."""
        self._flowing.clear()

    def slow(self, seconds: float) -> None:
        """Forward everything so much later."""
        self._delay_s = seconds

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self._refusing = True
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for sock in sockets:
            _close(sock)

    def cut_after(self, size: int) -> None:
        """Let so many bytes of answers through and cut at the next one; who connects then is served."""
        self._left = size

    @property
    def to_be_cut(self) -> bool:
        """Whether so much has not been answered yet."""
        return self._left is not None

    def resume(self) -> None:
        """As if nothing had been."""
        self._refusing = False
        self._left = None
        self._delay_s = 0.0
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
        server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
        try:
            server.connect(self._target)
        except OSError:
            _close(client)
            _close(server)
            return
        with self._lock:
            self._sockets |= {client, server}
        if self._refusing:  # cut in this very moment
            self._forget(client, server)
            return
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client, answers=True)

    def _pump(self, source: socket.socket, sink: socket.socket, *, answers: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._delay_s:
                    time.sleep(self._delay_s)
                self._flowing.wait()
                part, over = self._allowed(data) if answers else (data, False)
                sink.sendall(part)
                if over:
                    self.cut()
                    self._refusing = False
        self._forget(source, sink)

    def _allowed(self, answer: bytes) -> tuple[bytes, bool]:
        """What of an answer may go through, and whether the line is cut after it."""
        left, over = self._left, False
        if left is not None:
            over, answer = len(answer) > left, answer[:left]
            self._left = None if over else left - len(answer)
        return answer, over

    def _forget(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._sockets.difference_update(sockets)
        for sock in sockets:
            _close(sock)


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
