"""The mirror: our copy of Stripe's objects, only the fields the rules need, and when Stripe's object looked so.

No foreign keys between these tables: children may come first. Items and discounts are an index, written only with the object
that holds them.
"""

from sqlalchemy import BigInteger, Boolean, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, big, big_null, text, text_key, text_null


class Mirrored:
    """The columns of FAULTS 4.1. `facts` is the JSON of the domain value.

    `kind`: event, read or tombstone. `ev_id`, `ev_sec`, `ev_seq`: the last applied event, null after a read. `final`: a
    tombstone whose id never comes back. `read_lo_ms`/`read_hi_ms`: the bounds of the last read, Stripe's clock. `cover_seq`:
    every inbox row up to it was received before that read was sent. `uncertain_since_ms`: an ambiguous event waits for a read
    that can't be had now (FAULTS 4.4).
    """

    connection_id: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    final: Mapped[bool] = mapped_column(Boolean, default=False)
    ev_id: Mapped[str | None] = mapped_column(Text)
    ev_sec: Mapped[int | None] = mapped_column(BigInteger)
    ev_seq: Mapped[int | None] = mapped_column(BigInteger)
    read_lo_ms: Mapped[int | None] = mapped_column(BigInteger)
    read_hi_ms: Mapped[int | None] = mapped_column(BigInteger)
    cover_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    version: Mapped[int] = mapped_column(BigInteger, default=1)
    facts: Mapped[str] = mapped_column(Text)
    uncertain_since_ms: Mapped[int | None] = mapped_column(BigInteger)


class StripeCustomerRow(Mirrored, Base):
    """A Stripe customer."""

    __tablename__ = "stripe_customers"


class StripeSubscriptionRow(Mirrored, Base):
    """A subscription with its items and discounts inside `facts`."""

    __tablename__ = "stripe_subscriptions"
    __table_args__ = (Index("ix_stripe_subscriptions_customer", "connection_id", "customer_id"),)
    customer_id: Mapped[text_null]


class StripeInvoiceRow(Mirrored, Base):
    """An invoice."""

    __tablename__ = "stripe_invoices"
    __table_args__ = (Index("ix_stripe_invoices_customer", "connection_id", "customer_id"),)
    customer_id: Mapped[text_null]
    status: Mapped[text_null]
    created: Mapped[big_null]


class StripePriceRow(Mirrored, Base):
    """A price, with tiers and currency options when they were read."""

    __tablename__ = "stripe_prices"
    product_id: Mapped[text_null]


class StripeProductRow(Mirrored, Base):
    """A product."""

    __tablename__ = "stripe_products"


class StripeCouponRow(Mirrored, Base):
    """A coupon."""

    __tablename__ = "stripe_coupons"


class StripeSubscriptionItemRow(Base):
    """Which subscription uses which price and product: the reverse index for fan-out."""

    __tablename__ = "stripe_subscription_items"
    __table_args__ = (
        Index("ix_stripe_items_subscription", "connection_id", "subscription_id"),
        Index("ix_stripe_items_price", "connection_id", "price_id"),
        Index("ix_stripe_items_product", "connection_id", "product_id"),
    )
    connection_id: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[text_key]
    subscription_id: Mapped[text]
    customer_id: Mapped[text_null]
    price_id: Mapped[text_null]
    product_id: Mapped[text_null]


class StripeDiscountRow(Base):
    """A discount as last seen whole (`facts`), with its owner (customer, subscription or item)."""

    __tablename__ = "stripe_discounts"
    __table_args__ = (
        Index("ix_stripe_discounts_owner", "connection_id", "owner_id"),
        Index("ix_stripe_discounts_coupon", "connection_id", "coupon_id"),
    )
    connection_id: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[text_key]
    owner_id: Mapped[text]
    customer_id: Mapped[text_null]
    coupon_id: Mapped[text_null]
    facts: Mapped[text]


class KeptLookupKey(Base):
    """The last lookup key seen on a price that wasn't null, and the newest second at which it was seen (RULES 4)."""

    __tablename__ = "stripe_kept_lookup_keys"
    connection_id: Mapped[int] = mapped_column(primary_key=True)
    price_id: Mapped[text_key]
    lookup_key: Mapped[text]
    seen: Mapped[big]
