"""Reading objects tolerantly, and what a value lacks before the rules can be carried out on it (FAULTS 4.2)."""

from decimal import Decimal
from typing import Any

import pytest

from models.domain.types import Price
from models.errors import Unreadable
from models.stripe_reader import completeness as lacks
from models.stripe_reader import objects
from models.stripe_reader.references import kept_keys_in, references_of
from tests.unit.stripe_json import NOW, coupon, customer, discount, failing, invoice, item, paid, payments, price, subscription

READERS = [getattr(objects, name) for name in objects.__all__ if name != "read_discount"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("data", [None, 5, [], {}, {"id": None}, {"id": 5}, {"id": ""}, "sub_1"])
def test_what_has_no_id_is_unreadable(reader: Any, data: Any) -> None:
    with pytest.raises(Unreadable):
        reader(data)


@pytest.mark.parametrize(
    "reader", [objects.read_customer, objects.read_price, objects.read_product, objects.read_coupon, objects.read_invoice]
)
def test_an_id_alone_is_readable_where_nothing_can_be_misread(reader: Any) -> None:
    assert reader({"id": "x_1"}).id == "x_1"


@pytest.mark.fault("F22")
def test_words_we_do_not_know_are_kept() -> None:
    read = objects.read_subscription(subscription(status="dreaming", collection_method="carrier_pigeon"))
    assert (read.status, read.collection_method) == ("dreaming", "carrier_pigeon")
    assert objects.read_invoice(invoice(status="haunted")).status == "haunted"


def test_junk_in_what_we_can_do_without_is_absent() -> None:
    read = objects.read_customer(customer(name=5, email=["x"], created="then", metadata={"a": 1, "b": "2"}))
    assert (read.name, read.email, read.created, read.metadata) == (None, None, None, {"b": "2"})
    assert objects.read_price(price(nickname=[], lookup_key=5, tax_behavior={})).lookup_key is None
    assert objects.read_subscription(subscription(trial_end="soon", cancel_at=[])).trial_end is None


@pytest.mark.parametrize("amount", ["lots", True, [], {}, "NaN", "1e400000", 10**40, float("inf"), Decimal("NaN"), "9" * 50])
@pytest.mark.fault("F29", "I9")
def test_money_is_never_guessed(amount: Any) -> None:
    with pytest.raises(Unreadable):
        objects.read_price(price(unit_amount_decimal=amount))


def test_numbers_are_exact() -> None:
    assert objects.read_price(price(amount="0.000000000001")).unit_amount == Decimal("0.000000000001")
    assert objects.read_coupon(coupon(percent_off=33.3)).percent_off == Decimal("33.3")
    assert objects.read_invoice(invoice(amount_due=Decimal("100.0"))).amount_due == 100
    with pytest.raises(Unreadable):
        objects.read_invoice(invoice(amount_due=100.5))


def test_customer_and_subscription_may_be_ids_or_objects() -> None:
    expanded = invoice(customer={"id": "cus_9"}, subscription={"id": "sub_9"}, parent=None)
    read = objects.read_invoice(expanded)
    assert (read.customer, read.subscription) == ("cus_9", "sub_9")
    assert objects.read_subscription(subscription(customer=None, customer_account="acct_1")).customer == "acct_1"
    assert objects.read_invoice(invoice(parent={"type": "quote_details", "quote_details": {"quote": "q"}})).subscription is None


def test_a_discount_in_both_fields_counts_once_and_fills_the_bare_id() -> None:
    full = discount(coupon("HALF", percent_off=50))
    for many in (["di_1"], [full], [], None):
        read = objects.read_subscription(subscription(discount=full, discounts=many))
        assert [(found.id, found.coupon_id) for found in read.discounts] == [("di_1", "HALF")]
    two = objects.read_subscription(subscription(discount=full, discounts=["di_0", "di_1", "di_1"]))
    assert [(found.id, found.coupon_id) for found in two.discounts] == [("di_0", None), ("di_1", "HALF")]
    nameless = {key: value for key, value in full.items() if key != "id"}
    assert objects.read_subscription(subscription(discount=nameless, discounts=None)).discounts[0].id == ""


def test_a_discounts_coupon_stands_in_three_places() -> None:
    half = coupon("HALF", percent_off=50)
    for inside in ({"coupon": half}, {"coupon": "HALF"}, {"source": {"coupon": half}}, {"source": {"coupon": "HALF"}}):
        assert objects.read_discount({"id": "di_1", **inside}).coupon_id == "HALF"
    assert objects.read_discount("di_1").coupon_id is None


def test_the_default_payment_decides_else_the_newest() -> None:
    first = payments("processing")["data"][0]
    other = {**payments("requires_action")["data"][0], "id": "inpay_2", "is_default": False, "created": NOW + 9}
    record = {"id": "inpay_3", "created": NOW + 99, "payment": {"type": "payment_record", "payment_record": "pr_1"}}

    def status(*entries: dict[str, Any]) -> str | None:
        payment = objects.read_invoice(failing(payments={"data": list(entries)})).payment
        return payment.status if payment else None

    assert status(other, first) == "processing"
    assert status(other, {**first, "is_default": False}) == "requires_action"
    assert status(record, other) == "requires_action"
    assert status(record) is None


def test_the_oldest_subscriptions_have_one_plan_of_their_own() -> None:
    old = {
        "id": "sub_1",
        "customer": "cus_1",
        "status": "active",
        "quantity": 2,
        "start": 9,
        "created": 5,
        "plan": {"id": "gold", "object": "plan", "amount": 700, "currency": "eur", "interval": "year"},
    }
    read = objects.read_subscription(old)
    assert (read.items[0].quantity, read.start_date) == (2, 5)
    assert read.items[0].price == Price("gold", currency="eur", unit_amount=Decimal(700), interval="year", from_plan=True)


# --- completeness


@pytest.mark.fault("F24")
def test_a_truncated_list_is_seen() -> None:
    cut = subscription()
    cut["items"]["has_more"] = True
    assert lacks.has_truncated_list(cut)
    assert objects.read_subscription(cut).items_truncated
    assert not lacks.has_truncated_list(invoice(lines={"data": [], "has_more": True}))  # the rules read no lines


@pytest.mark.fault("F24")
def test_bare_discounts_and_coupons_the_mirror_lacks() -> None:
    read = objects.read_subscription(subscription(item(discounts=["di_3"]), discounts=["di_2", discount("C")]))
    assert lacks.unresolved_discounts(read) == ("di_2", "di_3")
    assert lacks.unresolved_discounts(read, {"di_2"}) == ("di_3",)
    assert lacks.coupons_needed(read) == ("C",)
    assert lacks.coupons_needed(read, {"C"}) == ()
    theirs = objects.read_customer(customer(discount=discount(coupon("OWN", percent_off=10, applies_to=None))))
    assert lacks.coupons_needed(theirs) == ()


@pytest.mark.parametrize(
    ("of", "needed"),
    [
        (failing(), True),
        (failing(payment_intent="pi_1"), True),
        (failing(payments={"data": [{"id": "inpay_1", "payment": {"payment_intent": "pi_1"}}]}), True),
        (failing(payments=payments("processing")), False),
        (failing(payment_intent={"id": "pi_1", "status": "processing"}), False),
        (failing(payments={"data": []}), False),
        (failing(amount_remaining=0), False),
        (invoice(), False),
        (paid(), False),
    ],
)
def test_an_open_attempted_invoice_needs_its_payments(of: dict[str, Any], needed: bool) -> None:
    assert lacks.needs_payment_state(objects.read_invoice(of)) is needed


def test_prices_that_cannot_be_priced_from_their_copy() -> None:
    def lacking(of: dict[str, Any], known: tuple[Price, ...] = (), **fields: Any) -> tuple[str, ...]:
        read = objects.read_subscription(subscription(item(of), **fields))
        return lacks.prices_lacking(read, {price.id: price for price in known})

    tiered = price(billing_scheme="tiered", tiers_mode="volume")
    full = objects.read_price({**tiered, "tiers": [{"up_to": None, "unit_amount": 5}]})
    assert lacking(price()) == ()
    assert lacking(tiered) == ("price_1",)
    assert lacking(tiered, (full,)) == ()
    assert lacking(price(), currency="eur") == ("price_1",)
    option = objects.read_price(price(currency_options={"EUR": {"unit_amount": 5}}))
    assert lacking(price(), (option,), currency="eur") == ()


def test_a_plan_copy_needs_its_price_for_the_lookup_key() -> None:
    plan = {"id": "gold", "object": "plan", "amount": 700, "currency": "usd", "interval": "month", "product": "prod_1"}
    read = objects.read_subscription(subscription({"id": "si_1", "plan": plan}))
    assert lacks.prices_lacking(read) == ("gold",)
    assert lacks.prices_lacking(read, {"gold": Price("gold", unit_amount=Decimal(700), interval="month")}) == ()


def test_products_are_needed_only_where_no_key_is_known() -> None:
    read = objects.read_subscription(subscription())
    assert lacks.products_needed(read) == ("prod_1",)
    assert lacks.products_needed(read, kept_lookup_keys={"price_1": "growth"}) == ()
    assert lacks.products_needed(read, {"price_1": Price("price_1", lookup_key="growth")}) == ()
    assert lacks.products_needed(read, products={"prod_1"}) == ()


def test_lookup_keys_worth_keeping_and_references() -> None:
    keyed = subscription(item(price(lookup_key="a")), item(price("price_2"), item_id="si_2"), discounts=[discount("C")])
    read = objects.read_subscription(keyed)
    assert list(kept_keys_in(read)) == [("price_1", "a")]
    assert list(kept_keys_in(objects.read_price(price(lookup_key="b")))) == [("price_1", "b")]
    assert references_of(read) == {"price_1", "price_2", "prod_1", "C"}
