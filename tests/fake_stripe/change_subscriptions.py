"""The life of a subscription, each step with its events."""

from typing import Any

from msgspec.structs import replace

from tests.fake_stripe.amounts import period_seconds
from tests.fake_stripe.change_base import locked
from tests.fake_stripe.change_customers import CustomerChanges
from tests.fake_stripe.change_invoices import DAY, InvoiceChanges
from tests.fake_stripe.events import Shapes
from tests.fake_stripe.records import Coupon, Customer, Invoice, Item, Price, Subscription

Prices = Price | str | list[tuple[Price | str, int | None]]


class SubscriptionChanges(CustomerChanges, InvoiceChanges):
    """Who pays for what, every month."""

    @locked
    def subscribe(
        self,
        customer: Customer | str,
        prices: Prices,
        quantity: int | None = 1,
        *,
        trial_days: int = 0,
        pays: bool = True,
        coupon: Coupon | str | None = None,
        **fields: Any,
    ) -> Subscription:
        """`customer.subscription.created`, its first invoice with its events. With `pays=False` it stays `incomplete`."""
        owner = self.customer(customer)
        chosen = prices if isinstance(prices, list) else [(prices, quantity)]
        first = self.price(chosen[0][0])
        fields.setdefault("currency", owner.currency or first.currency)
        fields.setdefault("start_date", self.now)
        fields.setdefault("test_clock", owner.test_clock)
        subscription = Subscription(
            id=self.state.new_id("subscription"),
            created=self.now,
            customer=owner.id,
            anchor=self.now,
            payment_method=None,
            **fields,
        )
        end = self.now + trial_days * DAY if trial_days else None
        subscription.items = [self._item(subscription, self.price(p), q, end) for p, q in chosen]
        if trial_days:
            subscription.status, subscription.trial_start, subscription.trial_end = "trialing", self.now, end
        elif not pays and subscription.collection_method == "charge_automatically":
            subscription.status = "incomplete"
        self._begin(subscription, coupon, pays)
        if owner.currency is None:
            with self.recorder.changing(owner, "customer.updated"):
                owner.currency = subscription.currency
        return subscription

    def _begin(self, subscription: Subscription, coupon: Coupon | str | None, pays: bool) -> None:
        """Its discount and first invoice are there before the first event tells of it."""
        self.state.add(subscription)
        if coupon is not None:
            subscription.discounts = [self.new_discount(coupon, subscription=subscription)]
        invoice = self.draft_for(subscription, "subscription_create")
        subscription.latest_invoice = invoice.id
        self.recorder.emit("customer.subscription.created", subscription)
        for discount in subscription.discounts:
            self.recorder.emit("customer.discount.created", discount)
        self._collect(invoice, pays)

    def _item(self, subscription: Subscription, price: Price, quantity: int | None, end: int | None = None) -> Item:
        metered = price.usage_type == "metered"
        item = Item(
            id=self.state.new_id("subscription_item"),
            created=self.now,
            price=price.id,
            subscription=subscription.id,
            quantity=None if metered else quantity,
            period_start=self.now,
            period_end=end or self.now + period_seconds(price),
        )
        self.state.index_item(item)
        return item

    def _collect(self, invoice: Invoice, pays: bool) -> None:
        """What becomes of a draft: finalised, then paid or failed (a sent one stays open until it is due)."""
        self.step()
        self.finalize(invoice)
        if invoice.total == 0:
            self.pay(invoice)
        elif invoice.collection_method == "charge_automatically":
            self.step()
            self.pay(invoice) if pays else self.fail(invoice)

    def _bill(self, subscription: Subscription, reason: str, before: Shapes | None, pays: bool) -> None:
        """The change so far (since `before`) and its invoice's id are one `updated`; then the invoice runs its course."""
        invoice = self.draft_for(subscription, reason)
        subscription.latest_invoice = invoice.id
        if before is not None:
            self.recorder.emit("customer.subscription.updated", subscription, before)
        self._collect(invoice, pays)

    def _start(self, subscription: Subscription) -> Shapes | None:
        """Its shapes before a change that ends in `_bill`."""
        self.state.remember(subscription.id, subscription)
        return None if self.recorder.silent else self.recorder.shapes(subscription)

    @locked
    def renew(self, subscription: Subscription | str, *, pays: bool = True) -> Subscription:
        """The next period begins: `customer.subscription.updated`, an invoice, and what becomes of it."""
        found = self.subscription(subscription)
        before = self._start(found)
        found.items = [self._next_period(item) for item in found.items]
        self._bill(found, "subscription_cycle", before, pays)
        return found

    def _next_period(self, item: Item) -> Item:
        item = self._copy(item)
        item.period_start, item.period_end = self.now, self.now + period_seconds(self.state.last_known("price", item.price))
        return item

    def _copy(self, item: Item) -> Item:
        return replace(item, discounts=list(item.discounts))

    def fail_payment(self, subscription: Subscription | str, **how: Any) -> Subscription:
        """A renewal that isn't paid, or one more failed attempt on the invoice that is open."""
        found = self.subscription(subscription)
        latest = self.state.get("invoice", found.latest_invoice)
        if latest is None or latest.status != "open":
            return self.renew(found, pays=False)
        self.fail(latest, **how)
        return found

    @locked
    def recover(self, subscription: Subscription | str) -> Subscription:
        """Everything open of this subscription is paid."""
        found = self.subscription(subscription)
        for id_ in self.state.of("invoice").ids_of(found.customer):
            invoice = self.state.get("invoice", id_)
            if invoice.subscription == found.id and invoice.status == "open":
                self.pay(invoice)
        return found

    @locked
    def end_trial(self, subscription: Subscription | str, *, pays: bool = True) -> Subscription:
        """trialing -> active: `customer.subscription.updated` and the first real invoice."""
        found = self.subscription(subscription)
        before = self._start(found)
        found.status, found.trial_end = "active", self.now
        found.items = [self._next_period(item) for item in found.items]
        self._bill(found, "subscription_cycle", before, pays)
        return found

    @locked
    def change_price(self, subscription: Subscription | str, price: Price | str, *, item: int = 0) -> Subscription:
        """Upgrade, downgrade or switch to annual: one item takes another price; another interval bills at once."""
        found, new = self.subscription(subscription), self.price(price)
        old = self.state.last_known("price", found.items[item].price)
        another_interval = period_seconds(new) != period_seconds(old)
        before = self._start(found)
        changed = self._copy(found.items[item])
        changed.price = new.id
        if another_interval:
            changed.period_start, changed.period_end = self.now, self.now + period_seconds(new)
            found.anchor = self.now
        found.items = [*found.items[:item], changed, *found.items[item + 1 :]]
        if another_interval and found.status == "active":
            self._bill(found, "subscription_update", before, True)
        elif before is not None:
            self.recorder.emit("customer.subscription.updated", found, before)
        return found

    @locked
    def change_quantity(self, subscription: Subscription | str, quantity: int, *, item: int = 0) -> Subscription:
        """More or fewer seats: `customer.subscription.updated`."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            changed = self._copy(found.items[item])
            changed.quantity = quantity
            found.items = [*found.items[:item], changed, *found.items[item + 1 :]]
        return found

    @locked
    def add_item(self, subscription: Subscription | str, price: Price | str, quantity: int | None = 1) -> Item:
        """One more item."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            item = self._item(found, self.price(price), quantity, found.items[0].period_end if found.items else None)
            found.items = [*found.items, item]
        return item

    @locked
    def remove_item(self, subscription: Subscription | str, item: int = -1) -> Subscription:
        """One item fewer."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            gone = found.items[item]
            found.items = [i for i in found.items if i.id != gone.id]
        return found

    @locked
    def cancel(self, subscription: Subscription | str, *, reason: str = "cancellation_requested") -> Subscription:
        """At once: `customer.subscription.deleted`, which is an update to `canceled`."""
        found = self.subscription(subscription)
        self._end(found, reason)
        return found

    def _end(self, subscription: Subscription, reason: str | None) -> None:
        with self.recorder.changing(subscription, None):
            subscription.status, subscription.ended_at = "canceled", self.now
            subscription.canceled_at = subscription.canceled_at or self.now
            subscription.cancellation_reason = reason
        self.recorder.emit("customer.subscription.deleted", subscription)

    @locked
    def cancel_at_period_end(self, subscription: Subscription | str) -> Subscription:
        """Announced: it counts until then."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.cancel_at_period_end, found.canceled_at = True, self.now
            found.cancel_at = min(item.period_end for item in found.items)
            found.cancellation_reason = "cancellation_requested"
        return found

    @locked
    def keep(self, subscription: Subscription | str) -> Subscription:
        """The announced cancellation is taken back."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.cancel_at_period_end, found.canceled_at, found.cancel_at, found.cancellation_reason = False, None, None, None
        return found

    @locked
    def set_status(self, subscription: Subscription | str, status: str) -> Subscription:
        """Whatever Stripe (or a newer Stripe) may say: `unpaid`, `incomplete_expired`, a word nobody knows."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.status = status
        return found

    @locked
    def pause_collection(
        self, subscription: Subscription | str, behavior: str = "void", resumes_at: int | None = None
    ) -> Subscription:
        """Invoices are made but not collected; the status stays."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.pause_collection = {"behavior": behavior, "resumes_at": resumes_at}
        return found

    @locked
    def resume_collection(self, subscription: Subscription | str) -> Subscription:
        """Collected again."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.pause_collection = None
        return found

    @locked
    def pause(self, subscription: Subscription | str) -> Subscription:
        """The real pause (endive): status `paused`, `customer.subscription.paused` beside `.updated`."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.status, found.paused_at = "paused", self.now
        self.recorder.emit("customer.subscription.paused", found)
        return found

    @locked
    def resume(self, subscription: Subscription | str) -> Subscription:
        """Back to active: `customer.subscription.resumed` beside `.updated`."""
        found = self.subscription(subscription)
        with self.recorder.changing(found, "customer.subscription.updated"):
            found.status, found.paused_at = "active", None
        self.recorder.emit("customer.subscription.resumed", found)
        return found
