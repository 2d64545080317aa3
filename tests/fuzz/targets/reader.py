"""Every `read_*` over hostile JSON: nothing but `Unreadable`, and what comes out can be stored and reads back the same."""

import random
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any
from zlib import crc32

import msgspec

from models.domain.types import StripeCustomer, Subscription, Value
from models.errors import Unreadable
from models.stripe_reader import completeness, objects, references
from models.stripe_reader.versions import is_usable
from tests.fuzz import huge
from tests.fuzz.seeds import objects as seeds
from tests.fuzz.seeds import templates
from tests.fuzz.sources import JsonSource

READERS: dict[str, Callable[[object], Any]] = {name.removeprefix("read_"): getattr(objects, name) for name in objects.__all__}
_KINDS = tuple(READERS)
_BY_OBJECT = {**{kind: kind for kind in _KINDS}, "plan": "price"}
_LONG_NUMBER = re.compile(rb"(?<=[:,\[])-?\d{19,}")
_decoder = msgspec.json.Decoder(float_hook=Decimal)
_LARGEST = 2**63 - 1


@cache
def _decoder_of(kind: type[Value]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class ReaderTarget:
    """`models.stripe_reader`'s objects, and the questions that are asked of what it reads."""

    name = "reader"
    watched = ("models/stripe_reader",)

    def source(self, rng: random.Random) -> JsonSource:
        """Mutated Stripe objects."""
        return JsonSource(templates(seeds()), rng, huge=[huge.subscription, huge.invoice, huge.text])

    def run(self, data: bytes) -> tuple[str, ...]:
        """What one object reads as, by the reader of its kind and by another one."""
        try:
            value = _decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
            return ("no JSON",)
        named = _BY_OBJECT.get(str(value.get("object"))) if isinstance(value, dict) else None
        other = _KINDS[crc32(data) % len(_KINDS)]
        return tuple(_read(kind, value) for kind in {named or other, other})

    def settle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to close."""


def _read(kind: str, data: object) -> str:
    try:
        value = READERS[kind](data)
    except Unreadable as error:
        return f"{kind}: {error.problem.rpartition(': ')[2]}"
    check_storable(value)
    _ask(value)
    return f"{kind}: read"


def check_storable(value: Value) -> None:
    """As the mirror stores it: no NUL, whole numbers within 64 bits, and nothing lost on the way back."""
    text = msgspec.json.encode(value, order="sorted")
    assert b"\\u0000" not in text, "NUL in a value"
    for number in _LONG_NUMBER.findall(text):
        assert -_LARGEST <= int(number) <= _LARGEST, "a number beyond 64 bits"
    assert _decoder_of(type(value)).decode(text) == value, "a value that reads back differently"


def _ask(value: Any) -> None:
    """The pure questions of `completeness`, `references` and `versions`."""
    list(references.kept_keys_in(value))
    references.references_of(value)
    if isinstance(value, Subscription):
        completeness.prices_lacking(value)
        completeness.products_needed(value)
    if isinstance(value, StripeCustomer | Subscription):
        completeness.unresolved_discounts(value)
        completeness.coupons_needed(value)
    if hasattr(value, "payments_known"):
        completeness.needs_payment_state(value)
    is_usable(getattr(value, "number", None))
