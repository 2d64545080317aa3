"""A collection of a vast Stripe: one number for each object that was there, records only for what was touched or added."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from typing import TYPE_CHECKING

from tests.fake_stripe.collection import ANY, Collection, Row, Seen, StatusIn, Window, bounds, cut, key_of, passes
from tests.fake_stripe.expand import Tree
from tests.fake_stripe.records import Record
from tests.fake_stripe.render import Context

if TYPE_CHECKING:
    from tests.fake_stripe.vast import Vast

PACK = 32
PLAYED = 300
LOW = (1 << PACK) - 1


class Ghost:
    """Stands for an object that nobody has touched."""

    __slots__ = ("_kind", "_vast", "number")

    def __init__(self, vast: "Vast", kind: str, number: int) -> None:
        self._vast, self._kind, self.number = vast, kind, number

    def record(self) -> Record:
        """The object itself."""
        found = self._vast.record(self._kind, self.number)
        assert found is not None
        return found

    def passes(self, window: Window) -> bool:
        """Whether a list shows it; its status is known without making it. Nothing untouched is on a test clock."""
        if window.clock not in {ANY, None}:
            return False
        for test in window.tests:
            by_status = isinstance(test, StatusIn)
            if not (test.allows(self._vast.status(self._kind, self.number)) if by_status else test(self.record())):
                return False
        return True


class VastCollection(Collection):
    """`by_id`, `order` and what is inherited hold only what was added; `_touched` what was made for good, by number."""

    def __init__(self, vast: "Vast", kind: str, numbers: array) -> None:
        super().__init__()
        self._vast, self._kind, self._numbers = vast, kind, numbers
        self._touched: dict[int, Record] = {}
        self._removed: set[int] = set()

    def __len__(self) -> int:
        return len(self._numbers) - len(self._removed) + len(self.order)

    def __iter__(self) -> Iterator[Record]:
        return (row.record() if isinstance(row, Ghost) else row for row in self.rows(Window(before=FIRST), lambda one: one))

    def caster(self, ctx: Context, tree: Tree) -> Callable[[int], bytes] | None:
        """How stand-ins are shown."""
        return self._vast.caster(self._kind, ctx, tree)

    def find(self, id_: str) -> Record | None:
        """By id."""
        found = self.by_id.get(id_)
        if found is not None:
            return found
        number = self._vast.number_of(self._kind, id_)
        if number is None or number in self._removed:
            return None
        return self._touched.get(number) or self._vast.record(self._kind, number)

    def ids_of(self, owner: str) -> list[str]:
        """The ids of an owner's objects, oldest first."""
        there = [n for n in self._vast.numbers_of(self._kind, owner) if n not in self._removed]
        records = [self._touched.get(n) or self._vast.record(self._kind, n) for n in there]
        return [one.id for one in records if one is not None] + super().ids_of(owner)

    def loose(self) -> Iterable[Record]:
        """What was touched or added."""
        return [*self._touched.values(), *super().__iter__()]

    def some(self) -> Iterable[Record]:
        """What was touched or added, and a few hundred of the others, always the same."""
        few = self._numbers[:: max(1, len(self._numbers) // PLAYED)]
        rows = (self._row(number & LOW) for number in few)
        return [*self.loose(), *(row.record() for row in rows if isinstance(row, Ghost))]

    def adopt(self, number: int, record: Record) -> None:
        """This one may change from now on."""
        self._touched[number] = record

    def remove(self, record: Record) -> None:
        """Take it out of lists and retrieves."""
        if record.id in self.by_id:
            super().remove(record)
            return
        number = self._vast.number_of(self._kind, record.id)
        assert number is not None
        self._removed.add(number)
        self._touched.pop(number, None)

    def rows(self, window: Window, seen: Seen) -> Iterator[Row]:
        """What a list shows, in its order: stand-ins for what nobody has touched."""
        oldest_first = window.before is not None
        added = (key for key in super()._between(window))
        if window.owner is not None:
            mine = sorted(key_of(one) for one in map(self.find, self.ids_of(window.owner)) if one is not None)
            there: Iterator[Row | None] = (self.find(key[2]) for key in ordered(cut(mine, window), oldest_first))
        else:
            keys = ((key[0] << PACK | LOW, self.by_id[key[2]]) for key in ordered(list(added), oldest_first))
            base = ((n, None) for n in ordered(self._cut(window), oldest_first))
            both = merge(base, keys, key=lambda pair: pair[0], reverse=not oldest_first) if self.order else base
            there = (self._row(n & LOW) if added is None else added for n, added in both)
        for row in there:
            if isinstance(row, Ghost):
                if row.passes(window):
                    yield row
            elif row is not None and (record := seen(row)) is not None and passes(window, record):
                yield record

    def _row(self, number: int) -> Row | None:
        if number in self._removed:
            return None
        touched = self._touched.get(number)
        return Ghost(self._vast, self._kind, number) if touched is None else touched

    def _cut(self, window: Window) -> array:
        low, high = bounds(self._numbers, window.created, lambda moment: moment << PACK)
        if window.after is not None:
            high = min(high, bisect_left(self._numbers, place_of(window.after)))
        if window.before is not None:
            low = max(low, bisect_left(self._numbers, place_of(window.before) + 1))
        return self._numbers[low:high]


FIRST = Record(id="", created=0)  # nothing is older


def place_of(record: Record) -> int:
    """Its number if it was there from the start; else a number after all of its second."""
    return record.created << PACK | min(record.seq, LOW)


def ordered(keys: "list | array", oldest_first: bool) -> Iterator:
    """In the order that is asked for."""
    return iter(keys) if oldest_first else reversed(keys)
