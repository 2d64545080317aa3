"""What all changes share: the state, the recorder, and looking things up by id or record."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from tests.fake_stripe.events import Recorder
from tests.fake_stripe.records import Coupon, Customer, Invoice, Price, Product, Record, Subscription
from tests.fake_stripe.state import State

F = TypeVar("F", bound=Callable[..., Any])


def locked(method: F) -> F:
    """One change is one step: nobody reads in the middle of it."""

    @wraps(method)
    def inside(self: "ChangeBase", *args: Any, **options: Any) -> Any:
        with self.state.lock:
            self.recorder.request_id = self.state.new_id("request")
            return method(self, *args, **options)

    return inside  # type: ignore[return-value]


class ChangeBase:
    """`step_seconds`: a virtual clock moves by this much between the parts of one change (0: all in one second)."""

    def __init__(self, state: State, recorder: Recorder) -> None:
        self.state = state
        self.recorder = recorder
        self.step_seconds = 0.0

    @property
    def now(self) -> int:
        """Stripe's clock."""
        return self.state.clock.now()

    def step(self) -> None:
        """Time passes between two parts of a change."""
        if self.step_seconds:
            self.state.clock.advance(self.step_seconds)

    @contextmanager
    def silently(self) -> Iterator[None]:
        """Changes for which Stripe makes no event."""
        self.recorder.silent = True
        try:
            yield
        finally:
            self.recorder.silent = False

    @contextmanager
    def doubled(self) -> Iterator[None]:
        """Each change makes two events with ids of their own."""
        self.recorder.copies = 2
        try:
            yield
        finally:
            self.recorder.copies = 1

    def customer(self, who: Customer | str) -> Customer:
        """By id or record."""
        return self._find("customer", who)

    def subscription(self, what: Subscription | str) -> Subscription:
        """By id or record."""
        return self._find("subscription", what)

    def invoice(self, what: Invoice | str) -> Invoice:
        """By id or record."""
        return self._find("invoice", what)

    def price(self, what: Price | str) -> Price:
        """By id, lookup key or record."""
        if isinstance(what, str) and self.state.get("price", what) is None:
            for price in self.state.of("price"):
                if price.lookup_key == what:
                    return price
        return self._find("price", what)

    def product(self, what: Product | str) -> Product:
        """By id or record."""
        return self._find("product", what)

    def coupon(self, what: Coupon | str) -> Coupon:
        """By id or record."""
        return self._find("coupon", what)

    def _find(self, kind: str, what: Record | str) -> Any:
        id_ = what if isinstance(what, str) else what.id
        record = self.state.get(kind, id_)
        if record is None:
            raise LookupError(f"no {kind} {id_}")
        self.state.touch(record)
        return record

    def _add(self, record: Record, type_: str) -> Any:
        self.state.add(record)
        self.recorder.emit(type_, record)
        return record
