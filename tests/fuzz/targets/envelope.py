"""The envelope and the whole event over the bytes of a body, and the row the endpoint would store for it.

What the typed, fast reading makes of a body must be what the full one makes of it: the endpoint stores by the first, the
worker applies by the second.
"""

import random
from collections.abc import Callable

from models.errors import UnusableBody
from models.store.inbox import NewEvent
from models.store.logs import set_up_logs
from models.stripe_reader.envelope import Envelope, read_envelope
from models.stripe_reader.events import read_event
from tests.fuzz import huge
from tests.fuzz.seeds import events, templates
from tests.fuzz.sources import JsonSource
from webhook_app import receive
from webhook_app.connection_cache import Known

_LARGEST = 2**63 - 1
_KNOWN = Known(1, livemode=True, account_id="acct_1", secrets=())
_FIELDS = Envelope.__struct_fields__
_INDEXED = ("event_id", "object_id", "customer_id")


class EnvelopeTarget:
    """`models.stripe_reader.envelope`, `.events` and `.limits`, and `webhook_app.receive.read_event`."""

    name = "envelope"
    watched = ("models/stripe_reader", "webhook_app/receive.py")

    def __init__(self) -> None:
        set_up_logs("ERROR")  # each quarantined body is a warning

    def source(self, rng: random.Random) -> JsonSource:
        """Mutated events."""
        return JsonSource(templates(events()), rng, noise=0.15, huge=[huge.event])

    def run(self, data: bytes) -> tuple[str, ...]:
        """How the body reads."""
        if len(data) > huge.LARGEST:
            return ("too large",)
        row = receive.read_event(_KNOWN, data, 1_795_000_000_000, 8)
        _check_row(row)
        envelope, event = _read(read_envelope, data), _read(read_event, data)
        if isinstance(envelope, UnusableBody):
            assert "\n" not in str(envelope), "an error of several lines"
            assert row.status == "quarantined", "an unusable body that isn't quarantined"
            assert isinstance(event, UnusableBody), "the worker reads what the endpoint refused"
            return (str(envelope),)
        if isinstance(event, UnusableBody):
            assert str(event) == "the event carries no object", "the worker refuses what the endpoint accepted"
            return (str(event), row.status)
        for name in _FIELDS:
            assert getattr(event, name) == getattr(envelope, name), f"{name} reads differently in full"
        return ("thin" if envelope.thin else "snapshot", row.error or row.status)

    def settle(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to close."""


def _read(reader: Callable[[bytes], Envelope], data: bytes) -> Envelope | UnusableBody:
    try:
        return reader(data)
    except UnusableBody as error:
        return error


def _check_row(row: NewEvent) -> None:
    """Both databases take it: no NUL, no half a character, ids short enough for an index, 64 bits."""
    for name, value in zip(row._fields, row, strict=True):
        if isinstance(value, str):
            assert "\x00" not in value, f"NUL in {name}"
            value.encode()
            assert len(value) <= 400 or name not in _INDEXED, f"{name} is too long for an index"
        elif isinstance(value, int):
            assert -_LARGEST <= value <= _LARGEST, f"{name} is beyond 64 bits"
    assert row.error is None or not row.error.startswith("unreadable ("), row.error
