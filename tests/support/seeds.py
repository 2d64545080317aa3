"""Customers with a read model, put straight into the tables: realistic ones for pages, single ones for a question."""

import json
import random
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, insert

from models.domain.money import dollars
from models.domain.types import AccountResult, Match, NativeAmount, Overdue, Summary
from models.tables import CustomerChange, CustomerRow, MatchRow

_WORDS = {"failing": "payment failing", "past_due": "payment past due", "paid": "paid", "none": "no invoices"}
PLANS = [
    ("starter_monthly", "Starter", 4900),
    ("growth_monthly", "Growth", 19900),
    ("scale_annual", "Scale", 79900),
    ("enterprise_annual", "Enterprise", 240000),
]
_FIRST = [
    "Acme",
    "Northwind",
    "Globex",
    "Initech",
    "Umbrella",
    "Hooli",
    "Vandelay",
    "Stark",
    "Wayne",
    "Wonka",
    "Cyberdyne",
    "Soylent",
    "Tyrell",
    "Massive",
    "Aperture",
    "Bluth",
    "Dunder",
    "Gringotts",
    "Monarch",
    "Oceanic",
    "Pied",
    "Prestige",
    "Sirius",
    "Vehement",
    "Virtucon",
    "Wernham",
    "Zorg",
    "Lumon",
    "Kestrel",
    "Harbor",
    "Juniper",
]
_SECOND = [
    "Labs",
    "Systems",
    "Logistics",
    "Health",
    "Foods",
    "Analytics",
    "Robotics",
    "Media",
    "Energy",
    "Studio",
    "Partners",
    "Cloud",
    "Works",
    "Bank",
    "Travel",
]
OWNERS = ["Dana", "Priya", "Tomasz", "Ines", None]


def summary_of(**values: Any) -> Summary:
    """A summary with its headline made to fit."""
    made = Summary(**values)
    plan = f"Plan: {made.plan_label}" if made.plan_label else "No plan"
    money = "MRR unknown" if made.mrr is None else f"MRR {dollars(made.mrr)}"
    return msgspec.structs.replace(made, headline=f"{plan}, {money}, {_WORDS[made.payment_status]}")


def customer_values(name: str, summary: Summary, *, now: int, **more: Any) -> dict[str, Any]:
    """A row of `customers` with this summary as its read model."""
    values = {
        "name": name,
        "name_key": name.casefold(),
        "domain": None,
        "aliases": "[]",
        "environment": "production",
        "owner": None,
        "external_id": None,
        "created_at": now,
        "plan": summary.plan,
        "plan_label": summary.plan_label,
        "mrr": summary.mrr,
        "payment_status": summary.payment_status,
        "billing_started_at": summary.billing_started_at,
        "stripe_customer_id": summary.stripe_customer_id,
        "headline": summary.headline,
        "flags": json.dumps(list(summary.flags)),
        "summary": msgspec.json.encode(summary).decode(),
        "as_of": now,
        "ever_positive": bool(summary.mrr),
        "mirror_version": 1,
        "computed_version": 1,
    }
    return values | more


def add_customer(conn: Connection, name: str, summary: Summary | None = None, *, now: int, **more: Any) -> int:
    """One customer of ours; returns its id."""
    values = customer_values(name, summary or Summary(), now=now, **more)
    return int(conn.execute(insert(CustomerRow).values(**values).returning(CustomerRow.id)).scalar_one())


def add_change(
    conn: Connection, customer_id: int, field: str, kind: str, before: Any, after: Any, *, now: int, **more: Any
) -> None:
    """One line of a customer's history."""
    values = {
        "customer_id": customer_id,
        "at_ms": now * 1000,
        "field": field,
        "kind": kind,
        "before": json.dumps(before),
        "after": json.dumps(after),
        "amount": None,
        "cause": "event",
        "version": 1,
    } | more
    conn.execute(insert(CustomerChange).values(**values))


def derivation_of(
    stripe_id: str, price: str, unit: int, quantity: int, *, yearly: bool, discount: int | None
) -> dict[str, Any]:
    """One subscription's steps as `models.domain.mrr` writes them, in US dollars."""
    amount = unit * quantity * (12 if yearly else 1)
    after = amount * (100 - discount) // 100 if discount else amount
    monthly = after // 12 if yearly else after
    steps = (
        [
            {
                "of": "subscription",
                "discount": "di_1",
                "coupon": "LOYAL",
                "percent_off": str(discount),
                "amount_off": None,
                "duration": "forever",
                "end": None,
                "outcome": "subtracted",
                "taken": str(amount - after),
            }
        ]
        if discount
        else []
    )
    item = {
        "item": f"si_{stripe_id[4:]}",
        "price": price,
        "kind": "recurring",
        "in_scope": True,
        "quantity": quantity,
        "unit_amount": str(unit),
        "amount": str(amount),
        "interval": "year" if yearly else "month",
        "interval_count": 1,
        "monthly_factor": "1/12" if yearly else "1",
        "discounts": [],
        "after_discounts": str(after),
        "monthly": str(monthly),
        "unknown": None,
    }
    return {
        "stripe_customer": stripe_id,
        "subscription": f"sub_{stripe_id[4:]}",
        "status": "active",
        "currency": "usd",
        "counts": True,
        "left_out": None,
        "items": [item],
        "discounts": steps,
        "native_monthly": str(monthly),
        "minor_units": 100,
        "rate": "1",
        "rate_date": None,
        "rate_source": None,
        "usd_cents": str(monthly),
        "usd_left_out": None,
        "unknown": [],
    }


def realistic(rng: random.Random, number: int, now: int) -> tuple[str, Summary, dict[str, Any]]:
    """A name, a summary and further columns, as a company's books might hold them."""
    name = f"{rng.choice(_FIRST)} {rng.choice(_SECOND)}"
    more = {
        "domain": f"{name.lower().replace(' ', '')}{number}.com",
        "owner": rng.choice(OWNERS),
        "external_id": f"acct-{number:05}",
    }
    if rng.random() < 0.08:
        return name, Summary(), more
    plan, label, unit = rng.choice(PLANS)
    quantity, yearly = rng.choice([1, 1, 1, 2, 5, 12]), plan.endswith("annual")
    stripe_id = f"cus_{number:06}{rng.randrange(10**8):08}"
    discount = 20 if rng.random() < 0.15 else None
    derived = derivation_of(stripe_id, f"price_{plan}", unit, quantity, yearly=yearly, discount=discount)
    cents = int(derived["usd_cents"])
    status = rng.choices(["paid", "failing", "past_due", "none"], [82, 7, 5, 6])[0]
    flags = [
        flag for flag, share in (("ambiguous", 0.03), ("cancelling", 0.05), ("collection_paused", 0.02)) if rng.random() < share
    ]
    values: dict[str, Any] = {
        "plan": plan,
        "plan_label": label,
        "mrr": cents,
        "payment_status": status,
        "stripe_customer_id": stripe_id,
        "billing_started_at": now - rng.randrange(30, 1500) * 86400,
        "subscription_id": f"sub_{stripe_id[4:]}",
        "renews_at": now + rng.randrange(1, 30) * 86400,
        "invoice_id": f"in_{stripe_id[4:]}",
        "derivation": (derived,),
        "accounts": (AccountResult(Match(stripe_id, "matched", "domain", str(number)), cents, plan, True),),
        "native": (NativeAmount("usd", str(cents), str(cents), None, None, None),),
    }
    if "cancelling" in flags:
        values |= {"cancels_at": now + 10 * 86400, "renews_at": None}
    if status in ("failing", "past_due"):
        values |= {"amount_due": cents, "amount_due_currency": "usd"}
    if status == "failing":
        values |= {
            "failure_reason": rng.choice(["expired_card", "insufficient_funds", "do_not_honor"]),
            "attempt_count": rng.randrange(1, 4),
            "next_retry_at": now + 3 * 86400,
        }
        if rng.random() < 0.4:
            values["overdue"] = (Overdue("usd", 2 * cents, 2),)
    if rng.random() < 0.02:
        flags.append("mrr_unknown:missing_tiers")
        values["mrr"] = None
    return name, summary_of(**values, flags=tuple(sorted(flags))), more


def seed_customers(conn: Connection, count: int, *, now: int, seed: int = 1) -> list[int]:
    """This many realistic customers; returns their ids."""
    rng = random.Random(seed)
    rows = [
        customer_values(name, summary, now=now - rng.randrange(3, 4000), **more)
        for name, summary, more in (realistic(rng, number, now) for number in range(1, count + 1))
    ]
    return _insert_all(conn, rows)


def _insert_all(conn: Connection, rows: Sequence[dict[str, Any]]) -> list[int]:
    ids: list[int] = []
    for start in range(0, len(rows), 200):
        statement = insert(CustomerRow).returning(CustomerRow.id, sort_by_parameter_order=True)
        ids.extend(conn.execute(statement, list(rows[start : start + 200])).scalars())
    return ids


def add_match(conn: Connection, connection_id: int, stripe_id: str, outcome: str, reason: str, **more: Any) -> None:
    """What became of one Stripe customer."""
    conn.execute(
        insert(MatchRow).values(
            connection_id=connection_id,
            stripe_customer_id=stripe_id,
            outcome=outcome,
            reason=reason,
            **({"billed": False} | more),
        )
    )
