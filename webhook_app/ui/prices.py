"""What people call the prices of a derivation, which itself holds their ids only (RULES 4, 5.6)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from models.domain.plan import plan_label
from models.domain.types import Price, Summary
from models.store.mirror import load_kept_keys, load_values
from webhook_app.ui.words import plan_name


@dataclass(frozen=True)
class PriceName:
    """`text`: plan label, product name or nickname; `title`: what stands behind it, with the price's id."""

    text: str
    title: str


def load_price_names(conn: Connection, connection_id: int | None, summary: Summary) -> dict[str, PriceName]:
    """Names by price id; a price that nothing names is left out. `connection_id` None: the summary alone is asked."""
    ids = {str(item["price"]) for sub in summary.derivation for item in _items(sub) if item.get("price")}
    found = _of_summary(summary)
    if connection_id is None or not ids:
        return found
    prices: dict[str, Price] = load_values(conn, connection_id, "price", ids)
    kept = load_kept_keys(conn, connection_id, ids)
    wanted = {price.product for price in prices.values() if price.product}
    products = load_values(conn, connection_id, "product", wanted) if wanted else {}
    for price_id in ids:
        name = _name(price_id, prices.get(price_id), kept, products)
        if name is not None:
            found[price_id] = name
    return found


def _items(sub: Mapping[str, Any]) -> list[dict[str, Any]]:
    return sub.get("items") or []  # a subscription that is left out has none


def _of_summary(summary: Summary) -> dict[str, PriceName]:
    """The plan is named after the first item in scope of the subscription that decides it."""
    return {price: PriceName(label, _title(summary.plan, label, price)) for price, label in _deciding(summary)}


def _deciding(summary: Summary) -> Iterator[tuple[str, str]]:
    for sub in summary.derivation:
        first = next((item for item in _items(sub) if item.get("in_scope")), None)
        if first and first.get("price") and sub.get("subscription") == summary.subscription_id and summary.plan_label:
            yield str(first["price"]), plan_name(summary.plan, summary) or summary.plan_label


def _name(price_id: str, price: Price | None, kept: Mapping[str, str], products: Mapping[str, Any]) -> PriceName | None:
    key = (price and price.lookup_key) or kept.get(price_id)
    if key:
        label = plan_label(key)
        return PriceName(label, _title(key, label, price_id))
    if price is None:
        return None
    product = products.get(price.product or "")
    name = (product and product.name) or price.product_name or price.nickname
    return PriceName(name, price_id) if name else None


def _title(key: str | None, label: str, price_id: str) -> str:
    return price_id if key in (None, label, price_id) else f"{key} · {price_id}"
