"""Laws that hold whatever the figures are, over generated documents (`tests/unit/generated.py`)."""

import contextlib
import copy
import json
import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.domain.mrr import Rules, subscription_mrr
from models.domain.types import Catalog, FxTable, Settings
from models.errors import BadInput, Unreadable
from models.stripe_reader import objects
from tests.unit.generated import FX, discounts, documents, examples, per_unit_prices, subscriptions
from tests.unit.stripe_json import DAY, NOW, coupon, customer, discount, document, item, subscription
from webhook_app.explain import explain

_LISTS = ("our_customers", "customers", "subscriptions", "invoices", "prices", "products", "coupons", "links", "decisions")
_SCOPE = {"scope": {"kind": "products", "values": ["prod_1", "prod_3"]}}


def _mrr(*of: dict[str, Any], **keys: Any) -> Any:
    found: Any = explain(document(*of, **{"fx": FX, **keys}))
    return found["customers"][0]["mrr"]


def _by_id(output: Any) -> Any:
    return {**output, "customers": {entry["id"]: entry for entry in output["customers"]}}


@examples(60)
@given(documents(), st.randoms(use_true_random=False))
@pytest.mark.fault("F03", "I2")
def test_the_order_of_the_lists_never_matters(given_document: dict[str, Any], shuffle: random.Random) -> None:
    shuffled = copy.deepcopy(given_document)
    for key in _LISTS:
        shuffle.shuffle(shuffled.get(key, []))
    found = explain(shuffled)
    assert _by_id(found) == _by_id(explain(given_document))
    assert [entry["id"] for entry in found["customers"]] == [entry["id"] for entry in shuffled["our_customers"]]  # type: ignore[attr-defined]


@examples(60)
@given(documents())
def test_figures_are_whole_cents_never_below_0_and_unknown_only_with_the_flag(given_document: dict[str, Any]) -> None:
    found: Any = explain(given_document)
    for one in found["customers"]:
        assert one["next_change_at"] is None or one["next_change_at"] > NOW
        assert (one["mrr"] is None) == any(flag.startswith("mrr_unknown:") for flag in one["flags"])
        assert one["mrr"] is None or (type(one["mrr"]) is int and one["mrr"] >= 0)
    counts = found["counts"]
    assert counts["matched"] + counts["unmatched"] + counts["skipped"] == len(found["matches"]) == 3
    assert counts["ambiguous"] == sum("ambiguous" in one["flags"] for one in found["customers"])
    assert all((match["customer_id"] is None) == (match["outcome"] != "matched") for match in found["matches"])


@pytest.mark.fault("F78")
@examples(60)
@given(documents())
def test_nothing_changes_before_the_next_change(given_document: dict[str, Any]) -> None:
    """One second before, the same objects still give the same result."""
    found: Any = explain(given_document)
    for position, one in enumerate(found["customers"]):
        later = one["next_change_at"] or NOW + 400 * DAY
        again: Any = explain({**given_document, "now": later - 1})
        assert again["customers"][position] | {"derivation": 0} == one | {"derivation": 0}


@examples(40)
@given(documents(), st.sampled_from(["subscriptions", "invoices", "prices", "coupons"]))
def test_what_cannot_be_read_is_named_and_changes_no_figure(given_document: dict[str, Any], key: str) -> None:
    found, broken = explain(given_document), copy.deepcopy(given_document)
    broken.setdefault(key, []).append({"customer": "cus_1", "percent_off": "half"})
    again: Any = explain(broken)
    assert again["flags"] == [f"unreadable:{key}"] or key in ("subscriptions", "invoices")
    for before, after in zip(found["customers"], again["customers"], strict=True):  # type: ignore[call-overload]
        assert {*after["flags"]} - {*before["flags"]} <= {f"unreadable:{key}"}
        assert after | {"flags": 0} == before | {"flags": 0}


@pytest.mark.fault("F29")
@examples(80)
@given(subscriptions(1, 1), st.data(), st.sampled_from([{}, _SCOPE]))
def test_a_discount_that_displaces_none_never_raises_the_mrr_and_none_makes_it_negative(
    of: dict[str, Any], data: Any, scope: dict[str, Any]
) -> None:
    more = data.draw(discounts(7777, of["currency"]))
    before = _mrr(of, settings=scope)
    for found in ([*of["discounts"], more], [more, *of["discounts"]]):
        assert 0 <= _mrr({**of, "discounts": found}, settings=scope) <= before
    for position in range(len(of["items"]["data"])):
        on_item = copy.deepcopy(of)
        on_item["items"]["data"][position]["discounts"].insert(0, more)
        assert 0 <= _mrr(on_item, settings=scope) <= before
    assert 0 <= _mrr(of, settings=scope, customers=[customer(discount=more)]) <= before  # displaces none, or is displaced


@examples(60)
@given(st.sampled_from(["usd", "eur"]), st.data(), st.integers(0, 500), st.integers(0, 500), st.integers(1, 100))
def test_splitting_a_quantity_over_two_subscriptions_never_changes_the_sum(
    currency: str, data: Any, left: int, right: int, percent: int
) -> None:
    of = data.draw(per_unit_prices(1, currency))
    off = [discount(coupon(percent_off=percent))]
    whole = subscription(item(of, left + right), discounts=off, currency=currency)
    parts = [
        subscription(item(of, share), subscription_id=f"sub_{n}", discounts=off, currency=currency)
        for n, share in enumerate((left, right))
    ]
    assert _mrr(whole) == _mrr(*parts)


def _exactly(of: dict[str, Any]) -> tuple[Fraction, Fraction | None]:
    rules = Rules(Settings(), Catalog(), FxTable("2026-11-01", {"EUR": 11, "JPY": 3}), NOW)  # type: ignore[dict-item]
    found = subscription_mrr(objects.read_subscription(of), None, rules)
    assert found.native is not None
    return found.native, found.usd


@examples(60)
@given(subscriptions(1, 1, per_unit_prices), st.integers(0, 50))
def test_scaling_every_quantity_scales_the_mrr_exactly(of: dict[str, Any], factor: int) -> None:
    """Before the one rounding, whatever the intervals, currency and percentages."""
    of |= {"status": "active", "discounts": [found for found in of["discounts"] if found["coupon"]["percent_off"]]}
    scaled = copy.deepcopy(of)
    for before, after in zip(of["items"]["data"], scaled["items"]["data"], strict=True):
        before["discounts"] = after["discounts"] = []
        after["quantity"] = factor * (1 if before["quantity"] is None else before["quantity"])
    native, usd = _exactly(of)
    assert _exactly(scaled) == (factor * native, None if usd is None else factor * usd)


_junk = st.sampled_from(
    [None, True, -1, 0, 1.5, 10**30, "", "x", "\x00", "\ud800", "1e999999", [], {}, [None], {"id": 5}, {"data": 7}, "NaN"]
)


def _mutate(value: Any, junk: Any, choose: random.Random) -> Any:
    """Replace, drop or wrap something somewhere inside."""
    if isinstance(value, dict) and value and choose.random() < 0.85:
        key = choose.choice(list(value))
        if choose.random() < 0.15:
            return {name: entry for name, entry in value.items() if name != key}
        return {**value, key: _mutate(value[key], junk, choose)}
    if isinstance(value, list) and value and choose.random() < 0.85:
        at = choose.randrange(len(value))
        return [*value[:at], _mutate(value[at], junk, choose), *value[at + 1 :]]
    return junk


@pytest.mark.fault("F22")
@pytest.mark.fault("F29")
@examples(80)
@given(documents(), st.lists(_junk, min_size=4, max_size=24), st.randoms(use_true_random=False))
def test_no_mutation_of_a_document_raises_anything_but_bad_input(
    given_document: Any, junk: list[Any], choose: random.Random
) -> None:
    """Several documents of each: one to six places hold junk."""
    while junk:
        some, junk = junk[: choose.randint(1, 6)], junk[6:]
        mutated = given_document
        for value in some:
            key = choose.choice([name for name in _LISTS if mutated.get(name)])
            found = _mutate(mutated[key], value, choose)
            mutated = {**mutated, key: found if isinstance(found, list) else [found]}
        with contextlib.suppress(BadInput):
            json.dumps(explain(mutated))


@examples(60)
@given(documents(), st.lists(_junk, min_size=6, max_size=6), st.randoms(use_true_random=False))
@pytest.mark.fault("F22")
def test_readers_raise_nothing_but_unreadable(given_document: Any, junk: list[Any], choose: random.Random) -> None:
    for key in ("customers", "subscriptions", "invoices", "prices"):
        for entry in given_document[key]:
            for value in junk:
                with contextlib.suppress(Unreadable):
                    getattr(objects, f"read_{key[:-1]}")(_mutate(entry, value, choose))
