"""What goes wrong between Stripe and an endpoint: by rate (`disturb`) and by script (`order`) (STRIPE 10.15 and 10.17)."""

import random

import msgspec

from tests.fake_stripe.records import Event

DAY = 86_400
Fate = dict[str, float]  # kind -> seconds, where it takes any


class Disturb(msgspec.Struct):
    """Chances (0 to 1) per delivery; seconds are the clock's. A duplicate comes after the first was answered, a concurrent one
    at the same moment; a reordered one waits until a later event has gone ahead, at most `reorder_seconds`."""

    drop: float = 0.0
    duplicate: float = 0.0
    concurrent: float = 0.0
    reorder: float = 0.0
    reorder_seconds: float = 2.0
    delay: float = 0.0
    delay_seconds: float = 5.0
    resend: float = 0.0
    resend_seconds: float = 25 * DAY
    wrong_secret: float = 0.0
    noise: float = 0.0


KINDS = ("drop", "duplicate", "concurrent", "reorder", "delay", "resend", "wrong_secret")


class Order(msgspec.Struct):
    """What shall happen to the next `count` events of a `type` (None: any), after letting `skip` of them pass."""

    kind: str
    type: str | None
    count: int
    skip: int
    seconds: float | None


class Fates:
    """Decides what becomes of each event. Seeded."""

    def __init__(self, seed: int) -> None:
        self.rates = Disturb()
        self._orders: list[Order] = []
        self._random = random.Random(seed)

    def order(self, kind: str, type_: str | None, count: int, skip: int, seconds: float | None) -> None:
        """One more order."""
        assert kind in KINDS, kind
        self._orders.append(Order(kind, type_, count, skip, seconds))

    def of(self, event: Event) -> Fate:
        """What happens to this one: orders first, then chance."""
        fate: Fate = {}
        for order in self._orders:
            if order.count > 0 and order.type in {None, event.type}:
                if order.skip > 0:
                    order.skip -= 1
                    continue
                order.count -= 1
                fate[order.kind] = self._seconds(order.kind) if order.seconds is None else order.seconds
        for kind in KINDS:
            rate = getattr(self.rates, kind)
            if rate and self._random.random() < rate and kind not in fate:
                fate[kind] = self._seconds(kind) * (self._random.random() if kind == "delay" else 1)
        return fate

    def noise(self) -> bool:
        """Whether a `v0` that nobody may accept stands beside the `v1`."""
        return self._random.random() < self.rates.noise

    def _seconds(self, kind: str) -> float:
        return getattr(self.rates, f"{kind}_seconds", 0.0)
