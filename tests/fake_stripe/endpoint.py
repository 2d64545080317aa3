"""A webhook endpoint as Stripe keeps it: what it wants, in which version, signed with which secrets (STRIPE 3.2, 4)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from tests.fake_stripe.records import Event

RECOMMENDED = frozenset(
    {
        "customer.created",
        "customer.updated",
        "customer.deleted",
        "customer.discount.created",
        "customer.discount.updated",
        "customer.discount.deleted",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "invoice.payment_attempt_required",
        "invoice.updated",
        "invoice.voided",
        "invoice.marked_uncollectible",
        "invoice.overdue",
        "invoice.finalization_failed",
        "invoice.deleted",
        "invoice_payment.paid",
        "price.updated",
        "product.updated",
    }
)
DEAUTHORIZED = "account.application.deauthorized"
# [verify] Stripe doesn't publish them: up to 3 days
LIVE_BACKOFF = (10, 60, 300, 1800, 7200, 18_000, 36_000, 43_200, 43_200, 43_200, 43_200)
TEST_BACKOFF = (60, 3600)  # three tries "over a few hours"

Send = Callable[[bytes, dict[str, str]], int]


class Attempt(msgspec.Struct):
    """One HTTP attempt. `status` 0: no answer; `at` by the clock."""

    event_id: str
    type: str
    status: int
    tries: int
    at: float = 0.0


class Endpoint:
    """A webhook endpoint. `version`: what its events are rendered in. `secrets`: two during a roll."""

    def __init__(
        self, send: Send, secret: str, version: str, *, types: frozenset[str] | None = RECOMMENDED, timeout: float = 10
    ) -> None:
        self.send = send
        self.secrets = [secret]
        self.version = version
        self.types = types  # None: every type ("*")
        self.timeout = timeout  # [verify] Stripe doesn't say how long it waits
        self.id = ""
        self.disabled = False
        self.deleted = False
        self.thin = False  # notices without a payload (STRIPE 9) instead of snapshots
        self.account: str | None = None  # on a Connect endpoint: the account that its events name
        self._rolled_at: float | None = None

    @contextmanager
    def connected(self) -> Iterator[None]:
        """While a thread sends; afterwards its connection is closed."""
        try:
            yield
        finally:
            getattr(self.send, "close", lambda: None)()

    @property
    def off(self) -> bool:
        """Disabled or deleted: nothing is sent, also not what waits for a retry."""
        return self.disabled or self.deleted

    def wants(self, event: Event) -> bool:
        """Is it subscribed to this type? Only a Connect endpoint hears that the account has left the platform."""
        if event.type == DEAUTHORIZED:
            return not self.off and self.account is not None
        return not self.off and (self.types is None or event.type in self.types)

    def roll(self, secret: str, now: float) -> None:
        """A new secret; the old one signs beside it for 24 hours."""
        self.secrets = [secret, self.secrets[0]]
        self._rolled_at = now

    def signing_secrets(self, now: float) -> list[str]:
        """The secrets in force."""
        if self._rolled_at is not None and now >= self._rolled_at + 86_400:
            self.secrets, self._rolled_at = self.secrets[:1], None
        return self.secrets
