"""An answer leaves in one piece, and in order whatever else is asked of its socket."""

from typing import Any

from webhook_app.gunicorn_at_once import MOST_HELD_BYTES, OneSend


class Socket:
    def __init__(self) -> None:
        self.said: list[Any] = []

    def sendall(self, data: bytes) -> None:
        self.said.append(bytes(data))

    def fileno(self) -> int:
        self.said.append("fileno")
        return 7


def test_head_and_body_are_one_send() -> None:
    sock = Socket()
    whole = OneSend(sock)  # type: ignore[arg-type]
    whole.sendall(b"head")
    whole.sendall(b"body")
    assert sock.said == []
    whole.flush()
    whole.flush()
    assert sock.said == [b"headbody"]


def test_what_is_held_goes_before_anything_else_that_is_asked_of_the_socket() -> None:
    sock = Socket()
    whole = OneSend(sock)  # type: ignore[arg-type]
    whole.sendall(b"head")
    assert whole.fileno() == 7
    assert sock.said == [b"head", "fileno"]


def test_a_large_answer_is_not_held_back() -> None:
    sock = Socket()
    whole = OneSend(sock)  # type: ignore[arg-type]
    for _ in range(3):
        whole.sendall(b"x" * MOST_HELD_BYTES)
    assert sum(map(len, sock.said)) >= 2 * MOST_HELD_BYTES
