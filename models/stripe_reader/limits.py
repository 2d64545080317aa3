"""What no webhook body may hold, checked before anything is decoded (FAULTS F19, S09).

The checks are cheap first: one pass in C over the bytes tells nearly every real body good, and only a suspicious one is
looked at closely.
"""

import re
from itertools import accumulate
from typing import NoReturn

from models.errors import UnusableBody

DEEPEST = 64
MOST_DIGITS = 32

# Possessive, and an unfinished string reaches to the end: never a second look at a byte, whatever the body (S69).
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_ZERO = re.compile(rb"[^0]")
_NUMBER = re.compile(rb"[-+0-9.eE]{33,}")
_BEFORE_NUMBERS = (b"", b" ", b"\t", b"\r", b"\n", b":", b",", b"[")
_DIGITS_AS_0 = bytes(ord("0") if chr(byte) in "0123456789.eE+-" else byte for byte in range(256))
_LONG_NUMBER = b"0" * (MOST_DIGITS + 1)
_OPENS = bytes(chr(byte) in "[{" for byte in range(256))
_STEP = (-1, 1).__getitem__
_NOT_BRACKETS = bytes(byte for byte in range(256) if chr(byte) not in "[]{}")
# An escaped backslash before the u makes it plain text: `\\u0000` in a body is no NUL.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_SURROGATES = re.compile(rb"(?<!\\)(?:\\\\)*((?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})+)")
_PAIRS = re.compile(rb"(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})+")


def check_limits(raw: bytes) -> None:
    """Refuse a body that is no UTF-8, holds NUL or half a surrogate pair, nests too deeply or has absurd numbers.

    Raises `UnusableBody` with one line that says which.
    """
    if not raw.isascii():
        _check_utf8(raw)
    if raw.count(b"{") + raw.count(b"[") > DEEPEST:
        _check_depth(raw)
    digits_as_0 = raw.translate(_DIGITS_AS_0)
    if _LONG_NUMBER in digits_as_0:
        _check_numbers(raw, digits_as_0)
    if b"\\" in raw and b"\\u" in raw:
        _check_escapes(raw)


def _refuse(problem: str) -> NoReturn:
    raise UnusableBody(problem)


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UnusableBody("the body is not UTF-8") from None


def _check_depth(raw: bytes) -> None:
    brackets = _STRING.sub(b"", raw).translate(_OPENS, _NOT_BRACKETS)
    if max(accumulate(map(_STEP, brackets)), default=0) > DEEPEST:
        _refuse(f"the body nests deeper than {DEEPEST}")


def _check_numbers(raw: bytes, digits_as_0: bytes) -> None:
    """Look only where a long run of digits stands: after a letter or a quote it is part of a word, as in a link."""
    start = digits_as_0.find(_LONG_NUMBER)
    while start >= 0:
        if raw[max(start - 1, 0) : start] in _BEFORE_NUMBERS:
            _check_tokens(raw)
            return
        after = _NO_ZERO.search(digits_as_0, start)
        start = digits_as_0.find(_LONG_NUMBER, after.start()) if after else -1


def _check_tokens(raw: bytes) -> None:
    for number in _NUMBER.findall(_STRING.sub(b"", raw)):
        if sum(48 <= byte <= 57 for byte in number) > MOST_DIGITS:
            _refuse(f"the body holds a number of more than {MOST_DIGITS} digits")


def _check_escapes(raw: bytes) -> None:
    if b"\\u0000" in raw and _NUL.search(raw):
        _refuse("the body holds a NUL character")
    if b"\\ud" not in raw and b"\\uD" not in raw:  # most have a \u00d7 or the like; the search below costs 0.3 ms
        return
    for run in _SURROGATES.findall(raw):
        if not _PAIRS.fullmatch(run):
            _refuse("the body holds half of a surrogate pair")
