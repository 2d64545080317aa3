"""What became of each Stripe customer in the matching, for the lists an admin reads (RULES 2, 3)."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, tuple_

from models.tables import CustomerRow, MatchRow

OUTCOMES = ("matched", "unmatched", "skipped")


@dataclass(frozen=True)
class OutcomeLine:
    """One Stripe customer. `mrr` US cents or None (unknown); `customer_name` is ours, when matched."""

    stripe_customer_id: str
    outcome: str
    reason: str
    customer_id: int | None
    customer_name: str | None
    name: str | None
    email_domain: str | None
    mrr: int | None
    plan: str | None


def count_outcomes(conn: Connection, connection_id: int) -> dict[tuple[str, str], int]:
    """How many Stripe customers by (outcome, reason)."""
    query = select(MatchRow.outcome, MatchRow.reason, func.count()).where(MatchRow.connection_id == connection_id)
    rows = conn.execute(query.group_by(MatchRow.outcome, MatchRow.reason).order_by(MatchRow.outcome, func.count().desc()))
    return {(outcome, reason): int(count) for outcome, reason, count in rows}


def count_ambiguous(conn: Connection, environment: str) -> int:
    """How many of our customers carry the flag `ambiguous`."""
    query = select(func.count()).select_from(CustomerRow).where(CustomerRow.environment == environment)
    return int(conn.execute(query.where(CustomerRow.flags.contains('"ambiguous"', autoescape=True))).scalar() or 0)


def load_outcomes(
    conn: Connection, connection_id: int, outcome: str, after: tuple[str, str] | None, limit: int
) -> list[OutcomeLine]:
    """Stripe customers with this outcome, by reason and id, from behind the last (reason, id) seen."""
    query = (
        select(MatchRow.stripe_customer_id, MatchRow.outcome, MatchRow.reason, MatchRow.customer_id,
               CustomerRow.name.label("customer_name"), MatchRow.name, MatchRow.email_domain, MatchRow.mrr, MatchRow.plan)
        .outerjoin(CustomerRow, CustomerRow.id == MatchRow.customer_id)
        .where(MatchRow.connection_id == connection_id, MatchRow.outcome == outcome)
    )  # fmt: skip
    if after is not None:
        query = query.where(tuple_(MatchRow.reason, MatchRow.stripe_customer_id) > tuple_(*after))
    rows = conn.execute(query.order_by(MatchRow.reason, MatchRow.stripe_customer_id).limit(limit))
    return [OutcomeLine(*row) for row in rows]
