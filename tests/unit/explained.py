"""`explain` for tests: the first customer of the output, and comparing with a golden case."""

from typing import Any

from tests.unit.stripe_json import Json, document
from webhook_app.explain import explain

_UNORDERED = ("flags", "overdue")


def explained(*subscriptions: Json, **keys: Any) -> dict[str, Any]:
    """What `explain` says about the first of our customers."""
    found: Any = explain(document(*subscriptions, **keys))
    return found["customers"][0]


def outcome(stripe_customer: Json, **keys: Any) -> tuple[str, str, str | None]:
    """Outcome, reason and our customer for one Stripe customer."""
    found: Any = explain(document(**{"customers": [stripe_customer], **keys}))
    match = found["matches"][0]
    return match["outcome"], match["reason"], match["customer_id"]


def differences(case: dict[str, Any]) -> list[str]:
    """Where the output differs from what a golden case expects, by the rules of golden/README.md."""
    output: Any = explain(case["input"])
    expect = case["expect"]
    found = [] if "counts" not in expect else _compare("counts", expect["counts"], output["counts"])
    for name, key in (("customers", "id"), ("matches", "stripe_customer_id")):
        by_id = {entry[key]: entry for entry in output[name]}
        for wanted in expect.get(name, []):
            for field, value in wanted.items():
                found += _compare(f"{wanted[key]}.{field}", value, by_id[wanted[key]][field])
    return found


def _compare(where: str, wanted: Any, given: Any) -> list[str]:
    if where.rpartition(".")[2] in _UNORDERED:
        same = sorted(map(repr, wanted)) == sorted(map(repr, given))
    else:
        same = wanted == given and type(wanted) is type(given)
    return [] if same else [f"{where}: expected {wanted!r}, got {given!r}"]
