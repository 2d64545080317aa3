"""Where a request ends: whatever bytes come in whatever pieces, a thread that gets a whole request never waits for more.

Our `Gathered` decides when to hand over; gunicorn's parser reads what was handed over, from a socket that has nothing more.
What it raises is answered as gunicorn's `handle_error` does, which must not be a 5xx.
"""

import ast
import random
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from gunicorn.config import Config
from gunicorn.http.errors import ConfigurationProblem, InvalidProxyHeader, NoMoreData, ParseException, UnsupportedTransferCoding
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create

from webhook_app.framing import Gathered, Verdict

_CONF = Path(__file__).parents[3] / "webhook_app" / "gunicorn_conf.py"
MOST_REQUESTS = 4  # looked at of those that come behind one another
_SERVER_ERRORS = (UnsupportedTransferCoding, ConfigurationProblem, InvalidProxyHeader)
_LINES = (
    b"POST /webhooks/stripe/x HTTP/1.1", b"GET / HTTP/1.1", b"GET /healthz HTTP/1.0", b"POST http://a/b HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"POST /webhooks/stripe/%00 HTTP/1.1", b"GET / HTTP/2.0", b"PRI * HTTP/2.0", b"GET /", b"", b"POST /a b HTTP/1.1",
    b"get / HTTP/1.1",
    b"GET /\xff HTTP/1.1", b"GET //x HTTP/1.1", b"GET ?x HTTP/1.1", b"GET /#x HTTP/1.1", b"GET / HTTP/1.10",
    b"GET\t/\tHTTP/1.1",
    b"CONNECT a:1 HTTP/1.1", b"GET http://[::1 HTTP/1.1", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2", b"\x16\x03\x01\x02\x00\x01",
)  # fmt: skip
_FIELDS = (
    b"Host: a", b"Host: a", b"Content-Length: 5", b"Content-Length: 0", b"content-length:5", b"Content-Length : 5",
    b"Content-Length: +5",
    b"Content-Length: 5, 5", b"Content-Length: 0x5", b"Content-Length: -5", b"Content-Length: 1048577", b"Content-Length:",
    b"Content-Length: 99999999999999999999", b"Content-Length: \xb2", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"transfer-encoding:chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding:", b"Transfer-Encoding: chunked;q=1",
    b"Expect: 100-continue", b"Expect: 200-ok", b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade",
    b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", b"Stripe-Signature: t=1,v1=x", b"Stripe_Signature: x",
    b"X: \x00",
    b"X: \xff", b"X\xff: a", b" X: folded", b"\tX: folded", b"X", b": x", b"X : y", b"X: a\rContent-Length: 5",
    b"X: a\nContent-Length: 5",
    b"X-Forwarded-Proto: https", b"X-Forwarded-Proto: http", b"SCRIPT_NAME: /x", b"Script-Name: /x", b"X: " + b"a" * 8200,
    b"Content-Encoding: gzip", b"Host: b", b"Host: \xff", b"Content-Type: application/json",
)  # fmt: skip
_CHUNKS = (
    b"5\r\nhello\r\n", b"0\r\n", b"0\r\n\r\n", b"5;a=b\r\nhello\r\n", b"5 \r\nhello\r\n", b" 5\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"-5\r\nhello\r\n", b"0x5\r\nhello\r\n", b"1_0\r\n0123456789abcdef\r\n", b"5\nhello\n", b"5\r\nhelloXX", b"5\r\nhell",
    b"g\r\n", b"\r\n",
    b"ffffffffffffffff\r\n", b"00000005\r\nhello\r\n", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\n\r\r\n",
    b"0;" + b"a" * 1200 + b"\r\n\r\n", b"5;\x00\r\nhello\r\n", b"\xff\r\n", b"A\r\n0123456789\r\n", b"0\r\n: x\r\n\r\n",
    b"0\r\nX\xff: y\r\n\r\n",
)  # fmt: skip
_NOISE = (b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b"\xff", b" ", b":", b"0", b"\t", b"\x0b", b";", b",")


class Silent:
    """A socket whose client sends nothing more: reading from it would hold the thread."""

    def recv(self, _size: int) -> NoReturn:
        """Never called."""
        raise AssertionError("a thread waits for bytes of a request that was said to be whole")

    def send(self, data: bytes) -> int:
        """`100 Continue`."""
        return len(data)

    sendall = send


class FramingSource:
    """Requests from parts, right ones and others, and some that are large."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._learned: list[bytes] = []

    def next(self) -> tuple[bytes, bool]:
        """The bytes of a connection."""
        rnd = self._rng.random
        if self._learned and rnd() < 0.3:
            raw = self._learned[int(rnd() * len(self._learned))]
        else:
            raw = self._request() + (self._request() if rnd() < 0.2 else b"")
        if rnd() < 0.4:
            at, token = int(rnd() * (len(raw) + 1)), _NOISE[int(rnd() * len(_NOISE))]
            raw = raw[:at] + token + raw[at + int(rnd() * 3) :]
        if rnd() < 0.002:
            at = int(rnd() * (len(raw) + 1))
            raw = raw[:at] + _CHUNKS[int(rnd() * len(_CHUNKS))] * int(rnd() * 9_000) + raw[at:]
        return raw, True

    def _request(self) -> bytes:
        rnd = self._rng.random
        line = _LINES[0] if rnd() < 0.7 else _LINES[int(rnd() * len(_LINES))]
        fields = [_FIELDS[int(rnd() * len(_FIELDS))] for _ in range(int(rnd() * 5))]
        roll = rnd()
        if roll < 0.35:
            body = b"x" * int(rnd() * 12)
            fields.append(b"Content-Length: %d" % len(body))
        elif roll < 0.8:
            body = b"".join(_CHUNKS[int(rnd() * len(_CHUNKS))] for _ in range(int(rnd() * 4)))
            body += b"0\r\n\r\n" if rnd() < 0.7 else b""
            fields.append(b"Transfer-Encoding: chunked")
        else:
            body = b""
        return b"\r\n".join([line, *fields, b"", body])

    def learn(self, data: bytes) -> None:
        """To be changed again."""
        self._learned.append(data)


class FramingTarget:
    """`webhook_app.framing` before gunicorn's parser, set as `gunicorn_conf` does."""

    name = "framing"
    watched = ("webhook_app/framing.py",)

    def __init__(self) -> None:
        self._config = Config()
        for statement in ast.parse(_CONF.read_text()).body:  # as it is set; importing it would ask the environment
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                self._config.set(ast.unparse(statement.targets[0]), statement.value.value)

    def source(self, rng: random.Random) -> FramingSource:
        """Fresh requests."""
        return FramingSource(rng)

    def run(self, data: bytes) -> tuple[str, ...]:
        """What is made of the bytes of one connection, in one piece and in several."""
        at_once = Gathered()
        verdict = at_once.add(data) if data else Verdict.PART
        assert _in_pieces(data) is verdict, "the pieces decide what a request is"
        words = [verdict.value]
        for _ in range(MOST_REQUESTS):
            if verdict is not Verdict.WHOLE:
                break
            word, early = self._served(at_once.take())
            words.append(word)
            if not early:
                break
            verdict = at_once.add(early)
        return tuple(words)

    def settle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to close."""

    def _served(self, whole: bytes) -> tuple[str, bytes]:
        """Serve it as the worker's thread does: the outcome, and what came behind it."""
        parser = RequestParser(self._config, Silent(), ("127.0.0.1", 5))
        parser.unreader.unread(whole)
        try:
            request = next(parser)
            create(request, Silent(), ("127.0.0.1", 5), ("127.0.0.1", 80), self._config)
            while request.body.read(1 << 16):
                pass
            if not parser.finish_body(deadline=float("inf")):
                return "body not finished", b""
        except _SERVER_ERRORS as error:
            raise AssertionError("a request that is answered with a 5xx") from error
        except (ParseException, NoMoreData) as error:
            return type(error).__name__, b""
        except StopIteration:
            return "stopped", b""
        return "served", b"" if request.should_close() else parser.unreader.take_buffered()


def _in_pieces(data: bytes) -> Verdict:
    """The first verdict that isn't "part", when the bytes come in pieces."""
    gathered, at, number = Gathered(), 0, crc32(data)
    verdict = Verdict.PART
    while at < len(data) and verdict is Verdict.PART:
        number = (number * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        size = (1, 2, 3, 7, 20, 100, 1000, 60_000)[number >> 8 & 7] if len(data) < 5_000 else 60_000
        verdict = gathered.add(data[at : at + size])
        at += size
    return verdict
