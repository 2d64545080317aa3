"""The envelope and the whole event: fast on good bodies, `UnusableBody` and nothing else on bad ones."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnusableBody
from models.stripe_reader.envelope import read_envelope
from models.stripe_reader.events import read_event
from models.stripe_reader.versions import is_usable

EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.subscription.updated",
    "created": 1_795_000_000,
    "livemode": True,
    "api_version": "2026-10-28.endive",
    "account": "acct_1",
    "data": {
        "object": {"id": "sub_1", "object": "subscription", "customer": "cus_1"},
        "previous_attributes": {"status": "active"},
    },
}


def _raw(**fields: Any) -> bytes:
    return json.dumps({**EVENT, **fields}).encode()


def _about(**fields: Any) -> bytes:
    return _raw(data={"object": fields})


def _with(text: str) -> bytes:
    """A good event that carries `text` as raw JSON somewhere in its object."""
    return _about(id="x", junk="@").replace(b'"@"', text.encode("utf-8", "surrogatepass"))


def test_the_envelope_tells_who_an_event_is_about() -> None:
    envelope = read_envelope(_raw())
    assert (envelope.id, envelope.object_type, envelope.object_id, envelope.customer_id) == (
        "evt_1",
        "subscription",
        "sub_1",
        "cus_1",
    )
    assert (envelope.livemode, envelope.account, envelope.created, envelope.thin) == (True, "acct_1", 1_795_000_000, False)


@pytest.mark.parametrize(
    ("fields", "customer"),
    [
        ({"object": "customer", "id": "cus_9"}, "cus_9"),
        ({"object": "invoice", "id": "in_1", "customer": {"id": "cus_8", "object": "customer"}}, "cus_8"),
        ({"object": "invoice", "id": "in_1", "customer": None, "customer_account": "acct_7"}, "acct_7"),
        ({"object": "invoice_payment", "id": "inpay_1", "invoice": "in_1"}, None),
        ({"object": "price", "id": "price_1"}, None),
        ({"object": "discount", "id": "di_1", "customer": "cus_6"}, "cus_6"),
        ({"object": "invoice", "customer": 5}, None),
        ({"object": 7, "id": 8}, None),
    ],
)
def test_the_customer_is_found_in_every_shape(fields: dict, customer: str | None) -> None:
    assert read_envelope(_about(**fields)).customer_id == customer


def test_an_object_without_an_id_is_no_reason_to_refuse() -> None:
    """`invoice.upcoming` has none."""
    assert read_envelope(_about(object="invoice", customer="cus_1")).object_id is None


@pytest.mark.fault("F25")
def test_a_thin_event_is_recognised() -> None:
    thin = {
        "id": "evt_2",
        "object": "v2.core.event",
        "type": "v1.customer.updated",
        "created": "2026-11-18T11:06:40.5Z",
        "livemode": False,
        "context": None,
        "related_object": {"id": "cus_5", "type": "customer", "url": "/v1/customers/cus_5"},
    }
    envelope = read_envelope(json.dumps(thin).encode())
    assert (envelope.thin, envelope.api_version, envelope.created) == (True, None, 1_795_000_000)
    assert (envelope.object_type, envelope.object_id, envelope.customer_id) == ("customer", "cus_5", "cus_5")
    assert read_event(json.dumps(thin).encode()).object["id"] == "cus_5"


DEEP = "[" * 80 + "]" * 80
BAD = {
    "not JSON": b"{",
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "a text": b'"x"',
    "two values": b"{} {}",
    "not UTF-8": b'{"id": "\xff"}',
    "no id": _raw(id=None),
    "id a number": _raw(id=5),
    "empty id": _raw(id=""),
    "id with a space": _raw(id="evt 1"),
    "id far too long": _raw(id="e" * 256),
    "no type": _raw(type=None),
    "type a list": _raw(type=[]),
    "no time": _raw(created=None),
    "time as text": _raw(created="soon"),
    "negative time": _raw(created=-1),
    "time beyond years": _raw(created=10**15),
    "too deep": _with(DEEP),
    "far too deep": _with("[" * 100_000 + "]" * 100_000),
    "unbalanced": _with("[" * 100),
    "long number": _with("9" * 5000),
    "33 digits": _with("1" * 33),
    "digits both sides": _with("1" * 20 + "." + "1" * 20),
    "NaN": _with("NaN"),
    "Infinity": _with("-Infinity"),
    "NUL": _with('"a\\u0000b"'),
    "raw NUL": _with('"\x00"'),
    "raw tab": _with('"\t"'),
    "high surrogate": _with('"\\ud800"'),
    "low surrogate": _with('"\\uDC00"'),
    "swapped pair": _with('"\\udc00\\ud800"'),
    "raw surrogate": _with('"\ud800"'),
}


@pytest.mark.fault("F19")
@pytest.mark.fault("S09")
@pytest.mark.parametrize("reader", [read_envelope, read_event])
@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_a_body_that_is_no_event_is_refused(raw: bytes, reader: Any) -> None:
    with pytest.raises(UnusableBody) as refused:
        reader(raw)
    assert "\n" not in str(refused.value)
    assert "evt_1" not in str(refused.value)


GOOD = {
    "a pair": '"\\ud83d\\ude00"',
    "an escaped backslash": '"\\\\u0000 and \\\\ud800"',
    "64 deep": "[" * 60 + "]" * 60,
    "brackets in a text": json.dumps("[{" * 200),
    "digits in a text": json.dumps("9" * 500),
    "digits in words": json.dumps("a " + "9" * 40),
    "32 digits": "1" * 32,
    "twice the same key": '{"a": 1, "a": 2}',
    "many brackets": "[" + "{}," * 100 + "{}]",
    "RTL": '"\u202eabc"',
    "markup": json.dumps("<script>alert(1)</script>=cmd|' /C calc'!A0"),
    "exponent": "1e400000",
}


@pytest.mark.fault("F19")
@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_body_that_only_looks_suspicious_is_accepted(text: str) -> None:
    assert read_envelope(_with(text)).object_id == "x"
    assert read_event(_with(text)).object["id"] == "x"


@pytest.mark.fault("F21")
def test_an_unknown_type_is_an_event_like_any_other() -> None:
    assert read_envelope(_raw(type="moon.landed")).type == "moon.landed"


def test_numbers_never_go_through_binary_floats() -> None:
    event = read_event(_with("0.1"))
    assert event.object["junk"] == Decimal("0.1")
    assert event.previous_attributes is None
    assert read_event(_raw()).previous_attributes == {"status": "active"}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "object", "customer", "data", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.fault("F19")
@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60)
    | _json.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda value: _raw(data=value), _json)
)
def test_nothing_but_unusable_body_ever_comes_out(raw: bytes) -> None:
    outcomes = []
    for reader in (read_envelope, read_event):
        try:
            outcomes.append(reader(raw).id)
        except UnusableBody:
            outcomes.append("unusable")
    assert len(outcomes) == 2


@pytest.mark.parametrize(
    ("version", "usable"),
    [
        ("2019-02-19", True),
        ("2020-08-27", True),
        ("2024-06-20", True),
        ("2024-09-30.acacia", True),
        ("2025-02-24.acacia", True),
        ("2025-03-31.basil", True),
        ("2025-08-27.basil", True),
        ("2025-09-30.clover", True),
        ("2026-09-30.endive", True),
        ("2026-10-28.endive", True),
        ("2019-02-18", False),
        ("2026-11-25.endive", False),
        ("2027-03-31.fennel", False),
        ("2025-03-31.acacia", False),
        ("2025-05-01", False),
        ("2025-03-31.preview", False),
        ("2026-13-01.endive", False),
        ("banana", False),
        ("", False),
        (None, False),
        ("2020-08-27 ", False),
    ],
)
def test_which_versions_are_usable(version: str | None, usable: bool) -> None:
    assert is_usable(version) is usable
