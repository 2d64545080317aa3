"""What people call the prices of a derivation: by the lookup key's label, else by the product's name (RULES 4, 5.6)."""

from dataclasses import dataclass
from typing import Any

from models.domain.plan import plan_label
from models.domain.types import Summary


@dataclass(frozen=True)
class PriceName:
    """`text`: plan label, product name or nickname; `title`: what stands behind it, with the price's id."""

    text: str
    title: str


def price_names(summary: Summary) -> dict[str, PriceName]:
    """Names by price id; a price that nothing names is left out."""
    subscriptions: tuple[dict[str, Any], ...] = summary.derivation
    items = (item for sub in subscriptions for item in sub.get("items") or [])  # one that is left out has none
    return {str(item["price"]): name for item in items if item.get("price") and (name := _name(item))}


def _name(item: dict[str, Any]) -> PriceName | None:
    price_id, key, name = str(item["price"]), item.get("lookup_key"), item.get("name")
    if key:
        label = plan_label(key)
        return PriceName(label, price_id if label == key else f"{key} · {price_id}")
    return PriceName(name, price_id) if name and name != price_id else None
