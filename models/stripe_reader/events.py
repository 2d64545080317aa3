"""A whole event: the envelope, the object inside it, and what it was before."""

from typing import Any

import msgspec

from models.errors import UnusableBody
from models.stripe_reader.envelope import Envelope, envelope_of
from models.stripe_reader.fields import decimal_or_nan
from models.stripe_reader.limits import check_limits

# Fractions never go through binary floats: money is exact (RULES, opening).
_decoder = msgspec.json.Decoder(float_hook=decimal_or_nan)


class Event(Envelope, frozen=True, kw_only=True):
    """An event with its content. `object`: the Stripe object as sent (of a thin event: `related_object`).

    `previous_attributes`: the changed fields' values before, on `*.updated` only.
    """

    object: dict[str, Any]
    previous_attributes: dict[str, Any] | None = None


def read_event(raw: bytes, *, checked: bool = False) -> Event:
    """Decode a stored body in full. Raises only `UnusableBody`, for what `read_envelope` refuses and a missing object.

    `checked`: `read_envelope` took these very bytes before, so its limits hold; looking again is 8 % of a drain.
    """
    if not checked:
        check_limits(raw)
    body = _decode(raw)
    envelope = envelope_of(body if isinstance(body, dict) else {})
    found = _object(body, envelope.thin)
    if found is None:
        raise UnusableBody("the event carries no object")
    data = body.get("data")
    previous = data.get("previous_attributes") if isinstance(data, dict) else None
    return Event(
        **msgspec.structs.asdict(envelope),
        object=found,
        previous_attributes=previous if isinstance(previous, dict) else None,
    )


def _decode(raw: bytes) -> Any:
    """JSON from Stripe as plain values, fractions as `Decimal`."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise UnusableBody("the body is no JSON that can be read") from None


def _object(body: Any, thin: bool) -> dict[str, Any] | None:
    data = body.get("data")
    found = body.get("related_object") if thin else data.get("object") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else None
