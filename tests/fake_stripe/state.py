"""All objects of one Stripe account in one mode, with the orders and indices that lists need."""

import random
import threading
from base64 import b64encode
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator

from tests.fake_stripe.clock import Clock
from tests.fake_stripe.records import KIND, Item, Record, copy_of

_LENGTH = {"customer": ("cus_", 14), "subscription": ("sub_1", 23), "subscription_item": ("si_", 14), "invoice": ("in_1", 23),
           "invoice_payment": ("inpay_1", 23), "payment_intent": ("pi_3", 23), "price": ("price_1", 23),
           "product": ("prod_", 14),
           "coupon": ("", 8), "discount": ("di_1", 23), "event": ("evt_1", 23), "line_item": ("il_1", 23),
           "charge": ("ch_3", 23),
           "payment_method": ("pm_1", 23), "request": ("req_", 14), "account": ("acct_1", 15)}  # fmt: skip
KINDS = ("customer", "subscription", "invoice", "invoice_payment", "payment_intent", "price", "product", "coupon", "event")
HISTORY = 32

Key = tuple[int, int, str]


def key_of(record: Record) -> Key:
    """What a list is ordered by."""
    return (record.created, record.seq, record.id)


class Collection:
    """Objects of one kind by id, ordered by creation; `by_customer` where they have one."""

    def __init__(self) -> None:
        self.by_id: dict[str, Record] = {}
        self.order: list[Key] = []
        self.by_customer: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Record]:
        return iter([self.by_id[key[2]] for key in self.order])

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
        customer = getattr(record, "customer", None)
        if customer is not None:
            self.by_customer.setdefault(customer, []).append(record.id)

    def remove(self, record: Record) -> None:
        """Take it out of lists and retrieves."""
        del self.by_id[record.id]
        del self.order[bisect_left(self.order, key_of(record))]
        if (customer := getattr(record, "customer", None)) is not None:
            self.by_customer[customer].remove(record.id)

    def between(self, created: dict[str, int], after: Record | None, before: Record | None, customer: str | None) -> list[Key]:
        """Keys, oldest first, inside the `created` bounds and strictly older than `after`, newer than `before`."""
        order = self.order if customer is None else sorted(key_of(self.by_id[i]) for i in self.by_customer.get(customer, ()))
        low, high = 0, len(order)
        if "gte" in created:
            low = bisect_left(order, (created["gte"],))
        if "gt" in created:
            low = max(low, bisect_left(order, (created["gt"] + 1,)))
        if "lte" in created:
            high = bisect_left(order, (created["lte"] + 1,))
        if "lt" in created:
            high = min(high, bisect_left(order, (created["lt"],)))
        if after is not None:
            high = min(high, bisect_left(order, key_of(after)))
        if before is not None:
            low = max(low, bisect_right(order, key_of(before)))
        return order[low:high]


class State:
    """The account. Hold `lock` for every look and every change."""

    def __init__(self, *, seed: int = 1, clock: Clock | None = None, livemode: bool = True) -> None:
        self.lock = threading.RLock()
        self.random = random.Random(seed)
        self.clock = clock or Clock()
        self.livemode = livemode
        self.collections = {kind: Collection() for kind in KINDS}
        self.deleted: dict[str, Record] = {}  # what is gone, as it last was (a deleted customer answers with a stub)
        self.keep_history = True  # for stale reads
        self.history: dict[str, deque[tuple[float, Record | None]]] = {}
        self.items: dict[str, str] = {}  # subscription item -> subscription
        self.revision = 0
        self._seq = 0
        self.account_id = self.new_id("account")
        self.account_name = "Northwind Software"

    def new_id(self, kind: str) -> str:
        """A fresh id of the form Stripe gives."""
        prefix, length = _LENGTH[kind]
        return prefix + b64encode(self.random.randbytes(18), b"Zz")[:length].decode()

    def next_seq(self) -> int:
        """The order of creation."""
        self._seq += 1
        return self._seq

    def of(self, kind: str) -> Collection:
        """All objects of a kind."""
        return self.collections[kind]

    def get(self, kind: str, id_: str | None) -> Record | None:
        """The object, or None."""
        return None if id_ is None else self.collections[kind].by_id.get(id_)

    def last_known(self, kind: str, id_: str) -> Record:
        """The object, or its last copy when it is deleted: subscriptions go on with a deleted price or coupon.

        Raises:
            KeyError: there never was one.
        """
        return self.get(kind, id_) or self.deleted[id_]

    def add(self, record: Record) -> Record:
        """A new object, now."""
        record.seq = self.next_seq()
        self.remember(record.id, None)
        self.collections[KIND[type(record)]].add(record)
        for item in getattr(record, "items", ()):
            self.index_item(item)
        return record

    def index_item(self, item: Item) -> None:
        """Know an item by its id."""
        item.seq = item.seq or self.next_seq()
        self.items[item.id] = item.subscription

    def remove(self, record: Record) -> None:
        """Delete for good: no list has it, a retrieve gives 404 (a customer: the stub)."""
        self.remember(record.id, record)
        self.collections[KIND[type(record)]].remove(record)
        self.deleted[record.id] = record

    def remember(self, id_: str, before: Record | None) -> None:
        """Keep how an object was until now, for stale reads."""
        self.revision += 1
        if not self.keep_history:
            return
        past = self.history.get(id_)
        if past is None:
            past = self.history[id_] = deque(maxlen=HISTORY)
        past.append((self.clock.time(), None if before is None else copy_of(before)))

    def as_of(self, id_: str, current: Record | None, moment: float) -> Record | None:
        """How the object was at `moment` (as far as is remembered)."""
        for changed_at, before in self.history.get(id_, ()):
            if changed_at > moment:
                return before
        return current

    def counts(self) -> dict[str, int]:
        """How many objects of each kind."""
        return {kind: len(collection) for kind, collection in self.collections.items()}
