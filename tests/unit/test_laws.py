"""Laws that hold whatever the figures are, over generated documents."""

import contextlib
import copy
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import BadInput, Unreadable
from models.stripe_reader import objects
from tests.unit.stripe_json import DAY, NOW, coupon, customer, discount, document, invoice, item, payments, price, subscription
from webhook_app.explain import explain

_LISTS = ("customers", "subscriptions", "invoices", "prices", "products", "coupons", "links", "decisions")
_quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

_amounts = st.integers(0, 10**7) | st.decimals(0, 1000, places=6).map(lambda amount: f"{amount:f}")
_ends = st.sampled_from([None, None, NOW - 1, NOW, NOW + DAY])
_intervals = st.sampled_from(["month", "month", "year", "week", "day"])


@st.composite
def _prices(draw: Any, number: int, currency: str = "usd") -> dict[str, Any]:
    return price(
        f"price_{number}",
        draw(_amounts),
        currency=currency,
        interval=draw(_intervals),
        count=draw(st.integers(1, 5)),
        usage=draw(st.sampled_from(["licensed", "licensed", "licensed", "metered"])),
        product=f"prod_{draw(st.integers(1, 3))}",
        lookup_key=draw(st.sampled_from([None, f"key{number}_monthly"])),
    )


@st.composite
def _discounts(draw: Any, number: int) -> dict[str, Any]:
    terms: dict[str, Any] = (
        {"percent_off": draw(st.integers(1, 100))}
        if draw(st.booleans())
        else {"amount_off": draw(st.integers(1, 10**6)), "currency": "usd"}
    )
    products = draw(st.none() | st.lists(st.sampled_from(["prod_1", "prod_2"]), min_size=1))
    applies = {} if products is None else {"applies_to": {"products": products}}
    duration = draw(st.sampled_from(["forever", "forever", "repeating", "once"]))
    return discount(coupon(f"C{number}", duration=duration, **terms, **applies), f"di_{number}", end=draw(_ends))


@st.composite
def _subscriptions(draw: Any, number: int, owners: int = 2) -> dict[str, Any]:
    items = [
        item(draw(_prices(number * 10 + position)), draw(st.integers(0, 50)), f"si_{number}_{position}")
        for position in range(draw(st.integers(1, 3)))
    ]
    statuses = ["active", "active", "past_due", "trialing", "canceled", "incomplete", "dreaming"]
    return subscription(
        *items,
        subscription_id=f"sub_{number}",
        customer=f"cus_{draw(st.integers(1, owners))}",
        status=draw(st.sampled_from(statuses)),
        start_date=NOW - draw(st.integers(0, 5)) * DAY,
        cancel_at_period_end=draw(st.booleans()),
        discounts=[draw(_discounts(number * 10 + position)) for position in range(draw(st.integers(0, 2)))],
    )


@st.composite
def _invoices(draw: Any, number: int) -> dict[str, Any]:
    return invoice(
        f"in_{number}",
        customer=f"cus_{draw(st.integers(1, 2))}",
        status=draw(st.sampled_from(["draft", "open", "open", "paid", "void", "uncollectible"])),
        created=NOW - draw(st.integers(0, 3)) * DAY,
        attempted=draw(st.booleans()),
        attempt_count=draw(st.integers(0, 2)),
        due_date=draw(st.sampled_from([None, NOW - DAY, NOW, NOW + DAY])),
        payments=draw(st.none() | st.sampled_from(["processing", "requires_action", "succeeded"]).map(payments)),
    )


@st.composite
def _documents(draw: Any) -> dict[str, Any]:
    numbers = range(1, draw(st.integers(1, 4)) + 1)
    kinds = [
        [],
        [{"customer_id": "c1", "kind": "merge"}],
        [{"customer_id": "c1", "kind": "winner", "stripe_customer_id": "cus_2"}],
    ]
    theirs = draw(st.none() | _discounts(99))
    return document(
        *[draw(_subscriptions(number)) for number in numbers],
        customers=[customer("cus_1", discount=theirs), customer("cus_2", created=NOW - DAY)],
        invoices=[draw(_invoices(number)) for number in range(draw(st.integers(0, 4)))],
        products=[{"id": f"prod_{number}", "name": f"Product {number}"} for number in (1, 2, 3)],
        prices=[draw(_prices(number * 10)) for number in numbers if draw(st.booleans())],
        decisions=draw(st.sampled_from(kinds)),
        settings={"subtract_repeating_discounts": draw(st.booleans())},
    )


def _mrr(*subscriptions: dict[str, Any], **keys: Any) -> Any:
    found: Any = explain(document(*subscriptions, **keys))
    return found["customers"][0]["mrr"]


@_quick
@given(_documents(), st.randoms(use_true_random=False))
@pytest.mark.fault("F03", "I2")
def test_the_order_of_the_lists_never_matters(given_document: dict[str, Any], shuffle: random.Random) -> None:
    shuffled = copy.deepcopy(given_document)
    for key in _LISTS:
        shuffle.shuffle(shuffled.get(key, []))
    assert explain(shuffled) == explain(given_document)


@_quick
@given(_documents())
def test_the_next_change_lies_ahead_and_the_sums_are_whole_cents(given_document: dict[str, Any]) -> None:
    found: Any = explain(given_document)["customers"]
    one = found[0]
    assert one["next_change_at"] is None or one["next_change_at"] > NOW
    assert type(one["mrr"]) is int
    assert one["mrr"] >= 0


@pytest.mark.fault("F78")
@_quick
@given(_documents())
def test_nothing_changes_before_the_next_change(given_document: dict[str, Any]) -> None:
    """One second before, the same objects still give the same result."""
    found: Any = explain(given_document)
    later = found["customers"][0]["next_change_at"] or NOW + 400 * DAY
    if given_document["fx"]["date"]:
        given_document["fx"] = {}
    again: Any = explain({**given_document, "now": later - 1})
    for key in ("mrr", "plan", "payment_status", "overdue", "flags", "next_change_at"):
        assert again["customers"][0][key] == found["customers"][0][key]


@pytest.mark.fault("F29")
@_quick
@given(_subscriptions(1, 1), _discounts(77))
def test_a_discount_never_raises_the_mrr_and_never_makes_it_negative(of: dict[str, Any], more: dict[str, Any]) -> None:
    """One more on the subscription displaces none (only the customer's could be)."""
    before = _mrr(of)
    for discounts in ([*of["discounts"], more], [more, *of["discounts"]]):
        assert 0 <= _mrr({**of, "discounts": discounts}) <= before
    on_item = copy.deepcopy(of)
    on_item["items"]["data"][0]["discounts"] = [more]
    assert _mrr(on_item) >= 0


@_quick
@given(_prices(1), st.integers(0, 500), st.integers(0, 500), st.integers(1, 100))
def test_splitting_a_quantity_over_two_subscriptions_never_changes_the_sum(
    of: Any, left: int, right: int, percent: int
) -> None:
    off = [discount(coupon(percent_off=percent))]
    whole = subscription(item(of, left + right), discounts=off)
    parts = [
        subscription(item(of, share), subscription_id=f"sub_{share}_{n}", discounts=off)
        for n, share in enumerate((left, right))
    ]
    assert _mrr(whole) == _mrr(*parts)


@_quick
@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 50))
def test_scaling_a_quantity_scales_the_mrr(amount: int, quantity: int, factor: int) -> None:
    of = price(amount=amount)
    assert _mrr(subscription(item(of, quantity * factor))) == factor * _mrr(subscription(item(of, quantity)))


def _as_before_basil(of: dict[str, Any]) -> dict[str, Any]:
    """The same subscription in the shape of 2020: `plan` beside `price`, one `discount`, periods on the subscription."""
    old = copy.deepcopy(of)
    found = old.pop("discounts")
    old["discount"] = found[0] if found else None
    old["current_period_end"] = old["items"]["data"][0]["current_period_end"]
    for entry in old["items"]["data"]:
        del entry["current_period_end"]
        entry.pop("discounts")
    return old


@pytest.mark.fault("F23")
@_quick
@given(_subscriptions(1, 1))
def test_facts_that_two_versions_both_carry_give_the_same_value(of: dict[str, Any]) -> None:
    of["discounts"] = of["discounts"][:1]
    assert objects.read_subscription(_as_before_basil(of)) == objects.read_subscription(of)


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
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(_documents(), st.lists(_junk, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_no_mutation_of_a_document_raises_anything_but_bad_input(
    given_document: Any, junk: list[Any], choose: random.Random
) -> None:
    mutated = given_document
    for value in junk:
        key = choose.choice([name for name in _LISTS if mutated.get(name)])
        mutated = {**mutated, key: _mutate(mutated[key], value, choose)}
        if not isinstance(mutated[key], list):
            mutated[key] = [mutated[key]]
    with contextlib.suppress(BadInput):
        json.dumps(explain(mutated))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(_documents(), _junk, st.randoms(use_true_random=False))
@pytest.mark.fault("F22")
def test_readers_raise_nothing_but_unreadable(given_document: Any, junk: Any, choose: random.Random) -> None:
    for key in ("customers", "subscriptions", "invoices", "prices"):
        for entry in given_document[key]:
            with contextlib.suppress(Unreadable):
                getattr(objects, f"read_{key[:-1]}")(_mutate(entry, junk, choose))
