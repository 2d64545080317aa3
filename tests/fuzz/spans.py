"""A JSON text with the place of each of its values, members and keys, so that a mutation is a splice of bytes.

Decoding, changing and encoding again would cost ten times as much, and could never write what no encoder writes: two equal
keys, NaN, half a surrogate pair, a number of 400 digits.
"""

import json
from typing import NamedTuple


class Slot(NamedTuple):
    """One value: `start:end` is its text, `cut_start:cut_end` that of its member or element with one comma, `key` the name it
    stands under (that of its list for an element), `key_start:key_end` the key's own text (0:0 for an element)."""

    start: int
    end: int
    cut_start: int
    cut_end: int
    key_start: int
    key_end: int
    key: str


class Verbatim(str):
    """A number as it was written."""

    __slots__ = ()


class Template:
    """A text to mutate. `slots` is empty where it is no JSON. `borrowed`: it is not ours to keep in the corpus."""

    __slots__ = ("borrowed", "raw", "slots")

    def __init__(self, raw: bytes, *, borrowed: bool = False) -> None:
        self.borrowed = borrowed
        self.raw = raw
        self.slots: list[Slot] = []
        try:
            value = json.loads(raw, parse_int=Verbatim, parse_float=Verbatim, parse_constant=Verbatim)
            writer = _Writer()
            writer.value(value, "")
        except (ValueError, RecursionError):
            return
        self.raw = "".join(writer.parts).encode()
        self.slots = writer.slots


class _Writer:
    """Writes compact ASCII JSON, and down where each value stands."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.slots: list[Slot] = []
        self._at = 0

    def _put(self, text: str) -> None:
        self.parts.append(text)
        self._at += len(text)

    def value(self, value: object, key: str) -> tuple[int, int]:
        start = self._at
        if isinstance(value, dict):
            self._all("{", [(str(name), entry) for name, entry in value.items()], "}", key)
        elif isinstance(value, list):
            self._all("[", [(None, entry) for entry in value], "]", key)
        else:
            self._put(value if isinstance(value, Verbatim) else json.dumps(value))
        return start, self._at

    def _all(self, opening: str, entries: list[tuple[str | None, object]], closing: str, outer: str) -> None:
        self._put(opening)
        for position, (name, entry) in enumerate(entries):
            cut_start = self._at
            if position:
                self._put(",")
            key_start = self._at if name is not None else 0
            if name is not None:
                self._put(json.dumps(name))
            key_end = self._at if name is not None else 0
            if name is not None:
                self._put(":")
            key = outer if name is None else name
            start, end = self.value(entry, key)
            # The first of several takes the comma behind it along.
            cut_end = end + 1 if not position and len(entries) > 1 else end
            self.slots.append(Slot(start, end, cut_start, cut_end, key_start, key_end, key))
        self._put(closing)
