"""Life-like events on a backfilled account: real objects as Stripe renders them, each event in a second of its own."""

import json
import random
from typing import Any

from tests.benchmarks.installation import Installation

VERSION = "2024-06-20"
MIX = ("subscription",) * 4 + ("invoice",) * 4 + ("customer",) * 2
TYPES = {"subscription": "customer.subscription.updated", "invoice": "invoice.paid", "customer": "customer.updated"}


class EventMaker:
    """Makes event bodies of about 5.5 KB from the account's own objects; ids never repeat."""

    def __init__(self, installed: Installation, start: int, *, seed: int = 1) -> None:
        self._rng = random.Random(seed)
        self._objects: dict[str, list[dict[str, Any]]] = {}
        for kind in ("customer", "subscription", "invoice"):
            path = f"/v1/{kind}s?limit=100" + ("&status=all" if kind == "subscription" else "")
            self._objects[kind] = [dict(row) for row in self._walk(installed, path)]
        self._objects["invoice"] = [row for row in self._objects["invoice"] if row["status"] == "paid"]
        self._objects["subscription"] = [
            row for row in self._objects["subscription"] if row["status"] == "active" and not _bare(row)
        ]
        self._second, self._number = start, 0

    @staticmethod
    def _walk(installed: Installation, path: str, most: int = 20) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = ""
        for _ in range(most):
            page = installed.stripe_get(path + after, VERSION)
            found += page["data"]
            if not page["has_more"]:
                break
            after = f"&starting_after={found[-1]['id']}"
        return found

    def make(self, count: int) -> list[bytes]:
        """So many events of the mix."""
        return [self._event(self._rng.choice(MIX)) for _ in range(count)]

    def _event(self, kind: str) -> bytes:
        data = self._rng.choice(self._objects[kind])
        self._number += 1
        data["metadata"] = {**data.get("metadata", {}), "rev": str(self._number)}
        if kind == "subscription":
            data["items"]["data"][0]["quantity"] = 1 + self._number % 9
        return self.body(TYPES[kind], data)

    def body(self, kind: str, data: dict[str, Any], previous: dict[str, Any] | None = None) -> bytes:
        """One event, signed later; indented by two spaces as Stripe sends it."""
        self._second += 1
        self._number += 1
        event = {
            "id": f"evt_bench{self._second:012d}{self._number:08d}", "object": "event", "api_version": VERSION,
            "created": self._second, "data": {"object": data, "previous_attributes": previous or {"metadata": {"rev": "0"}}},
            "livemode": True, "pending_webhooks": 1, "request": {"id": None, "idempotency_key": None}, "type": kind,
        }  # fmt: skip
        return json.dumps(event, indent=2).encode()

    def subscriptions(self) -> list[dict[str, Any]]:
        """Active subscriptions, to probe with."""
        return self._objects["subscription"]


def _bare(subscription: dict[str, Any]) -> bool:
    """Whether its price or discounts make the MRR more than quantity times amount."""
    items = subscription["items"]["data"]
    price = items[0]["price"]
    return (
        len(items) != 1 or bool(subscription.get("discounts") or subscription.get("discount"))
        or price["billing_scheme"] != "per_unit" or price["currency"] != "usd" or not price["unit_amount"]
        or price["recurring"]["usage_type"] != "licensed" or price.get("transform_quantity") is not None
    )  # fmt: skip
