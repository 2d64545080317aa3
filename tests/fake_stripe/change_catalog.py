"""Changes of products, prices and coupons."""

from typing import Any

from tests.fake_stripe.change_base import ChangeBase, locked
from tests.fake_stripe.records import Coupon, Price, Product


class CatalogChanges(ChangeBase):
    """What the company sells."""

    @locked
    def create_product(self, name: str, **fields: Any) -> Product:
        """`product.created`."""
        fields.setdefault("id", self.state.new_id("product"))
        return self._add(Product(name=name, created=self.now, updated=self.now, **fields), "product.created")

    @locked
    def rename_product(self, product: Product | str, name: str) -> Product:
        """`product.updated`."""
        found = self.product(product)
        with self.recorder.changing(found, "product.updated"):
            found.name, found.updated = name, self.now
        return found

    @locked
    def archive_product(self, product: Product | str) -> Product:
        """`product.updated` with `active` false."""
        found = self.product(product)
        with self.recorder.changing(found, "product.updated"):
            found.active, found.updated = False, self.now
        return found

    @locked
    def delete_product(self, product: Product | str) -> None:
        """`product.deleted`; subscriptions go on with its prices."""
        self._delete(self.product(product), "product.deleted")

    @locked
    def create_price(self, product: Product | str, amount: int | None = None, **fields: Any) -> Price:
        """`price.created`. `amount` in minor units; `interval=None` makes a one-time price; `tiers=[(up_to, unit, flat),
        …]`."""
        fields.setdefault("id", self.state.new_id("price"))
        tiers = fields.pop("tiers", None)
        if tiers is not None:
            fields |= {"billing_scheme": "tiered", "tiers": [tier(*t) if isinstance(t, tuple) else t for t in tiers]}
            fields.setdefault("tiers_mode", "graduated")
        if fields.get("interval", "month") is None:
            fields["type"] = "one_time"
        key = fields.get("lookup_key")
        if fields.pop("transfer_lookup_key", False) and key is not None:
            self._take_key(key)
        price = Price(product=self.product(product).id, unit_amount=amount, created=self.now, **fields)
        return self._add(price, "price.created")

    @locked
    def transfer_lookup_key(self, old: Price | str, new: Price | str) -> None:
        """`transfer_lookup_key`: the old price's key becomes null, two `price.updated`."""
        old, new = self.price(old), self.price(new)
        key = old.lookup_key
        self._take_key(key)
        with self.recorder.changing(new, "price.updated"):
            new.lookup_key = key

    def _take_key(self, key: str | None) -> None:
        for price in self.state.of("price"):
            if price.lookup_key == key:
                with self.recorder.changing(price, "price.updated"):
                    price.lookup_key = None

    @locked
    def update_price(self, price: Price | str, **fields: Any) -> Price:
        """`price.updated` (nickname, lookup_key, active, metadata, currency_options; amounts never change)."""
        found = self.price(price)
        with self.recorder.changing(found, "price.updated"):
            for name, value in fields.items():
                setattr(found, name, value)
        return found

    @locked
    def delete_price(self, price: Price | str) -> None:
        """`price.deleted`; subscriptions go on with it."""
        self._delete(self.price(price), "price.deleted")

    @locked
    def create_coupon(self, *, percent_off: float | None = None, amount_off: int | None = None, **fields: Any) -> Coupon:
        """`coupon.created`; an id may be chosen, also one that was deleted before."""
        fields.setdefault("id", self.state.new_id("coupon"))
        self.state.deleted.pop(fields["id"], None)
        if amount_off is not None:
            fields.setdefault("currency", "usd")
        return self._add(Coupon(percent_off=percent_off, amount_off=amount_off, created=self.now, **fields), "coupon.created")

    @locked
    def delete_coupon(self, coupon: Coupon | str) -> None:
        """`coupon.deleted`; running discounts go on [verify]."""
        self._delete(self.coupon(coupon), "coupon.deleted")

    def _delete(self, record: Any, type_: str) -> None:
        shapes = self.recorder.shapes(record)
        record.deleted = True
        self.state.remove(record)
        self.recorder.emit(type_, record, shapes=shapes)


def tier(up_to: int | None, unit_amount: int | str | None, flat_amount: int | None = None) -> dict:
    """One tier in Stripe's words; a text amount is a decimal of minor units."""
    whole = unit_amount if isinstance(unit_amount, int) else None
    return {
        "flat_amount": flat_amount,
        "flat_amount_decimal": None if flat_amount is None else str(flat_amount),
        "unit_amount": whole,
        "unit_amount_decimal": None if unit_amount is None else str(unit_amount),
        "up_to": up_to,
    }
