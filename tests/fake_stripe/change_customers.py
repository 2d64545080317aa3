"""Changes of customers, and of discounts on customers, subscriptions and items."""

from typing import Any

from tests.fake_stripe.change_base import ChangeBase, locked
from tests.fake_stripe.records import Coupon, Customer, Discount, Item, Subscription

MONTH = 30 * 86_400


class CustomerChanges(ChangeBase):
    """Who buys."""

    @locked
    def create_customer(self, email: str | None = None, name: str | None = None, **fields: Any) -> Customer:
        """`customer.created`."""
        fields.setdefault("id", self.state.new_id("customer"))
        fields.setdefault("invoice_prefix", fields["id"][4:12].upper())
        fields.setdefault("payment_method", self.state.new_id("payment_method"))
        return self._add(Customer(email=email, name=name, created=self.now, **fields), "customer.created")

    @locked
    def update_customer(self, customer: Customer | str, **fields: Any) -> Customer:
        """`customer.updated`, if anything differs."""
        found = self.customer(customer)
        with self.recorder.changing(found, "customer.updated"):
            for name, value in fields.items():
                setattr(found, name, value)
        return found

    def move_domain(self, customer: Customer | str, domain: str) -> Customer:
        """The e-mail address moves to another domain."""
        found = self.customer(customer)
        local = (found.email or "billing").rpartition("@")[0] or "billing"
        return self.update_customer(found, email=f"{local}@{domain}")

    @locked
    def delete_customer(self, customer: Customer | str, *, told_as_stub: bool = False) -> None:
        """`customer.deleted`, after `customer.subscription.deleted` of each running subscription (cancelled at once). The event
        shows the last object, without `deleted` [verify]; `told_as_stub`: `{id, object, deleted}`, as a recording has it."""
        found = self.customer(customer)
        for id_ in self.state.of("subscription").ids_of(found.id):
            subscription = self.state.get("subscription", id_)
            if subscription is not None and subscription.status not in {"canceled", "incomplete_expired"}:
                self._end(subscription, "cancellation_requested")
        shapes = self.recorder.shapes(found)
        if told_as_stub:
            shapes = {version: {"id": found.id, "object": "customer", "deleted": True} for version in shapes}
        self.state.remove(found)
        self.recorder.emit("customer.deleted", found, shapes=shapes)

    def _end(self, subscription: Subscription, reason: str | None) -> None:
        raise NotImplementedError

    @locked
    def attach_coupon(
        self, target: Customer | Subscription | Item | str, coupon: Coupon | str, *, end: int | None = None
    ) -> Discount:
        """`customer.discount.created`, then the owner's `updated`."""
        owner = self._target(target)
        discount = self.new_discount(coupon, end=end)
        if isinstance(owner, Customer):
            discount.customer = owner.id
            with self.recorder.changing(owner, "customer.updated"):
                owner.discount = discount
                self.recorder.emit("customer.discount.created", discount)
            return discount
        subscription = self.subscription(owner.subscription) if isinstance(owner, Item) else owner
        discount.customer, discount.subscription = subscription.customer, subscription.id
        if isinstance(owner, Item):
            discount.subscription_item = owner.id
        with self.recorder.changing(subscription, "customer.subscription.updated"):
            owner.discounts = [*owner.discounts, discount]
            self.recorder.emit("customer.discount.created", discount)
        return discount

    def new_discount(
        self, coupon: Coupon | str, *, end: int | None = None, subscription: Subscription | None = None
    ) -> Discount:
        """A discount that starts now; a repeating coupon says when it ends."""
        found = self.coupon(coupon)
        if end is None and found.duration == "repeating":
            end = self.now + MONTH * (found.duration_in_months or 1)
        found.times_redeemed += 1
        discount = Discount(id=self.state.new_id("discount"), created=self.now, coupon=found.id, start=self.now, end=end)
        if subscription is not None:
            discount.customer, discount.subscription = subscription.customer, subscription.id
        return discount

    @locked
    def remove_discount(self, target: Customer | Subscription | Item | str) -> None:
        """`customer.discount.deleted` for each discount of the owner (removed, or run out), then the owner's `updated`."""
        owner = self._target(target)
        if isinstance(owner, Customer):
            if owner.discount is not None:
                with self.recorder.changing(owner, "customer.updated"):
                    self.recorder.emit("customer.discount.deleted", owner.discount)
                    owner.discount = None
            return
        subscription = self.subscription(owner.subscription) if isinstance(owner, Item) else owner
        with self.recorder.changing(subscription, "customer.subscription.updated"):
            for discount in owner.discounts:
                self.recorder.emit("customer.discount.deleted", discount)
            owner.discounts = []

    def _target(self, target: Customer | Subscription | Item | str) -> Any:
        if isinstance(target, Customer | Subscription | Item):
            return target
        if target.startswith("cus_"):
            return self.customer(target)
        if target.startswith("si_"):
            owner = self.subscription(self.state.subscription_of(target) or target)
            return next(item for item in owner.items if item.id == target)
        return self.subscription(target)
