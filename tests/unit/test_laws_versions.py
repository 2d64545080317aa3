"""An object whose facts two API versions both carry gives the same value, and the same figures (STRIPE 2.2, FAULTS F23)."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.stripe_reader import objects
from tests.unit.generated import documents, examples
from webhook_app.explain import explain

Json = dict[str, Any]


def _items(document: Json) -> list[Json]:
    return [item for of in document["subscriptions"] for item in of["items"]["data"]]


def _all_discounts(document: Json) -> list[Json]:
    on_customers = [of["discount"] for of in document["customers"] if of["discount"]]
    owners = [*document["subscriptions"], *_items(document)]
    return on_customers + [found for of in owners for found in of.get("discounts") or ()]


def _coupons_by_id(document: Json) -> None:
    """2025-09-30.clover: `source.coupon` is an id; what it takes stands in the list of coupons."""
    for found in _all_discounts(document):
        coupon = found.pop("coupon")
        document.setdefault("coupons", []).append(coupon)
        found["source"] = {"type": "coupon", "coupon": coupon["id"]}


def _before_basil(document: Json) -> None:
    """2024: periods on the subscription, `discount` beside ids, `plan` beside `price`, `payment_intent` and `paid`."""
    for of in document["subscriptions"]:
        if len(of["discounts"]) == 1:
            of["discount"] = of["discounts"][0]
            of["discounts"] = [of["discount"]["id"]]
        of["current_period_end"] = of["items"]["data"][0]["current_period_end"]
    for item in _items(document):
        del item["current_period_end"]
        item["plan"] = _plan(item["price"])
    for of in document["invoices"]:
        of["subscription"] = of.pop("parent")["subscription_details"]["subscription"]
        paid_with = of.pop("payments")
        of["payment_intent"] = paid_with["data"][0]["payment"]["payment_intent"] if paid_with else None
        of["paid"] = of["status"] == "paid"


def _of_2019(document: Json) -> None:
    """One `discount`; plans alone where the price says no more than a plan can; `billing` and `date`; tiers inline."""
    _before_basil(document)
    for of in document["subscriptions"]:
        if len(of["discounts"]) <= 1:
            of.setdefault("discount", None)
            del of["discounts"]
        of["billing"] = of.pop("collection_method")
        if not document["prices"]:  # the copies then tell the currency
            del of["currency"]
    for item in _items(document):
        if item["price"]["lookup_key"] is None and item["price"]["tax_behavior"] == "exclusive":
            del item["price"]
    for of in document["invoices"]:
        of["billing"] = of.pop("collection_method")
        of["date"] = of.pop("created")


def _expanded(document: Json) -> None:
    """References as objects, lists as bare lists."""
    for of in document["subscriptions"]:
        of["customer"] = {"id": of["customer"], "object": "customer"}
        of["items"] = of["items"]["data"]
    for of in document["invoices"]:
        of["customer"] = {"id": of["customer"], "object": "customer"}
        of["parent"]["subscription_details"]["subscription"] = {"id": "sub_1", "object": "subscription"}
    for of in document["prices"]:
        of["product"] = {"id": of["product"], "object": "product"}


def _plan(price: Json) -> Json:
    transform, recurring = price["transform_quantity"], price["recurring"]
    return {
        "id": price["id"], "object": "plan", "amount": price["unit_amount"], "amount_decimal": price["unit_amount_decimal"],
        "currency": price["currency"], "billing_scheme": price["billing_scheme"], "tiers_mode": price["tiers_mode"],
        "tiers": price.get("tiers"), "transform_usage": transform, "interval": recurring["interval"],
        "interval_count": recurring["interval_count"], "usage_type": recurring["usage_type"], "product": price["product"],
        "nickname": None,
    }  # fmt: skip


SHAPES: dict[str, Callable[[Json], None]] = {
    "2019": _of_2019,
    "before basil": _before_basil,
    "since clover": _coupons_by_id,
    "expanded": _expanded,
}


@pytest.mark.fault("F23")
@pytest.mark.parametrize("shape", SHAPES)
@examples(25)
@given(documents())
def test_two_versions_that_carry_the_same_facts_give_the_same_figures(shape: str, given_document: Json) -> None:
    reshaped = copy.deepcopy(given_document)
    SHAPES[shape](reshaped)
    assert explain(reshaped) == explain(given_document)


@pytest.mark.fault("F23")
@pytest.mark.parametrize("shape", ["before basil", "expanded"])
@examples(25)
@given(documents(), st.sampled_from(["customers", "subscriptions", "invoices", "prices"]))
def test_facts_that_two_versions_both_carry_give_the_same_value(shape: str, given_document: Json, key: str) -> None:
    reshaped = copy.deepcopy(given_document)
    SHAPES[shape](reshaped)
    read = getattr(objects, f"read_{key[:-1]}")
    assert [read(entry) for entry in reshaped[key]] == [read(entry) for entry in given_document[key]]
