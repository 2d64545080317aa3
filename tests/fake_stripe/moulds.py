"""Answers from moulds: what all objects of one class have in common is rendered once, the values are cast into it.

A mould is the true rendering of an account whose values are marks; so an object cast in it is byte for byte what rendering it
would give, at a fraction of the cost.
"""

import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import msgspec

from tests.fake_stripe.expand import Tree
from tests.fake_stripe.records import Record
from tests.fake_stripe.render import Context, render
from tests.fake_stripe.vast_plan import Bill, Kind, Own
from tests.fake_stripe.vast_records import Bundle

OWN, BILL = 30, 15  # places of the values of an account, and of each of its invoices
NUMBER = 8_100_000_000_000  # numbers from here on are marks: no time or amount is so large
MARK = re.compile(rb"@@([0-9]{3})@@|8100000000([0-9]{3})")
_ENCODE = msgspec.json.Encoder().encode


def flat(own: Own, bills: list[Bill | None]) -> list[Any]:
    """All values by place; those of an invoice that isn't asked for are absent."""
    values: list[Any] = [*own[:13], *own.items, *own[14:]]
    values += [None] * (OWN - len(values))
    for bill in bills:
        found = [] if bill is None else [*bill[:4], *bill.lines, *bill[5:]]
        values += found + [None] * (BILL - len(found))
    return values


def marks(bills: int) -> tuple[Own, list[Bill]]:
    """Values that are marks of their own places."""

    def mark(place: int, number: bool) -> Any:
        return NUMBER + place if number else b"@@%03d@@" % place

    numbers = {name for cls in (Own, Bill) for name, kind in cls.__annotations__.items() if kind is int}

    def fill(cls: Any, place: int, several: str) -> Any:
        found: list[Any] = []
        for name in cls._fields:
            if name == several:
                found.append(tuple(mark(place + n, False) for n in range(3)))
                place += 3
            else:
                found.append(mark(place, name in numbers))
                place += 1
        return cls(*found)

    return fill(Own, 0, "items"), [fill(Bill, OWN + slot * BILL, "lines") for slot in range(bills)]


class Inside(Context):
    """Looks into one account, and beyond it only into the catalogue."""

    def __init__(self, ctx: Context, bundle: Bundle) -> None:
        super().__init__(ctx.state, ctx.version, items=ctx.items, lines=ctx.lines, payments=ctx.payments)
        self._own = {record.id: record for _, _, record in bundle.by_kind()}

    def get(self, kind: str, id_: str | None) -> Record | None:
        """The account's own, or the catalogue's."""
        return self._own.get(id_ or "") or super().get(kind, id_)


class Mould:
    """`cast(values)`: the bytes of an object. `bills`: which invoices' values it needs."""

    def __init__(self, body: bytes) -> None:
        places: list[int] = []

        def place(found: re.Match[bytes]) -> bytes:
            places.append(int(found[1] or found[2]))
            return b"%b" if found[1] else b"%d"

        self._body = MARK.sub(place, body.replace(b"%", b"%%"))
        self._take: Callable[[list[Any]], tuple] = itemgetter(*places)
        self.bills = frozenset((place - OWN) // BILL for place in places if place >= OWN)

    def cast(self, values: list[Any]) -> bytes:
        """The object with these values."""
        return self._body % self._take(values)


class Moulds:
    """The moulds of one shape of answer: a kind of object, a version, what is expanded, the sizes of embedded lists."""

    def __init__(self, make: Callable[[Kind, Own, list[Bill]], Bundle], ctx: Context, tree: Tree, kind: str) -> None:
        self._make, self._ctx, self._tree, self._kind = make, ctx, tree, kind
        self._moulds: dict[tuple[Kind, int], Mould] = {}

    def of(self, kind: Kind, slot: int) -> Mould:
        """The mould of an account's class."""
        found = self._moulds.get((kind, slot))
        if found is None:
            own, bills = marks(kind.bills)
            bundle = self._make(kind, own, bills)
            record = next(r for name, n, r in bundle.by_kind() if name == self._kind and n == slot)
            found = self._moulds[kind, slot] = Mould(_ENCODE(render(Inside(self._ctx, bundle), record, self._tree)))
        return found
