"""SQLAlchemy tables. Importing this module fills `Base.metadata` with all of them."""

from models.tables.access import ApiToken, AuditEntry, LoginAttempt, LoginSession, OneTimeLink, User
from models.tables.base import Base
from models.tables.connections import AppState, Connection, Counter, FxRate, Lease, SyncLog, SyncRun, SyncSeen
from models.tables.customers import CustomerChange, CustomerHost, CustomerRow, DecisionRow, LinkRow, MatchHost, MatchRow
from models.tables.inbox import InboxEvent
from models.tables.mirror import (
    KeptLookupKey,
    StripeCouponRow,
    StripeCustomerRow,
    StripeDiscountRow,
    StripeInvoiceRow,
    StripePriceRow,
    StripeProductRow,
    StripeSubscriptionItemRow,
    StripeSubscriptionRow,
)

__all__ = [
    "ApiToken",
    "AppState",
    "AuditEntry",
    "Base",
    "Connection",
    "Counter",
    "CustomerChange",
    "CustomerHost",
    "CustomerRow",
    "DecisionRow",
    "FxRate",
    "InboxEvent",
    "KeptLookupKey",
    "Lease",
    "LinkRow",
    "LoginAttempt",
    "LoginSession",
    "MatchHost",
    "MatchRow",
    "OneTimeLink",
    "StripeCouponRow",
    "StripeCustomerRow",
    "StripeDiscountRow",
    "StripeInvoiceRow",
    "StripePriceRow",
    "StripeProductRow",
    "StripeSubscriptionItemRow",
    "StripeSubscriptionRow",
    "SyncLog",
    "SyncRun",
    "SyncSeen",
    "User",
]
