"""All objects of one Stripe account in one mode, with the orders and indices that lists need."""

import random
import threading
from base64 import b64encode
from collections import deque
from typing import Protocol

from tests.fake_stripe.clock import Clock
from tests.fake_stripe.collection import Collection, owner_of
from tests.fake_stripe.records import KIND, Item, Record, copy_of

_LENGTH = {"customer": ("cus_", 14), "subscription": ("sub_1", 23), "subscription_item": ("si_", 14), "invoice": ("in_1", 23),
           "invoice_payment": ("inpay_1", 23), "payment_intent": ("pi_3", 23), "price": ("price_1", 23),
           "product": ("prod_", 14),
           "coupon": ("", 8), "discount": ("di_1", 23), "event": ("evt_1", 23), "line_item": ("il_1", 23),
           "charge": ("ch_3", 23),
           "payment_method": ("pm_1", 23), "request": ("req_", 14), "account": ("acct_1", 15),
           "payment_record": ("payrec_1", 23), "webhook_endpoint": ("we_1", 23)}  # fmt: skip
KINDS = (
    "customer",
    "subscription",
    "invoice",
    "invoice_payment",
    "payment_intent",
    "price",
    "product",
    "coupon",
    "event",
    "webhook_endpoint",
)
HISTORY = 32


class Touching(Protocol):
    """A vast account: whatever is about to change has to be kept."""

    def touch(self, record: Record | str) -> None: ...

    def subscription_of(self, item: str) -> str | None: ...


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
        self._vast: Touching | None = None
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
        return None if id_ is None else self.collections[kind].find(id_)

    def last_known(self, kind: str, id_: str) -> Record:
        """The object, or its last copy when it is deleted: subscriptions go on with a deleted price or coupon.

        Raises:
            KeyError: there never was one.
        """
        return self.get(kind, id_) or self.deleted[id_]

    def start_after(self, seq: int, vast: Touching) -> None:
        """There is much already, made when it is asked for: new objects come after it."""
        self._seq, self._vast = seq, vast

    def touch(self, record: Record | str | None) -> None:
        """This object (or id) is about to change, or to get company."""
        if self._vast is not None and record is not None:
            self._vast.touch(record)

    def subscription_of(self, item: str) -> str | None:
        """Whose item this is."""
        found = self.items.get(item)
        return self._vast.subscription_of(item) if found is None and self._vast is not None else found

    def add(self, record: Record) -> Record:
        """A new object, now."""
        self.touch(owner_of(record))
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
        self.touch(id_ if before is None else before)
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
