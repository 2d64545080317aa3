"""What fuzzing found, each once more in plain words. The inputs themselves stand in `tests/fuzz/corpus` as `bug-…`."""

import json
from fractions import Fraction
from typing import Any

import pytest

from models.domain.money import shown
from models.errors import BadInput, Unreadable
from models.stripe_reader import objects
from models.stripe_reader.envelope import Envelope, read_envelope
from models.stripe_reader.events import read_event
from models.stripe_reader.fields import MOST_DISCOUNTS, MOST_ITEMS, MOST_TIERS
from tests.unit.explained import explained
from tests.unit.stripe_json import NOW, coupon, customer, discount, failing, invoice, item, paid, price, subscription
from webhook_app.explain import explain, load_document
from workers.apply import read_object
from workers.stripe_http import read_json

ENDLESS = "1e99999999999999999999"  # an exponent that even `Decimal` refuses
EVENT = {
    "id": "evt_1", "object": "event", "type": "customer.updated", "created": NOW, "livemode": True,
    "data": {"object": {"id": "cus_1", "object": "customer"}},
}  # fmt: skip


def _body(**fields: Any) -> bytes:
    return json.dumps(EVENT | fields).replace('"@"', ENDLESS).encode()


@pytest.mark.fault("F19", "F29")
def test_a_number_nobody_can_hold_is_no_number_and_the_rest_is_read() -> None:
    event = read_event(_body(data={"object": {"id": "cus_1", "object": "customer", "balance": "@"}}))
    assert objects.read_customer(event.object).id == "cus_1"
    page = read_json(b'{"id": "price_1", "unit_amount_decimal": %b}' % ENDLESS.encode())
    assert page is not None
    with pytest.raises(Unreadable):
        objects.read_price(page)
    with pytest.raises(BadInput):
        explain(load_document(b'{"now": %b}' % ENDLESS.encode()))
    assert load_document(b'{"now": 5, "customers": [%b]}' % ENDLESS.encode())["now"] == 5


_TOLD_ALIKE: list[dict[str, Any]] = [
    {"api_version": "", "account": "", "data": {"object": {"id": "x", "object": ""}}},
    {"data": {"object": {"object": "customer", "customer": "cus_2"}}},
    {"data": {"object": {"object": "customer", "customer": "cus_2", "customer_account": []}}},
    {"data": {"object": {"id": "in_1", "object": "invoice", "customer": {"id": ""}, "customer_account": "acct_9"}}},
    {"data": {"object": {"id": "x", "object": "invoice", "customer": {"id": 5}}}},
    {"created": 1.795e9},
    {"data": {"object": {"id": "i" * 300, "object": "price"}}},
]


@pytest.mark.fault("F19")
@pytest.mark.parametrize("fields", _TOLD_ALIKE, ids=str)
def test_the_endpoint_and_the_worker_read_one_envelope(fields: dict[str, Any]) -> None:
    """The endpoint stores by the fast reading, the worker applies by the full one."""
    fast, full = read_envelope(_body(**fields)), read_event(_body(**fields))
    for name in Envelope.__struct_fields__:
        assert getattr(fast, name) == getattr(full, name)


@pytest.mark.fault("F19")
@pytest.mark.parametrize("bad", ["\x00", "a\x00b", "i" * 256])
def test_an_id_no_database_takes_is_no_id(bad: str) -> None:
    for reader, whole in ((objects.read_customer, customer(bad)), (objects.read_price, price(bad))):
        with pytest.raises(Unreadable):
            reader(whole)
    with pytest.raises(Unreadable):
        objects.read_subscription(subscription(discounts=[bad]))
    read = objects.read_subscription(subscription(item(price(bad), item_id=bad), customer={"id": bad}))
    assert (read.customer, read.items[0].price, read.items[0].id) == (None, None, "")
    assert objects.read_discount({"id": bad, "coupon": {"id": bad}}).coupon_id is None
    with pytest.raises(Unreadable):
        read_object({"id": bad, "object": "subscription", "customer": "cus_1"})
    assert objects.read_price(price("i" * 255)).id == "i" * 255


def test_metadata_with_nul_is_left_out() -> None:
    assert objects.read_customer(customer(metadata={"domain": "a\x00b", "c\x00": "d", "e": "f"})).metadata == {"e": "f"}


@pytest.mark.parametrize("kind", [[], {}, None, 5])
def test_an_object_whose_kind_is_no_text_is_unreadable(kind: Any) -> None:
    with pytest.raises(Unreadable):
        read_object({"id": "x", "object": kind})


@pytest.mark.fault("F29")
@pytest.mark.parametrize("key", ["amount_due", "amount_paid", "amount_remaining"])
def test_an_invoice_beyond_any_of_stripes_amounts_is_unreadable_and_flagged(key: str) -> None:
    huge = failing("in_huge", **{"amount_remaining": None, key: 10**15 + 1})
    with pytest.raises(Unreadable):
        objects.read_invoice(huge)
    assert objects.read_invoice(failing(amount_remaining=None, amount_due=10**15)).amount_remaining == 10**15
    found = explained(subscription(), invoices=[paid(), huge])
    assert found["flags"] == ["unreadable:in_huge"]
    assert found["payment_status"] == "paid"


@pytest.mark.fault("F29")
def test_what_older_invoices_owe_stays_within_64_bits() -> None:
    owed = [invoice(f"in_{n}", status="uncollectible", amount_remaining=10**15, created=NOW - n) for n in range(1, 60)]
    (overdue,) = explained(subscription(), invoices=[paid(created=NOW), *owed])["overdue"]
    assert overdue == {"currency": "usd", "amount": 59 * 10**15, "invoices": 59}


@pytest.mark.fault("F29")
@pytest.mark.parametrize("zero", ["0e-999999", "0e999999", "-0", "0.0"])
def test_zero_is_zero_however_it_is_written(zero: str) -> None:
    found = explained(subscription(item(price(amount=zero))))
    assert found["mrr"] == 0
    assert found["derivation"][0]["items"][0]["unit_amount"] == "0"


@pytest.mark.fault("F29")
def test_figures_of_any_size_can_be_shown() -> None:
    assert shown(Fraction(10**90, 3)) == "3" * 90 + ".333333"
    assert shown(Fraction(-(10**90), 3)) == "-" + "3" * 90 + ".333333"
    assert [shown(Fraction(n, 10**7)) for n in (5, 15, -5, 25, 10**7)] == ["0", "0.000002", "0", "0.000002", "1"]
    of = price(amount="999999999999999999.5", currency="eur", interval="week")
    found = explained(subscription(item(of, 2**63 - 1), currency="eur"), fx={"date": "2026-11-01", "usd_per": {"EUR": "8e18"}})
    assert found["mrr"] is None
    assert "mrr_unknown:missing_amount" in found["flags"]


OFF = discount(coupon(percent_off="3.333333333333333333333333"))


@pytest.mark.fault("I10")
def test_more_than_the_rules_can_be_carried_out_on_in_bearable_time_is_unreadable() -> None:
    """Exact products of thousands of shares took minutes: the work grows with the cube of their number."""
    many = {**OFF, "id": None}
    crowded = subscription(discounts=[many] * (MOST_DISCOUNTS + 1))
    found = explained(crowded)
    assert (found["mrr"], found["flags"]) == (0, ["unreadable:sub_1"])
    tiers = [{"up_to": n, "unit_amount": 1} for n in range(1, MOST_TIERS + 2)]
    for whole in (
        subscription(item(discounts=[many] * (MOST_DISCOUNTS + 1))),
        subscription(*[item()] * (MOST_ITEMS + 1)),
        subscription(item(price(billing_scheme="tiered", tiers_mode="volume", tiers=tiers))),
    ):
        with pytest.raises(Unreadable):
            objects.read_subscription(whole)


@pytest.mark.fault("I10")
def test_as_many_of_everything_as_is_allowed_is_computed() -> None:
    """Half a mebibyte of items with as many discounts as may be: a second or two, where pytest gives up after minutes."""
    crowded = item(price(amount="99.333333333333333333333333"), 7, discounts=[{**OFF, "id": None}] * MOST_DISCOUNTS)
    whole = subscription(*[crowded] * 120, discounts=[{**OFF, "id": None}] * MOST_DISCOUNTS)
    assert explained(whole)["mrr"] > 0


@pytest.mark.fault("F19")
def test_texts_that_are_looked_up_or_become_the_plan_fit_an_index() -> None:
    """PostgreSQL refuses an index entry of more than 2,704 bytes; with it the whole transaction."""
    long = "\U0001f600" * 3_000
    assert objects.read_price(price(lookup_key=long, nickname=long)).lookup_key is None
    assert objects.read_price(price(lookup_key={"id": "x"})).lookup_key is None
    for name in (
        objects.read_price(price(nickname=long)).nickname,
        objects.read_price(price(product={"id": "prod_1", "name": long})).product_name,
        objects.read_product({"id": "prod_1", "name": long}).name,
    ):
        assert name == "\U0001f600" * 250
    assert objects.read_customer(customer(metadata={"domain": "x" * 501, "other": "x" * 500})).metadata == {"other": "x" * 500}
    assert objects.read_subscription(subscription(customer=None, customer_account=long)).customer is None
    assert objects.read_subscription(subscription(customer="\U0001f600" * 200)).customer is None
