"""Laws of the reader over any JSON there is: nothing but `Unreadable` comes out, and what nobody asked for changes nothing."""

import contextlib
import copy
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import Unreadable, UnusableBody
from models.stripe_reader.envelope import envelope_of
from tests.fuzz.seeds import events, objects
from tests.fuzz.targets.reader import READERS, check_storable

_quick = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
_NESTED = {"coupon", "data", "plan", "discount", "source", "tiers", "payment"}
_NAMES = sorted({key for entry in objects() for key in entry} | _NESTED)

_scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(2**62, 10**400) | st.decimals() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["active", "open", "inf", "tiered", "1e999999", "0e-999999", "NaN", "\x00", "usd", Decimal("1E+999999")])
)  # fmt: skip
_keys = st.sampled_from(_NAMES) | st.text(max_size=4)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=6), max_leaves=25
)


@pytest.mark.fault("F22", "F29")
@pytest.mark.parametrize("kind", READERS)
@_quick
@given(data=_json, with_id=st.booleans())
def test_any_json_is_read_or_unreadable(kind: str, data: Any, with_id: bool) -> None:
    whole = {**data, "id": "x_1", "status": "active"} if with_id and isinstance(data, dict) else data
    with contextlib.suppress(Unreadable):
        check_storable(READERS[kind](whole))


@pytest.mark.fault("F19")
@_quick
@given(data=st.dictionaries(st.sampled_from(["id", "type", "object", "created", "data", "account", "livemode"]), _json))
def test_any_decoded_event_has_an_envelope_or_is_unusable(data: dict[str, Any]) -> None:
    with contextlib.suppress(UnusableBody):
        envelope = envelope_of({"id": "evt_1", "type": "a.b", "created": 5, **data})
        assert 0 <= envelope.created <= 253_402_300_799
        msgspec.json.encode(envelope)


_KINDS = {"plan": "price"}
_whole = [(one, READERS[_KINDS.get(one["object"], one["object"])]) for one in objects()]


@pytest.mark.fault("F22")
@_quick
@given(chosen=st.sampled_from(_whole), junk=_json, shuffle=st.randoms(use_true_random=False))
def test_fields_nobody_asked_for_change_nothing(
    chosen: tuple[dict[str, Any], Callable[[Any], Any]], junk: Any, shuffle: random.Random
) -> None:
    """In every object inside as well, and whatever order the fields come in. Only where keys are data (metadata, currencies)
    is there no such field."""
    plain, reader = chosen
    assert _value(reader, _crowded(copy.deepcopy(plain), junk, shuffle)) == _value(reader, plain)


def _value(reader: Callable[[Any], Any], data: Any) -> Any:
    try:
        return reader(data)
    except Unreadable as error:
        return str(error)


def _crowded(value: Any, junk: Any, shuffle: random.Random) -> Any:
    if isinstance(value, list):
        return [_crowded(entry, junk, shuffle) for entry in value]
    if not isinstance(value, dict):
        return value
    data = ("metadata", "currency_options")
    inner = {key: entry if key in data else _crowded(entry, junk, shuffle) for key, entry in value.items()}
    fields = [*inner.items(), *((f"unheard_of_{number}", junk) for number in range(shuffle.randint(0, 2)))]
    shuffle.shuffle(fields)
    return dict(fields)


def test_the_seeds_are_read_as_they_are() -> None:
    """Mutations of what can't be read anyway would prove little."""
    unread = [plain["id"] for plain, reader in _whole if isinstance(_value(reader, plain), str)]
    assert unread == []
    assert len(events()) > len(_whole)
