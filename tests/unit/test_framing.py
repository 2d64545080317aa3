"""Where a request ends, whatever pieces it comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook_app.framing import MAX_BODY_BYTES, MAX_CHUNK_LINE, MAX_CHUNKS, MAX_HEAD_BYTES, Gathered, Verdict

HEAD = b"POST /webhooks/stripe/x HTTP/1.1\r\nHost: a\r\n"


def plain(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


requests = st.one_of(
    st.binary(max_size=80).map(plain),
    st.lists(st.binary(max_size=40), max_size=5).map(lambda pieces: chunked(*pieces)),
    st.lists(st.binary(max_size=40), max_size=5).map(lambda pieces: chunked(*pieces, trailer=b"A: b\r\n")),
    st.just(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    st.binary(max_size=30).map(lambda body: b"\r\n" + plain(body)),
)


@given(request=requests, cuts=st.lists(st.integers(1, 200), max_size=6))
@pytest.mark.fault("F16")
def test_a_request_is_whole_with_its_last_byte_and_not_before(request: bytes, cuts: list[int]) -> None:
    edges = sorted({min(cut, len(request)) for cut in cuts} | {len(request)})
    pieces = [request[start:end] for start, end in zip([0, *edges], edges, strict=False) if start < end]
    gathered = Gathered()
    for piece in pieces[:-1]:
        assert gathered.add(piece) is Verdict.PART
    assert gathered.add(pieces[-1]) is Verdict.WHOLE
    assert gathered.take() == request.removeprefix(b"\r\n") or gathered.size == 0
    assert gathered.size == 0


@given(request=requests)
@pytest.mark.fault("F16")
def test_byte_by_byte_is_no_different(request: bytes) -> None:
    gathered = Gathered()
    verdicts = [gathered.add(request[at : at + 1]) for at in range(len(request))]
    assert set(verdicts[:-1]) <= {Verdict.PART}
    assert verdicts[-1] is Verdict.WHOLE


@pytest.mark.fault("F17", "S07")
def test_a_body_too_large_is_known_from_its_length_or_by_the_time_it_is_too_much() -> None:
    announced = HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)
    assert Gathered().add(announced) is Verdict.TOO_LARGE
    gathered = Gathered()
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert gathered.add(HEAD + b"Transfer-Encoding: chunked\r\n\r\n") is Verdict.PART
    verdicts = []
    while not verdicts or verdicts[-1] is Verdict.PART:
        verdicts.append(gathered.add(piece))
    assert verdicts[-1] is Verdict.TOO_LARGE
    assert gathered.size < 2 * MAX_BODY_BYTES
    assert Gathered().add(plain(b"x" * MAX_BODY_BYTES)) is Verdict.WHOLE


def test_heads_without_end_and_chunks_without_number_are_refused() -> None:
    assert Gathered().add(HEAD + b"A: " + b"x" * MAX_HEAD_BYTES) is Verdict.HEAD_TOO_LARGE
    assert Gathered().add(chunked(*[b"x"] * (MAX_CHUNKS + 2))) is Verdict.TOO_LARGE


@pytest.mark.fault("S50")
@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Content-Length: 0x5",
        b"Content-Length:",
        b"content-length : 5x",
        b"Content-Length: " + b"9" * 16,
        b"Content-Lengthy: x",
    ],
)
def test_an_ambiguous_length_is_refused(framing: bytes) -> None:
    assert Gathered().add(HEAD + framing + b"\r\n\r\nhello") is Verdict.BAD


@pytest.mark.fault("F16")
def test_empty_lines_alone_are_no_request_that_a_thread_would_wait_for() -> None:
    assert Gathered().add(b"\r\n\r\n\r\n") is Verdict.BAD
    assert Gathered().add(b"\r\n\r\n" + b"x" * MAX_HEAD_BYTES) is Verdict.BAD  # as it is when they come in pieces
    assert Gathered().add(b"\r\n") is Verdict.PART


def test_what_follows_a_request_is_handed_on_and_a_client_that_asks_is_told_to_go_on_once() -> None:
    gathered = Gathered()
    assert gathered.add(plain(b"a") + plain(b"bc")[:20]) is Verdict.WHOLE
    assert gathered.take() == plain(b"a") + plain(b"bc")[:20]
    assert gathered.add(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n") is Verdict.PART
    assert gathered.wants_continue()
    assert not gathered.wants_continue()


@pytest.mark.fault("S50", "S64")
@pytest.mark.parametrize(
    "coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"", b"chunked;q", b"identity"]
)
def test_a_coding_other_than_chunked_is_refused(coding: bytes) -> None:
    """The parser behind would answer some of them with 501."""
    assert Gathered().add(HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n") is Verdict.BAD
    twice = b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert Gathered().add(HEAD + twice) is Verdict.BAD
    assert Gathered().add(HEAD + b"transfer-encoding :Chunked \r\n\r\n0\r\n\r\n") is Verdict.BAD
    assert Gathered().add(HEAD + b"transfer-encoding:\tChunked \r\n\r\n0\r\n\r\n") is Verdict.WHOLE


@pytest.mark.fault("F16", "S10", "I10")
def test_a_chunk_line_or_a_trailer_without_end_is_refused_and_no_thread_waits_for_it() -> None:
    chunked_head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    assert Gathered().add(chunked_head + b"5" * MAX_CHUNK_LINE) is Verdict.BAD
    gathered = Gathered()
    assert gathered.add(chunked_head + b"0\r\nX: ") is Verdict.PART
    verdicts = [gathered.add(b"y" * 100) for _ in range(MAX_CHUNK_LINE // 100 + 1)]
    assert verdicts[-1] is Verdict.TOO_LARGE
