"""The mutations: one to a few splices of a template's text, most of them at the place of a value."""

import json
import random
from collections.abc import Callable, Sequence

from tests.fuzz.spans import Slot, Template
from tests.fuzz.tokens import EXTRA_KEYS, hostile_for

Splice = tuple[int, int, bytes]
_LARGEST_POOLED = 400
_BYTES = (b"\x00", b"\xff", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"9", b"e", b"-", b" ", b"\n", b"\\u0000")


class Mutator:
    """Makes inputs from templates. The same `rng` and templates give the same inputs.

    `noise`: the share of inputs that get a change of bytes instead of one of values. `wild`: how often the text of another
    kind of value takes a place, against values that other templates have under the same key.
    """

    def __init__(self, templates: Sequence[Template], rng: random.Random, *, noise: float = 0.05, wild: float = 0.6) -> None:
        self._templates = list(templates)
        self._rng = rng
        self._random = rng.random
        self._noise = noise
        self._wild = wild
        self._pool: dict[str, list[bytes]] = {}
        self._hostile: dict[str, list[bytes]] = {}
        for template in self._templates:
            self._learn(template)
        names = {slot.key for template in self._templates for slot in template.slots if slot.key_end}
        self._keys = [json.dumps(key).encode() for key in sorted(names | set(EXTRA_KEYS))]
        self._acts: list[Callable[[Template, Slot], Splice]] = (
            [self._replace] * 10
            + [self._cut] * 3
            + [self._double] * 2
            + [self._rename, self._insert, self._insert, self._wrap, self._tweak, self._tweak, self._copy]
        )

    def _learn(self, template: Template) -> None:
        for slot in template.slots:
            if slot.end - slot.start <= _LARGEST_POOLED:
                self._pool.setdefault(slot.key, []).append(template.raw[slot.start : slot.end])

    def add(self, template: Template) -> None:
        """One more template: an input that reached something new."""
        self._templates.append(template)
        self._learn(template)

    def next(self) -> tuple[bytes, Template]:
        """An input, and what it was made from."""
        template = self._templates[int(self._random() * len(self._templates))]
        if not template.slots or self._random() < self._noise:
            return self._noisy(template.raw), template
        roll = self._random()
        if roll < 0.4:
            return self._spliced(template, 1), template
        return self._spliced(template, 2 if roll < 0.7 else 3 if roll < 0.9 else 8), template

    def _spliced(self, template: Template, count: int) -> bytes:
        slots, rnd, acts = template.slots, self._random, self._acts
        number, ways = len(slots), len(acts)
        raw = template.raw
        splices = [acts[int(rnd() * ways)](template, slots[int(rnd() * number)]) for _ in range(count)]
        if count > 1:
            splices.sort(reverse=True)
        edge = len(raw) + 1
        for start, end, text in splices:
            if end <= edge:
                raw = raw[:start] + text + raw[end:]
                edge = start
        return raw

    def value_for(self, key: str) -> bytes:
        """A text to stand under `key`: hostile, or what stands there elsewhere."""
        pool = self._pool.get(key)
        if pool is None or self._random() < self._wild:
            pool = self._hostile.get(key) or self._hostile.setdefault(key, hostile_for(key))
        return pool[int(self._random() * len(pool))]

    # --- one splice each -----------------------------------------------------------------------------

    def _replace(self, _template: Template, slot: Slot) -> Splice:
        return slot.start, slot.end, self.value_for(slot.key)

    def _cut(self, _template: Template, slot: Slot) -> Splice:
        return slot.cut_start, slot.cut_end, b""

    def _double(self, template: Template, slot: Slot) -> Splice:
        """The same key (or element) once more, with another value."""
        key = template.raw[slot.key_start : slot.key_end]
        value = template.raw[slot.start : slot.end] if self._random() < 0.3 else self.value_for(slot.key)
        return slot.end, slot.end, b"," + key + b":" + value if key else b"," + value

    def _rename(self, template: Template, slot: Slot) -> Splice:
        if not slot.key_end:
            return self._cut(template, slot)
        return slot.key_start, slot.key_end, self._key()

    def _insert(self, _template: Template, slot: Slot) -> Splice:
        """A member that wasn't there, before this one."""
        if not slot.key_end:
            return slot.start, slot.start, self.value_for(slot.key) + b","
        key = self._key()
        return slot.key_start, slot.key_start, key + b":" + self.value_for(key[1:-1].decode()) + b","

    def _wrap(self, template: Template, slot: Slot) -> Splice:
        value = template.raw[slot.start : slot.end]
        forms = (b"[%b]", b'{"data":[%b]}', b'{"id":%b}', b'{"object":"list","data":%b}', b"[%b,%b]")
        form = forms[int(self._random() * len(forms))]
        return slot.start, slot.end, form.replace(b"%b", value)

    def _tweak(self, template: Template, slot: Slot) -> Splice:
        """A number a little (or much) larger, or as text; a text as a number; anything else replaced."""
        value = template.raw[slot.start : slot.end]
        first = value[:1]
        if not first.isdigit() and first not in (b"-", b'"'):
            return self._replace(template, slot)
        if first == b'"':
            return slot.start, slot.end, value[1:-1]
        forms = (b'"%b"', b"-%b", b"%b0", b"%b.0", b"%b.5", b"%be3", b'"%be-3"', b"1%b", b"%b000000000000")
        return slot.start, slot.end, forms[int(self._random() * len(forms))].replace(b"%b", value)

    def _copy(self, template: Template, slot: Slot) -> Splice:
        """Another value of the same text."""
        other = template.slots[int(self._random() * len(template.slots))]
        return slot.start, slot.end, template.raw[other.start : other.end]

    def _key(self) -> bytes:
        return self._keys[int(self._random() * len(self._keys))]

    # --- bytes ---------------------------------------------------------------------------------------

    def _noisy(self, raw: bytes) -> bytes:
        for _ in range(1 + int(self._random() * 3)):
            at = int(self._random() * (len(raw) + 1))
            roll = self._random()
            if roll < 0.5:
                token = _BYTES[int(self._random() * len(_BYTES))]
                raw = raw[:at] + token + raw[at + int(self._random() * 2) :]
            elif roll < 0.65:
                raw = raw[:at]
            elif roll < 0.8:
                raw = raw[:at] + raw[at + int(self._random() * 20) :]
            else:
                end = at + int(self._random() * 40)
                raw = raw[:end] + raw[at:end] * (1 + int(self._random() * 3)) + raw[end:]
        return raw
