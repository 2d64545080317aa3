"""What a second reading of RULES found: one test for each sentence that had been carried out differently."""

from typing import Any

import pytest

from models.errors import BadInput
from models.stripe_reader import objects
from tests.unit.explained import explained
from tests.unit.stripe_json import DAY, NOW, coupon, customer, discount, document, invoice, item, paid, price, subscription
from webhook_app.explain import explain

IN = item(price("price_a", product="prod_a"), item_id="si_a")
OUT = item(price("price_b", product="prod_b"), item_id="si_b")
SCOPE = {"scope": {"kind": "products", "values": ["prod_a"]}}
HALF, OFF = coupon("HALF", percent_off=50), coupon("OFF", amount_off=3000, currency="usd")


def _mrr(of: dict[str, Any], **keys: Any) -> tuple[int | None, list[str]]:
    found = explained(of, **{"settings": SCOPE, **keys})
    return found["mrr"], found["flags"]


# --- 5.4: shares follow what the items cost after the discounts before, of items out of scope too


def test_a_discount_of_an_item_out_of_scope_shifts_the_shares_of_a_later_amount_off() -> None:
    """10000 and 10000 x 0.5: of 3000 the item in scope bears two thirds."""
    halved = {**OUT, "discounts": [discount(HALF)]}
    assert _mrr(subscription(IN, halved, discounts=[discount(OFF, "di_2")])) == (8000, [])
    limited = {**HALF, "applies_to": {"products": ["prod_b"]}}
    assert _mrr(subscription(IN, OUT, discounts=[discount(limited), discount(OFF, "di_2")])) == (8000, [])


def test_a_share_is_unknown_when_a_discount_of_an_item_out_of_scope_cannot_be_read() -> None:
    unread = {**OUT, "discounts": ["di_bare"]}
    assert _mrr(subscription(IN, unread)) == (10_000, [])
    assert _mrr(subscription(IN, unread, discounts=[discount(HALF)])) == (5000, [])
    assert _mrr(subscription(IN, unread, discounts=[discount(OFF)])) == (None, ["mrr_unknown:missing_discount"])
    foreign = {**OUT, "discounts": [discount({**OFF, "id": "EUR", "currency": "eur"}, "di_2")]}
    assert _mrr(subscription(IN, foreign)) == (10_000, [])
    assert _mrr(subscription(IN, foreign, discounts=[discount(OFF)])) == (None, ["mrr_unknown:missing_currency_option"])


def test_a_discount_on_items_out_of_scope_alone_takes_nothing_from_those_in_scope() -> None:
    limited = {**OFF, "applies_to": {"products": ["prod_b"]}}
    of = subscription(IN, OUT, discounts=[discount(limited)])
    assert _mrr(of) == (10_000, [])
    steps = explained(of, settings=SCOPE)["derivation"][0]["discounts"]
    assert [(step["outcome"], step["taken"]) for step in steps] == [("applies_to_no_item", None)]


def test_a_coupon_named_without_its_terms_is_looked_up() -> None:
    named = discount({"id": "HALF", "object": "coupon"})
    assert _mrr(subscription(IN, discounts=[named]), coupons=[HALF]) == (5000, [])
    assert _mrr(subscription(IN, discounts=[named])) == (None, ["mrr_unknown:missing_coupon"])


# --- 4 and 5.2: what is known of a price


def test_what_stands_for_a_deleted_price_never_replaces_the_copy_inside_an_item() -> None:
    keyed = subscription(item(price(lookup_key="growth_monthly")))
    for gone in ({"id": "price_1", "object": "price", "deleted": True}, {"id": "price_1", "object": "plan", "deleted": True}):
        found = explained(keyed, prices=[gone])
        assert (found["mrr"], found["plan"], found["flags"]) == (10_000, "growth_monthly", [])


def test_a_whole_plan_is_used_where_the_price_beside_it_is_a_bare_id() -> None:
    plan = {"id": "gold", "object": "plan", "amount": 700, "currency": "usd", "interval": "month", "interval_count": 1}
    assert explained(subscription({"id": "si_1", "price": "gold", "plan": plan, "quantity": 3}))["mrr"] == 2100
    bare = objects.read_subscription(subscription({"id": "si_1", "price": "gold", "plan": "gold"})).items[0].price
    assert bare is not None
    assert (bare.id, bare.stub, bare.from_plan) == ("gold", True, False)


def test_every_word_of_a_label_is_raised_also_after_a_space() -> None:
    found = explained(subscription(item(price(lookup_key="growth plan_monthly"))))
    assert (found["plan"], found["plan_label"]) == ("growth plan_monthly", "Growth Plan")


# --- 6


def test_both_failed_and_overdue_is_failing_also_when_only_the_retries_tell() -> None:
    used_up = invoice(attempt_count=3, due_date=NOW - DAY)
    assert explained(subscription(), invoices=[used_up])["payment_status"] == "failing"


def test_an_amount_that_is_not_in_dollars_looks_ahead_to_the_day_the_table_goes_stale_with_a_rate_or_without() -> None:
    """The 46th day after 2026-11-01 is 2026-12-17."""
    for currency in ("eur", "kwd"):
        found = explained(subscription(item(price(currency=currency)), currency=currency))
        assert found["next_change_at"] == 1_797_465_600
    assert explained(subscription())["next_change_at"] is None


# --- 8: every key but `now` may be missing; what can't be read is named


def _whole() -> dict[str, Any]:
    return document(
        subscription(item(price(currency="eur")), currency="eur"),
        settings={"livemode": True, "scope": {"kind": "all"}, "own_domains": [], "metadata_key": None, "fx_stale_days": 45},
        our_customers=[{"id": "c1", "name": "Acme", "domain": "acme.com", "aliases": [], "environment": "production"}],
        links=[{"stripe_customer_id": "cus_1", "customer_id": "c1"}],
        decisions=[{"customer_id": "c1", "kind": "winner", "stripe_customer_id": "cus_1", "stripe_customer_ids": ["cus_1"]}],
        invoices=[paid()],
        prices=[price(currency="eur")],
        products=[{"id": "prod_1", "name": "Gold"}],
        coupons=[HALF],
        kept_lookup_keys={"price_1": "growth"},
    )


@pytest.mark.parametrize("key", sorted(_whole().keys() - {"now"}))
def test_each_key_but_now_may_be_missing_whatever_the_others_name(key: str) -> None:
    whole = _whole()
    del whole[key]
    assert len(explain(whole)["customers"]) == (0 if key == "our_customers" else 1)  # type: ignore[arg-type]
    assert explain({**whole, key: None}) == explain(whole)


@pytest.mark.parametrize("where", ["settings", "our_customers", "fx"])
def test_missing_and_null_are_the_same_inside_them_too(where: str) -> None:
    part = _whole()[where]
    for key in sorted((part[0] if where == "our_customers" else part).keys() - {"id"}):
        without, null = _whole(), _whole()
        of_without, of_null = (whole[where][0] if where == "our_customers" else whole[where] for whole in (without, null))
        del of_without[key]
        of_null[key] = None
        assert explain(without) == explain(null), key


def test_rates_without_a_day_are_used_and_never_called_stale() -> None:
    eur = subscription(item(price(currency="eur")), currency="eur")
    found = explained(eur, fx={"usd_per": {"EUR": "1.1"}})
    assert (found["mrr"], found["flags"], found["next_change_at"]) == (11_000, [], None)


def test_a_link_to_nobody_of_the_given_customers_is_still_named() -> None:
    with pytest.raises(BadInput, match="c9"):
        explain({**_whole(), "links": [{"stripe_customer_id": "cus_1", "customer_id": "c9"}]})


def test_what_stands_for_a_deleted_draft_concerns_nobody() -> None:
    found = explained(subscription(), invoices=[paid(), {"id": "in_9", "object": "invoice", "deleted": True}])
    assert (found["payment_status"], found["flags"]) == ("paid", [])


def test_an_object_of_one_customer_that_cannot_be_read_is_named_there_alone_among_many() -> None:
    ours = [{"id": f"c{number}", "domain": f"d{number}.com"} for number in range(3)]
    theirs = [customer(f"cus_{number}", email=f"x@d{number}.com") for number in range(3)]
    broken = [invoice(f"in_{number}", customer=f"cus_{number}", created="then") for number in range(2)]
    found: Any = explain(document(our_customers=ours, customers=theirs, invoices=broken))
    assert [entry["flags"] for entry in found["customers"]] == [["unreadable:in_0"], ["unreadable:in_1"], []]
