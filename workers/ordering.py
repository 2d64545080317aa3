"""Which snapshot of a Stripe object is newer: FAULTS.md section 4, as pure functions. The first line that fits decides.

Bounds of reads are milliseconds on Stripe's clock; `created` is Stripe's whole second. Our own clock is never used.
"""

from dataclasses import dataclass, replace
from enum import Enum

MARGIN_MS = 2_000
"""M of FAULTS 4.1: at least the skew between the clocks that stamp `created` and `Date`."""
FOREVER_MS = 2**53
"""Stands for infinity in the bounds of a read that came without a `Date` header."""

TERMINAL = {"subscription": frozenset({"canceled", "incomplete_expired"}), "invoice": frozenset({"paid", "void"})}
"""Statuses that nothing leaves (STRIPE.md 7.1 and 8)."""
_INVOICE_RANK = {"draft": 0, "open": 1, "uncollectible": 2, "paid": 3, "void": 3}


class Verdict(Enum):
    """What to do with a snapshot."""

    APPLY = "apply"
    REFETCH = "refetch"
    SUPERSEDED = "superseded"
    TOMBSTONE = "tombstone"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Known:
    """What the mirror knows of one object (FAULTS 4.1). `ev_*` None after a read; bounds None before the first read.

    `ev_seq`: the inbox row of the last applied event. A read whose cover is below it may lack that event.
    """

    kind: str = "event"
    final: bool = False
    ev_id: str | None = None
    ev_sec: int | None = None
    ev_seq: int | None = None
    read_lo_ms: int | None = None
    read_hi_ms: int | None = None
    cover_seq: int = 0
    version: int = 1


@dataclass(frozen=True, slots=True)
class ReadBounds:
    """When a read was true, on Stripe's clock, and the highest inbox `seq` seen before it was sent.

    `lo_ms`/`hi_ms` None: the answer had no `Date`, so nothing is known of its time. `version`: the mirror's version of the
    object when it was asked for (0: unknown then); None where that wasn't noted.
    """

    lo_ms: int | None
    hi_ms: int | None
    cover_seq: int
    version: int | None = None

    @property
    def low(self) -> int:
        """`lo_ms`, or minus infinity."""
        return -FOREVER_MS if self.lo_ms is None else self.lo_ms

    @property
    def high(self) -> int:
        """`hi_ms`, or infinity."""
        return FOREVER_MS if self.hi_ms is None else self.hi_ms


@dataclass(frozen=True, slots=True)
class Occurrence:
    """The facts of one event that the rule reads. `usable`: its payload is complete for our rules (FAULTS 4.2).

    `final_delete`: `customer.deleted` or `invoice.deleted`. `first`: a `.created` type. `last`: a deletion.
    """

    event_id: str
    seq: int
    created: int
    usable: bool
    final_delete: bool = False
    first: bool = False


def decide_event(known: Known | None, event: Occurrence) -> Verdict:
    """Lines 1 to 6 of FAULTS 4.2 for one event on one object. Line 0 (mode, account) is the receiver's."""
    if event.final_delete:
        return Verdict.SUPERSEDED if known is not None and known.final else Verdict.TOMBSTONE
    if known is None:
        return Verdict.APPLY if event.usable else Verdict.REFETCH
    if event.seq <= known.cover_seq or event.event_id == known.ev_id or known.final:
        return Verdict.SUPERSEDED
    if _newer(known, event.created):
        return Verdict.APPLY if event.usable else Verdict.REFETCH
    if _older(known, event.created):
        return Verdict.SUPERSEDED
    return Verdict.REFETCH


def _newer(known: Known, created: int) -> bool:
    """Line 4: in a second strictly after the last event, and after the last read with the margin."""
    after_event = known.ev_sec is None or created > known.ev_sec
    return after_event and (known.read_hi_ms is None or created * 1000 > known.read_hi_ms + MARGIN_MS)


def _older(known: Known, created: int) -> bool:
    """Line 5: in a second strictly before the last event, or over before the last read began."""
    before_event = known.ev_sec is not None and created < known.ev_sec
    return before_event or (known.read_lo_ms is not None and (created + 1) * 1000 + MARGIN_MS <= known.read_lo_ms)


def break_tie(object_type: str, held_status: str | None, status: str | None, *, same: bool, first: bool) -> Verdict:
    """What to do on line 6 before a refetch is paid for; REFETCH where nothing certain can be said.

    Certain are: equal facts (either order gives the same state), `.created` (first of all), and a status that nothing leaves.
    `previous_attributes` are not used: three changes within one second that come back to a value make them lie.
    """
    if same:
        return Verdict.SAME
    if first:
        return Verdict.SUPERSEDED
    if object_type == "invoice":
        held, new = _INVOICE_RANK.get(held_status or ""), _INVOICE_RANK.get(status or "")
        if held is None or new is None or held == new:
            return Verdict.REFETCH
        return Verdict.APPLY if new > held else Verdict.SUPERSEDED
    ends = TERMINAL.get(object_type, frozenset())
    if (held_status in ends) == (status in ends):
        return Verdict.REFETCH
    return Verdict.APPLY if status in ends else Verdict.SUPERSEDED


def decide_listed(known: Known | None, bounds: ReadBounds, *, same: bool) -> Verdict:
    """What to do with a row of a list page (backfill, census): FAULTS 4.2, "List row"."""
    if known is None:
        return Verdict.APPLY
    if known.final:
        return Verdict.SUPERSEDED
    if same:
        return Verdict.SAME
    end = bounds.high + MARGIN_MS
    if (known.read_lo_ms is not None and end <= known.read_lo_ms) or (known.ev_sec is not None and end <= known.ev_sec * 1000):
        return Verdict.SUPERSEDED
    return Verdict.REFETCH


def decide_refetched(known: Known | None, bounds: ReadBounds) -> Verdict:
    """Whether the answer of a refetch may be written.

    Not over a final tombstone, nor over another read that covers as much: of two reads on their way at once, the one that lands
    last need not be the later. An event applied after the read was sent (`ev_seq` above the cover) may not be in it: clearly
    later, it stands (SUPERSEDED); else nobody knows, and the object is read again (REFETCH).
    """
    if known is None or (known.version == bounds.version and not known.final):
        return Verdict.APPLY
    if known.final or known.cover_seq > bounds.cover_seq:
        return Verdict.SUPERSEDED
    if known.cover_seq == bounds.cover_seq and known.read_hi_ms is not None and bounds.low <= known.read_hi_ms:
        return Verdict.SUPERSEDED
    if known.ev_seq is not None and known.ev_sec is not None and known.ev_seq > bounds.cover_seq:
        return Verdict.SUPERSEDED if known.ev_sec * 1000 > bounds.high + MARGIN_MS else Verdict.REFETCH
    return Verdict.APPLY


def after_event(known: Known | None, event: Occurrence) -> Known:
    """The mirror's knowledge once an event was applied: read bounds and cover stay."""
    base = known or Known(version=0)
    return replace(
        base,
        kind="event",
        final=False,
        ev_id=event.event_id,
        ev_sec=event.created,
        ev_seq=event.seq,
        version=base.version + 1,
    )


def after_read(known: Known | None, bounds: ReadBounds) -> Known:
    """The mirror's knowledge once a read was applied."""
    base = known or Known(version=0)
    return Known(
        kind="read",
        read_lo_ms=bounds.low,
        read_hi_ms=bounds.high,
        cover_seq=max(base.cover_seq, bounds.cover_seq),
        version=base.version + 1,
    )


def after_tombstone(known: Known | None, event: Occurrence | None, *, final: bool) -> Known:
    """The mirror's knowledge once a deletion was applied (`event` None: a read said so)."""
    base = known or Known(version=0)
    return replace(
        base,
        kind="tombstone",
        final=final,
        ev_id=event.event_id if event else base.ev_id,
        ev_sec=event.created if event else base.ev_sec,
        ev_seq=event.seq if event else base.ev_seq,
        version=base.version + 1,
    )
