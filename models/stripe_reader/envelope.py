"""The envelope of an event: what the webhook endpoint needs before it stores the body (FAULTS 3, STRIPE 2.3, 4).

Hot path: a typed decode that skips everything else. Only a body of an odd shape is decoded in full.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from models.errors import UnusableBody
from models.stripe_reader.fields import OBJECT, decimal_or_nan
from models.stripe_reader.limits import check_limits

_THIN = "v2.core.event"
_NAME = re.compile(r"[\x21-\x7e]{1,255}")
_LAST_SECOND = 253_402_300_799  # 9999-12-31


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Who an event is about. `created`: unix seconds. `api_version` None: the event is unversioned.

    `customer_id`: the Stripe customer by STRIPE 2.3; None where the object names none (a price, an invoice payment).
    `thin`: a v2 event, which carries only a pointer to its object.
    """

    id: str
    type: str
    api_version: str | None = None
    created: int
    livemode: bool = False
    account: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    customer_id: str | None = None
    thin: bool = False


class _Reference(msgspec.Struct):
    id: str | None = None


class _Object(msgspec.Struct):
    id: str | None = None
    object: str | None = None
    customer: str | _Reference | None = None
    customer_account: str | None = None


class _Data(msgspec.Struct):
    object: _Object


class _Snapshot(msgspec.Struct):
    """The shape of nearly every event."""

    id: str
    object: str
    type: str
    created: int
    data: _Data
    api_version: str | None = None
    livemode: bool = False
    account: str | None = None


_snapshots = msgspec.json.Decoder(_Snapshot)
_anything = msgspec.json.Decoder(float_hook=decimal_or_nan)


def read_envelope(raw: bytes) -> Envelope:
    """The envelope of a webhook body, snapshot or thin.

    Raises only `UnusableBody`: bad JSON, no object, no usable id, type or time, or a body beyond the limits.
    """
    check_limits(raw)
    try:
        event = _snapshots.decode(raw)
    except msgspec.ValidationError:
        return _of_odd_shape(_decode(raw))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UnusableBody("the body is no JSON") from None
    if event.object == _THIN:
        return _of_odd_shape(_decode(raw))
    found = event.data.object
    return Envelope(
        id=_name(event.id, "id"),
        type=_name(event.type, "type"),
        api_version=event.api_version or None,
        created=_second(event.created),
        livemode=event.livemode,
        account=event.account or None,
        object_type=found.object or None,
        object_id=found.id or None,
        customer_id=_customer(found),
    )


def envelope_of(body: Mapping[str, Any]) -> Envelope:
    """The envelope of a decoded event, for what the workers read from `/v1/events`. Raises `UnusableBody`."""
    return _of_odd_shape(body)


def _customer(found: _Object) -> str | None:
    """STRIPE 2.3: the object itself, its customer (id or object), its account; an invoice payment names none."""
    if found.object == "customer":
        return found.id or None
    customer = found.customer
    named = customer.id if isinstance(customer, _Reference) else customer
    return named or found.customer_account or None


def _decode(raw: bytes) -> object:
    try:
        return _anything.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UnusableBody("the body is no JSON that can be read") from None


def _of_odd_shape(body: object) -> Envelope:
    """A thin event, or an event whose object isn't shaped like the others: only id, type and time must be sound."""
    if not isinstance(body, OBJECT):
        raise UnusableBody("the body is no JSON object")
    thin = body.get("object") == _THIN
    data = body.get("data")
    found = body.get("related_object") if thin else data.get("object") if isinstance(data, OBJECT) else None
    found = found if isinstance(found, OBJECT) else {}
    object_type = _text(found.get("type" if thin else "object"))
    object_id = _text(found.get("id"))
    customer = found.get("customer")
    named = _text(customer.get("id") if isinstance(customer, OBJECT) else customer) or _text(found.get("customer_account"))
    return Envelope(
        id=_name(body.get("id"), "id"),
        type=_name(body.get("type"), "type"),
        api_version=None if thin else _text(body.get("api_version")),
        created=_second(body.get("created")),
        livemode=body.get("livemode") is True,
        account=_text(body.get("account")),
        object_type=object_type,
        object_id=object_id,
        customer_id=object_id if object_type == "customer" else named,
        thin=thin,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _name(value: object, key: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise UnusableBody(f"the event has no usable {key}")
    return value


def _second(value: object) -> int:
    """Unix seconds; thin events write an ISO time."""
    if isinstance(value, str):
        value = _iso_second(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not _is_time(value):
        raise UnusableBody("the event has no usable time of creation")
    return int(value)


def _is_time(value: int | Decimal) -> bool:
    if isinstance(value, Decimal) and not value.is_finite():
        return False
    return 0 <= value <= _LAST_SECOND and value == int(value)


def _iso_second(value: str) -> int | None:
    try:
        at = datetime.fromisoformat(value)
        return int(at.timestamp()) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None
