"""RULES 6 written down a second time, row by row of its table, and compared over random invoices (seeded)."""

import os
import random
from collections.abc import Callable
from typing import Any

from tests.unit.explained import explained
from tests.unit.stripe_json import DAY, NOW, invoice, payments, subscription

Json = dict[str, Any]
_DECLINED = {"code": "card_declined", "decline_code": None, "message": "No."}


def _failed(of: Json, intent: Json) -> bool:
    if of["attempted"] and of["attempt_count"] > 0 and of["amount_remaining"] > 0:
        return True
    with_error = intent.get("status") == "requires_payment_method" and bool(intent.get("last_payment_error"))
    return with_error or intent.get("status") == "requires_action"


def _by_hand(of: Json) -> str | None:
    intent = of["payments"]["data"][0]["payment"]["payment_intent"] if of["payments"] else {}
    if of["status"] in ("draft", "void"):
        return None
    if of["status"] == "paid":
        return "paid"
    automatic = of["collection_method"] == "charge_automatically"
    used_up = automatic and of["attempt_count"] > 0 and of["next_payment_attempt"] is None and of["amount_remaining"] > 0
    if of["status"] == "uncollectible":
        return "failing" if _failed(of, intent) or used_up else "past_due"
    if intent.get("status") == "processing":
        return None
    if _failed(of, intent) or used_up:
        return "failing"
    return "past_due" if of["due_date"] is not None and of["due_date"] <= NOW else None


def _invoice(rng: random.Random, number: int) -> Json:
    status = rng.choice(["draft", "open", "open", "open", "open", "paid", "void", "uncollectible"])
    intent = rng.choice(["processing", "requires_action", "requires_payment_method", "requires_payment_method", "succeeded"])
    return invoice(
        f"in_{number}", status=status, created=NOW - rng.randrange(4) * DAY, number=rng.choice([None, f"A-{number:04}"]),
        currency=rng.choice(["usd", "eur"]), attempted=rng.random() < 0.5, attempt_count=rng.randrange(3),
        amount_remaining=0 if status == "paid" else rng.choice([0, 700, 10_000]),
        next_payment_attempt=rng.choice([None, NOW + DAY]), due_date=rng.choice([None, NOW - 1, NOW, NOW + 1, NOW + DAY]),
        collection_method=rng.choice(["charge_automatically", "send_invoice"]),
        payments=rng.choice([None, payments(intent, rng.choice([None, _DECLINED]))]),
    )  # fmt: skip


def test_the_payment_status_is_what_one_works_out_by_hand(record_property: Callable[[str, object], None]) -> None:
    first = random.randrange(10**6) if os.environ.get("SEED") == "random" else 1
    for seed in range(first, first + 1000):
        rng = random.Random(seed)
        invoices = [_invoice(rng, number) for number in range(rng.randint(0, 4))]
        newest = sorted(invoices, key=lambda of: (of["created"], of["number"] or "", of["id"]), reverse=True)
        words = [(word, of) for of in newest if (word := _by_hand(of))]
        owed: dict[str, list[int]] = {}
        for word, of in words[1:]:
            if word != "paid":
                owed.setdefault(of["currency"], []).append(of["amount_remaining"])
        due = [of["due_date"] for of in invoices if of["status"] == "open" and (of["due_date"] or 0) > NOW]
        found = explained(subscription(), invoices=invoices)
        assert found["payment_status"] == (words[0][0] if words else "none"), f"seed {seed}"
        assert found["overdue"] == [
            {"currency": currency, "amount": sum(amounts), "invoices": len(amounts)}
            for currency, amounts in sorted(owed.items())
        ], f"seed {seed}"
        assert found["next_change_at"] == min(due, default=None), f"seed {seed}"
    record_property("said", f"payment status worked out by hand: 1000 customers from seed {first}")
