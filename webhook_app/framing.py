"""Where a request ends: just enough of HTTP/1.1 (RFC 9112) to know that all its bytes are here.

It is stricter than gunicorn's parser where the two could differ about a request's end, for a thread must never wait for bytes:
a length that is no plain number, two lengths, a length beside chunks or another coding than `chunked` are refused here, and a
trailer longer than one chunk line. All else is the parser's to judge.
"""

import re
from enum import Enum

MAX_HEAD_BYTES = 64 << 10
MAX_BODY_BYTES = 1 << 20
MAX_CHUNKED_BYTES = MAX_BODY_BYTES + (MAX_BODY_BYTES >> 2)  # with its chunk lines
MAX_CHUNK_LINE = 1 << 10
MAX_CHUNKS = 4_096

_LENGTH = re.compile(rb"\r\ncontent-length([^\r\n]*)", re.IGNORECASE)
_NUMBER = re.compile(rb":[ \t]*([0-9]{1,15})[ \t]*")
_CODING = re.compile(rb"\r\ntransfer-encoding([^\r\n]*)", re.IGNORECASE)
_CHUNKED = re.compile(rb":[ \t]*chunked[ \t]*", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue", re.IGNORECASE)


class Verdict(Enum):
    """What the bytes so far are."""

    PART = "part"
    WHOLE = "whole"
    TOO_LARGE = "too large"
    HEAD_TOO_LARGE = "head too large"
    BAD = "bad"


class Gathered:
    """The bytes of one request as they come, and the `verdict` on them; `counted`: what the worker counts against its limit."""

    __slots__ = ("_begun", "_body_at", "_bytes", "_chunk_at", "_chunks", "_continue", "_end", "counted", "verdict")

    def __init__(self) -> None:
        self.counted = 0
        self._bytes = bytearray()
        self._forget()

    def _forget(self) -> None:
        self._begun = False
        self._body_at = 0  # 0 until the head is complete
        self._end: int | None = None  # None: chunked
        self._chunk_at = 0
        self._chunks = 0
        self._continue = False
        self.verdict = Verdict.PART

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._bytes)

    @property
    def so_far(self) -> bytearray:
        """The bytes themselves, to be looked at."""
        return self._bytes

    def take(self) -> bytes:
        """All bytes, to be parsed; what follows the request comes back with the next `add`."""
        whole = bytes(self._bytes)
        self._bytes.clear()
        self._forget()
        return whole

    def wants_continue(self) -> bool:
        """Whether the client waits to be told to send its body; true once."""
        wanted, self._continue = self._continue, False
        return wanted

    def add(self, data: bytes) -> Verdict:
        """Take `data` and say what there is now."""
        self.verdict = self._judge(data)
        return self.verdict

    def _judge(self, data: bytes) -> Verdict:
        seen = len(self._bytes)
        self._bytes += data
        if not self._begun and len(self._bytes) >= 2:
            self._begun = True
            if self._bytes.startswith(b"\r\n"):  # one empty line before a request is allowed
                del self._bytes[:2]
                seen = 0
        if not self._body_at:
            verdict = self._read_head(max(0, seen - 3))
            if verdict is not None:
                return verdict
        if self._end is not None:
            return Verdict.WHOLE if len(self._bytes) >= self._end else Verdict.PART
        return self._read_chunks()

    def _read_head(self, start: int) -> Verdict | None:
        """Find the end of the head and how the body is framed; None when the body can be looked at."""
        if self._bytes.startswith(b"\r\n"):
            return Verdict.BAD
        head_end = self._bytes.find(b"\r\n\r\n", start)
        if head_end > MAX_HEAD_BYTES or (head_end < 0 and len(self._bytes) > MAX_HEAD_BYTES):
            return Verdict.HEAD_TOO_LARGE
        if head_end < 0:
            return Verdict.PART
        self._body_at = self._chunk_at = head_end + 4
        self._continue = bool(_EXPECT.search(self._bytes, 0, head_end))
        return self._read_framing(head_end)

    def _read_framing(self, head_end: int) -> Verdict | None:
        lengths = _LENGTH.findall(self._bytes, 0, head_end)
        codings = _CODING.findall(self._bytes, 0, head_end)
        if codings:
            self._end = None
            return None if len(codings) == 1 and not lengths and _CHUNKED.fullmatch(codings[0]) else Verdict.BAD
        if not lengths:
            self._end = self._body_at
            return None
        number = _NUMBER.fullmatch(lengths[0])
        if len(lengths) > 1 or not number:
            return Verdict.BAD
        length = int(number[1])
        self._end = self._body_at + length
        return Verdict.TOO_LARGE if length > MAX_BODY_BYTES else None

    def _read_chunks(self) -> Verdict:
        while True:
            line_end = self._bytes.find(b"\r\n", self._chunk_at, self._chunk_at + MAX_CHUNK_LINE)
            if line_end < 0:
                return Verdict.BAD if len(self._bytes) - self._chunk_at >= MAX_CHUNK_LINE else self._unfinished()
            try:
                size = int(self._bytes[self._chunk_at : line_end].partition(b";")[0], 16)
            except ValueError:
                return Verdict.WHOLE  # the parser refuses it
            if size <= 0 or self._chunks > MAX_CHUNKS:
                return self._last_chunk(line_end) if size == 0 else Verdict.TOO_LARGE
            after = line_end + 2 + size + 2
            if after > len(self._bytes):
                return self._unfinished()
            self._chunk_at = after
            self._chunks += 1

    def _last_chunk(self, line_end: int) -> Verdict:
        """The trailer's end, looked for anew with each piece: so it must be short."""
        if self._bytes.find(b"\r\n\r\n", line_end, line_end + MAX_CHUNK_LINE) >= 0:
            return Verdict.WHOLE
        return Verdict.TOO_LARGE if len(self._bytes) - line_end >= MAX_CHUNK_LINE else Verdict.PART

    def _unfinished(self) -> Verdict:
        return Verdict.TOO_LARGE if len(self._bytes) - self._body_at > MAX_CHUNKED_BYTES else Verdict.PART
