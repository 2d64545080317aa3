"""Our customers with their read model, how Stripe customers were matched to them, and every change."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, Text
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, auto_id, big, big_null, text, text_key, text_null


class CustomerRow(Base):
    """One of our customers. The columns from `plan` on are the read model (RULES 1); `summary` is the JSON of the whole
    `domain.types.Summary`. `as_of` (s): its own newest evidence. `computed_version < mirror_version`: a recompute is due."""

    __tablename__ = "customers"
    __table_args__ = (
        CheckConstraint("environment IN ('production', 'staging')", name="environment"),
        Index(
            "uq_customers_external_id",
            "external_id",
            "environment",
            unique=True,
            sqlite_where=sql("external_id IS NOT NULL"),
            postgresql_where=sql("external_id IS NOT NULL"),
        ),
        Index("ix_customers_mrr", "mrr", "id"),
        Index("ix_customers_name", "name_key", "id"),
        # totals, filters and their counts, without touching the wide rows
        Index("ix_customers_overview", "environment", "payment_status", "plan_label", "plan", "mrr"),
        Index(
            "ix_customers_due",
            "next_change_at",
            sqlite_where=sql("next_change_at IS NOT NULL"),
            postgresql_where=sql("next_change_at IS NOT NULL"),
        ),
        Index(
            "ix_customers_stale",
            "id",
            sqlite_where=sql("computed_version < mirror_version"),
            postgresql_where=sql("computed_version < mirror_version"),
        ),
    )
    id: Mapped[auto_id]
    name: Mapped[text]
    # case-folded name, for sorting and searching alike on every database (SQLite compares bytes, PostgreSQL as told)
    name_key: Mapped[str] = mapped_column(Text().with_variant(Text(collation="C"), "postgresql"))
    domain: Mapped[text_null]
    aliases: Mapped[str] = mapped_column(Text, default="[]")
    environment: Mapped[str] = mapped_column(Text, default="production")
    owner: Mapped[text_null]
    external_id: Mapped[text_null]
    created_at: Mapped[big]
    plan: Mapped[text_null]
    plan_label: Mapped[text_null]
    mrr: Mapped[int | None] = mapped_column(BigInteger, default=0)
    payment_status: Mapped[str] = mapped_column(Text, default="none")
    billing_started_at: Mapped[big_null]
    stripe_customer_id: Mapped[text_null]
    headline: Mapped[str] = mapped_column(Text, default="No plan, MRR $0, no invoices")
    flags: Mapped[str] = mapped_column(Text, default="[]")
    summary: Mapped[text_null]
    next_change_at: Mapped[big_null]
    fx_date: Mapped[text_null]
    as_of: Mapped[big_null]
    ever_positive: Mapped[bool] = mapped_column(Boolean, default=False)
    mirror_version: Mapped[int] = mapped_column(BigInteger, default=0)
    computed_version: Mapped[int] = mapped_column(BigInteger, default=0)
    recompute_cause: Mapped[text_null]
    changed_ms: Mapped[big_null]


class CustomerHost(Base):
    """Normalised domain or alias (or full address) -> customer; two customers may hold one (RULES 2)."""

    __tablename__ = "customer_hosts"
    environment: Mapped[text_key]
    host: Mapped[text_key]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), primary_key=True, index=True)
    kind: Mapped[text]  # domain or alias


class MatchRow(Base):
    """The outcome for one Stripe customer, with what the lists show of it. `hosts` are the strings its match looked up, so
    that a new domain of ours finds it again."""

    __tablename__ = "matches"
    __table_args__ = (
        Index(
            "ix_matches_customer",
            "customer_id",
            sqlite_where=sql("customer_id IS NOT NULL"),
            postgresql_where=sql("customer_id IS NOT NULL"),
        ),
        Index("ix_matches_due", "connection_id", "stripe_customer_id", sqlite_where=sql("due"), postgresql_where=sql("due")),
        Index("ix_matches_outcome", "connection_id", "outcome", "reason", "stripe_customer_id"),
    )
    connection_id: Mapped[int] = mapped_column(primary_key=True)
    stripe_customer_id: Mapped[text_key]
    outcome: Mapped[text]
    reason: Mapped[text]
    customer_id: Mapped[int | None] = mapped_column(BigInteger)
    base_customer_id: Mapped[int | None] = mapped_column(BigInteger, index=True)  # before a decision (lost_to_winner)
    base_reason: Mapped[text_null]
    name: Mapped[text_null]
    email_domain: Mapped[text_null]
    mrr: Mapped[big_null]
    plan: Mapped[text_null]
    billed: Mapped[bool] = mapped_column(Boolean, default=False)
    due: Mapped[bool] = mapped_column(Boolean, default=False)  # match and recompute again (fan-out, import, settings)
    due_cause: Mapped[text_null]
    version: Mapped[int] = mapped_column(BigInteger, default=1)  # moves with every write, also when it is made due


class MatchHost(Base):
    """The strings a Stripe customer's match depends on (its host, registrable domain, full address, metadata value)."""

    __tablename__ = "match_hosts"
    connection_id: Mapped[int] = mapped_column(primary_key=True)
    host: Mapped[text_key]
    stripe_customer_id: Mapped[text_key]


class LinkRow(Base):
    """An admin's manual link; ended, never deleted."""

    __tablename__ = "links"
    __table_args__ = (
        Index(
            "uq_links_open",
            "connection_id",
            "stripe_customer_id",
            unique=True,
            sqlite_where=sql("ended_at IS NULL"),
            postgresql_where=sql("ended_at IS NULL"),
        ),
    )
    id: Mapped[auto_id]
    connection_id: Mapped[int]
    stripe_customer_id: Mapped[text]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    created_at: Mapped[big]
    created_by: Mapped[text_null]
    ended_at: Mapped[big_null]


class DecisionRow(Base):
    """An admin's decision on two Stripe customers of one customer (RULES 3). `known`: JSON list of Stripe customer ids."""

    __tablename__ = "decisions"
    __table_args__ = (
        Index(
            "uq_decisions_open",
            "customer_id",
            unique=True,
            sqlite_where=sql("ended_at IS NULL"),
            postgresql_where=sql("ended_at IS NULL"),
        ),
    )
    id: Mapped[auto_id]
    connection_id: Mapped[int]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    kind: Mapped[text]
    stripe_customer_id: Mapped[text_null]
    known: Mapped[text]
    created_at: Mapped[big]
    created_by: Mapped[text_null]
    ended_at: Mapped[big_null]


class CustomerChange(Base):
    """One difference: the history, the live update and the outgoing webhook in one. `before`/`after` are JSON values."""

    __tablename__ = "customer_changes"
    __table_args__ = (Index("ix_customer_changes_customer", "customer_id", "id"),)
    id: Mapped[auto_id]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    at_ms: Mapped[big]
    field: Mapped[text]
    kind: Mapped[text]
    before: Mapped[text_null]
    after: Mapped[text_null]
    amount: Mapped[big_null]
    cause: Mapped[text]
    version: Mapped[big]
