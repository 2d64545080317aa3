"""The inbox: one row for each event Stripe sent. It is the queue; RQ only rings (DESIGN 1)."""

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, auto_id, big, big_null, blob_null, text, text_null

STATUSES = ("pending", "applied", "superseded", "ignored", "quarantined", "dead")


class InboxEvent(Base):
    """One Stripe event, stored before it is answered.

    `status`: pending; applied; superseded (older than what the mirror holds, or a duplicate of it); ignored (a type with no
    effect); quarantined (authentic but unusable, see `error`); dead (failed 8 times, `events retry` brings it back).
    `created` is Stripe's second; `body` the raw bytes, redacted later. `partition` was fixed at receipt.
    `status_ms`: when it got its status; for a new one when it was received.
    `missing_since_ms`: Stripe first answered 404 for its object; by itself no deletion (FAULTS F69).

    The body stands last, and the end of a row changes no column's size (`pending` and `applied` have seven letters,
    `status_ms` is never null): SQLite then writes a third of the pages anew, and readers and the endpoint wait less.
    """

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("connection_id", "event_id"),
        Index(
            "ix_inbox_pending",
            "partition",
            "seq",
            sqlite_where=sql("status = 'pending'"),
            postgresql_where=sql("status = 'pending'"),
        ),
        Index(
            "ix_inbox_trouble",
            "status",
            "seq",
            sqlite_where=sql("status IN ('quarantined', 'dead')"),
            postgresql_where=sql("status IN ('quarantined', 'dead')"),
        ),
        {"sqlite_autoincrement": True},
    )
    seq: Mapped[auto_id]
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id"))
    event_id: Mapped[text]
    type: Mapped[text]
    api_version: Mapped[text_null]
    livemode: Mapped[bool | None] = mapped_column(Boolean)
    created: Mapped[big]
    object_type: Mapped[text_null]
    object_id: Mapped[text_null]
    customer_id: Mapped[text_null]
    partition: Mapped[int]
    received_ms: Mapped[big]
    status: Mapped[str] = mapped_column(default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_ms: Mapped[int] = mapped_column(BigInteger, default=0)
    error: Mapped[text_null]
    missing_since_ms: Mapped[big_null]
    status_ms: Mapped[big]
    body: Mapped[blob_null]
