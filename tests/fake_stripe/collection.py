"""Objects of one kind, in the order that lists have, with what lists ask of them."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from tests.fake_stripe.records import InvoicePayment, Record

Key = tuple[int, int, str]
Test = Callable[[Record], bool]
Seen = Callable[[Record], Record | None]
ANY = "any"
Row = Any  # what a list shows: a record, or a stand-in for one that is made only when it is asked for


class StatusIn(msgspec.Struct, frozen=True):
    """The test that a collection may answer without making the record. `wanted` False: all but these."""

    words: frozenset[str]
    wanted: bool = True

    def allows(self, status: str) -> bool:
        """Does this status pass?"""
        return (status in self.words) == self.wanted

    def __call__(self, record: Record) -> bool:
        return self.allows(record.status)


class Window(msgspec.Struct):
    """What part of a list: `created` bounds by name, strictly older than `after`, strictly newer than `before` (then oldest
    first), of one `owner`, on one test `clock` (None: on none; ANY: whatever)."""

    created: dict[str, int] = {}
    after: Record | None = None
    before: Record | None = None
    owner: str | None = None
    clock: str | None = ANY
    tests: tuple[Test, ...] = ()


def passes(window: Window, record: Record) -> bool:
    """Whether the window's list shows it."""
    if window.clock != ANY and record.test_clock != window.clock:
        return False
    return all(test(record) for test in window.tests)


def key_of(record: Record) -> Key:
    """What a list is ordered by."""
    return (record.created, record.seq, record.id)


def owner_of(record: Record) -> str | None:
    """What lists narrow by: the customer; of an invoice's payment the invoice."""
    return record.invoice if isinstance(record, InvoicePayment) else getattr(record, "customer", None)


class Collection:
    """By id, ordered by creation, and by owner."""

    def __init__(self) -> None:
        self.by_id: dict[str, Record] = {}
        self.order: list[Key] = []
        self._by_owner: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Record]:
        return iter([self.by_id[key[2]] for key in self.order])

    def find(self, id_: str) -> Record | None:
        """By id."""
        return self.by_id.get(id_)

    def ids_of(self, owner: str) -> list[str]:
        """The ids of an owner's objects, oldest first (as they were added)."""
        return list(self._by_owner.get(owner, ()))

    def loose(self) -> Iterable[Record]:
        """Those that may be other than they were at the start."""
        return self

    def some(self) -> Iterable[Record]:
        """As many as a life of the account plays with: all, unless there are very many."""
        return self

    def add(self, record: Record) -> None:
        """One more; nearly always the newest."""
        self.by_id[record.id] = record
        key = key_of(record)
        if self.order and key < self.order[-1]:
            insort(self.order, key)
        else:
            self.order.append(key)
        self._index(record)

    def load(self, records: Iterable[Record]) -> None:
        """Many at once, in any order."""
        for record in records:
            self.by_id[record.id] = record
            self.order.append(key_of(record))
            self._index(record)
        self.order.sort()

    def _index(self, record: Record) -> None:
        owner = owner_of(record)
        if owner is not None:
            self._by_owner.setdefault(owner, []).append(record.id)

    def remove(self, record: Record) -> None:
        """Take it out of lists and retrieves."""
        del self.by_id[record.id]
        del self.order[bisect_left(self.order, key_of(record))]
        owner = owner_of(record)
        if owner is not None:
            self._by_owner[owner].remove(record.id)

    def rows(self, window: Window, seen: Seen) -> Iterator[Row]:
        """What a list shows, in its order; `seen`: how a record looked to who asks (None: it wasn't there)."""
        keys = self._between(window)
        for _, _, id_ in keys if window.before is not None else reversed(keys):
            record = seen(self.by_id[id_])
            if record is not None and passes(window, record):
                yield record

    def _between(self, window: Window) -> list[Key]:
        owner = window.owner
        order = self.order if owner is None else sorted(key_of(self.by_id[i]) for i in self._by_owner.get(owner, ()))
        return cut(order, window)


def cut(order: list[Key], window: Window) -> list[Key]:
    """The keys inside a window."""
    low, high = bounds(order, window.created, lambda moment: (moment,))
    if window.after is not None:
        high = min(high, bisect_left(order, key_of(window.after)))
    if window.before is not None:
        low = max(low, bisect_right(order, key_of(window.before)))
    return order[low:high]


def bounds(order: Sequence, created: dict[str, int], lowest: Callable[[int], object]) -> tuple[int, int]:
    """First and last + 1 place inside the `created` bounds; `lowest`: what sorts before everything of a second."""
    low, high = 0, len(order)
    if "gte" in created:
        low = bisect_left(order, lowest(created["gte"]))
    if "gt" in created:
        low = max(low, bisect_left(order, lowest(created["gt"] + 1)))
    if "lte" in created:
        high = bisect_left(order, lowest(created["lte"] + 1))
    if "lt" in created:
        high = min(high, bisect_left(order, lowest(created["lt"])))
    return low, high
